"""ckllm: answers from your own documents, every sentence cited and checked.

The public names are loaded on first use, so that importing the package costs milliseconds and no model library::

    import ckllm
    with ckllm.open("my-home", collection="main") as kb:
        answer = kb.ask("When was the bridge built?")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ckllm.assembly import open_knowledge_base as open
    from ckllm.contracts import Answer, Citation, Hit, IngestReport, Sentence
    from ckllm.errors import CkllmError, DataError, StoreError, UpstreamError, UsageError
    from ckllm.knowledge_base import KnowledgeBase

__version__ = "0.1.0"

_PLACES = {
    "open": ("ckllm.assembly", "open_knowledge_base"),
    "KnowledgeBase": ("ckllm.knowledge_base", "KnowledgeBase"),
    **{name: ("ckllm.contracts", name) for name in ("Answer", "Citation", "Hit", "IngestReport", "Sentence")},
    **{name: ("ckllm.errors", name) for name in ("CkllmError", "DataError", "StoreError", "UpstreamError", "UsageError")},
}

__all__ = [
    "Answer",
    "Citation",
    "CkllmError",
    "DataError",
    "Hit",
    "IngestReport",
    "KnowledgeBase",
    "Sentence",
    "StoreError",
    "UpstreamError",
    "UsageError",
    "open",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'ckllm' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value
