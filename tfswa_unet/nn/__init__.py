"""Layers on tokens (b, n, f, d), channels last, so that no copy stands between them."""

from tfswa_unet.nn.arrangement import BlockForm, ParallelAttention, SerialAttention
from tfswa_unet.nn.attend import attend
from tfswa_unet.nn.attention import SequenceAttention
from tfswa_unet.nn.block import LocalMLP, TFSWABlock
from tfswa_unet.nn.chain import Chain
from tfswa_unet.nn.conv import RCM, ConvBlock, ConvDecoder, ConvEncoder, TokenRCM
from tfswa_unet.nn.funnel import ConvHead, ConvStem
from tfswa_unet.nn.norm import make_norm
from tfswa_unet.nn.patch import Down, PatchHead, PatchStem, Up
from tfswa_unet.nn.serial import MLP, SequenceBlock, SerialTFSWA, SwinBlock
from tfswa_unet.nn.stage import Stage
from tfswa_unet.nn.window import WindowAttention, merge_windows, partition_windows

__all__ = [
    "attend",
    "SequenceAttention",
    "WindowAttention",
    "partition_windows",
    "merge_windows",
    "BlockForm",
    "ParallelAttention",
    "SerialAttention",
    "make_norm",
    "LocalMLP",
    "TFSWABlock",
    "Stage",
    "ConvStem",
    "ConvHead",
    "PatchStem",
    "PatchHead",
    "Down",
    "Up",
    "Chain",
    "RCM",
    "TokenRCM",
    "ConvBlock",
    "ConvEncoder",
    "ConvDecoder",
    "MLP",
    "SequenceBlock",
    "SwinBlock",
    "SerialTFSWA",
]
