"""Gains of the static equaliser, and its row beside a model's."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from tests.evaluation.conftest import RATE, noise
from tests.small import write_songs
from tfswa_unet.data import StemPlan
from tfswa_unet.errors import AudioError, ConfigError, DataError, UserError
from tfswa_unet.evaluation import EvaluationSettings, equaliser, evaluate
from tfswa_unet.evaluation.equaliser import HOP, N_FFT, PIECE, Equaliser, fit, training_songs
from tfswa_unet.evaluation.references import BLOCK, ideal_ratio_mask
from tfswa_unet.evaluation.scorer import score_saved, scoring_processes
from tfswa_unet.evaluation.tracks import ScoredTrack

PLAN = StemPlan((("vocals", ("vocals",)), ("bass", ("bass",))))
BIN = RATE / N_FFT  # Hz


def band(seed: int, low: float, high: float, seconds: float = 4.0, rate: int = RATE) -> np.ndarray:
    """Noise (c, t) that has only frequencies from `low` to `high` Hz."""
    spectrum = np.fft.rfft(noise(seed, seconds, rate=rate))
    hertz = np.fft.rfftfreq(round(seconds * rate), 1 / rate)
    return np.fft.irfft(np.where((hertz >= low) & (hertz < high), spectrum, 0), round(seconds * rate)).astype("f4")


def of(gains, low, high):
    """Gains of the bins from `low` to `high` Hz."""
    return gains[round(low / BIN) : round(high / BIN)]


def test_stems_in_bands_of_their_own_are_let_through_there_alone(make_track):
    track = make_track("song", {"vocals": band(1, 1000, 2000), "bass": band(2, 100, 900)})
    gains = fit([track], PLAN, RATE, 2).gains
    np.testing.assert_allclose(of(gains["vocals"], 1050, 1950), 1, atol=1e-3)
    np.testing.assert_allclose(of(gains["bass"], 150, 850), 1, atol=1e-3)
    np.testing.assert_allclose(of(gains["vocals"], 150, 850), 0, atol=1e-3)
    np.testing.assert_allclose(of(gains["bass"], 1050, 1950), 0, atol=1e-3)


@pytest.mark.parametrize("level", [1.0, 2.0])
def test_noises_share_the_mixture_by_their_powers(make_track, level):
    track = make_track("song", {"vocals": noise(0, 20), "bass": level * noise(1, 20)})
    gains = fit([track], PLAN, RATE, 2).gains
    expected = 1 / (1 + level**2)
    np.testing.assert_allclose(gains["vocals"], expected, atol=0.2)
    assert gains["vocals"].mean() == pytest.approx(expected, abs=0.02)
    np.testing.assert_allclose(gains["vocals"] + gains["bass"], 1, atol=1e-5)


def test_gains_are_the_closed_form_over_all_full_frames_of_all_songs(make_track):
    songs = [{"vocals": noise(n, 1.5 + n), "bass": band(9 + n, 200, 3000, 1.5 + n)} for n in range(2)]
    found = fit([make_track(f"song {n}", stems) for n, stems in enumerate(songs)], PLAN, RATE, 2)
    cross = power = 0
    for stems in songs:
        vocals, bass = (np.lib.stride_tricks.sliding_window_view(stems[s], N_FFT, -1)[:, ::HOP] for s in stems)
        window = np.hanning(N_FFT + 1)[:-1]
        spectrum, mixture = np.fft.rfft(window * vocals), np.fft.rfft(window * (vocals.astype("f8") + bass))
        cross = cross + (spectrum * mixture.conj()).real.sum((0, 1))
        power = power + (np.abs(mixture) ** 2).sum((0, 1))
    np.testing.assert_allclose(found.gains["vocals"], cross / power, atol=1e-5)
    assert (found.songs, found.seconds, found.rate) == (2, 4.0, RATE)


def test_no_frame_is_lost_or_counted_twice_between_pieces(make_track, monkeypatch):
    track = make_track("song", {"vocals": noise(1, 3.0), "bass": band(2, 200, 3000, 3.0)})
    whole = fit([track], PLAN, RATE, 2).gains
    monkeypatch.setattr(equaliser, "PIECE", 5 * HOP)
    for stem, gain in fit([track], PLAN, RATE, 2).gains.items():
        np.testing.assert_allclose(gain, whole[stem], atol=1e-5)


def test_what_is_read_is_bounded_and_lies_evenly_over_the_songs(make_track, monkeypatch):
    tracks = [make_track(f"song {n}", {"vocals": noise(n, 4.0), "bass": noise(9 + n, 4.0)}) for n in range(4)]
    monkeypatch.setattr(equaliser, "PIECE", RATE)
    monkeypatch.setattr(equaliser, "SECONDS", 8.0)
    found = fit(tracks, PLAN, RATE, 2)
    assert (found.songs, found.seconds) == (4, 8.0)
    monkeypatch.setattr(equaliser, "SECONDS", 2.0)
    assert (fit(tracks, PLAN, RATE, 2).songs, fit(tracks, PLAN, RATE, 2).seconds) == (2, 2.0)
    assert equaliser._pieces([4 * RATE] * 4, RATE) == [(1, 0), (3, 0)]
    assert len(equaliser._pieces([4 * RATE] * 4, RATE // 4)) == 1


def test_silence_gives_gains_of_zero_and_no_nan(make_track):
    silent = np.zeros((2, RATE), np.float32)
    one = fit([make_track("one", {"vocals": noise(1, 1.0), "bass": silent})], PLAN, RATE, 2).gains
    np.testing.assert_allclose(one["vocals"], 1, atol=1e-6)
    assert not one["bass"].any()
    for stems in ({"vocals": silent, "bass": silent}, {"vocals": noise(1, 1.0), "bass": -noise(1, 1.0)}):
        none = fit([make_track("none", stems)], PLAN, RATE, 2)
        assert not any(gain.any() for gain in none.gains.values())
        assert not any(stem.any() for stem in none.separate(noise(3, 1.0), RATE).values())


def test_a_stem_that_a_song_lacks_is_silent_there_and_the_rest_stays_in_the_mixture(make_track):
    tracks = [
        make_track("a", {"vocals": noise(1, 30), "drums": noise(2, 30)}),
        make_track("b", {"bass": noise(3, 30), "drums": noise(4, 30)}),
    ]
    gains = fit(tracks, PLAN, RATE, 2).gains
    assert [gain.mean() for gain in gains.values()] == pytest.approx([0.25, 0.25], abs=0.02)
    band = StemPlan((("vocals", ("vocals",)), ("band", None)))
    assert fit(tracks, band, RATE, 2).gains["band"].mean() == pytest.approx(0.75, abs=0.02)


def test_songs_of_another_rate_and_mono_are_brought_to_the_asked(make_track):
    stems = {"vocals": band(1, 1000, 2000, rate=2 * RATE), "bass": band(2, 100, 900, rate=2 * RATE)[:1]}
    found = fit([make_track("song", stems, rate=2 * RATE)], PLAN, RATE, 2)
    assert found.seconds == 4.0
    np.testing.assert_allclose(of(found.gains["vocals"], 1050, 1950), 1, atol=1e-3)
    np.testing.assert_allclose(of(found.gains["bass"], 150, 850), 1, atol=1e-3)


def split_at(hertz: float, rate: int = RATE) -> Equaliser:
    """An equaliser that gives what lies above to the vocals and what lies below to the bass."""
    high = (np.fft.rfftfreq(N_FFT, 1 / rate) >= hertz).astype(np.float32)
    return Equaliser({"vocals": high, "bass": 1 - high}, rate, "songs", 1, 1.0)


@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
def test_mixtures_are_filtered_at_any_rate(rate):
    vocals, bass = band(1, 1200, 2000, rate=rate), band(2, 100, 800, rate=rate)
    stems = split_at(1000).separate(vocals + bass, rate)
    within = slice(N_FFT, -N_FFT)
    np.testing.assert_allclose(stems["vocals"][:, within], vocals[:, within], atol=1e-3)
    np.testing.assert_allclose(stems["bass"][:, within], bass[:, within], atol=1e-3)


def test_long_mixtures_are_filtered_in_blocks_without_seams():
    mixture = noise(1, 1.0, rate=BLOCK + 5000)[:1]
    found = split_at(1000).separate(mixture, RATE)
    late = split_at(1000).separate(mixture[:, 10 * HOP :], RATE)  # whose block ends elsewhere
    kept = slice(BLOCK - 4 * N_FFT, BLOCK + 5000 - 10 * HOP)
    for stem, audio in found.items():
        np.testing.assert_allclose(audio[:, 10 * HOP :][:, kept], late[stem][:, kept], atol=1e-6)
    np.testing.assert_allclose(sum(found.values()), mixture, atol=1e-6)


def test_it_is_what_the_ideal_mask_of_stems_that_never_change_is():
    vocals, bass = band(1, 1200, 2000), band(2, 100, 800)
    ideal = ideal_ratio_mask(vocals + bass, {"vocals": vocals, "bass": bass})
    stems = split_at(1000).separate(vocals + bass, RATE)
    np.testing.assert_allclose(stems["vocals"], ideal["vocals"], atol=2e-2)


def test_it_is_scored_alike_in_another_process(make_track):
    before = split_at(1000)
    assert pickle.loads(pickle.dumps(before)).sha256 == before.sha256 != split_at(1100).sha256
    track = make_track("song", {"vocals": band(1, 1200, 2000, 1.0), "bass": band(2, 100, 800, 1.0)})
    settings = EvaluationSettings("m", metrics="sdr", equaliser=before)
    job = ScoredTrack(track, PLAN.resolve(track.sources)), "equaliser", settings, None
    with scoring_processes(1) as pool:
        found, expected = (
            scores.whole["uSDR"] for scores in (pool.submit(score_saved, *job).result(), score_saved(*job))
        )
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.fixture
def run(tmp_path, make_track):
    stems = {"vocals": band(1, 1200, 2000, 2.0), "bass": band(2, 100, 800, 2.0), "drums": noise(3, 2.0, 0.001)}
    track = make_track("song", {stem: audio[:1] for stem, audio in stems.items()})

    def run(found, **changes):
        settings = {"model": "tfswa_tiny", "metrics": "sdr", "pictures": 0, "workers": 1, "equaliser": found} | changes
        return evaluate(
            lambda mixture, rate: {"vocals": mixture / 2, "bass": mixture / 2},
            [track],
            PLAN,
            tmp_path / "out",
            settings=EvaluationSettings(**settings),
        )

    return run


def test_it_is_scored_beside_the_references_with_a_record(run, tmp_path):
    assert list(run(split_at(1000)).methods) == ["model", "mixture", "irm", "equaliser"]
    written = json.loads((tmp_path / "out" / "scores.json").read_text())
    for stem in ("vocals", "bass"):
        assert written["scores"]["equaliser"][stem]["SDR"] > written["scores"]["model"][stem]["SDR"] + 20
    record = written["equaliser"]
    assert (record["data"], record["songs"], record["seconds"], record["rate"]) == ("songs", 1, 1.0, RATE)
    assert record["sha256"] == split_at(1000).sha256


def test_scores_of_another_fit_are_not_taken_again(run):
    first = run(split_at(1000)).methods["equaliser"].average
    assert run(split_at(1000)).methods["equaliser"].average == first
    second = run(split_at(1600)).methods["equaliser"].average
    assert second["SDR"] < first["SDR"] - 10
    assert list(run(None).methods) == ["model", "mixture", "irm"]


def test_a_model_cannot_take_its_name():
    with pytest.raises(
        ConfigError, match="model is 'equaliser', expected a name other than mixture, irm, ibm, mwf, equaliser"
    ):
        EvaluationSettings(model="equaliser")


def test_training_songs_are_those_of_any_layout_that_train(tmp_path):
    four = StemPlan.from_config({stem: [stem] for stem in ("vocals", "drums", "bass", "other")})
    write_songs(tmp_path / "songs")
    assert [(track.name, track.split) for track in training_songs(tmp_path / "songs", four)] == [
        ("a", "train"),
        ("b", "train"),
    ]
    table = tmp_path / "songs.csv"
    table.write_text("track,stem,path,split\n" + "".join(f"x,{s},songs/train/a/{s}.wav,train\n" for s in four.names))
    assert [track.name for track in training_songs(table, four)] == ["x"]


def test_what_no_equaliser_can_be_fitted_on_is_refused(tmp_path, make_track):
    with pytest.raises(DataError, match=r"data root .*gone does not exist, .*: set equaliser=/path/to/songs"):
        training_songs(tmp_path / "gone", PLAN)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"No songs found under .*empty.*: set equaliser=/path/to/songs"):
        training_songs(tmp_path / "empty", PLAN)
    write_songs(tmp_path / "tested", songs=[("test", "a")])
    with pytest.raises(DataError, match=r"tested has no songs to train on, only 1 to validate or test with"):
        training_songs(tmp_path / "tested", PLAN)
    write_songs(tmp_path / "songs")
    with pytest.raises(ConfigError, match=r"equaliser=.*songs do not have the model's stems: .*'choir'"):
        training_songs(tmp_path / "songs", StemPlan((("choir", ("choir",)),)))
    broken = make_track("broken", {"vocals": np.full((2, RATE), np.nan, np.float32), "bass": noise(1, 1.0)})
    with pytest.raises(AudioError, match="16000 samples are NaN or infinite"):
        fit([broken], PLAN, RATE, 2)
    with pytest.raises(UserError, match="bass"):
        fit([make_track("song", {"vocals": noise(1, 1.0)})], PLAN, RATE, 2)


def test_a_piece_is_a_whole_number_of_hops():
    assert PIECE % HOP == 0
