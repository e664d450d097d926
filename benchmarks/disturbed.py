"""Questions that a passage looks like answering and does not, made from questions that it answers.

The ways are those that people used to write the unanswerable questions of SQuAD 2.0 (Rajpurkar et al. 2018, table 2): a name or
number exchanged, a word for its opposite, a negation. English only: the rows that come of it teach a multilingual encoder to
compare what a question asks for with what the passage states, which is no matter of a language.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_OPPOSITES = """first last, largest smallest, biggest smallest, highest lowest, most least, more less, more fewer, before after,
earliest latest, early late, oldest newest, older younger, increase decrease, increased decreased, north south, northern southern,
east west, eastern western, began ended, begin end, start stop, started stopped, won lost, win lose, male female, men women,
public private, modern ancient, new old, above below, major minor, majority minority, maximum minimum, with without,
longest shortest, long short, strong weak, support oppose, supported opposed, allowed forbidden, accepted rejected,
created destroyed, positive negative, internal external, inside outside, best worst, better worse, common rare,
similar different, join leave, joined left, born buried, founded dissolved, opened closed, added removed, beginning end,
rise fall, causes prevents, cause prevent, caused prevented, able unable, legal illegal, possible impossible, always never,
gained lost, urban rural, upper lower, former current, previous next"""
_PAIRS = [tuple(pair.split()) for pair in _OPPOSITES.replace("\n", " ").split(", ")]
OPPOSITE: dict[str, str] = {second: first for first, second in _PAIRS} | dict(_PAIRS)
_AUXILIARIES = ("is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "could", "would", "should")
NEGATED = {auxiliary: f"{auxiliary}n't" for auxiliary in _AUXILIARIES} | {"can": "can't", "will": "won't"}
_NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b")
_NAME = re.compile(r"\b[A-Z][\w.'-]*\w(?: (?:of |the |de )?[A-Z][\w.'-]*\w)*")
_STARTS = re.compile(r"(?:^|[.!?:] +|\n)[\"'(]*")


@dataclass(frozen=True, slots=True)
class Place:
    """A passage with what it names, and what the rest of its article names."""

    text: str
    names: frozenset[str]
    numbers: frozenset[str]
    others_names: frozenset[str]
    others_numbers: frozenset[str]


def places(texts: Sequence[str]) -> list[Place]:
    found = [(frozenset(named(text)), frozenset(_NUMBER.findall(text))) for text in texts]
    names, numbers = (frozenset().union(*(one[n] for one in found)) for n in (0, 1))
    return [Place(text, mine, my_numbers, names - mine, numbers - my_numbers)
            for text, (mine, my_numbers) in zip(texts, found, strict=True)]  # fmt: skip


def named(text: str) -> list[str]:
    """Capitalised runs that do not begin a sentence."""
    starts = {match.end() for match in _STARTS.finditer(text)}
    return [match.group() for match in _NAME.finditer(text) if match.start() not in starts]


def disturbed(question: str, place: Place, answer: str, rng: random.Random) -> str | None:
    """The question with one thing changed so that `place` no longer answers it; None where nothing can be changed.

    A name or number is exchanged for one that stands elsewhere in the passage, or in another of its article; never for one of
    the answer, and never within words that the answer shares with the question.
    """
    ways: list[Callable[[], str | None]] = [
        lambda: _exchange_name(question, place, answer, rng),
        lambda: _exchange_number(question, place, answer, rng),
        lambda: _opposite(question, rng),
        lambda: _negate(question),
    ]
    weights = [4, 3, 3, 1]  # negation is the easiest to see through: a few are enough
    while ways:
        n = rng.choices(range(len(ways)), weights)[0]
        changed = ways.pop(n)()
        weights.pop(n)
        if changed is not None and changed != question:
            return changed
    return None


def _exchange_name(question: str, place: Place, answer: str, rng: random.Random) -> str | None:
    mine = [name for name in named(question) if name.casefold() in place.text.casefold()]
    if not mine:
        return None
    name = rng.choice(mine)
    pool = place.names if rng.random() < 0.5 else place.others_names
    return _with(question, name, pool, answer, rng)


def _exchange_number(question: str, place: Place, answer: str, rng: random.Random) -> str | None:
    mine = _NUMBER.findall(question)
    if not mine:
        return None
    number = rng.choice(mine)
    alike = {other for other in place.numbers | place.others_numbers if len(other) == len(number)}
    if number.isdigit() and number not in place.text:
        return None
    if number.isdigit() and (not alike or rng.random() < 0.3):
        near = max(1, int(number) + rng.choice([-1, 1]) * rng.randint(1, 12))
        alike = {str(near)} - place.numbers
    return _with(question, number, alike, answer, rng)


def _with(question: str, old: str, pool: frozenset[str] | set[str], answer: str, rng: random.Random) -> str | None:
    told = f"{question} {answer}".casefold()
    words = set(told.split())
    fit = sorted(new for new in pool if new.casefold() not in told and words.isdisjoint(new.casefold().split()))
    return question.replace(old, rng.choice(fit), 1) if fit else None


def _opposite(question: str, rng: random.Random) -> str | None:
    found = [match for match in re.finditer(r"[a-z]+", question) if match.group() in OPPOSITE]
    if not found:
        return None
    match = rng.choice(found)
    return question[: match.start()] + OPPOSITE[match.group()] + question[match.end() :]


def _negate(question: str) -> str | None:
    found = re.search(r"\b(" + "|".join(NEGATED) + r")\b", question)
    if found is None or question.startswith("How many"):
        return None
    return question[: found.start()] + NEGATED[found.group()] + question[found.end() :]
