"""Between retrieval and the answer: what is offered to the model, whether to answer at all, and what of the draft holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ckllm.asking import Asked, Checked, Draft, Found
from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.checking import check, quoted
from ckllm.citations.composition import Boxes, compose
from ckllm.citations.quoting import best_quotes
from ckllm.citations.refusal import RefusalPolicy, Signals, script
from ckllm.citations.short_answer import short_answer
from ckllm.citations.verification import Verifier
from ckllm.contracts import Evidence, Hit, Prompt
from ckllm.errors import UsageError
from ckllm.llm.base import BaseLLM
from ckllm.prompting.grounded import grounded_messages
from ckllm.retrieval.evidence import distinct, ledger, pack
from ckllm.retrieval.sentence_scores import SentenceScorer


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens: of evidence in a prompt, and of the answer."""

    evidence: int
    answer: int


class Answering:
    """The steps around generation, with the models that they need."""

    def __init__(self, scorer: SentenceScorer, policy: RefusalPolicy, verifier: Verifier, budget: Budget) -> None:
        self._scorer = scorer
        self._policy = policy
        self._verifier = verifier
        self._budget = budget

    def offered(self, found: Found, most: int) -> tuple[Evidence, ...]:
        """The best passages without repetitions; nothing of it is in a prompt yet."""
        return ledger(distinct(found.hits, most))

    def doubt(self, found: Found, evidence: Sequence[Evidence]) -> str:
        """Why the question is not to be answered from this evidence; "" where it is."""
        if found.vector is None or not evidence:
            return "no document that may be searched here holds anything about it"
        best = max(self._cosines(found, evidence).values())
        index = EvidenceIndex(evidence)
        across = script(found.query) != script(evidence[0].hit.text)
        signals = Signals(best, index.coverage(found.query), index.coverage_in_one(found.query), across)
        return self._policy.doubt(found.vector, signals)

    def prompt(self, llm: BaseLLM, asked: Asked, evidence: Sequence[Evidence]) -> Prompt:
        """Messages with as much of the evidence as fits, and the ledger of what is in them.

        UsageError where the question alone does not fit.
        """
        answer = asked.max_tokens or self._budget.answer
        bare = llm.count_tokens(grounded_messages(asked.question, ()))
        room = min(self._budget.evidence, llm.context_length - answer - bare)
        if room < min(64, self._budget.evidence):
            raise UsageError(
                f"the question has about {bare:,} tokens, which leaves no room in the model's {llm.context_length:,}: shorten it"
            )

        def fits(hits: Sequence[Hit]) -> bool:
            return llm.count_tokens(grounded_messages(asked.question, hits)) <= bare + room

        packed = pack([entry.hit for entry in evidence], fits)
        inside = [entry.hit for entry in packed if entry.in_prompt]
        return Prompt(grounded_messages(asked.question, inside), packed)

    def checked(self, found: Found, draft: Draft, boxes: Boxes) -> Checked:
        """Supported sentences of the draft; exact quotes where there are none."""
        offered = [entry for entry in draft.evidence if entry.in_prompt]
        index = EvidenceIndex(offered)
        ranked = best_quotes(found.query, index, self._cosines(found, offered))
        claims = [
            claim
            for claim in check(draft.text, index, self._verifier)
            if claim.supported and any(quote in ranked for quote in claim.quotes)
        ]
        exact = not claims
        if exact:
            claims = quoted(ranked[:1])
        composed = compose(claims, draft.evidence, boxes)
        quotes = [quote for claim in claims for quote in claim.quotes]
        short = short_answer(composed, found.query, quotes)
        return Checked(composed.answer, short, composed.sentences, composed.citations, composed.evidence, exact)

    def _cosines(self, found: Found, evidence: Sequence[Evidence]) -> dict[tuple[int, int, int], float]:
        """Cosine of the question and each sentence of the evidence, by (marker, start, end)."""
        assert found.vector is not None
        scored = self._scorer.score(found.vector, [entry.hit for entry in evidence])
        return {
            (entry.marker, span.start, span.end): span.score
            for entry, spans in zip(evidence, scored, strict=True)
            for span in spans
        }
