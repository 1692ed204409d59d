import pytest
import torch

from tfswa_unet.dsp import fourier, pieces


@pytest.mark.parametrize(("threads", "rows"), [(1, 2), (3, 6)])
def test_pieces_cover_all_signals_once_and_fit_the_caches(threads, rows, monkeypatch):
    monkeypatch.setattr(fourier, "CACHED", 90)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    signals = torch.arange(7 * 40).view(7, 5, 8)
    parts = [signals[piece] for piece in pieces(signals)]
    assert torch.equal(torch.cat(parts), signals)
    assert [len(part) for part in parts[:-1]] == [rows] * (len(parts) - 1)


def test_a_signal_is_never_cut():
    assert pieces(torch.zeros(1).expand(2, fourier.CACHED * 1_000)) == [slice(0, 1), slice(1, 2)]


def test_other_devices_take_all_at_once():
    assert pieces(torch.zeros(2, fourier.CACHED * 1_000, device="meta")) == [slice(None)]
