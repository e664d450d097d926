"""A generated draft, sentence by sentence: what it rests on, and whether that supports it."""

from __future__ import annotations

from collections.abc import Sequence

import regex

from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.composition import Claim
from ckllm.citations.markers import clean_draft
from ckllm.citations.sentences import split_sentences
from ckllm.citations.terms import content_keys
from ckllm.citations.verification import Verifier
from ckllm.contracts import Quote

_LETTER = regex.compile(r"[\p{L}\p{N}]")


def check(draft: str, index: EvidenceIndex, verifier: Verifier, lang: str = "") -> list[Claim]:
    seen: set[tuple[str, ...]] = set()
    texts: list[str] = []
    for span in split_sentences(clean_draft(draft), lang):
        keys = tuple(content_keys(span.text))
        if _LETTER.search(span.text) and keys not in seen:
            seen.add(keys)
            texts.append(" ".join(span.text.split()))
    attributions = [index.attribute(text) for text in texts]
    verdicts = verifier.verify(texts, [attribution.quotes for attribution in attributions])
    return [
        Claim(text, attribution.quotes if verdict.supported else (), verdict.supported, verdict.support)
        for text, attribution, verdict in zip(texts, attributions, verdicts, strict=True)
    ]


def quoted(quotes: Sequence[Quote]) -> list[Claim]:
    """Exact quotes as the sentences of an answer: supported by themselves."""
    return [Claim(quote.text, (quote,), True, 1.0) for quote in quotes]
