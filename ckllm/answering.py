"""Between retrieval and the answer: what is offered to the model, whether to answer at all, and what of the draft holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ckllm.asking import Asked, Checked, Draft, Found
from ckllm.citations.attribution import EvidenceIndex, orders_in
from ckllm.citations.checking import check, quoted
from ckllm.citations.composition import Boxes, Claim, compose
from ckllm.citations.excerpts import excerpts
from ckllm.citations.markers import without_brackets
from ckllm.citations.orders import is_order
from ckllm.citations.quoting import answering_quotes, quoted_instead
from ckllm.citations.refusal import RefusalPolicy, Signals, script
from ckllm.citations.reply_language import other_language
from ckllm.citations.short_answer import is_short, locate, short_answer
from ckllm.citations.verification import Verifier
from ckllm.contracts import Evidence, Hit, Message, Prompt, Quote
from ckllm.errors import UsageError
from ckllm.llm.base import BaseLLM
from ckllm.prompting.grounded import grounded_messages
from ckllm.records.answers import RowAnswer
from ckllm.retrieval.evidence import distinct, ledger, pack
from ckllm.weighing import Weighed, Weigher


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens of evidence in a prompt, and of the answer."""

    evidence: int
    answer: int
    sentences: int
    """The best sentences that are shown to the model; 0: whole passages."""


class Answering:
    """The steps around generation, with the models that they need."""

    def __init__(self, weigher: Weigher, policy: RefusalPolicy, verifier: Verifier, budget: Budget) -> None:
        self._weigher = weigher
        self._policy = policy
        self._verifier = verifier
        self._budget = budget

    @property
    def verifier(self) -> Verifier:
        """What judges the sentences of a draft."""
        return self._verifier

    def offered(self, found: Found, most: int) -> tuple[Evidence, ...]:
        """The best passages without repetitions; nothing of it is in a prompt yet."""
        return ledger(distinct(found.hits, most))

    def weighed(self, found: Found, evidence: Sequence[Evidence]) -> Weighed | None:
        """The evidence, sentence by sentence; None where nothing was found."""
        return self._weigher.weigh(found, evidence) if found.vector is not None and evidence else None

    def doubt(self, found: Found, weighed: Weighed | None) -> str:
        """Why the question is not to be answered from this evidence; "" where it is."""
        if found.vector is None or weighed is None:
            return "no document that may be searched here holds anything about it"
        index = weighed.index
        if not index.sentences:
            return "what was found consists of instructions to a language model, which are neither followed nor quoted"
        across = script(found.query) != script(weighed.evidence[0].hit.text)
        shares = index.coverage(found.query), index.coverage_in_one(found.query)
        return self._policy.doubt(found.vector, Signals(weighed.best_cosine, *shares, across, weighed.best))

    def from_rows(self, answer: RowAnswer, evidence: Sequence[Evidence], boxes: Boxes) -> Checked | None:
        """What was computed from rows, with the rows cited; the passages that hold them join the ledger, in no prompt.

        None where it would show a cell that speaks to a language model: such text is not repeated, and a list without it is
        not the list.
        """
        if any(is_order(sentence.text) for sentence in answer.sentences):
            return None
        markers = {entry.hit.chunk_id: entry.marker for entry in evidence}
        unknown = [hit for hit in answer.hits if hit.chunk_id not in markers]
        more = tuple(Evidence(marker, hit, False) for marker, hit in enumerate(unknown, start=len(evidence) + 1))
        markers |= {entry.hit.chunk_id: entry.marker for entry in more}
        claims = [
            Claim(
                sentence.text,
                tuple(replace(quote, marker=markers[answer.hits[quote.marker - 1].chunk_id]) for quote in sentence.quotes),
                True,
                1.0,
            )
            for sentence in answer.sentences
        ]
        composed = compose(claims, (*evidence, *more), boxes, "\n" if answer.listed else " ")
        short = without_brackets(answer.short)
        return Checked(
            composed.answer, short if short and short in composed.answer else None, composed.sentences, composed.citations,
            composed.evidence, False, computed=answer.computed,
        )  # fmt: skip

    def prompt(self, llm: BaseLLM, asked: Asked, weighed: Weighed) -> Prompt:
        """Messages with as much of the best evidence as fits, and the ledger of what is in them.

        UsageError where the question alone does not fit.
        """
        answer = asked.max_tokens or self._budget.answer
        bare = llm.count_tokens(messages(asked.question, ()))
        room = self._budget.evidence
        if llm.context_length:  # a server that does not say refuses what does not fit
            room = min(room, llm.context_length - answer - bare)
        if room < min(64, self._budget.evidence):
            raise UsageError(
                f"the question has about {bare:,} tokens and its answer may have {answer:,}, which leaves no room for evidence "
                f"in the model's {llm.context_length:,}: shorten it, or allow fewer tokens (max_tokens)"
            )

        def fits(hits: Sequence[Hit]) -> bool:
            return llm.count_tokens(messages(asked.question, hits)) <= bare + room

        shown, others = excerpts(weighed.scored, weighed.index, weighed.evidence, self._budget.sentences)
        packed = pack(shown, fits, others)
        inside = [entry.hit for entry in packed if entry.in_prompt]
        return Prompt(messages(asked.question, inside), packed)

    def checked(self, asked: Asked, found: Found, draft: Draft, boxes: Boxes, languages: Sequence[str] = ()) -> Checked:
        """The sentence that a short draft was taken from, or the supported sentences of a longer one; exact quotes of the best
        evidence where there are none or they are in another language than the question, or nothing, with the reason. `languages`
        are those that the expert was made for. Where a reader sees the words of the answer, a short draft gives way to them.
        """
        offered = [entry for entry in draft.evidence if entry.in_prompt]
        weighed = self._weigher.weigh(found, offered)
        answering = answering_quotes(weighed.scored)
        drafted = locate(draft.text, found.query, answering)
        located = (weighed.words() or drafted) if drafted or is_short(draft.text) else None  # as the reader sees it, if it does
        claims = quoted([located.quote]) if located else self._supported(draft.text, weighed.index, answering)
        wrong = "" if located or not claims else other_language(asked.question, " ".join(claim.text for claim in claims))
        claims = [] if wrong else claims
        exact = located is not None or not claims
        if not located and is_short(draft.text) and offered[0].hit.lang in languages and not _swayed(found, draft):
            assert found.vector is not None
            if doubt := self._policy.unfound(found.vector, weighed.best_cosine):
                return Checked("", None, (), (), draft.evidence, exact, doubt)
        composed = compose(claims or quoted(quoted_instead(weighed.scored)), draft.evidence, boxes)
        short = short_answer(composed, located)
        reason = "" if composed.answer else "nothing that was found could be verified"
        warnings = (f"{wrong}: exact quotes are shown instead",) if wrong else ()
        return Checked(composed.answer, short, composed.sentences, composed.citations, composed.evidence, exact, reason, warnings)

    def _supported(self, draft: str, index: EvidenceIndex, quotes: Sequence[Quote]) -> list[Claim]:
        """Sentences of the draft that the evidence supports and that rest on one of `quotes`: what is true may still say
        something else than what was asked.
        """
        checked = check(draft, index, self._verifier)
        return [claim for claim in checked if claim.supported and any(quote in quotes for quote in claim.quotes)]


def _swayed(found: Found, draft: Draft) -> bool:
    """Whether a passage that was offered speaks to the model: then what it did not find tells nothing about the evidence."""
    offered = {entry.hit.chunk_id for entry in draft.evidence}
    return any(orders_in(hit) for hit in found.hits if hit.chunk_id in offered)


def messages(question: str, hits: Sequence[Hit]) -> tuple[Message, ...]:
    """The prompt with these passages; a title or heading that speaks to the model is left out of it."""
    return grounded_messages(question, [_unheaded(hit) for hit in hits])


def _unheaded(hit: Hit) -> Hit:
    title, section = ("" if is_order(text) else text for text in (hit.title, hit.section))
    return replace(hit, title=title, section=section)
