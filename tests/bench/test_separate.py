import numpy as np
import pytest

from tfswa_unet.bench.separate import _network_seconds, measure
from tfswa_unet.bench.settings import SeparateSetting
from tfswa_unet.bundle import load_model
from tfswa_unet.errors import ConfigError
from tfswa_unet.inference import Separator
from tfswa_unet.models.spectral import SpectralModel


def test_a_song_is_measured(bundle):
    record = measure(SeparateSetting(model=bundle, seconds=1.5, runs=1, segment=1.0, overlap=0.2, device="cpu"))
    assert record["real_time_factor"] == pytest.approx(record["median_seconds"] / 1.5)
    assert record["whole_over_network"] == pytest.approx(record["median_seconds"] / record["network_seconds"])
    assert record["network_seconds"] > 0
    assert (record["batch"], record["stems"], record["segment_seconds"]) == (1, 4, 1.0)
    assert record["peak_memory_mb"] is None or record["peak_memory_mb"] >= record["start_memory_mb"] > 50


@pytest.mark.parametrize(("options", "message"), [({"runs": 0}, "--runs 0"), ({"seconds": -1.0}, "--seconds -1")])
def test_nothing_to_measure(bundle, options, message):
    with pytest.raises(ConfigError, match=message):
        SeparateSetting(model=bundle, **options)


def test_the_network_alone_sees_as_many_segments_as_the_song_has(bundle, monkeypatch):
    sizes = []
    run = SpectralModel.forward
    monkeypatch.setattr(SpectralModel, "forward", lambda self, x: sizes.append(len(x)) or run(self, x))
    setting = SeparateSetting(model=bundle, seconds=3.0, runs=1, segment=1.0, overlap=0.2, batch=3, device="cpu")
    separator = Separator(load_model(bundle), "cpu", 1.0, 0.2, batch=3, precision="fp32")
    _network_seconds(separator, setting)
    alone, sizes[:] = list(sizes), []
    separator.separate(np.ones((2, 3 * 44_100), np.float32), 44_100)
    assert alone == 2 * sizes  # a warm-up, and a run
