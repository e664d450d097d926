"""Fixtures that every test can use."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def models_folder() -> Path:
    """Converted models, kept from one run to the next; `TEST_MODELS_FOLDER` names another folder."""
    folder = Path(os.environ.get("TEST_MODELS_FOLDER") or platformdirs.user_cache_path("ckllm-tests"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
