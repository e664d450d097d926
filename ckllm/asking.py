"""What a question carries with it through the stages of the read path, and what each stage adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict

from ckllm.contracts import Access, Answer, Citation, Computed, Evidence, Hit, Message, Route, Sentence, Timings, Usage
from ckllm.errors import UsageError

if TYPE_CHECKING:
    from ckllm.config import AnswerSettings
    from ckllm.embedding.base import Vectors
    from ckllm.llm.base import GenerationRequest

QUESTION_LIMIT = 20_000
"""Characters of a question. A longer one is refused: cutting it silently would answer another question."""


MOST_PASSAGES = 1000
"""Of one search."""


class AskOptions(TypedDict, total=False):
    """Everything that may go with a question; see `Asked` for the meaning of each."""

    expert: str
    k: int | None
    user: str | Access | None
    where: str | Mapping[str, Any]
    history: tuple[Message, ...]
    top_experts: int
    max_tokens: int | None
    temperature: float | None
    top_p: float
    top_k: int
    repetition_penalty: float
    stop: tuple[str, ...]
    seed: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its options. None means: as the settings say."""

    question: str
    expert: str = "auto"
    """auto, base, or names of experts, comma-separated."""
    k: int | None = None
    """Passages offered to the model."""
    user: str | Access | None = None
    where: str | Mapping[str, Any] = ""
    """A condition on the documents, see `ckllm.store.filter`."""
    history: tuple[Message, ...] = ()
    """Earlier turns, oldest first."""
    top_experts: int = 1
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("k", self.k), ("max_tokens", self.max_tokens), ("top_experts", self.top_experts)):
            if value is not None and value < 1:
                raise UsageError(f"{name} = {value}: give at least 1")

    def generation(self, draft: Draft, settings: AnswerSettings, adapters: Mapping[str, float]) -> GenerationRequest:
        """The request to the language model; `adapters`: folder → weight."""
        from ckllm.llm.base import GenerationRequest

        return GenerationRequest(
            messages=draft.messages,
            max_tokens=self.max_tokens or settings.max_tokens,
            temperature=settings.temperature if self.temperature is None else self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            repetition_penalty=self.repetition_penalty,
            stop=self.stop,
            seed=settings.seed if self.seed is None else self.seed,
            adapters=adapters,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What searching gave for one query: its vector, shape (1, dimension), and the ranked hits."""

    query: str
    vector: Vectors | None = None
    """None where there was nothing to search."""
    hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """What the model was given and what it wrote, unchecked."""

    route: Route
    evidence: tuple[Evidence, ...]
    messages: tuple[Message, ...] = ()
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    cut_off: bool = False

    def written(self, text: str, usage: Usage, *, cut_off: bool) -> Draft:
        return replace(self, text=text, usage=usage, cut_off=cut_off)


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer after verification; `answer` is "" where there is none, and `reason` says why."""

    answer: str
    short_answer: str | None
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    evidence: tuple[Evidence, ...]
    quoted: bool
    reason: str = ""
    """Why there is no answer."""
    warnings: tuple[str, ...] = ()
    computed: Computed | None = None

    def as_answer(self, asked: Asked, draft: Draft, timings: Timings) -> Answer:
        return Answer(
            question=asked.question, answer=self.answer, short_answer=self.short_answer, refused=False,
            sentences=self.sentences, citations=self.citations, route=draft.route, evidence=self.evidence,
            usage=draft.usage, timings=timings, quoted=self.quoted, warnings=self.warnings, computed=self.computed,
        )  # fmt: skip


def refusal(asked: Asked, draft: Draft, reason: str, timings: Timings) -> Answer:
    """An honest refusal: why, and the nearest passages."""
    return Answer(
        question=asked.question, answer=f"I cannot answer this from the documents: {reason}.", short_answer=None,
        refused=True, sentences=(), citations=(), route=draft.route, evidence=draft.evidence,
        usage=draft.usage, timings=timings, reason=reason,
    )  # fmt: skip


def checked_count(k: int) -> int:
    """How many passages of a search are asked for, as given; UsageError where that is none, or endless."""
    if not 1 <= k <= MOST_PASSAGES:
        raise UsageError(f"k = {k}: give a number from 1 to {MOST_PASSAGES:,}")
    return k


def checked_question(text: str, name: str = "question") -> str:
    """The text as given, or UsageError where it is empty or endless."""
    if not any(character.isalnum() for character in text):
        raise UsageError(f"the {name} is empty: write at least one word")
    if len(text) > QUESTION_LIMIT:
        raise UsageError(f"the {name} has {len(text):,} characters, the limit is {QUESTION_LIMIT:,}: shorten it")
    return text
