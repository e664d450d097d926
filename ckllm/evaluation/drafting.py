"""A first set of questions over a user's own documents, made from their sentences without a model.

Cloze questions: a sentence that holds a name or a number is asked for it. They measure whether the right sentence is found and
cited, and whether its fact is kept. They are easier than questions that people ask, and all of them can be answered: rewrite the
good ones in your own words, and add questions that your documents do not answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from ckllm.contracts import digest
from ckllm.errors import DataError
from ckllm.experts.training.data import blanks
from ckllm.knowledge_base import KnowledgeBase


def draft(kb: KnowledgeBase, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """At most `count` rows of a question file, spread over the documents. DataError where no sentence is good for one."""
    by_document = [list(_of_version(kb, version)) for version in kb.catalogue.versions(kb.collection, "LIVE")]
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    for rows in by_document:
        rng.shuffle(rows)
    rows = [row for turn in range(max(map(len, by_document), default=0)) for rows in by_document for row in rows[turn : turn + 1]]
    if not rows:
        raise DataError(
            f"no question can be drafted from the collection {kb.collection!r}: ingest documents with whole sentences"
        )
    return sorted(rows[:count], key=lambda row: (row["evidence"][0]["doc"], row["evidence"][0]["start"]))


def _of_version(kb: KnowledgeBase, version: Any) -> Iterator[dict[str, Any]]:
    """One question a sentence."""
    seen: set[str] = set()
    for chunk in kb.catalogue.chunks(version.version_id):
        for sentence, question, answer in blanks(chunk.text):
            at = chunk.text.find(sentence)
            if sentence in seen or at < 0:
                continue
            seen.add(sentence)
            start = chunk.start + at
            yield {
                "id": digest(version.document_id, str(start), size=8),
                "question": f"Complete the sentence: {question}" if version.lang in ("", "en") else question,
                "lang": version.lang,
                "answers": [answer],
                "answerable": True,
                "evidence_mode": "any",
                "evidence": [{"doc": version.source, "start": start, "end": start + len(sentence), "text": sentence}],
            }
