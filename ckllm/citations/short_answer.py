"""The words of the evidence that answer the question, where the model gave no more than those.

Experts for question answering write the shortest answer ("in 1889"). It is shown as the sentence of the evidence that it was
taken from, an exact quote, with these words marked in it: short, in context, and true to the source by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import regex

from ckllm.cells import BETWEEN
from ckllm.citations.composition import Composition
from ckllm.citations.markers import clean_draft, without_brackets
from ckllm.citations.terms import Term, content_keys, terms
from ckllm.contracts import Quote

LONGEST = 12
"""Words; a longer draft is a sentence, and is checked as one."""
MOST_OF_SENTENCE = 0.6
"""Share of a sentence's words from which a draft counts as that sentence."""
STRETCH = 2
"""Words of the evidence that may stand between those of the draft, for each of the draft's."""
_CURRENCY = regex.compile(r"[$€£¥₹]\s?$")
_SENTENCE_ENDS = (".", "!", "?", "।", "。", "؟")
_SIGN = regex.compile(r"\s?[%‰°€]")


@dataclass(frozen=True, slots=True)
class Located:
    """`quote.text[start:end]` is what the draft says."""

    quote: Quote
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.quote.text[self.start : self.end]


def is_short(draft: str) -> bool:
    """Whether a draft is a short answer rather than a sentence, which would end in its mark."""
    return 0 < len(terms(clean_draft(draft))) <= LONGEST and not clean_draft(draft).rstrip().endswith(_SENTENCE_ENDS)


def locate(draft: str, question: str, quotes: Sequence[Quote]) -> Located | None:
    """Where a draft of a few words stands: in the first of `quotes` (best first) that has it word by word, or else closely
    together. None for a draft that is longer or a sentence of its own, says no more than the question, or is not in the evidence.
    """
    wanted = terms(clean_draft(draft))
    if not 0 < len(wanted) <= LONGEST or not {t.key for t in wanted if t.content} - set(content_keys(question)):
        return None
    found = [(quote, terms(quote.text)) for quote in quotes]
    for span in (_run, _window):
        for quote, words in found:
            if (at := span(wanted, words)) is not None and at[1] - at[0] < MOST_OF_SENTENCE * len(words):
                return Located(quote, *_with_signs(quote.text, words[at[0]].start, words[at[1]].end))
    return None


def short_answer(composition: Composition, located: Located | None) -> str | None:
    """The located words as they are shown in the answer; None where there are none."""
    text = without_brackets(located.text) if located else ""
    shown = (text, text.replace(" | ", BETWEEN))  # cells of a row are set apart otherwise in the answer
    return next((one for one in shown if one and one in composition.answer), None)


def _run(wanted: Sequence[Term], words: Sequence[Term]) -> tuple[int, int] | None:
    """First and last word of the draft's words in a row; articles and the like at its ends need not be there."""
    content = [place for place, term in enumerate(wanted) if term.content]
    keys = [term.key for term in wanted[content[0] : content[-1] + 1]]
    for at in range(len(words) - len(keys) + 1):
        if [term.key for term in words[at : at + len(keys)]] == keys:
            return at, at + len(keys) - 1
    return None


def _window(wanted: Sequence[Term], words: Sequence[Term]) -> tuple[int, int] | None:
    """First and last word of the shortest stretch that holds every content word of the draft."""
    needed = {term.key for term in wanted if term.content}
    best: tuple[int, int] | None = None
    for start, term in enumerate(words):
        if term.key not in needed:
            continue
        missing = set(needed)
        for end in range(start, min(len(words), start + STRETCH * len(wanted))):
            missing.discard(words[end].key)
            if not missing:
                best = min(best or (start, end), (start, end), key=lambda pair: pair[1] - pair[0])
                break
    return best


def _with_signs(text: str, start: int, end: int) -> tuple[int, int]:
    """The span with the signs that belong to the numbers at its ends."""
    before, after = _CURRENCY.search(text, 0, start), _SIGN.match(text, end)
    return (before.start() if before and text[start].isdigit() else start), (
        after.end() if after and text[end - 1].isdigit() else end
    )
