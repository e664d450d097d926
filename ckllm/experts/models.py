"""Models of experts as Hugging Face folders on this machine: what training, bundles and collections work with."""

from __future__ import annotations

from pathlib import Path

import regex

from ckllm.errors import DataError
from ckllm.llm.table import BUNDLED, huggingface_folder

_FOREIGN = regex.compile(r"[^\w.-]+")


def model_folder(model: str, models_folder: Path) -> Path:
    """The folder of a model as `llm.model` names it: bundled, a GGUF file (converted once), a folder, or a hub id that was
    fetched before. Raises DataError for one that is not here; nothing is downloaded."""
    if model == BUNDLED:
        return huggingface_folder(models_folder)
    path = Path(model).expanduser()
    if model.endswith(".gguf") and path.is_file():
        return huggingface_folder(models_folder, path)
    if (path / "config.json").is_file():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        raise DataError(
            f"the model {model!r} is not on this machine: give a model's folder, a GGUF file, {BUNDLED}, or a hub id that was "
            "fetched before"
        ) from None


def model_key(model: str) -> str:
    """A model's name as a folder's: the last part of a path or hub id, without signs."""
    name = Path(model.rstrip("/")).name.removesuffix(".gguf")
    return (_FOREIGN.sub("-", name).strip("-.") or "model")[:64]
