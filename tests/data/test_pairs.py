import numpy as np
import torch

from tests.conftest import noise
from tests.data.conftest import mixing
from tfswa_unet.data import load_tracks
from tfswa_unet.data.pairs import SongPairs, unlabelled
from tfswa_unet.data.reading import read_source
from tfswa_unet.types import Source


def test_a_mixture_is_its_file_or_the_sum_of_the_stems(make_track, tmp_path, write_wav):
    stems = {"drums": noise(0, 2, 400), "bass": noise(1, 1, 400)}
    summed = make_track("a", stems)
    mixed = make_track("b", stems)
    mixed = type(mixed)(**{**vars(mixed), "mixture": Source(write_wav(tmp_path / "mix.wav", noise(2, 2, 400)))})
    found = unlabelled([summed, mixed])
    assert [list(track.sources) for track in found] == [["mixture"], ["mixture"]]
    first, second = (read_source(track.sources["mixture"], 0, 400) for track in found)
    np.testing.assert_allclose(first, stems["drums"] + stems["bass"], atol=1e-7)
    np.testing.assert_allclose(second, noise(2, 2, 400), atol=1e-7)


def test_pairs_are_two_places_of_one_song_drawn_from_their_number_alone(make_track):
    # Song k holds k + its sample's number / 1000, so that a segment says where it is from.
    ramp = np.arange(400, dtype=np.float32) / 1_000
    songs = [make_track(f"song {k}", {"drums": np.stack([ramp + k, ramp + k])}) for k in range(3)]
    pairs = SongPairs(unlabelled(songs), 0.01, 8_000, 2, 0, 50, mixing())
    items = [pairs[k] for k in range(50)]
    assert all(item.shape == (2, 2, 80) for item in items)
    starts = torch.stack([item[:, 0, 0] for item in items])
    assert torch.equal(starts[:, 0].floor(), starts[:, 1].floor())
    assert set(starts.floor().flatten().tolist()) == {0.0, 1.0, 2.0}
    assert (starts[:, 0] - starts[:, 1]).abs().max() > 0.1
    assert all(torch.allclose(item.diff(dim=-1), torch.tensor(0.001), atol=1e-5) for item in items)
    again = SongPairs(unlabelled(songs), 0.01, 8_000, 2, 0, 50, mixing())
    assert torch.equal(again[33], items[33])
    assert not torch.equal(again[33 + 50], items[33])


def test_a_song_that_is_shorter_ends_in_zeros(tmp_path, write_song):
    write_song(tmp_path, ["short"], length=40)
    (example,) = SongPairs(unlabelled(load_tracks("unlabelled", tmp_path)), 0.01, 8_000, 2, 0, 1, mixing())
    assert example[..., :40].abs().min() > 0
    assert not example[..., 40:].any()
