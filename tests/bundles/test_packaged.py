from fnmatch import fnmatch
from pathlib import Path

from tfswa_unet import bundles, models

ROOT = Path(__file__).parents[2]


def test_models_are_known_by_their_files_names(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "FOLDER", tmp_path)
    assert bundles.packaged() == {}
    for name in ("b.safetensors", "a.safetensors", ".a-x8.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    assert bundles.packaged() == {name: tmp_path / f"{name}.safetensors" for name in ("a", "b")}
    assert list(bundles.packaged()) == ["a", "b"]


def test_no_packaged_model_hides_a_preset():
    assert not {*bundles.packaged(), bundles.DEFAULT_MODEL} & set(models.names())


def test_wheels_and_source_archives_hold_them():
    settings = (ROOT / "pyproject.toml").read_text()
    (line,) = (line for line in settings.splitlines() if line.startswith("artifacts = "))
    file = (bundles.FOLDER / f"{bundles.DEFAULT_MODEL}.safetensors").relative_to(ROOT)
    assert fnmatch(file.as_posix(), line.split('"')[1])
