"""Layers on tokens (b, n, f, d), channels last, so that no copy stands between them."""

from tfswa_unet.nn.attention import SequenceAttention, WindowAttention, attend, merge_windows, partition_windows
from tfswa_unet.nn.block import BlockForm, LocalMLP, ParallelAttention, SerialAttention, Stage, TFSWABlock
from tfswa_unet.nn.causal import CausalBlock, CausalForm, CausalHead, CausalStem, FrameMemory, with_past
from tfswa_unet.nn.conv import (
    RCM,
    Chain,
    ConvBlock,
    ConvDecoder,
    ConvEncoder,
    ConvHead,
    ConvStem,
    Down,
    PatchHead,
    PatchStem,
    TokenRCM,
    Up,
)
from tfswa_unet.nn.serial import MLP, SequenceBlock, SerialTFSWA, SwinBlock

__all__ = [
    "attend",
    "SequenceAttention",
    "WindowAttention",
    "partition_windows",
    "merge_windows",
    "BlockForm",
    "ParallelAttention",
    "SerialAttention",
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
    "FrameMemory",
    "with_past",
    "CausalForm",
    "CausalStem",
    "CausalBlock",
    "CausalHead",
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
