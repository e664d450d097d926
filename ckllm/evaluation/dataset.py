"""Evaluation sets: a folder of `corpus.jsonl` and `questions.jsonl`, or a file of a user's own questions.

A corpus row is `{"id", "title"?, "text", "lang"?}`. A question is `{"id"?, "question", "lang"?, "answers"?: [text, …],
"answerable"?: bool, "evidence_mode"?: any|all|graded|none, "evidence"?: [{"doc", "start"?, "end"?, "text"?, "grade"?}, …]}`.
`doc` is a corpus id; in a user's own file the source, its last part, the title or the id of a document. `start` and `end` count
code points in the row's (the document's) text; an item without span and text means the whole document. `annotations` in an
item names the alternative answers that it belongs to.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from ckllm.errors import DataError, UsageError
from ckllm.evaluation.metrics import Mode
from ckllm.json_lines import read_objects

CORPUS, QUESTIONS = "corpus.jsonl", "questions.jsonl"


@dataclass(frozen=True, slots=True)
class CorpusRow:
    id: str
    title: str
    text: str
    lang: str = ""


@dataclass(frozen=True, slots=True)
class Gold:
    """Where an answer stands: a span of a document, or all of it."""

    doc: str
    start: int | None = None
    end: int | None = None
    text: str = ""
    grade: float = 1.0
    annotations: tuple[int, ...] = ()
    """Which alternative answers rest on it; empty: all."""

    @property
    def is_span(self) -> bool:
        return self.start is not None or bool(self.text)


@dataclass(frozen=True, slots=True)
class EvalQuestion:
    id: str
    question: str
    lang: str = ""
    answers: tuple[str, ...] = ()
    answerable: bool | None = None
    """None where the set does not say."""
    mode: Mode = "any"
    evidence: tuple[Gold, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    name: str
    questions: tuple[EvalQuestion, ...]
    corpus: tuple[CorpusRow, ...] = ()
    """Empty for a file of a user's own questions, which are asked against a collection."""
    sha256: str = ""
    """Of the questions' file."""

    def sample(self, limit: int, seed: int = 0) -> Dataset:
        """At most `limit` of the questions, chosen by the seed, in their order; 0: all. The corpus stays whole."""
        if not limit or limit >= len(self.questions):
            return self
        kept = sorted(random.Random(seed).sample(range(len(self.questions)), limit))  # noqa: S311 - a sample, not a secret
        return replace(self, questions=tuple(self.questions[n] for n in kept))


def read_dataset(path: Path) -> Dataset:
    """A folder or a file. UsageError where it is neither, DataError naming the line that cannot be used."""
    if path.is_dir():
        for name in (CORPUS, QUESTIONS):
            if not (path / name).is_file():
                raise UsageError(f"{path} has no {name}: an evaluation folder holds {CORPUS} and {QUESTIONS}")
        corpus = tuple(_corpus_row(row, where) for row, where in read_objects(path / CORPUS)[0])
        _refuse_repeated([row.id for row in corpus], path / CORPUS)
        return _dataset(path.resolve().name, path / QUESTIONS, corpus)
    if path.is_file():
        return _dataset(path.stem, path, ())
    raise UsageError(f"there is no evaluation set at {path}: give a folder with {CORPUS}, or a JSON Lines file of questions")


def _dataset(name: str, file: Path, corpus: tuple[CorpusRow, ...]) -> Dataset:
    rows, sha256 = read_objects(file)
    questions = [_question(row, number, where) for number, (row, where) in enumerate(rows, start=1)]
    if not questions:
        raise DataError(f"{file} holds no questions: one JSON object a line is expected")
    _refuse_repeated([question.id for question in questions], file)
    known = {row.id for row in corpus}
    for question in questions:
        for item in question.evidence:
            if corpus and item.doc not in known:
                raise DataError(f"{file}: the question {question.id!r} names the document {item.doc!r}, which is not in {CORPUS}")
    return Dataset(name, tuple(questions), corpus, sha256)


def _corpus_row(row: dict[str, Any], where: str) -> CorpusRow:
    text = _text(row, "text", where)
    return CorpusRow(_text(row, "id", where), _text(row, "title", where, ""), text, _text(row, "lang", where, ""))


def _question(row: dict[str, Any], number: int, where: str) -> EvalQuestion:
    answers = row.get("answers") or []
    if not isinstance(answers, list) or not all(isinstance(one, str) for one in answers):
        raise DataError(f"{where}: answers must be a list of texts")
    answerable = row.get("answerable", True if answers else None)
    if answerable is not None and not isinstance(answerable, bool):
        raise DataError(f"{where}: answerable = {answerable!r}: true or false is expected")
    given = row.get("evidence") or []
    if not isinstance(given, list):
        raise DataError(f"{where}: evidence must be a list")
    evidence = tuple(_gold(item, where) for item in given)
    mode = row.get("evidence_mode", "any" if evidence else "none")
    if mode not in get_args(Mode):
        raise DataError(f"{where}: evidence_mode = {mode!r}: give one of {', '.join(get_args(Mode))}")
    question = _text(row, "question", where)
    if not question.strip():
        raise DataError(f"{where}: the question is empty")
    identity = row.get("id", number)
    return EvalQuestion(str(identity), question, _text(row, "lang", where, ""), tuple(answers), answerable, mode, evidence)


def _gold(item: object, where: str) -> Gold:
    if not isinstance(item, dict) or not isinstance(item.get("doc"), str):
        raise DataError(f'{where}: an evidence item needs a "doc"')
    start, end, grade = item.get("start"), item.get("end"), item.get("grade", 1.0)
    if any(one is not None and (not isinstance(one, int) or isinstance(one, bool) or one < 0) for one in (start, end)):
        raise DataError(f"{where}: start and end of an evidence item are whole numbers from 0")
    if (start is None) != (end is None) or (start is not None and end is not None and start >= end):
        raise DataError(f"{where}: an evidence item has a start below its end, or neither")
    if not isinstance(grade, int | float) or isinstance(grade, bool) or grade < 0:
        raise DataError(f"{where}: grade = {grade!r}: a number from 0 is expected")
    annotations = item.get("annotations") or ()
    known = tuple(one for one in annotations if isinstance(one, int)) if isinstance(annotations, list) else ()
    return Gold(item["doc"], start, end, _text(item, "text", where, ""), float(grade), known)


def _text(row: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = row.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise DataError(f'{where}: "{key}" must be text')
    return value


def _refuse_repeated(ids: Sequence[str], file: Path) -> None:
    if len(set(ids)) < len(ids):
        twice = next(one for n, one in enumerate(ids) if one in ids[:n])
        raise DataError(f"{file}: the id {twice!r} stands there twice")
