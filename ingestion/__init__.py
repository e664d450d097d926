"""The write path: from sources to searchable, citable chunks. Start reading at `ingestion/pipeline.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingestion.pipeline import ingest

__all__ = ["ingest"]


def __getattr__(name: str) -> Any:
    if name != "ingest":
        raise AttributeError(f"module 'ingestion' has no attribute {name!r}")
    from ingestion.pipeline import ingest

    globals()["ingest"] = ingest
    return ingest
