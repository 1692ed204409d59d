"""How many functions and files of the package one song, one configuration and one batch pass through.

    python tools/walks.py           the table
    python tools/walks.py --list    and every function that each walk enters

Counted is what is entered during a walk, in all threads of this process; modules are imported before.
"""

from __future__ import annotations

import argparse
import io
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any

import numpy as np
import soundfile
import torch

import tfswa_unet

PACKAGE = Path(tfswa_unet.__file__).parent
RATE = 44_100  # Hz
# Of train.yaml: two examples of a second, read in this process, where every function is seen.
SMALL = [
    "model=tfswa_tiny",
    "data.seconds=1.0",
    "data.batch_size=2",
    "data.workers=0",
    "data.samples_per_epoch=2",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "logger=csv",
]


class Walk:
    """The package's functions that were entered, by file."""

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()

    def enter(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call; this is the profile function."""
        if event == "call":
            self.codes.add(frame.f_code)

    @property
    def functions(self) -> dict[Path, list[str]]:
        """Names of the functions of each file, both in order; comprehensions belong to the function around them."""
        found: dict[Path, set[tuple[int, str]]] = defaultdict(set)
        for code in self.codes:
            path = Path(code.co_filename)
            if path.is_relative_to(PACKAGE) and (not code.co_name.startswith("<") or code.co_name == "<lambda>"):
                found[path.relative_to(PACKAGE)].add((code.co_firstlineno, code.co_name))
        return {path: [name for _, name in sorted(found[path])] for path in sorted(found)}


@contextmanager
def watched() -> Iterator[Walk]:
    """Watch what is entered in this thread, and in those that it starts."""
    walk = Walk()
    threading.setprofile(walk.enter)
    sys.setprofile(walk.enter)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def import_all() -> None:
    """Import every module of the package."""
    for module in walk_packages([str(PACKAGE)], f"{PACKAGE.name}."):
        if not module.name.endswith("__main__"):  # those run a command
            import_module(module.name)


def song_to_stems(folder: Path) -> Walk:
    """Separate a wav file of three seconds by the command line."""
    from tfswa_unet import models
    from tfswa_unet.bundle import save_bundle
    from tfswa_unet.cli import main

    bundle = save_bundle(folder / "tiny.safetensors", models.build(models.preset("tfswa_tiny")))
    song, out = folder / "song.wav", folder / "stems"
    soundfile.write(song, _noise(3.0), RATE)
    with watched() as walk, redirect_stdout(io.StringIO()):
        status = main(["separate", str(song), "--model", str(bundle), "-o", str(out), "--device", "cpu"])
    if status or len(list(out.rglob("*.wav"))) != 4:
        raise SystemExit(f"tfswa separate ended with status {status}")
    return walk


def configuration_to_run(folder: Path) -> tuple[Walk, Any]:
    """Compose train.yaml and build a run of it, on three songs in MUSDB18-HQ's layout; the walk and the run."""
    from tfswa_unet.config import compose_values
    from tfswa_unet.training.builder import build_run

    songs = folder / "songs"
    for name in ("train/a", "train/b", "valid/c"):
        _write_song(songs / name)
    with watched() as walk:
        values = compose_values("train", [*SMALL, f"data.root={songs}", f"paths.cache={folder / 'cache'}"])
        run = build_run(values, folder / "run")
    return walk, run


def batch_to_loss(run: Any) -> Walk:
    """Read the first training batch of a run, augment it and compute its loss."""
    run.data.prepare_data()
    run.data.setup("fit")
    run.module.train()
    loader = run.data.train_dataloader()
    with watched() as walk:
        batch = next(iter(loader))
        loss = run.module.training_step(batch, 0)
    if not torch.isfinite(loss):
        raise SystemExit(f"the loss of the first batch is {loss}")
    return walk


def _write_song(folder: Path) -> None:
    folder.mkdir(parents=True)
    stems = {stem: _noise(2.0, seed) for seed, stem in enumerate(("vocals", "drums", "bass", "other"))}
    for name, samples in [*stems.items(), ("mixture", sum(stems.values()))]:
        soundfile.write(folder / f"{name}.wav", samples, RATE)


def _noise(seconds: float, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * RATE), 2))


def main() -> None:
    """Take the three walks and print what they enter."""
    parser = argparse.ArgumentParser(description="Count the functions and files that three walks enter.")
    parser.add_argument("--list", action="store_true", help="print every function, by file")
    listed = parser.parse_args().list
    import_all()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        song = song_to_stems(folder)
        configuration, run = configuration_to_run(folder)
        batch = batch_to_loss(run)
    print(f"{'walk':<24}{'functions':>10}{'files':>7}")
    for name, walk in {"song → stems": song, "batch → loss": batch, "configuration → run": configuration}.items():
        print(f"{name:<24}{sum(map(len, walk.functions.values())):>10}{len(walk.functions):>7}")
        for path, functions in walk.functions.items() if listed else ():
            print(f"  {path}: {', '.join(functions)}")
    print(f"{'the whole package':<34}{len(list(PACKAGE.rglob('*.py'))):>7}")


if __name__ == "__main__":
    main()
