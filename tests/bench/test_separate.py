import pytest

from tfswa_unet.bench.separate import measure
from tfswa_unet.bench.settings import SeparateSetting
from tfswa_unet.errors import ConfigError


def test_a_song_is_measured(bundle):
    record = measure(SeparateSetting(model=bundle, seconds=1.5, runs=1, segment=1.0, overlap=0.2, device="cpu"))
    assert record["real_time_factor"] == pytest.approx(record["median_seconds"] / 1.5)
    assert (record["batch"], record["stems"], record["segment_seconds"]) == (1, 4, 1.0)
    assert record["peak_memory_mb"] is None or record["peak_memory_mb"] >= record["start_memory_mb"] > 50


@pytest.mark.parametrize(("options", "message"), [({"runs": 0}, "--runs 0"), ({"seconds": -1.0}, "--seconds -1")])
def test_nothing_to_measure(bundle, options, message):
    with pytest.raises(ConfigError, match=message):
        SeparateSetting(model=bundle, **options)
