"""An expert's answers against references: token F1 and exact match, after SQuAD (Rajpurkar et al. 2016)."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import regex

from ckllm.contracts import Message
from ckllm.llm.base import BaseLLM, GenerationRequest

_ARTICLES = regex.compile(r"\b(?:a|an|the)\b")
_SIGNS = regex.compile(r"[\p{P}\p{S}]")
_CHARACTERS = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt and the answers that are right."""

    messages: tuple[Message, ...]
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    rows: int
    f1: float
    exact: float
    mean_words: float
    answers: tuple[str, ...] = ()

    def as_json(self) -> dict[str, float | int]:
        return {
            "rows": self.rows,
            "f1": round(self.f1, 4),
            "exact": round(self.exact, 4),
            "mean_words": round(self.mean_words, 2),
        }


def evaluate(
    llm: BaseLLM,
    tasks: Sequence[Task],
    adapters: Mapping[str, float],
    max_tokens: int = 48,
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Greedy answers of one mixture of adapters ({}: the base model). The first error of the engine is raised."""
    answers = [""] * len(tasks)
    requests = [GenerationRequest(messages=task.messages, max_tokens=max_tokens, adapters=adapters) for task in tasks]
    for done, (place, result) in enumerate(llm.generate_many(requests), start=1):
        if isinstance(result, Exception):
            raise result
        answers[place] = result.text.strip()
        if progress is not None:
            progress(done)
    return scores(answers, [task.references for task in tasks])


def scores(answers: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """Means over the answers; each counts with its best reference."""
    count = max(1, len(answers))
    pairs = list(zip(answers, references, strict=True))
    return Scores(
        rows=len(answers),
        f1=sum(max((token_f1(answer, one) for one in right), default=0.0) for answer, right in pairs) / count,
        exact=sum(any(words(answer) == words(one) for one in right) for answer, right in pairs) / count,
        mean_words=sum(len(answer.split()) for answer in answers) / count,
        answers=tuple(answers),
    )


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the words."""
    said, meant = words(answer), words(reference)
    if not said or not meant:
        return float(said == meant)
    return 2 * sum((Counter(said) & Counter(meant)).values()) / (len(said) + len(meant))


def words(text: str) -> list[str]:
    """Folded words without signs and English articles; Chinese and Japanese by the character."""
    folded = _ARTICLES.sub(" ", _SIGNS.sub(" ", unicodedata.normalize("NFKC", text).casefold()))
    return _CHARACTERS.sub(lambda found: f" {found[0]} ", folded).split()
