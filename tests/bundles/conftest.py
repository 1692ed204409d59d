from __future__ import annotations

import pytest

from tests.bundles.server import serving
from tests.cli.conftest import bundle, small  # noqa: F401


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server that is also the Hub, and a cache of one's own."""
    monkeypatch.setenv("TFSWA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "mine")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


@pytest.fixture
def files(tmp_path):
    """Give the files that the cache holds, whole or not."""
    return lambda: sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())
