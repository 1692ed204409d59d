import csv
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from tfswa_unet import Separator, bundles, models
from tfswa_unet.bundle import load_model
from tfswa_unet.catalogue import model_card
from tfswa_unet.types import STEMS

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


def test_the_default_model_is_small_and_separates_into_four_stems():
    path = bundles.packaged()[bundles.DEFAULT_MODEL]
    assert path.stat().st_size <= 4_000_000
    model = load_model()
    assert model.stems == STEMS
    mixture = 0.1 * np.random.default_rng(0).standard_normal((2, 44_100)).astype(np.float32)
    stems = Separator(model, device="cpu").separate(mixture, 44_100)
    assert tuple(stems) == STEMS
    assert np.allclose(sum(stems.values()), mixture, atol=1e-4)


def test_its_card_names_every_source_with_its_licence():
    with (ROOT / "docs" / "open_songs_sources.tsv").open(newline="") as file:
        sources = list(csv.DictReader(file, delimiter="\t"))
    assert len(sources) > 40
    card = model_card(bundles.DEFAULT_MODEL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line.startswith("|")]
    for source in sources:
        wanted = {source[column].replace("|", r"\|") for column in ("folder", "source", "version", "licence", "stem")}
        assert any(wanted <= set(row) for row in rows), source
