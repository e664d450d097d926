"""The shortest run of words of the answer that answers the question, where the model gave one."""

from __future__ import annotations

from collections.abc import Sequence

from ckllm.citations.composition import Composition
from ckllm.citations.terms import content_keys, terms
from ckllm.contracts import Quote

LONGEST = 8
"""Words; a longer run is a sentence, not a short answer."""


def short_answer(composition: Composition, question: str, quotes: Sequence[Quote]) -> str | None:
    """The answer itself where it is one short run of words of a cited quote that says more than the question; else None."""
    if len(composition.sentences) != 1 or not composition.sentences[0].supported:
        return None
    text = composition.sentences[0].text.strip().rstrip(".。।")
    if len(terms(text)) > LONGEST or not set(content_keys(text)) - set(content_keys(question)):
        return None
    folded = " ".join(text.casefold().split())
    return text if any(folded in " ".join(quote.text.casefold().split()) for quote in quotes) else None
