"""Rows for the expert `explain`: questions whose answers take a sentence or more, with the prompt that the product would show.

    python -m benchmarks.explain_data --eval DIR --models DIR --out WORK

DIR holds question-answering sets as `SET/corpus.jsonl` and `SET/questions.jsonl`. Every document lies in one part, whole:
clapnq by a hash of its passage, the articles of the other sets as for `qa`. Validation and test are clapnq alone. A training
answer keeps only the sentences that the product's own verifier finds supported by what is in the prompt.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.train_default_experts import load, part_of
from ckllm.answering import Answering, Budget
from ckllm.asking import Asked, Found
from ckllm.assembly import _scorer
from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.checking import check
from ckllm.citations.refusal import RefusalPolicy
from ckllm.citations.sentences import split_sentences
from ckllm.citations.verification import RuleVerifier
from ckllm.config import EmbeddingSettings
from ckllm.contracts import Evidence, Hit, Message
from ckllm.embedding.base import Embedder, Vectors
from ckllm.embedding.table import open_embedder
from ckllm.llm.base import BaseLLM
from ckllm.weighing import CosineWeigher

OFFERED = 5
"""Passages that the product's step before the prompt may choose from: the right one and its nearest."""
CHUNK = 900
"""Characters of a passage that is cut from a whole document."""
LEAST_SUPPORT = 0.7
"""Of a sentence, by the hard rules and the overlap of words."""
LOOKED_AT = 1_000
"""Characters of a passage by which others near a question are found."""
LONGEST_SENTENCE = 800
SHORT_ROWS = 220
"""Rows of one sentence, from squad2, xquad and tydiqa: they teach whole sentences in the passage's words."""


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    answers: tuple[str, ...]
    passage: str
    """Id of a passage that holds the answer."""
    set: str


class _Counting:
    """As much of a language model as the prompt's budget needs: about a token for four characters."""

    context_length = 8192

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        return sum(len(message.content) // 4 + 4 for message in messages)


class Prompts:
    """The product's own prompt for a question about passages that are known."""

    def __init__(self, embedder: Embedder, passages: dict[str, dict[str, Any]]) -> None:
        self._embedder, self._scorer, self._policy = embedder, _scorer(embedder), RefusalPolicy(embedder, "balanced")
        self._keys = list(passages)
        self._hits = {
            key: Hit(rank=0, score=0.0, text=row["text"], source="", title=row["title"], page=None, section="", start=0,
                     end=len(row["text"]), document_id=key, chunk_id=key, found_by=(), lang="en") for key, row in passages.items()
        }  # fmt: skip
        self._vectors = embedder.embed([f"{row['title']}\n{row['text']}"[:LOOKED_AT] for row in passages.values()], "passage")

    def of(self, question: Question, sentences: int) -> tuple[tuple[Message, ...], tuple[Evidence, ...]]:
        """(messages, the evidence that is in them), of the right passage and the nearest others, by closeness."""
        vector: Vectors = self._embedder.embed([question.text], "query")
        order = [self._keys[n] for n in np.argsort(-(self._vectors @ vector[0]))]
        near = order[: OFFERED - 1] if question.passage not in order[: OFFERED - 1] else order[:OFFERED]
        chosen = [key for key in order if key in {*near, question.passage}]
        hits = tuple(replace(self._hits[key], rank=n) for n, key in enumerate(chosen, 1))
        answering = Answering(CosineWeigher(self._scorer), self._policy, RuleVerifier(LEAST_SUPPORT), Budget(640, 120, sentences))
        found = Found(question.text, vector, hits)
        evidence = answering.offered(found, OFFERED)
        weighed = answering.weighed(found, evidence)
        assert weighed is not None
        prompt = answering.prompt(cast(BaseLLM, _Counting()), Asked(question.text), weighed)
        return prompt.messages, tuple(entry for entry in prompt.evidence if entry.in_prompt)


def supported(answer: str, evidence: tuple[Evidence, ...]) -> str:
    """The sentences of an answer that the evidence supports."""
    claims = check(answer, EvidenceIndex(evidence), RuleVerifier(LEAST_SUPPORT))
    return " ".join(claim.text for claim in claims if claim.supported)


def plain(text: str) -> str:
    """Text that was cut into words put together again: `( ca. 1600 -- 43 )` becomes `(ca. 1600–43)`."""
    text = re.sub(r"``\s*|\s*''", '"', text)
    text = re.sub(r"\s+([,.;:!?%)\]])", r"\1", text)
    text = re.sub(r"([(\[$])\s+", r"\1", text)
    text = re.sub(r"\s+--?\s+(?=\d)", "–", text)
    return " ".join(re.sub(r"(?<=\w) - (?=\w)", "-", text).split())


def clapnq_part(passage: str) -> str:
    place = int(hashlib.sha256(passage.encode()).hexdigest(), 16) % 20
    return "test" if place < 7 else "validation" if place < 9 else "train"


def clapnq(folder: Path, part: str) -> tuple[dict[str, Any], list[Question]]:
    corpus, rows = load(folder, "clapnq")
    passages = {key: row for key, row in corpus.items() if clapnq_part(key) == part and _in_sentences(row["text"])}
    asked = [
        Question(row["question"], tuple(row["answers"]), row["evidence"][0]["doc"], "clapnq") for row in rows if row["answerable"]
    ]
    return passages, [question for question in asked if question.passage in passages]


def _in_sentences(text: str) -> bool:
    """Whether it is prose: tables without a full stop are longer than the embedder reads."""
    return all(span.end - span.start <= LONGEST_SENTENCE for span in split_sentences(text, "en"))


def chunk_spans(folder: Path) -> tuple[dict[str, Any], list[Question]]:
    """Two whole documents in pieces; an answer is the marked sentences of the piece that holds most of them."""
    corpus, rows = load(folder, "chunk_spans")
    passages: dict[str, dict[str, Any]] = {}
    spans: dict[str, tuple[str, int, int]] = {}
    for key, row in corpus.items():
        start = 0
        sentences = split_sentences(row["text"], "en")
        for number, sentence in enumerate(sentences):
            last = number + 1 == len(sentences)
            if sentence.end - start >= CHUNK or last:
                name = f"{key}/{start}"
                passages[name] = {"title": row["title"], "text": row["text"][start : sentence.end]}
                spans[name] = (key, start, sentence.end)
                start = sentence.end if last else sentences[number + 1].start
    prose = {name: row for name, row in passages.items() if _in_sentences(row["text"])}
    questions = []
    for row in rows:
        held = {
            name: [
                e for e in row["evidence"] if e["doc"] == key and e["start"] is not None and start <= e["start"] < e["end"] <= end
            ]
            for name, (key, start, end) in spans.items()
        }
        name = max(held, key=lambda one: len(held[one]))
        if held[name] and name in prose:
            text = " ".join(" ".join(e["text"].split()) for e in sorted(held[name], key=lambda e: int(e["start"])))
            questions.append(Question(row["question"], (text,), name, "chunk_spans"))
    return prose, questions


def sentences_of(folder: Path, name: str) -> tuple[dict[str, Any], list[Question]]:
    """Questions of reading sets, answered by the whole sentence that the short answer stands in."""
    corpus, rows = load(folder, name)
    passages = {key: row for key, row in corpus.items() if part_of(row["title"], name) == "train" and _in_sentences(row["text"])}
    questions = []
    for row in rows:
        if not row["answerable"] or row["evidence"][0]["doc"] not in passages:
            continue
        span = row["evidence"][0]
        text = passages[span["doc"]]["text"]
        holding = [s for s in split_sentences(text, "en") if s.start <= (span["start"] or 0) < s.end]
        if holding:
            questions.append(Question(row["question"].strip(), (holding[0].text,), span["doc"], name))
    return passages, questions


def training_rows(folder: Path, embedder: Embedder) -> Iterator[dict[str, Any]]:
    for tokenised in (True, False):
        passages, questions = clapnq(folder, "train")
        if not tokenised:
            passages = {key: row | {"text": plain(row["text"])} for key, row in passages.items()}
            questions = [replace(one, answers=tuple(map(plain, one.answers))) for one in questions]
        yield from _rows(Prompts(embedder, passages), questions, (3, 5))
    passages, questions = chunk_spans(folder)
    yield from _rows(Prompts(embedder, passages), questions, (4,))
    for name in ("squad2", "xquad/en", "tydiqa/en"):
        passages, questions = sentences_of(folder, name)
        step = max(1, 3 * len(questions) // SHORT_ROWS)
        yield from _rows(Prompts(embedder, passages), questions[::step], (3,))


def _rows(prompts: Prompts, questions: list[Question], sentences: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    for question in questions:
        for most in sentences:
            messages, evidence = prompts.of(question, most)
            for answer in dict.fromkeys(supported(one, evidence) for one in question.answers):
                if answer:
                    yield _row(messages, answer, question)


def _row(messages: tuple[Message, ...], answer: str, question: Question) -> dict[str, Any]:
    turns = [{"role": m.role, "content": m.content} for m in messages]
    return {
        "messages": [*turns, {"role": "assistant", "content": answer}], "source": f"{question.set}/{question.passage}",
        "answers": list(question.answers), "set": question.set, "question": question.text,
    }  # fmt: skip


def held_rows(folder: Path, part: str, embedder: Embedder) -> Iterator[dict[str, Any]]:
    """The product's prompt at its default; the answer is an annotator's, unchanged; the evidence goes along for scoring."""
    passages, questions = clapnq(folder, part)
    prompts = Prompts(embedder, passages)
    for question in questions:
        messages, evidence = prompts.of(question, 3)
        shown = [{"text": e.hit.text, "title": e.hit.title} for e in evidence]
        yield _row(messages, plain(question.answers[0]), question) | {"evidence": shown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    embedder = open_embedder(EmbeddingSettings(), args.models)
    parts = {"train": training_rows(args.eval, embedder)}
    parts |= {part: held_rows(args.eval, part, embedder) for part in ("validation", "test")}
    for part, rows in parts.items():
        file = args.out / f"explain.{part}.jsonl"
        made = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        file.write_text("".join(made), encoding="utf-8")
        print(f"{file}: {len(made)} rows, sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}", flush=True)


if __name__ == "__main__":
    main()
