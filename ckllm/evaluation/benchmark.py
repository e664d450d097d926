"""Multiple-choice and question-answering scores of a language model on local JSONL tasks.

A multiple-choice row is `{"id"?, "question", "choices": [text, …], "answer": index, "lang"?}`: the choice with the highest
log-likelihood a token after the question counts (length-normalised accuracy, as in Brown et al. 2020, GPT-3).
A QA row is `{"id"?, "question", "answers": [text, …], "context"?, "lang"?}`: the generated answer counts by exact match and by
the F1 of its words (Rajpurkar et al. 2016, SQuAD), the best over the given answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ckllm.contracts import Message
from ckllm.errors import CkllmError, DataError
from ckllm.evaluation.metrics import best_f1, exact_match
from ckllm.json_lines import read_objects
from ckllm.llm.base import BaseLLM

Kind: TypeAlias = Literal["multiple_choice", "qa"]
Progress = Callable[[int, int], None]
_UNKNOWN = "—"


@dataclass(frozen=True, slots=True)
class Task:
    """One row of a task file."""

    number: int
    question: str
    lang: str
    choices: tuple[str, ...] = ()
    answer: int = 0
    answers: tuple[str, ...] = ()
    context: str = ""

    @property
    def kind(self) -> Kind:
        return "multiple_choice" if self.choices else "qa"


@dataclass(frozen=True, slots=True)
class Score:
    """Means over the rows of one task and language, 0 to 1; a metric that does not apply is None."""

    task: str
    kind: Kind
    lang: str
    """"" for all languages together."""
    rows: int
    accuracy: float | None = None
    exact_match: float | None = None
    f1: float | None = None
    failed: int = 0
    """Rows that could not be scored; they count as wrong."""


@dataclass(frozen=True, slots=True)
class BenchmarkReport:
    model: str
    engine: str
    scores: tuple[Score, ...]

    def as_json(self) -> dict[str, Any]:
        return {"model": self.model, "engine": self.engine, "scores": [asdict(score) for score in self.scores]}

    def as_markdown(self) -> str:
        """A table a kind of task, a row a task and language."""
        lines = [f"Model: {self.model} ({self.engine})", ""]
        for kind, names in (("multiple_choice", ("accuracy",)), ("qa", ("exact_match", "f1"))):
            scores = [score for score in self.scores if score.kind == kind]
            if scores:
                lines += ["| " + " | ".join(("task", "language", "rows", *(name.replace("_", " ") for name in names))) + " |"]
                lines += ["|" + " --- |" * (3 + len(names))]
                lines += [_markdown_row(score, names) for score in scores]
                lines.append("")
        return "\n".join(lines).rstrip() + "\n"


def run_benchmark(llm: BaseLLM, files: Sequence[Path], progress: Progress | None = None, max_tokens: int = 32) -> BenchmarkReport:
    """Score the model on every task file. Raises DataError for a file or row that is not of the form above."""
    loaded = [(file.stem, list(read_tasks(file))) for file in files]
    total = sum(len(tasks) for _name, tasks in loaded)
    scores: list[Score] = []
    done = 0
    for name, tasks in loaded:
        marks: dict[tuple[Kind, str], list[Mapping[str, float]]] = defaultdict(list)
        for task in tasks:
            mark = _mark(llm, task, max_tokens)
            marks[task.kind, task.lang].append(mark)
            done += 1
            if progress is not None:
                progress(done, total)
        scores += _scores(name, marks)
    return BenchmarkReport(llm.model_name, llm.engine, tuple(scores))


def read_tasks(file: Path) -> Iterator[Task]:
    """The rows of a task file, checked."""
    rows, _ = read_objects(file)
    if not rows:
        raise DataError(f"the task file {file} is empty")
    for number, (row, where) in enumerate(rows, 1):
        try:
            yield _task(row, number)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{where}: not a multiple-choice or QA row ({error})") from None


def _task(row: Mapping[str, Any], number: int) -> Task:
    question, lang = row["question"], row.get("lang") or ""
    if not isinstance(question, str) or not isinstance(lang, str):
        raise TypeError("question and lang must be text")
    if "choices" in row:
        choices = _texts(row["choices"], "choices")
        answer = row["answer"]
        if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(choices):
            raise ValueError(f"answer = {answer!r}: expected the place of the right choice, from 0 to {len(choices) - 1}")
        return Task(number, question, lang, choices=choices, answer=answer)
    return Task(number, question, lang, answers=_texts(row["answers"], "answers"), context=str(row.get("context") or ""))


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text.strip() for text in value):
        raise ValueError(f"{name} must be a list of texts")
    return tuple(value)


def _mark(llm: BaseLLM, task: Task, max_tokens: int) -> Mapping[str, float]:
    try:
        if task.kind == "multiple_choice":
            found = llm.loglikelihood(f"Question: {task.question}\nAnswer:", [" " + choice for choice in task.choices])
            best = max(range(len(found)), key=lambda place: found[place].logprob / found[place].tokens)
            return {"accuracy": float(best == task.answer)}
        context = f"{task.context}\n\n" if task.context else ""
        ask = f"{context}Answer the question in a few words.\nQuestion: {task.question}"
        text = llm.run([Message("user", ask)], max_tokens=max_tokens, temperature=0.0)
    except CkllmError as error:
        llm.log_event(f"row {task.number} could not be scored: {error}")
        return {"failed": 1.0}
    return {"exact_match": exact_match(text, task.answers), "f1": best_f1(text, task.answers)}


def _scores(name: str, marks: Mapping[tuple[Kind, str], Sequence[Mapping[str, float]]]) -> Iterator[Score]:
    kinds: tuple[Kind, ...] = ("multiple_choice", "qa")
    for kind in kinds:
        languages = {lang: rows for (own, lang), rows in marks.items() if own == kind}
        for lang, rows in sorted(languages.items()):
            if lang:
                yield _mean(name, kind, lang, rows)
        if languages:
            yield _mean(name, kind, "", [row for rows in languages.values() for row in rows])


def _mean(name: str, kind: Kind, lang: str, rows: Sequence[Mapping[str, float]]) -> Score:
    def mean(metric: str) -> float:
        return sum(row.get(metric, 0.0) for row in rows) / len(rows)

    failed = sum(int(row.get("failed", 0)) for row in rows)
    if kind == "multiple_choice":
        return Score(name, kind, lang, len(rows), accuracy=mean("accuracy"), failed=failed)
    return Score(name, kind, lang, len(rows), exact_match=mean("exact_match"), f1=mean("f1"), failed=failed)


def _markdown_row(score: Score, names: Sequence[str]) -> str:
    values = [getattr(score, name) for name in names]
    shown = [_UNKNOWN if value is None else f"{value:.3f}" for value in values]
    return "| " + " | ".join((score.task, score.lang or "all", str(score.rows), *shown)) + " |"
