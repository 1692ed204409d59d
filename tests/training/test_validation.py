"""Validation by whole tracks, against the same tracks separated and scored by hand."""

import csv

import numpy as np
import pytest
import torch

from tests.small import write_songs
from tfswa_unet import load
from tfswa_unet.data import ValidationTracks
from tfswa_unet.evaluation.metrics import sdr, si_sdr
from tfswa_unet.inference import Separator
from tfswa_unet.training.builder import build_run
from tfswa_unet.training.fit import fit
from tfswa_unet.training.validation import Validation

RATE = 8_000


class Halves(torch.nn.Module):
    """Two stems that are shares of the mixture, or not finite."""

    stems, rate, channels = ("a", "b"), RATE, 2

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, mixture):
        return torch.stack([self.share * mixture, (1 - self.share) * mixture], dim=1)


def validation(*shares):
    models = {f"m{number}": Halves(share) for number, share in enumerate(shares)}
    return Validation(models, torch.device("cpu"), "fp32", RATE)


def tracks(*lengths):
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(2, 2, length, generator=generator) for length in lengths]


def test_scores_are_means_over_tracks_of_whole_tracks():
    scored, given = validation(0.5, 0.9), tracks(3_000, 20_000)
    for stems in given:
        scored.add(stems)
    means = scored.means(scored.sums)
    for name, share in (("m0", 0.5), ("m1", 0.9)):
        for metric, score in (("sdr", sdr), ("si_sdr", si_sdr)):
            each = [score(stems, torch.stack([share * stems.sum(0), (1 - share) * stems.sum(0)])) for stems in given]
            expected = torch.stack(each).mean(0)
            found = torch.stack([means[f"{name}/{metric}_{stem}"] for stem in ("a", "b")])
            torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
            torch.testing.assert_close(means[f"{name}/{metric}"], expected.mean(), atol=1e-3, rtol=0)


def test_silent_stems_are_left_out_and_what_belongs_to_none_is_in_the_mixture():
    scored = validation(0.5)
    first, second = tracks(3_000, 3_000)
    second[1] = 0
    for stems in (first, second):
        scored.add(torch.cat([stems, 0.1 * stems[:1]]))
    means = scored.means(scored.sums)
    mixture = first.sum(0) + 0.1 * first[0]
    torch.testing.assert_close(means["m0/sdr_b"], sdr(first[1], 0.5 * mixture), atol=1e-3, rtol=0)
    silent = validation(0.5)
    silent.add(torch.zeros(2, 2, 3_000))
    assert all(value.isnan() for value in silent.means(silent.sums).values())


def test_a_model_that_is_not_finite_scores_nan_and_does_not_end_the_run():
    scored = validation(float("nan"), 0.5)
    scored.add(tracks(3_000)[0])
    means = scored.means(scored.sums)
    assert means["m0/sdr"].isnan()
    assert means["m1/sdr"].isfinite()


def test_a_run_logs_what_separating_its_valid_tracks_by_the_checkpoint_scores(make_config, tmp_path):
    songs = write_songs(tmp_path / "songs", [("train", "a"), ("valid", "b"), ("valid", "c")], samples=30_000)
    fit(make_config(f"data.root={songs}", "data.validation_seconds=0.5", "ema.decay=0.5"), tmp_path / "run")
    with (tmp_path / "run" / "csv" / "metrics.csv").open(newline="") as file:
        logged = next(row for row in csv.DictReader(file) if row.get("val/sdr"))
    separator = Separator(load(tmp_path / "run/checkpoints/best.ckpt"), "cpu", 0.5, 0.25, precision="fp32")
    run = build_run(make_config(f"data.root={songs}", "data.validation_seconds=0.5"), tmp_path / "again")
    scores = []
    for stems in run.data.ready().validation:
        found = separator.separate(stems.sum(0), 44_100)
        scores.append(sdr(stems, torch.from_numpy(np.stack(list(found.values())))))
    assert stems.shape == (4, 2, 22_050)
    assert float(logged["val/sdr"]) == pytest.approx(float(torch.stack(scores).mean()), abs=1e-3)
    assert float(logged["val/sdr_bass"]) == pytest.approx(float(torch.stack(scores).mean(0)[2]), abs=1e-3)
    assert {"val/si_sdr", "val/si_sdr_drums", "val_raw/sdr", "val_raw/sdr_bass", "val_raw/si_sdr"} <= logged.keys()


@pytest.mark.parametrize(("world", "rank", "scored"), [(1, 0, 3), (2, 0, 2), (2, 1, 1)])
def test_each_track_is_scored_once_however_many_processes_share_them(make_config, tmp_path, world, rank, scored):
    songs = write_songs(tmp_path / "songs", [("train", "a"), *(("valid", name) for name in "bcd")], samples=9_000)
    run = build_run(make_config(f"data.root={songs}"), tmp_path / "run")

    class Place:
        world_size, global_rank, sanity_checking = world, rank, False
        datamodule = run.data.ready()

    run.data.trainer = run.module._trainer = Place()
    added = []
    run.module._validation = type("Counts", (), {"add": lambda _, stems: added.append(stems)})()
    for index, stems in enumerate(loader := run.data.val_dataloader()):
        run.module.validation_step(stems, index)
    assert len(loader) == -(-3 // world)
    assert isinstance(run.data.validation, ValidationTracks)
    assert len(added) == scored
