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
from collections import defaultdict
from collections.abc import Iterable, Iterator
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
from ckllm.citations.terms import content_keys
from ckllm.citations.verification import RuleVerifier
from ckllm.config import EmbeddingSettings
from ckllm.contracts import Evidence, Hit, Message
from ckllm.embedding.base import Embedder, Vectors
from ckllm.embedding.table import open_embedder
from ckllm.llm.base import BaseLLM
from ckllm.prompting.grounded import grounded_messages
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
LONGEST_ROW = 1_800
"""Characters of a row: on a CPU, time goes by the tokens of the prompts."""
CONTINUED = {"squad2": 16, "xquad/en": 10, "tydiqa/en": 16}
"""Passages of reading sets whose questions are answered by the sentence that holds the short answer and its neighbour."""
ASKED = 4
"""Questions about one of these: they share its tokens."""


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


def _hit(key: str, row: dict[str, Any]) -> Hit:
    return Hit(rank=0, score=0.0, text=row["text"], source="", title=row["title"], page=None, section="", start=0,
               end=len(row["text"]), document_id=key, chunk_id=key, found_by=(), lang="en")  # fmt: skip


class Prompts:
    """The product's own prompt for a question about passages that are known."""

    def __init__(self, embedder: Embedder, passages: dict[str, dict[str, Any]]) -> None:
        self._embedder, self._scorer, self._policy = embedder, _scorer(embedder), RefusalPolicy(embedder, "balanced")
        self._keys = list(passages)
        self._hits = {key: _hit(key, row) for key, row in passages.items()}
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


def continued(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Questions of a reading set about passages shown whole, answered by two sentences in the passage's words.

    The sentence that the short answer stands in, and of those beside it the one that says more of the same, if one does.
    """
    corpus, rows = load(folder, name)
    by_passage: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        span = row["evidence"][0] if row["answerable"] else None
        if (
            span is None
            or part_of(corpus[span["doc"]]["title"], name) != "train"
            or not _in_sentences(corpus[span["doc"]]["text"])
        ):
            continue
        text = corpus[span["doc"]]["text"]
        sentences = [text[s.start : s.end] for s in split_sentences(text, "en")]
        places = [n for n, s in enumerate(split_sentences(text, "en")) if s.start <= (span["start"] or 0) < s.end]
        if places and len(sentences) >= 3 and len(text) < CHUNK:
            by_passage[span["doc"]].append((row["question"].strip(), " ".join(_with_neighbour(sentences, places[0]))))
    chosen = sorted(by_passage, key=lambda key: hashlib.sha256(key.encode()).hexdigest())
    chosen = sorted(chosen, key=lambda key: -min(ASKED, len(by_passage[key])))[: CONTINUED[name]]
    for key in chosen:
        hit = _hit(key, corpus[key])
        for question, answer in by_passage[key][:ASKED]:
            asked = Question(question, (answer,), key, name)
            yield _row(grounded_messages(question, [replace(hit, rank=1)]), answer, asked)


def _with_neighbour(sentences: list[str], at: int) -> list[str]:
    """The sentence `at`, and of those beside it the one that shares most of its words; in the passage's order."""
    own = set(content_keys(sentences[at]))
    beside = [n for n in (at + 1, at - 1) if 0 <= n < len(sentences) and own & set(content_keys(sentences[n]))]
    best = max(beside, key=lambda n: len(own & set(content_keys(sentences[n]))), default=None)
    return [sentences[n] for n in sorted([at] if best is None else [at, best])]


def bounded(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Short rows whose answers take two sentences or more; of the other questions one row each. No row twice."""
    short = [row for row in rows if sum(len(turn["content"]) for turn in row["messages"]) <= LONGEST_ROW]
    long = [row for row in short if len(split_sentences(row["messages"][-1]["content"], "en")) > 1]
    answered = {row["question"] for row in long}
    rest = {row["question"]: row for row in short if row["question"] not in answered}
    return list({json.dumps(row["messages"]): row for row in (*long, *rest.values())}.values())


def training_rows(folder: Path, embedder: Embedder) -> Iterator[dict[str, Any]]:
    for tokenised in (True, False):
        passages, questions = clapnq(folder, "train")
        if not tokenised:
            passages = {key: row | {"text": plain(row["text"])} for key, row in passages.items()}
            questions = [replace(one, answers=tuple(map(plain, one.answers))) for one in questions]
        yield from _rows(Prompts(embedder, passages), questions, (3, 5))
    passages, questions = chunk_spans(folder)
    yield from _rows(Prompts(embedder, passages), questions, (4,))


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
    made = [row for name in CONTINUED for row in continued(args.eval, name)]
    parts: dict[str, Iterable[dict[str, Any]]] = {"train": [*bounded(training_rows(args.eval, embedder)), *made]}
    parts |= {part: held_rows(args.eval, part, embedder) for part in ("validation", "test")}
    for part, rows in parts.items():
        file = args.out / f"explain.{part}.jsonl"
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        file.write_text("".join(lines), encoding="utf-8")
        print(f"{file}: {len(lines)} rows, sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}", flush=True)


if __name__ == "__main__":
    main()
