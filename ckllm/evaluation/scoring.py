"""The figures of one question: what was found, what was cited, what was said, and whether it was right to say it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import regex

from ckllm.contracts import Answer, Hit, Sentence
from ckllm.evaluation import metrics
from ckllm.evaluation.corpus import Item
from ckllm.evaluation.dataset import EvalQuestion

DEPTH = 10
"""Passages that retrieval is judged by."""
RIGHT = 0.5
"""The least F1 of an answer that counts as right on the risk–coverage curve."""
_MARKER = regex.compile(r"\s?\[\d+\]")
_NUMBER = regex.compile(r"\p{Nd}+(?:[.,٫٬]\p{Nd}+)*")
_SEPARATOR = regex.compile(r"(?<=\d)[,٬](?=\d{3}(?!\d))")
_NAME = regex.compile(r"(?<![\p{L}\p{M}])\p{Lu}[\p{L}\p{M}]+")


def retrieval_scores(question: EvalQuestion, items: Sequence[Item], hits: Sequence[Hit], unplaced: int = 0) -> dict[str, float]:
    """Recall at 1, 5 and 10, nDCG at 10 and reciprocal rank; {} for a question without evidence.

    `unplaced` items, whose document was rejected or is not there, were not found.
    """
    if (not items and not unplaced) or question.mode == "none":
        return {}
    held = held_by(items, hits[:DEPTH])
    grades = [item.grade for item in items] + [1.0] * unplaced
    mode = question.mode
    return {f"recall@{k}": metrics.recall_at(held, len(grades), k, mode) for k in (1, 5, DEPTH)} | {
        f"ndcg@{DEPTH}": metrics.ndcg_at(held, grades, DEPTH, mode),
        "mrr": metrics.reciprocal_rank(held),
    }


def held_by(items: Sequence[Item], hits: Sequence[Hit]) -> list[set[int]]:
    """The items that each passage holds. Whole documents are ranked as documents: a second passage of one adds no rank."""
    held: list[set[int]] = []
    seen: set[str] = set()
    whole = all(not item.is_span for item in items)
    for hit in hits:
        if whole and hit.document_id in seen and not _shares_documents(items):
            continue
        seen.add(hit.document_id)
        span = (hit.document_id, hit.start, hit.end)
        held.append({n for n, item in enumerate(items) if metrics.touches(span, item.span)})
    return held


def _shares_documents(items: Sequence[Item]) -> bool:
    """Whether several items stand in one document, as rows of one article do: then its passages are ranked apart."""
    return len({item.document_id for item in items}) < len(items)


def answer_scores(question: EvalQuestion, items: Sequence[Item], answer: Answer) -> dict[str, float]:
    """What can be said of this answer; a figure that does not apply is left out."""
    scores: dict[str, float] = {}
    if question.answerable is not None:
        scores["decision"] = float(question.answerable != answer.refused)
        scores["answered" if question.answerable else "refused_unanswerable"] = float(answer.refused != question.answerable)
    if question.answerable is not False and question.answers:
        said = said_by(answer)
        scores["exact"] = 0.0 if answer.refused else metrics.exact_match(said, question.answers)
        scores["f1"] = 0.0 if answer.refused else metrics.best_f1(said, question.answers)
        if not answer.refused:
            scores["f1_answered"] = scores["f1"]
    if question.answerable is not False and items:
        scores |= _citation_scores(items, answer)
    elif question.answerable is not False and question.evidence:
        scores["citation_recall"] = 0.0
    if not answer.refused:
        scores |= _support_scores(answer)
    return scores


def failed_scores(question: EvalQuestion) -> dict[str, float]:
    """Those of a question that could not be asked: it counts as answered wrongly."""
    scores = {} if question.answerable is None else {"decision": 0.0}
    if question.answerable is not None:
        scores["answered" if question.answerable else "refused_unanswerable"] = 0.0
    if question.answerable is not False and question.answers:
        scores |= {"exact": 0.0, "f1": 0.0}
    return scores


def said_by(answer: Answer) -> str:
    """The short answer where there is one, else the answer without its markers."""
    return answer.short_answer or _MARKER.sub("", answer.answer)


def _citation_scores(items: Sequence[Item], answer: Answer) -> dict[str, float]:
    """Precision over answers that were given, recall over all questions: a refusal cites nothing. Best over annotations."""
    cited = [(one.document_id, one.start, one.end) for one in answer.citations]
    groups = [g for g in _annotated(items) if g]
    found = [(_both(cited, group), group) for group in groups]
    (spans, characters), _ = max(found, key=lambda pair: (_harmonic(*pair[0][0]), _harmonic(*pair[0][1])))
    scores = {"citation_recall": spans[1]}
    if all(item.is_span for item in items):
        scores["citation_char_recall"] = characters[1]
    if not answer.refused:
        scores |= {"citation_precision": spans[0], "citation_char_precision": characters[0]}
    return scores


def _both(cited: Sequence[tuple[str, int, int]], items: Sequence[Item]) -> tuple[tuple[float, float], tuple[float, float]]:
    given, needed = _by_document(cited), _by_document([item.span for item in items])
    return metrics.span_overlap(cited, [item.span for item in items]), metrics.character_overlap(given, needed)


def _annotated(items: Sequence[Item]) -> list[list[Item]]:
    """The items of each alternative answer; one group where the set names none."""
    numbers = sorted({number for item in items for number in item.annotations})
    if not numbers:
        return [list(items)]
    return [[item for item in items if not item.annotations or number in item.annotations] for number in numbers]


def _support_scores(answer: Answer) -> dict[str, float]:
    if not answer.sentences:
        return {}
    supported = [one for one in answer.sentences if one.supported]
    scores = {
        "supported": len(supported) / len(answer.sentences),
        "quoted": float(answer.quoted),
    }
    if supported:
        gaps = [missing(one, answer) for one in supported]
        scores["numbers_kept"] = 1 - sum(bool(numbers) for numbers, _ in gaps) / len(gaps)
        scores["names_kept"] = 1 - sum(bool(names) for _, names in gaps) / len(gaps)
    return scores


def missing(sentence: Sentence, answer: Answer) -> tuple[list[str], list[str]]:
    """(numbers, names) of a sentence that its cited quotes do not hold. A name is a capitalised word that is not the first."""
    quotes = " ".join(one.quote for one in answer.citations if one.marker in sentence.citations)
    numbers = {_folded(one) for one in _NUMBER.findall(quotes)}
    words = {_folded(one) for one in regex.findall(r"[\p{L}\p{M}]+", quotes)}
    first = regex.match(r"\P{L}*[\p{L}\p{M}]+", sentence.text)
    names = _NAME.findall(sentence.text, pos=first.end() if first else 0)
    return (
        [one for one in _NUMBER.findall(sentence.text) if _folded(one) not in numbers],
        [one for one in names if _folded(one) not in words],
    )


def confidence(answer: Answer) -> float:
    """How sure the answer was: what it says of itself where it does, else the weakest support of its sentences."""
    own = getattr(answer, "confidence", None)
    if isinstance(own, int | float):
        return float(own)
    return 0.0 if answer.refused else min((one.support for one in answer.sentences), default=0.0)


def risk(question: EvalQuestion, scores: Mapping[str, float]) -> float | None:
    """1 for an answer that is wrong, 0 for a right one; None where the set cannot tell."""
    if question.answerable is False:
        return 1.0
    if "f1" in scores:
        return float(scores["f1"] < RIGHT)
    return 1.0 - float(scores["citation_precision"] > 0) if "citation_precision" in scores else None


def timings(answer: Answer) -> dict[str, float]:
    return asdict(answer.timings)


def _by_document(spans: Sequence[tuple[str, int, int]]) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for document, start, end in spans:
        found.setdefault(document, []).append((start, end))
    return found


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _folded(text: str) -> str:
    return _SEPARATOR.sub("", unicodedata.normalize("NFKC", text).casefold())
