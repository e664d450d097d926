"""Choosing an embedder by settings."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ckllm.config import EmbeddingSettings
from ckllm.embedding import table
from ckllm.embedding.bundled import MODELS
from ckllm.embedding.prepared import prepare
from ckllm.embedding.table import EMBEDDERS, choose_runtime, open_embedder
from ckllm.errors import UpstreamError, UsageError


@pytest.mark.parametrize(
    ("settings", "runtime"),
    [
        (EmbeddingSettings(), "openvino"),
        (EmbeddingSettings(model="all-MiniLM-L6-v2"), "openvino"),
        (EmbeddingSettings(runtime="sentence-transformers"), "sentence-transformers"),
        (EmbeddingSettings(model="some/model"), "sentence-transformers"),
        (EmbeddingSettings(model="some/model", base_url="http://localhost:1"), "openai"),
        (EmbeddingSettings(model="hashing"), "hashing"),
    ],
)
def test_settings_choose_a_runtime(settings: EmbeddingSettings, runtime: str) -> None:
    assert choose_runtime(settings) == runtime


def test_every_line_of_the_table_names_a_function() -> None:
    for target, install in EMBEDDERS.values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert install.startswith("pip install ")


def test_openvino_refuses_what_it_does_not_compute(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="multilingual-e5-small, all-MiniLM-L6-v2, not 'some/model'"):
        open_embedder(EmbeddingSettings(model="some/model", runtime="openvino"), tmp_path)


def test_a_missing_library_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.EMBEDDERS, "hashing", ("no_such_library:open", "pip install 'no-such-library>=1'"))
    with pytest.raises(UpstreamError, match=r"not installed \(no_such_library\): pip install 'no-such-library>=1'"):
        open_embedder(EmbeddingSettings(model="hashing"), tmp_path)


def test_an_unknown_hub_id_is_reported_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UpstreamError, match=r"'nobody/no-such-model' is not on this machine.*download it") as caught:
        open_embedder(EmbeddingSettings(model="nobody/no-such-model"), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match="holds no embedding model"):
        open_embedder(EmbeddingSettings(model=str(tmp_path)), tmp_path)


def test_a_folder_is_named_by_its_contents(models_folder: Path, tmp_path: Path) -> None:
    folder = prepare(MODELS["all-MiniLM-L6-v2"], models_folder)
    link = tmp_path / folder.name
    link.symlink_to(folder)
    names = {open_embedder(EmbeddingSettings(model=str(place)), models_folder).name for place in (folder, link)}
    assert len(names) == 1
    assert names.pop().startswith("all-MiniLM-L6-v2@")
