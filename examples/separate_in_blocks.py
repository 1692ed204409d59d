"""Separate a song as if it came in live: block by block, each stem as soon as it is complete.

python examples/separate_in_blocks.py song.wav vocals.wav
python examples/separate_in_blocks.py song.wav vocals.wav --model model.safetensors --stem vocals --milliseconds 20
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tfswa_unet import Separator, audio
from tfswa_unet.bundles import DEFAULT_MODEL


def separate(separator: Separator, song: Path, out: Path, stem: str, milliseconds: int) -> float:
    """Write one stem of a song to a file; gives the most seconds by which it lagged behind."""
    info = audio.probe(song)
    size = max(1, info.rate * milliseconds // 1000)
    received = written = 0
    late = 0.0
    with (
        separator.stream(info.rate, info.channels, stems=[stem]) as stream,
        audio.Writer(out, info.rate, info.channels) as writer,
    ):
        for block in audio.blocks(song, size):
            received += block.shape[1]
            late = max(late, (received - written) / info.rate)
            done = stream.push(block)[stem]
            writer.write(done)
            written += done.shape[1]
        writer.write(stream.finish()[stem])
        print(f"at most {late:.2f} s late, as announced: {stream.latency:.2f} s")
    return late


def main() -> None:
    """Separate one stem of one song."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=formatter)
    parser.add_argument("song", type=Path, help="an audio file")
    parser.add_argument("out", type=Path, help="wav file of the stem")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a bundle, a checkpoint or a name")
    parser.add_argument("--stem", default="vocals", help="which stem")
    parser.add_argument("--segment", type=float, default=6.0, help="seconds that the model sees at once")
    parser.add_argument("--milliseconds", type=int, default=100, help="length of a block")
    arguments = parser.parse_args()
    overlap = arguments.segment / 6
    separator = Separator.load(arguments.model, segment_seconds=arguments.segment, overlap_seconds=overlap)
    separate(separator, arguments.song, arguments.out, arguments.stem, arguments.milliseconds)


if __name__ == "__main__":
    main()
