from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.conftest import noise
from tests.data.conftest import mixing
from tfswa_unet.data import EpochSampler, SegmentDataset, StemPlan, ValidationTracks, load_tracks
from tfswa_unet.errors import AudioError, ConfigError, DataError

PLAN = StemPlan.from_config({"vocals": "vocals", "bass": "bass"})


@pytest.fixture
def root(tmp_path, write_song):
    for name in ("good", "bad", "fine"):
        write_song(tmp_path / "train" / name, ["vocals", "bass"], length=800)
    write_song(tmp_path / "valid" / "v", ["vocals", "bass"])
    return tmp_path


def spoil_rate(path, write_wav, monkeypatch):
    write_wav(path, noise(0, 1, 9_600), 96_000)


def spoil_length(path, write_wav, monkeypatch):
    write_wav(path, noise(0, 2, 797))


def truncate(path, write_wav, monkeypatch):
    path.write_bytes(path.read_bytes()[:2_000])


def forbid(path, write_wav, monkeypatch):
    # Whoever is root may read everything.
    real = builtins.open

    def refuse(file, *args, **kwargs):
        if str(file) == str(path):
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", refuse)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_rate, r"track 'bad' .*differ in rate: bass 96000, vocals 8000 Hz; resample them to one rate or remove"),
        (spoil_length, r"track 'bad' .*differ in length: bass 797, vocals 800 samples; cut or pad them"),
        (truncate, r"track 'bad': .*bass\.wav: decoded .* announced: the file is cut short .*export it again"),
        (forbid, r"track 'bad': .*bass\.wav: may not be read: change its permissions"),
    ],
)
def test_bad_data_is_named_with_its_track_or_gone_without(root, write_wav, monkeypatch, caplog, spoil, message):
    spoil(root / "train" / "bad" / "bass.wav", write_wav, monkeypatch)
    with pytest.raises((DataError, AudioError), match=message) as caught:
        load_tracks("folders", root, "train")
    assert "\n" not in str(caught.value)
    assert [track.name for track in load_tracks("folders", root, "train", on_error="skip")] == ["fine", "good"]
    named, counted = caplog.messages
    assert named == str(caught.value)
    assert counted == "1 of 3 songs left out, for the reasons above (data.on_error=skip)."


def test_nothing_left_is_refused_in_any_case(root, write_wav):
    write_wav(root / "valid" / "v" / "bass.wav", noise(0, 2, 1))
    with pytest.raises(DataError, match=r"None of the 1 songs can be used; the first: The stems of track 'v'"):
        load_tracks("folders", root, "valid", on_error="skip")
    with pytest.raises(ConfigError, match=r"data\.on_error 'ignore'"):
        load_tracks("folders", root, "train", on_error="ignore")


@pytest.fixture
def damaged(root, write_wav):
    """The train tracks, one of them damaged in a way that shows only where it is read."""
    audio = noise(0, 2, 800)
    audio[0, 300:500] = np.nan
    write_wav(root / "train" / "bad" / "bass.wav", audio)
    return load_tracks("folders", root, "train")


def segments(tracks, on_error):
    return SegmentDataset(tracks, PLAN, 0.05, 8_000, 2, 0, 40, mixing("random", p=0.5), on_error)


def test_training_refuses_or_draws_anew_and_counts(damaged, caplog):
    with pytest.raises(AudioError, match=r"bad/bass\.wav: \d+ samples are NaN"):
        list(segments(damaged, "raise"))
    data = segments(damaged, "skip")
    items = torch.stack(list(data))
    assert items.isfinite().all()
    assert data.faults.tracks == ("bad",)
    assert data.faults.summary() == "1 of 3 tracks could not be read: bad."
    [message] = caplog.messages
    assert "track 'bad'" in message
    assert "bad/bass.wav" in message
    # What could be read is what it was, and workers agree on the rest.
    loader = DataLoader(data, batch_size=8, sampler=EpochSampler(40), num_workers=2)
    assert torch.equal(torch.cat(list(loader)), items)


def test_faults_in_workers_are_known_outside(damaged):
    data = segments(damaged, "skip")
    assert data.faults.summary() is None
    list(DataLoader(data, batch_size=8, sampler=EpochSampler(40), num_workers=1))
    assert data.faults.tracks == ("bad",)


def test_in_validation_the_next_track_stands_in(damaged):
    with pytest.raises(AudioError, match="NaN"):
        list(ValidationTracks(damaged, PLAN, None, 8_000, 2))
    data = ValidationTracks(damaged, PLAN, None, 8_000, 2, on_error="skip")
    assert [track.name for track in damaged] == ["bad", "fine", "good"]
    assert torch.equal(data[0], data[1])
    assert data.faults.tracks == ("bad",)


def test_a_data_set_of_which_nothing_can_be_read_is_given_up(damaged):
    bad = [track for track in damaged if track.name == "bad"]
    data = SegmentDataset(bad, PLAN, 0.1, 8_000, 2, 0, 4, mixing(), "skip")
    with pytest.raises(DataError, match=r"No track could be read, although data\.on_error=skip .*NaN"):
        data[0]
