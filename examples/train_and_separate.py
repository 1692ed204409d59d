"""Train a small model on songs made for it, and separate a song that it has not heard.

    python examples/train_and_separate.py                 a minute of training
    python examples/train_and_separate.py --seconds 600   ten, which give better stems

One synthetic band plays all songs, which a small model learns in minutes; what it learns is worth little on
other music. The folder `out` gets the songs, the run, model.safetensors and the separated stems.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from tfswa_unet import Separator, audio, load
from tfswa_unet.bundle import save_bundle
from tfswa_unet.config import compose_values
from tfswa_unet.evaluation.metrics import sdr
from tfswa_unet.songs import synthesize
from tfswa_unet.training.fit import fit

RATE = 44_100  # Hz
BAND = 11  # of all songs
NEW_SONG = 1234  # the seed of a song that training does not see


def train(out: Path, seconds: int, songs: int, song_seconds: float, overrides: list[str]) -> Path:
    """Train as `python train.py experiment=demo` does, which makes the songs first; the model as one file."""
    minutes, rest = divmod(seconds, 60)
    settings = [
        "experiment=demo",
        f"data.root={out / 'songs'}",
        f"data.sets.synthetic.make.tracks={songs}",
        f"data.sets.synthetic.make.seconds={song_seconds}",
        f"data.sets.synthetic.make.band={BAND}",
        f"trainer.max_time=00:{minutes // 60:02}:{minutes % 60:02}:{rest:02}",
        "logger=csv",
        *overrides,
    ]
    fit(compose_values("train", settings), out / "run")
    return save_bundle(out / "model.safetensors", load(out / "run" / "checkpoints" / "last.ckpt"))


def separate(model: Path, out: Path, seconds: float) -> dict[str, tuple[float, float]]:
    """Separate a new song and write its stems; each one's SDR in dB, and that of the mixture in its place."""
    truth = synthesize(NEW_SONG, seconds, RATE, BAND)
    mixture = np.sum(list(truth.values()), axis=0)
    out.mkdir(exist_ok=True)
    scores = {}
    for name, stem in Separator(load(model)).separate(mixture, RATE).items():
        audio.write(out / f"{name}.wav", stem, RATE)
        scores[name] = (_sdr(truth[name], stem), _sdr(truth[name], mixture))
    return scores


def _sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    return sdr(torch.from_numpy(reference), torch.from_numpy(estimate)).item()


def main() -> None:
    """Train, separate, and print a table."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=formatter)
    parser.add_argument("--out", type=Path, default=Path("demo/example"), help="folder for all that is made")
    parser.add_argument("--seconds", type=int, default=60, help="how long to train")
    parser.add_argument(
        "--songs", type=int, default=20, help="songs to make, of which a tenth validates and a tenth is left out"
    )
    parser.add_argument("--song-seconds", type=float, default=12.0, help="length of each song")
    parser.add_argument("overrides", nargs="*", help="more settings, as for train.py: optimizer.lr=1e-3")
    arguments = parser.parse_args()
    model = train(arguments.out, arguments.seconds, arguments.songs, arguments.song_seconds, arguments.overrides)
    scores = separate(model, arguments.out / "stems", arguments.song_seconds)
    print(f"{'SDR, dB':<10}{'stem':>8}{'mixture':>10}")
    for name, (stem, mixture) in scores.items():
        print(f"{name:<10}{stem:>8.2f}{mixture:>10.2f}")


if __name__ == "__main__":
    main()
