"""Big libraries without the parts that they import by default and nothing here uses: half a second of every command.

What is left out can still be had: each library is told that the part is not there while it is imported, and no longer.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_importing = threading.RLock()


def openvino() -> Any:
    """OpenVINO without its converter for other frameworks' models, which stays at `openvino.convert_model`, loaded when used."""
    with _importing:
        if "openvino" in sys.modules:
            return sys.modules["openvino"]
        with _absent("openvino.tools.ovc"):
            module = importlib.import_module("openvino")
        if not hasattr(module, "convert_model"):
            vars(module)["__getattr__"] = _converter
    return module


def milvus_lite() -> None:
    """Milvus Lite without FAISS, which it loads beforehand: our indexes are exact. Others still load it when they are made."""
    with _importing:
        if "milvus_lite.index" in sys.modules:
            return
        with _absent("faiss"):
            importlib.import_module("milvus_lite.index")
        factory: Any = importlib.import_module("milvus_lite.index.factory")
        factory._FAISS_AVAILABLE = importlib.util.find_spec("faiss") is not None


def milvus_messages() -> None:
    """The messages of pymilvus, which Milvus Lite speaks, without pymilvus itself, which imports its client and pandas. Whoever
    imports pymilvus later has all of it."""
    with _importing:
        found = importlib.util.find_spec("pymilvus") if "pymilvus" not in sys.modules else None
        if found is None:
            return
        bare = ModuleType("pymilvus")
        bare.__path__ = list(found.submodule_search_locations or [])
        sys.modules["pymilvus"] = bare
        try:
            importlib.import_module("pymilvus.grpc_gen")
        finally:
            del sys.modules["pymilvus"]


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Importing `name` raises ImportError meanwhile, unless it is loaded already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(name, None)


def _converter(name: str) -> Any:
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    return importlib.import_module("openvino.tools.ovc").convert_model
