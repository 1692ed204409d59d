import pytest

from tests.small import write_songs
from tfswa_unet.bench.train import PARTS, TrainSetting, measure_training
from tfswa_unet.config import choice
from tfswa_unet.errors import ConfigError, DataError


def _measured(bundle, **options):
    return measure_training(
        TrainSetting(bundle, seconds=0.3, batch=2, steps=2, device="cpu", **{"workers": 0, **options})
    )


def test_training_on_songs_made_for_it(bundle):
    record = _measured(bundle, checkpointing=True, peak_tflops=0.5)
    assert tuple(record.shares) == PARTS
    assert sum(record.shares.values()) == pytest.approx(1)
    assert record.audio_seconds_per_second == pytest.approx(0.3 * record.segments_per_second)
    assert record.model_flop_utilisation == pytest.approx(record.tflops / 0.5)
    assert (record.data, record.workers, record.loss) == ("synthetic", 0, "default")
    gain = record.checkpointing
    assert gain.activations_mb == pytest.approx(gain.activations_ratio * record.activations_mb)
    assert 0 < gain.activations_ratio < 0.9
    assert gain.time_ratio > 0


def test_training_on_a_data_set_with_workers(bundle, tmp_path):
    record = _measured(bundle, data=str(write_songs(tmp_path)), workers=1, loss="fast", augmentation="none")
    assert (record.data, record.workers, record.loss) == (str(tmp_path), 1, "fast")
    assert record.model_flop_utilisation is None
    assert record.checkpointing is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ConfigError, "--steps 0"),
        ({"workers": -1}, ConfigError, "--workers -1"),
        ({"peak_tflops": 0.0}, ConfigError, "--peak-tflops 0"),
        ({"loss": "fats"}, ConfigError, "unknown loss 'fats'.*did you mean fast"),
        ({"augmentation": "wild"}, ConfigError, "unknown augmentation 'wild'"),
        ({"data": "/nowhere"}, DataError, "/nowhere does not exist"),
    ],
)
def test_what_cannot_be_measured_is_refused(bundle, options, error, message):
    with pytest.raises(error, match=message):
        measure_training(TrainSetting(bundle, **{"workers": 0, "device": "cpu", **options}))


def test_a_choice_inherits():
    assert choice("data", "folders")["sets"]["folders"]["kind"] == "folders"
    assert choice("data", "folders")["seconds"] == choice("data", "musdb18hq")["seconds"]
    assert choice("loss", "waveform") == {"waveform_l1": {"weight": 1.0}}
