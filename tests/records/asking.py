"""Documents with tables, ingested as users ingest them, and questions about their rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ckllm.contracts import Answer
from ckllm.knowledge_base import KnowledgeBase
from ingestion import ingest
from tests.knowledge import knowledge_base

Rows = Sequence[Sequence[object]]


@contextmanager
def asked_about(folder: Path, files: Mapping[str, str | bytes], groups: Sequence[str] = ()) -> Iterator[KnowledgeBase]:
    """A knowledge base with these files; its language model knows nothing."""
    documents = folder / "documents"
    documents.mkdir(exist_ok=True)
    for name, content in files.items():
        (documents / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with knowledge_base(folder / "home", lambda _messages: "I do not know.") as kb:
        assert not ingest([str(documents)], kb, groups=groups).rejected
        yield kb


def csv(rows: Rows) -> str:
    return "\n".join(",".join(f'"{cell}"' if "," in str(cell) else str(cell) for cell in row) for row in rows) + "\n"


def jsonl(records: Iterable[Mapping[str, object]]) -> str:
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records)


def html(rows: Rows, title: str, before: str = "") -> str:
    head, *body = [
        "".join(f"<{tag}>{cell}</{tag}>" for cell in row)
        for tag, row in zip(["th"] + ["td"] * (len(rows) - 1), rows, strict=True)
    ]
    lines = "".join(f"<tr>{row}</tr>" for row in (head, *body))
    return (
        f"<html><h1>{title}</h1><p>{'This page is kept by the office of records. ' * 10}</p>{before}<table>{lines}</table></html>"
    )


def exact(kb: KnowledgeBase, answer: Answer) -> Answer:
    """What every computed answer promises: exact spans, sentences at their place, every marker with its citation."""
    assert answer.computed is not None, answer.answer
    for citation in answer.citations:
        text = kb.document_text(citation.document_id).text
        assert text[citation.start : citation.end] == citation.quote != ""
        assert "\n\n" not in citation.quote
    markers = {citation.marker for citation in answer.citations}
    for sentence in answer.sentences:
        assert answer.answer[sentence.start : sentence.end] == sentence.text
        assert sentence.supported
        assert sentence.support == 1.0
        assert sentence.citations
        assert set(sentence.citations) <= markers
    cited = {entry.hit.chunk_id for entry in answer.evidence if entry.cited}
    assert {citation.chunk_id for citation in answer.citations} == cited
    assert not any(entry.in_prompt for entry in answer.evidence)
    return answer
