"""What the reader learns from: questions with a passage that answers them, or with one that does not.

Rows are of SQuAD 1.1's training file and of the training articles of other sets, see `benchmarks.train_reader`. A passage that
does not answer is another of the same article, or its own with the question changed so that it only seems to answer
(`benchmarks.disturbed`).
"""

from __future__ import annotations

import gzip
import json
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.disturbed import disturbed, places
from benchmarks.explain_data import clapnq_part
from benchmarks.train_default_experts import load, part_of
from ckllm.citations.sentences import split_sentences

MERGED = 0.35
"""Share of the passages that are shown with their neighbour, as chunks of documents are."""
TITLED = 0.8
NEGATIVES = 0.6
"""Passages of the same article that do not answer, to one that does."""
DISTURBED = 0.3
"""Changed questions that the passage no longer answers, to one that it does (English)."""

Row = dict[str, Any]
"""question, title, text, lang, spans (answers), sentences (that carry an answer), source."""


def squad(file: Path, rng: random.Random) -> Iterator[Row]:
    for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
        title = article["title"].replace("_", " ")
        texts = [paragraph["context"] for paragraph in article["paragraphs"]]
        asked = [
            (n, qa["question"].strip(), [(a["answer_start"], a["answer_start"] + len(a["text"])) for a in qa["answers"]])
            for n, paragraph in enumerate(article["paragraphs"])
            for qa in paragraph["qas"]
        ]
        yield from _article(title, texts, asked, "en", "squad1", rng)


def _article(title: str, texts: list[str], asked: list[tuple[int, str, list[tuple[int, int]]]], lang: str, source: str,
             rng: random.Random) -> Iterator[Row]:  # fmt: skip
    words = [Counter(_words(text)) for text in texts]
    spread = Counter(word for counts in words for word in counts)
    held = places(texts)
    for n, question, spans in asked:
        if lang == "en" and spans and rng.random() < DISTURBED:
            changed = disturbed(question, held[n], texts[n][slice(*spans[0])], rng)
            if changed is not None:
                yield _row(changed, title, texts, n, [], lang, source + "/disturbed", rng)
        yield _row(question, title, texts, n, spans, lang, source, rng)
        if rng.random() < NEGATIVES and len(texts) > 1:
            wanted = sorted(set(_words(question)))  # in an order, so that ties are broken alike in every run
            answers = {texts[n][start:end].casefold() for start, end in spans}
            near = sorted(
                (m for m in range(len(texts)) if m != n),
                key=lambda m: -sum(math.log(1 + len(texts) / spread[word]) for word in wanted if word in words[m]),
            )[:4]
            other = next((m for m in rng.sample(near, len(near)) if not any(a in texts[m].casefold() for a in answers)), None)
            if other is not None:
                yield _row(question, title, texts, other, [], lang, source, rng)


def _row(question: str, title: str, texts: Sequence[str], n: int, spans: Sequence[tuple[int, int]], lang: str, source: str,
         rng: random.Random) -> Row:  # fmt: skip
    text, moved = texts[n], 0
    if rng.random() < MERGED and spans:  # a neighbour of a passage that does not answer might
        if n and rng.random() < 0.5:
            before = " ".join(span.text for span in split_sentences(texts[n - 1], lang)[-4:])
            text, moved = f"{before}\n\n{text}", len(before) + 2
        elif n + 1 < len(texts):
            text = f"{text}\n\n" + " ".join(span.text for span in split_sentences(texts[n + 1], lang)[:4])
    placed = [(start + moved, end + moved) for start, end in spans]
    return {
        "question": question, "title": title if rng.random() < TITLED else "", "text": text, "lang": lang, "source": source,
        "spans": placed[:1], "sentences": _sentences(text, lang, placed[:1]),
    }  # fmt: skip


def _sentences(text: str, lang: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(s.start, s.end) for s in split_sentences(text, lang) if any(s.start < end and start < s.end for start, end in spans)]


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.casefold()) if len(word) > 2]


def given(folder: Path, part: str, rng: random.Random) -> Iterator[Row]:
    """Rows of the other sets; adversarial questions with the passage that they were written against."""
    names = ["squad2", *(f"xquad/{p.name}" for p in sorted((folder / "xquad").iterdir()) if p.is_dir()), "tydiqa/ar", "tydiqa/en",
             "tydiqa/te"]  # fmt: skip
    for name in names:
        corpus, questions = load(folder, name)
        articles: dict[str, list[str]] = defaultdict(list)
        for key, row in corpus.items():
            if part_of(row["title"], name) == part:
                articles[row["title"]].append(key)
        for title, keys in articles.items():
            place = {key: n for n, key in enumerate(keys)}
            texts = [corpus[key]["text"] for key in keys]
            lang = corpus[keys[0]]["lang"]
            asked = [
                (place[q["evidence"][0]["doc"]], q["question"].strip(), [(q["evidence"][0]["start"], q["evidence"][0]["end"])])
                for q in questions
                if q["answerable"] and q["evidence"][0]["doc"] in place and q["evidence"][0]["start"] is not None
            ]
            yield from _article(title, texts, asked, lang, name, rng)
            for q in questions:
                if not q["answerable"] and q.get("paired_doc") in place:
                    yield _row(q["question"].strip(), title, texts, place[q["paired_doc"]], [], lang, name + "/adversarial", rng)
    yield from clapnq(folder, part, rng)


def clapnq(folder: Path, part: str, rng: random.Random) -> Iterator[Row]:
    """Sentences without words: what carries a long answer has no shortest span."""
    corpus, questions = load(folder, "clapnq")
    for q in questions:
        key = q["evidence"][0]["doc"] if q["answerable"] else q.get("paired_doc")
        if key is None or key not in corpus or clapnq_part(key) != part:
            continue
        row = corpus[key]
        marked = [(e["start"], e["end"]) for e in q["evidence"] if e["doc"] == key and e["start"] is not None]
        yield {
            "question": q["question"].strip(), "title": row["title"] if rng.random() < TITLED else "", "text": row["text"],
            "lang": "en", "source": "clapnq" if marked else "clapnq/adversarial", "spans": [], "sentences": marked,
        }  # fmt: skip


def read(file: Path) -> list[Row]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().splitlines()]
