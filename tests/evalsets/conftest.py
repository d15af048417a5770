"""An empty cache, no mirror, no network, for every test here."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHOLEGPT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WHOLEGPT_MIRROR", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"
