"""Where FFmpeg's containers and frames meet ours: opening a file, choosing its stream, turning frames into arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfswa_unet.errors import AudioError

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream
    from av.container import InputContainer

# Playlists and their like are left out: a file that a stranger gives must not open other files or addresses.
_DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,rm,"
    "shn,tak,tta,voc,w64,wav,wv,xwma"
)


def open_container(path: Path) -> InputContainer:
    """Open a file with FFmpeg.

    Raises:
        AudioError: FFmpeg sees no audio or video format in it.
    """
    import av

    try:
        # The absolute path keeps a name such as "a:b.mp3" from being taken for a protocol.
        return av.open(os.path.abspath(path), options={"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"})
    except (av.error.FFmpegError, ValueError, UnicodeError):
        raise AudioError(
            f"{path}: is not an audio file, or is too damaged to tell: wav, flac, mp3, ogg, opus, m4a or another "
            "format that FFmpeg reads is expected"
        ) from None


def pick_stream(path: Path, container: InputContainer, stream: int) -> AudioStream:
    """Choose audio stream `stream`, counted among the audio streams, and have the others passed over.

    Raises:
        AudioError: no audio in the file, no stream of that number, or one of a codec that FFmpeg does not decode.
    """
    from av.stream import Discard

    audio = container.streams.audio
    if not audio:
        kinds = ", ".join(sorted({each.type for each in container.streams})) or "nothing"
        raise AudioError(f"{path}: holds {kinds} but no audio: give a file with an audio stream")
    if stream >= len(audio):
        streams = "1 audio stream" if len(audio) == 1 else f"{len(audio)} audio streams"
        raise AudioError(
            f"{path}: has {streams}, so stream {stream} does not exist: choose a number up to {len(audio) - 1}"
        )
    chosen = audio[stream]
    if chosen.codec_context is None:
        raise AudioError(f"{path}: its audio codec is unknown to FFmpeg: convert it to flac or wav first")
    for each in container.streams:
        if each is not chosen:
            each.discard = Discard.all
    return chosen


def to_array(frame: AudioFrame) -> np.ndarray:
    """Turn a decoded frame of any sample format into float32 (c, t), full scale ±1, levels above it kept."""
    array: np.ndarray = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, frame.layout.nb_channels).T
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if array.dtype.kind == "u":
        return (array.astype(np.float32) - 128) / 128
    return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
