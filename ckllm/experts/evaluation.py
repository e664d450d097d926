"""An expert's answers against references, beside the base model's on the same rows: token F1, exact match, refusals.

A row is one of training (`ckllm.experts.training.rows`) whose response is a right answer. `"answers"` may name others; an empty
list says that there is none, and that the response is how to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ckllm.contracts import Message
from ckllm.errors import DataError
from ckllm.evaluation.metrics import balanced_accuracy, best_f1, exact_match, paired_bootstrap, token_f1, words
from ckllm.experts.training.rows import Row, read_rows_with_fields
from ckllm.llm.base import BaseLLM, GenerationRequest

__all__ = ["Scores", "Task", "compare", "evaluate", "read_tasks", "scores", "tasks_of", "token_f1", "words"]


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt and the answers that are right."""

    messages: tuple[Message, ...]
    references: tuple[str, ...]
    """Empty where the prompt cannot be answered."""
    refusal: str = ""
    """How to say so."""


@dataclass(frozen=True, slots=True)
class Scores:
    rows: int
    f1: float
    """Of the rows that have an answer, as is `exact`."""
    exact: float
    mean_words: float
    answers: tuple[str, ...] = ()
    refusal: float | None = None
    """Balanced accuracy; None where every row, or none, has an answer."""

    def as_json(self) -> dict[str, float | int]:
        found: dict[str, float | int] = {
            "rows": self.rows,
            "f1": round(self.f1, 4),
            "exact": round(self.exact, 4),
            "mean_words": round(self.mean_words, 2),
        }
        return found if self.refusal is None else found | {"refusal": round(self.refusal, 4)}


def read_tasks(file: Path) -> list[Task]:
    """The rows of a file as tasks. Raises DataError with the line's number for a row that is not one."""
    rows, _ = read_rows_with_fields(file)
    return [_task(row, fields.get("answers"), file) for row, fields in rows]


def tasks_of(rows: Sequence[Row]) -> list[Task]:
    """Training rows as tasks, each with its response as the one right answer."""
    return [Task(row.messages, (row.response,)) for row in rows]


def _task(row: Row, answers: object, file: Path) -> Task:
    if answers is None:
        return Task(row.messages, (row.response,))
    if not isinstance(answers, list) or not all(isinstance(one, str) and one.strip() for one in answers):
        raise DataError(f"{file}: answers = {answers!r}: a list of texts is expected, empty where there is no answer")
    return Task(row.messages, tuple(answers), "" if answers else row.response)


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
    return scores(answers, [task.references for task in tasks], {task.refusal for task in tasks if task.refusal})


def scores(answers: Sequence[str], references: Sequence[Sequence[str]], refusals: set[str] | None = None) -> Scores:
    """Means over the answers; each counts with its best reference. `refusals`: the wordings that decline to answer."""
    pairs = list(zip(answers, references, strict=True))
    able = [(answer, right) for answer, right in pairs if right]
    count = max(1, len(able))
    declined = [words(one) for one in refusals or ()]
    return Scores(
        rows=len(answers),
        f1=sum(best_f1(answer, right) for answer, right in able) / count,
        exact=sum(exact_match(answer, right) for answer, right in able) / count,
        mean_words=sum(len(answer.split()) for answer in answers) / max(1, len(answers)),
        answers=tuple(answers),
        refusal=balanced_accuracy([bool(right) for _, right in pairs], [words(answer) in declined for answer, _ in pairs]),
    )


def compare(tasks: Sequence[Task], expert: Scores, base: Scores) -> dict[str, Any]:
    """Both scores, and the expert's gain in F1 with its 95 % interval over the rows that have an answer."""
    able = [number for number, task in enumerate(tasks) if task.references]
    each = [[best_f1(one.answers[n], tasks[n].references) for n in able] for one in (base, expert)]
    gain = asdict(paired_bootstrap(each[0], each[1]))
    return {
        "rows": len(tasks),
        "answerable": len(able),
        "expert": expert.as_json(),
        "base": base.as_json(),
        "gain_f1": {key: round(value, 4) for key, value in gain.items()},
    }
