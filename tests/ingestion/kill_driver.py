"""Ingests a folder as the command does, with real parsers and a real store; made to be killed. Arguments: home, folder."""

from __future__ import annotations

import sys
from pathlib import Path

from ckllm.assembly import open_knowledge_base
from ckllm.config import load_settings
from ckllm.knowledge_base import KnowledgeBase
from ingestion import ingest
from ingestion.options import IngestOptions

SMALL_STEPS = IngestOptions(checkpoint_chunks=8, checkpoint_s=0.2, chunk_tokens=32, overlap_tokens=4)


def opened(home: Path) -> KnowledgeBase:
    settings = load_settings(home, overrides={"embedding.model": "hashing"}, environment={})
    return open_knowledge_base(settings=settings)


def run(home: Path, folder: Path) -> None:
    with opened(home) as kb:
        ingest([folder], kb, sync=True, options=SMALL_STEPS)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
