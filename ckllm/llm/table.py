"""Which engine serves a model, and how it is opened. Engines are imported when they are opened, not before."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckllm.errors import DataError, UsageError
from ckllm.file_hash import file_sha256
from ckllm.llm.base import BaseLLM
from ckllm.llm.scripted import ScriptedLLM
from ckllm.made_folder import converted

if TYPE_CHECKING:
    from ckllm.config import LlmSettings

BUNDLED = "smollm2-135m-instruct"
_INSTALL = {
    "openvino": "pip install 'openvino>=2026.4,<2027' 'openvino-genai>=2026.4,<2027'",
    "transformers": "pip install torch==2.13.0 'transformers>=5.23,<6'",
}
_NEEDS = {"openvino": ("openvino", "openvino_genai"), "transformers": ("torch", "transformers")}


def open_llm(settings: LlmSettings, models_folder: Path, **parameters: Any) -> BaseLLM:
    """Open the model that the settings name. `parameters` are BaseLLM's.

    Raises UsageError for what cannot be (an engine that is not installed or cannot take the model), DataError for a missing or
    damaged model, UpstreamError for a server that does not answer.
    """
    engine, _reason = choose_engine(settings)
    missing = [name for name in _NEEDS.get(engine, ()) if not _installed(name)]
    if missing:
        raise UsageError(f"the engine {engine} needs {missing[0]}: {_INSTALL[engine]}")
    return _ENGINES[engine](settings, models_folder, parameters)


def choose_engine(settings: LlmSettings) -> tuple[str, str]:
    """The engine that `open_llm` takes, and why, in words."""
    if settings.engine != "auto":
        return settings.engine, f"llm.engine = {settings.engine}"
    if settings.base_url:
        return "openai", f"llm.base_url names the server {settings.base_url}"
    if settings.quantisation != "none":
        return "transformers", f"llm.quantisation = {settings.quantisation} is done by transformers"
    device = settings.device
    if device.startswith("cuda") or (device == "auto" and _has_cuda()):
        return "transformers", "there is a CUDA device" if device == "auto" else f"llm.device = {device}"
    if not _runs_in_openvino(settings.model):
        return "transformers", "the model is neither bundled nor a GGUF file nor an OpenVINO folder"
    if not all(_installed(name) for name in _NEEDS["openvino"]):
        return "transformers", "openvino-genai, which is faster on a processor, is not installed"
    return "openvino", "the fastest engine for this model on a processor"


def huggingface_folder(models_folder: Path, source: Path | None = None) -> Path:
    """The bundled model, or a GGUF file, as a Hugging Face folder (safetensors); converted at the first call."""
    from ckllm.llm import gguf

    file = gguf.packaged_smollm2() if source is None else source
    digest = file_sha256(file)

    def build(folder: Path) -> Mapping[str, Any]:
        opened = gguf.GgufFile(file)
        if not opened.supported:
            raise DataError(
                f"{file}: only Llama models with a byte-level BPE vocabulary are converted; name the model's own folder"
            )
        gguf.write_tokenizer(opened, folder)
        gguf.write_weights(opened, folder)
        return {}

    name = BUNDLED if source is None else f"gguf-{digest[:16]}"
    return converted(models_folder / name, {"kind": "huggingface", "version": gguf.VERSION, "sha256": digest}, build)


def openvino_folder(models_folder: Path, source: Path | None = None) -> Path:
    """The bundled model, or a GGUF file, as an OpenVINO folder; converted at the first call."""
    from importlib.metadata import version

    from ckllm.llm import gguf, openvino_graph

    file = gguf.packaged_smollm2() if source is None else source
    digest = file_sha256(file)
    name = BUNDLED if source is None else f"gguf-{digest[:16]}"
    identity = {"kind": "openvino", "version": openvino_graph.VERSION, "sha256": digest, "openvino": version("openvino-genai")}
    return converted(models_folder / f"{name}-openvino", identity, lambda folder: openvino_graph.convert_apart(file, folder))


def _openvino(settings: LlmSettings, models_folder: Path, parameters: Mapping[str, Any]) -> BaseLLM:
    from ckllm.llm.openvino import MODEL, OpenVinoLLM

    if settings.quantisation != "none":
        raise UsageError("the engine openvino keeps int8 weights: set llm.quantisation = none, or llm.engine = transformers")
    if settings.model == BUNDLED:
        folder = openvino_folder(models_folder)
    elif settings.model.endswith(".gguf"):
        folder = openvino_folder(models_folder, _existing(settings.model))
    elif (Path(settings.model) / MODEL).is_file():
        folder = Path(settings.model)
    else:
        raise UsageError(
            f"openvino cannot load {settings.model!r}: give a GGUF file or an OpenVINO folder, or llm.engine = transformers"
        )
    return OpenVinoLLM(folder, **_own(settings), **parameters)


def _transformers(settings: LlmSettings, models_folder: Path, parameters: Mapping[str, Any]) -> BaseLLM:
    from ckllm.llm.transformers import TransformersLLM

    model = settings.model
    if model == BUNDLED:
        model = str(huggingface_folder(models_folder))
    elif model.endswith(".gguf"):
        model = str(huggingface_folder(models_folder, _existing(model)))
    return TransformersLLM(model, quantisation=settings.quantisation, **_own(settings), **parameters)


def _own(settings: LlmSettings) -> dict[str, Any]:
    """What the settings say to every engine that computes here."""
    return {"model_id": settings.model, "profile": settings.profile, "threads": settings.threads, "device": settings.device}


def _openai(settings: LlmSettings, models_folder: Path, parameters: Mapping[str, Any]) -> BaseLLM:  # noqa: ARG001
    from ckllm.llm.openai_compatible import OpenAiCompatibleLLM

    if not settings.base_url:
        raise UsageError("the engine openai needs the server's address: set llm.base_url, for example http://127.0.0.1:8080/v1")
    key = settings.api_key.get_secret_value()
    return OpenAiCompatibleLLM(settings.base_url, settings.model, api_key=key, timeout_s=settings.timeout_s, **parameters)


def _scripted(settings: LlmSettings, models_folder: Path, parameters: Mapping[str, Any]) -> BaseLLM:  # noqa: ARG001
    """Says the last message back: the whole service can be tried without a model."""
    return ScriptedLLM(lambda messages: messages[-1].content, **parameters)


_ENGINES: Mapping[str, Callable[[LlmSettings, Path, Mapping[str, Any]], BaseLLM]] = {
    "openvino": _openvino,
    "transformers": _transformers,
    "openai": _openai,
    "scripted": _scripted,
}


def _runs_in_openvino(model: str) -> bool:
    return model == BUNDLED or model.endswith(".gguf") or (Path(model) / "openvino_model.xml").is_file()


def _existing(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"there is no model file {file}")
    return file


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _has_cuda() -> bool:
    """Without importing torch, which takes seconds: a driver's device file, or torch where it is loaded already."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return bool(torch.cuda.is_available())
    return Path("/dev/nvidia0").exists() and _installed("torch")
