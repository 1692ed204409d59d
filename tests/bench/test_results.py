import json

import pytest

from tfswa_unet.bench.setting import Results
from tfswa_unet.errors import ConfigError


def test_records_are_on_disk_at_once_and_found_again(tmp_path):
    path = tmp_path / "new" / "results.json"
    results = Results(path, {"minutes": 3, "lr": {"a": 0.1}})
    results.add("first", {"sdr": 1.5})
    assert json.loads(path.read_text()) == {
        "settings": {"minutes": 3, "lr": {"a": 0.1}},
        "results": {"first": {"sdr": 1.5}},
    }
    again = Results(path, {"minutes": 3, "lr": {"a": 0.1}})
    again.add("second", {"sdr": 2.0})
    assert list(Results(path, {"minutes": 3, "lr": {"a": 0.1}}).records) == ["first", "second"]


def test_other_settings_are_refused(tmp_path):
    path = tmp_path / "results.json"
    Results(path, {"minutes": 3}).add("first", {})
    with pytest.raises(ConfigError, match=r"minutes 3 where 4 is asked\): give another --out, or delete it"):
        Results(path, {"minutes": 4})


@pytest.mark.parametrize("text", ["", "[]", '{"results": 3}', "{"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"results\.json holds no results of this script: give another --out"):
        Results(path, {})
    assert path.read_text() == text
