"""The ways in which the words of a question can be read next to one table, as sequences of items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from ckllm.records.parts import Item, Kind, Reader
from ckllm.records.question import Question

MOST_READINGS = 8


class NoPlanError(Exception):
    """The question does not fit the table, and why. `fits`: all its words do, so that it may be the table that is meant."""

    def __init__(self, reason: str, *, fits: bool = True) -> None:
        super().__init__(reason)
        self.fits = fits


def readings(question: Question, reader: Reader) -> Iterator[list[Item]]:
    """Sequences of items; a word that may be two things gives a sequence for each."""
    places = set(question.rest)
    choices: list[list[Item]] = []
    taken = ""
    place = 0
    count = 1
    while place < len(question.words):
        if place not in places:
            if any(one.kind in (Kind.COLUMN, Kind.VALUE) and one.whole for one in _content(question, reader, place)):
                taken = question.words[place].text
            place += 1
            continue
        found = _sensible(reader.at(place), question, place)
        if not found:
            part = reader.part(place)
            if part is None:
                raise NoPlanError(f"{question.words[place].text!r} is not accounted for", fits=False)
            found = [part]
        if any(at not in places for at in range(place, found[0].end)):
            raise NoPlanError(f"{question.words[place].text!r} goes on over other words")
        choices.append(found)
        count *= len(found)
        place = found[0].end
    if taken:
        raise NoPlanError(f"{taken!r} is also a column or a value")
    if count <= MOST_READINGS:
        yield from (list(reading) for reading in product(*choices))


def _content(question: Question, reader: Reader, place: int) -> list[Item]:
    """What a word that says what to do could be as well; words like "which" could be nothing else."""
    word = question.words[place]
    return [] if (word.key,) in question.language.function else reader.at(place)


def _sensible(found: Sequence[Item], question: Question, place: int) -> list[Item]:
    """Of the things that the same words may be, those that have to be tried."""
    by_kind = {one.kind: one for one in found}
    text = question.words[place].text
    value, column = by_kind.get(Kind.VALUE), by_kind.get(Kind.COLUMN)
    if column is not None and Kind.HEAD in by_kind:
        by_kind.pop(Kind.HEAD)  # a column of that name says it better
    if column is not None or value is not None or Kind.HEAD in by_kind:
        by_kind.pop(Kind.NAME, None)
    if column is not None and column.whole:
        by_kind.pop(Kind.FUNCTION, None)
    elif Kind.FUNCTION in by_kind:
        by_kind.pop(Kind.COLUMN, None)
        if value is not None and not text.islower():
            by_kind.pop(Kind.FUNCTION)  # IT, the department
        elif value is not None and place + 1 < len(question.words) and not any(text in cells for cells in value.cells.values()):
            by_kind.pop(Kind.VALUE)  # in, where a cell says IN, and more follows
    if Kind.MEASURE in by_kind:
        measure = by_kind[Kind.MEASURE].measure
        assert measure is not None
        if not measure.bare:
            return [by_kind[Kind.MEASURE]]
        if value is not None or Kind.NAME in by_kind:
            by_kind.pop(Kind.MEASURE)
    for kind in (Kind.AND, Kind.OR, Kind.ROWS, Kind.DISTINCT):
        if kind in by_kind and value is None and column is None:
            return [by_kind[kind]]
    return list(by_kind.values())
