"""Rows for the expert `reasoning`: questions that take two facts of the passages, on things that do not exist.

    python -m benchmarks.reasoning_data --out WORK

A passage describes one thing in sentences of a family of templates; a question compares two things. The answer repeats the two
sentences that hold the facts. What follows from them is not taught: no single sentence of a document says it, so the verifier
would drop it; in the test it is as good an answer. Families of templates, names and half of the wordings of the questions lie in
one part each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckllm.contracts import Hit
from ckllm.prompting.grounded import grounded_messages

PROMPTS = {"train": 66, "validation": 8, "test": 50}
ASKED = {"train": 3, "validation": 2, "test": 2}
"""Questions a prompt: in training they share its tokens."""
SEEN = (
    "Which {aux} {more}, {a} or {b}?",
    "{Aux} {a} {more} than {b}?",
    "How do {a} and {b} compare in {noun}?",
)
UNSEEN = (
    "Of {a} and {b}, which {aux} {more}?",
    "Tell me whether {a} {aux} {more} than {b}.",
    "What is the difference in {noun} between {a} and {b}?",
)
"""In the order of SEEN: which, whether, how."""
NAMES = {
    "train": (
        "Arvid",
        "Belmora",
        "Corwin",
        "Delphine",
        "Estrand",
        "Fallow",
        "Garrick",
        "Hollin",
        "Ivarsen",
        "Jessamy",
        "Kellan",
        "Lorne",
        "Marrow",
        "Norrick",
        "Oswin",
        "Pellham",
        "Quillan",
        "Rosmer",
        "Selwyn",
        "Tamsin",
        "Ulver",
        "Varley",
    ),
    "validation": ("Wexcombe", "Yarrow", "Zennor", "Aldous", "Brackley", "Cotter"),
    "test": (
        "Dunmere",
        "Everley",
        "Farrant",
        "Gisling",
        "Harrowby",
        "Isolde",
        "Jorvin",
        "Kestrel",
        "Lindley",
        "Mossgrave",
        "Nettle",
        "Orrin",
        "Penrose",
        "Ravel",
        "Sorrel",
        "Thackray",
    ),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """`sentence` holds {n} and {v}; `more` is said of the larger value, `less` of the smaller one."""

    noun: str
    sentence: str
    aux: str
    more: str
    less: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    """{n}: the thing's own name."""
    measures: tuple[Measure, ...]
    fillers: tuple[str, ...]


FAMILIES: dict[str, tuple[Family, ...]] = {
    "train": (
        Family(
            "the {n} Bridge",
            (
                Measure("length", "{n} is {v} metres long.", "is", "longer", "shorter", 80, 900),
                Measure(
                    "date of opening", "{n} was opened to traffic in {v}.", "was", "opened later", "opened earlier", 1820, 1990
                ),
                Measure("width", "From rail to rail {n} is {v} feet wide.", "is", "wider", "narrower", 12, 90),
            ),
            (
                "It carries the old road to the coast.",
                "Its arches are built of grey stone.",
                "Anglers stand on it on summer evenings.",
            ),
        ),
        Family(
            "the {n} Society",
            (
                Measure(
                    "age", "{n} was founded in {v} by a group of teachers.", "was", "founded later", "founded earlier", 1790, 1990
                ),
                Measure("number of members", "{n} has {v} members.", "is", "larger", "smaller", 40, 2000),
                Measure("annual fee", "A year's membership of {n} costs {v} crowns.", "is", "dearer", "cheaper", 15, 240),
            ),
            ("It meets in the town library.", "Its journal is read in many countries.", "Guests are welcome at its lectures."),
        ),
        Family(
            "the {n} pump",
            (
                Measure("weight", "{n} weighs {v} kilograms.", "is", "heavier", "lighter", 9, 300),
                Measure("output", "In an hour {n} moves {v} litres of water.", "is", "stronger", "weaker", 200, 5000),
                Measure("price", "The list price of {n} is {v} dollars.", "is", "more expensive", "less expensive", 90, 4000),
            ),
            ("Its housing is made of cast iron.", "Spare seals come with it.", "It must be drained before the first frost."),
        ),
        Family(
            "Mount {n}",
            (
                Measure("height", "{n} rises {v} metres above the sea.", "is", "higher", "lower", 600, 5000),
                Measure(
                    "date of the first ascent",
                    "{n} was first climbed in {v}.",
                    "was",
                    "climbed later",
                    "climbed earlier",
                    1800,
                    1980,
                ),
            ),
            ("Pines grow on its lower slopes.", "A hut stands near its northern ridge.", "Its summit is often in cloud."),
        ),
        Family(
            "the {n} archive",
            (
                Measure("number of boxes", "{n} keeps {v} boxes of letters.", "is", "larger", "smaller", 100, 9000),
                Measure(
                    "date of the oldest document",
                    "The oldest document in {n} dates from {v}.",
                    "is",
                    "younger",
                    "older",
                    1200,
                    1900,
                ),
            ),
            ("Readers need a card to enter it.", "It is closed on public holidays.", "Its shelves were given by a printer."),
        ),
        Family(
            "the {n} orchard",
            (
                Measure("area", "{n} covers {v} hectares.", "is", "bigger", "smaller", 3, 120),
                Measure(
                    "harvest", "Last autumn {n} yielded {v} tonnes of apples.", "is", "more fruitful", "less fruitful", 10, 700
                ),
            ),
            (
                "Bees are brought to it in spring.",
                "Its oldest trees stand by the stream.",
                "The fruit is pressed in the village.",
            ),
        ),
    ),
    "validation": (
        Family(
            "the {n} tunnel",
            (
                Measure(
                    "depth", "At its lowest point {n} lies {v} metres under the ground.", "is", "deeper", "shallower", 10, 400
                ),
                Measure("cost", "Digging {n} cost {v} million crowns.", "was", "costlier", "cheaper", 20, 900),
            ),
            ("Its walls are lined with brick.", "Trains pass through it at night."),
        ),
    ),
    "test": (
        Family(
            "Lake {n}",
            (
                Measure("depth", "{n} is {v} metres deep at the dam.", "is", "deeper", "shallower", 8, 300),
                Measure("temperature", "In July the water of {n} reaches {v} degrees.", "is", "warmer", "colder", 9, 27),
            ),
            ("Reeds grow along its southern shore.", "A ferry crosses it twice a day.", "Its islands belong to a monastery."),
        ),
        Family(
            "the steamer {n}",
            (
                Measure(
                    "date of launching",
                    "{n} was launched in {v} at the northern yard.",
                    "was",
                    "launched later",
                    "launched earlier",
                    1850,
                    1935,
                ),
                Measure("speed", "Under full steam {n} makes {v} knots.", "is", "faster", "slower", 7, 31),
                Measure("crew", "{n} sails with a crew of {v}.", "is", "more strongly manned", "more weakly manned", 12, 160),
            ),
            ("Her funnel is painted yellow.", "She carries mail as well as passengers.", "Her bell came from an older ship."),
        ),
        Family(
            "the {n} lamp",
            (
                Measure("brightness", "{n} gives {v} lumens.", "is", "brighter", "dimmer", 120, 3000),
                Measure(
                    "time on one charge", "On one charge {n} burns for {v} hours.", "is", "more enduring", "less enduring", 3, 80
                ),
            ),
            ("Its glass can be replaced.", "It hangs from a brass hook.", "A spare wick lies in its base."),
        ),
        Family(
            "the {n} regiment",
            (
                Measure("date of raising", "{n} was raised in {v}.", "was", "raised later", "raised earlier", 1640, 1890),
                Measure(
                    "number of soldiers", "At full strength {n} counted {v} soldiers.", "was", "larger", "smaller", 300, 2400
                ),
            ),
            ("Its colours hang in the cathedral.", "Recruits came from the hill farms.", "A march was written for it."),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    values: tuple[int, ...]
    sentences: tuple[str, ...]
    """One a measure."""
    text: str


def things(family: Family, names: list[str], rng: random.Random) -> list[Thing]:
    found: list[Thing] = []
    for own in names:
        name = family.name.format(n=own)
        values = tuple(_other(measure, [one.values[n] for one in found], rng) for n, measure in enumerate(family.measures))
        sentences = tuple(_capital(m.sentence.format(n=name, v=v)) for m, v in zip(family.measures, values, strict=True))
        told = [*sentences, *rng.sample(family.fillers, 2)]
        rng.shuffle(told)
        found.append(Thing(name, values, sentences, " ".join(told)))
    return found


def _other(measure: Measure, taken: list[int], rng: random.Random) -> int:
    """A value that no other thing has."""
    while (value := rng.randint(measure.low, measure.high)) in taken:
        pass
    return value


def rows(part: str, seed: int = 0) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"{seed}/{part}")
    for number in range(PROMPTS[part]):
        family = FAMILIES[part][number % len(FAMILIES[part])]
        shown = things(family, rng.sample(NAMES[part], rng.choice((2, 2, 3))), rng)
        hits = [_hit(one, rank) for rank, one in enumerate(shown, 1)]
        for _ in range(ASKED[part]):
            first, second = rng.sample(shown, 2)
            at = rng.randrange(len(family.measures))
            kind, seen = rng.randrange(3), part == "train" or rng.random() < 0.3
            question, conclusion = _asked(family.measures[at], first, second, at, (SEEN if seen else UNSEEN)[kind], kind, rng)
            facts = [first.sentences[at], second.sentences[at]]
            turns = [{"role": m.role, "content": m.content} for m in grounded_messages(question, hits)]
            answer = " ".join(facts)
            yield {
                "messages": [*turns, {"role": "assistant", "content": answer}],
                "source": f"{family.name}/{number}",
                "answers": [answer, f"{answer} {conclusion}", conclusion],
                "set": ("which", "whether", "how")[kind],
                "seen_wording": seen,
                "facts": facts,
                "conclusion": conclusion,
                "question": question,
                "evidence": [{"text": one.text, "title": _capital(one.name)} for one in shown],
            }


def _asked(
    measure: Measure, first: Thing, second: Thing, at: int, wording: str, kind: int, rng: random.Random
) -> tuple[str, str]:
    """(question, conclusion)."""
    more = kind == 2 or rng.random() < 0.5
    word, larger = measure.more if more else measure.less, first.values[at] > second.values[at]
    question = wording.format(
        aux=measure.aux, Aux=measure.aux.capitalize(), more=word, noun=measure.noun, a=first.name, b=second.name
    )
    winner = first if larger == more else second
    negated = kind == 1 and winner is second
    said = f"{first.name} {measure.aux} not {word} than {second.name}" if negated else f"{winner.name} {measure.aux} {word}"
    return _capital(question), f"So {said}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _hit(one: Thing, rank: int) -> Hit:
    return Hit(
        rank=rank,
        score=0.0,
        text=one.text,
        source="",
        title=_capital(one.name),
        page=None,
        section="",
        start=0,
        end=len(one.text),
        document_id=one.name,
        chunk_id=one.name,
        found_by=(),
        lang="en",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for part in PROMPTS:
        made = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(part)]
        file = args.out / f"reasoning.{part}.jsonl"
        file.write_text("".join(made), encoding="utf-8")
        print(f"{file}: {len(made)} rows, sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
