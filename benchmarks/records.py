"""Questions about rows: how many are answered, how many of these rightly, how many are passed on, and how quickly.

    python -m benchmarks.records [--seed 7] [--rows 100000] [--wrong]

Tables are made here, in CSV, XLSX, HTML, Markdown and JSON Lines, all in one collection, so that every table is beside its
rivals. The truth is counted over the values that the tables were made from, not over what was stored. `held_out` kinds were not
looked at while the rules were written. Traps are questions that look as if rows answered them and that must be passed on.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckllm.assembly import Replacements, open_knowledge_base
from ckllm.config import load_settings
from ckllm.contracts import Answer
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.knowledge_base import KnowledgeBase
from ckllm.llm.scripted import ScriptedLLM
from ckllm.store.memory import MemoryStore
from ingestion import ingest

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A kind of table: `key` names a row, `category` repeats, `amount` is a number, `when` a date or a year."""

    file: str
    noun: str
    rows: tuple[Row, ...]
    key: str
    category: str
    amount: str
    when: str
    held_out: bool


@dataclass(frozen=True, slots=True)
class Case:
    question: str
    truth: float | frozenset[str] | None
    """A number, the names listed, or None where the question has to be passed on."""
    kind: str
    held_out: bool


def _rows(count: int, columns: dict[str, Callable[[int], Any]]) -> tuple[Row, ...]:
    return tuple({name: make(at) for name, make in columns.items()} for at in range(count))


def _names(rng: random.Random, ending: str) -> list[str]:
    first = [
        "Alder",
        "Birch",
        "Cedar",
        "Dorn",
        "Elm",
        "Fjord",
        "Grove",
        "Hazel",
        "Iris",
        "Juniper",
        "Kelp",
        "Larch",
        "Moss",
        "Nettle",
    ]
    second = ["gate", "brook", "field", "ridge", "mere", "holm", "ford", "wick", "dale", "haven"]
    made = [f"{one}{two}{ending}" for one in first for two in second]
    rng.shuffle(made)
    return made


def _day(rng: random.Random) -> str:
    return f"{rng.randint(2015, 2024)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def tables(rng: random.Random) -> list[Table]:
    """Two kinds that the rules were written with, and five that they were not."""
    people = [f"{one} {two}" for one in ("Ada", "Bo", "Cem", "Dina", "Eli", "Fay") for two in ("Novak", "Okoro", "Lindt", "Ito")]
    lamps, libraries, ferries = _names(rng, " lamp"), _names(rng, " library"), _names(rng, " ferry")
    made: list[tuple[str, str, int, dict[str, Callable[[int], Any]], str, str, str, bool]] = [
        ("employees.csv", "employees", len(people), {
            "Name": lambda at: people[at], "City": lambda _: rng.choice(["Berlin", "Lyon", "Oslo"]),
            "Age": lambda _: rng.randint(20, 64), "Hired": lambda _: _day(rng)}, "City", "Age", "Hired", False),
        ("products.jsonl", "products", 30, {
            "product": lambda at: lamps[at], "colour": lambda _: rng.choice(["red", "green", "blue"]),
            "price": lambda _: rng.randint(5, 300), "launched": lambda _: rng.randint(2001, 2023)},
            "colour", "price", "launched", False),
        ("libraries.xlsx", "libraries", 25, {
            "Library": lambda at: libraries[at], "District": lambda _: rng.choice(["North", "South", "Harbour"]),
            "Volumes": lambda _: f"{rng.randint(1200, 98000):,}", "Opened": lambda _: rng.randint(1880, 2015)},
            "District", "Volumes", "Opened", True),
        ("trees.html", "trees", 40, {
            "Tree ID": lambda at: f"T-{1000 + at}", "Species": lambda _: rng.choice(["oak", "lime", "plane tree"]),
            "Height (m)": lambda _: round(rng.uniform(2, 30), 1), "Planted": lambda _: _day(rng)},
            "Species", "Height (m)", "Planted", True),
        ("invoices.md", "invoices", 20, {
            "Number": lambda at: f"INV-{at + 1:03d}", "Status": lambda _: rng.choice(["paid", "open", "overdue"]),
            "Amount": lambda _: f"€ {rng.randint(20, 9000)}.{rng.randint(10, 99)}", "Issued": lambda _: _day(rng)},
            "Status", "Amount", "Issued", True),
        ("ferries.jsonl", "ferries", 18, {
            "name": lambda at: ferries[at], "operator": lambda _: rng.choice(["Northline", "Blue Star", "Kai & Co"]),
            "capacity": lambda _: rng.randint(80, 2000), "built": lambda _: rng.randint(1965, 2022)},
            "operator", "capacity", "built", True),
        ("samples.csv", "samples", 60, {
            "Sample no": lambda at: 500 + at, "Lab": lambda _: rng.choice(["Delta", "Omega", "West End"]),
            "Lead (mg)": lambda at: "" if at % 11 == 5 else round(rng.uniform(0, 9), 2), "Taken": lambda _: _day(rng)},
            "Lab", "Lead (mg)", "Taken", True),
    ]  # fmt: skip
    return [
        Table(file, noun, _rows(count, columns), next(iter(columns)), category, amount, when, held)
        for file, noun, count, columns, category, amount, when, held in made
    ]


# ------------------------------------------------------------------------------------------------ questions


def cases(table: Table, rng: random.Random) -> Iterator[Case]:
    """Each with the truth, counted over the rows as they were made."""
    noun, category, amount = table.noun, _plain(table.category), _plain(table.amount)
    values = sorted({row[table.category] for row in table.rows})
    held = table.held_out

    def names(kept: Callable[[Row], bool]) -> frozenset[str]:
        return frozenset(str(row[table.key]) for row in table.rows if kept(row))

    def count(kept: Callable[[Row], bool]) -> float:
        return float(len(names(kept)))

    yield Case(f"How many {noun} are there?", count(lambda _: True), "count all", held)
    for value in values:
        yield Case(
            f"How many {noun} have {category} {value}?", count(lambda r, v=value: r[table.category] == v), "count value", held
        )
        yield Case(
            f"Which {noun} have the {category} {value}?", names(lambda r, v=value: r[table.category] == v), "list value", held
        )
        yield Case(
            f"List all {noun} with {category} {value}.", names(lambda r, v=value: r[table.category] == v), "list value", held
        )
    known = sorted(number for row in table.rows if (number := _number(row[table.amount])) is not None)
    for limit in (known[len(known) // 4], known[len(known) // 2]):
        shown = f"{int(limit):,}"
        for words, holds in (
            ("more than", lambda n, at: n > at), ("less than", lambda n, at: n < at), ("at least", lambda n, at: n >= at),
        ):  # fmt: skip
            bound = float(int(limit))

            def kept(row: Row, holds: Any = holds, bound: float = bound) -> bool:
                number = _number(row[table.amount])
                return number is not None and bool(holds(number, bound))

            yield Case(f"How many {noun} have {_a(amount)} of {words} {shown}?", count(kept), "count compared", held)
            yield Case(f"Which {noun} have {_a(amount)} of {words} {shown}?", names(kept), "list compared", held)
            value = rng.choice(values)
            both = count(lambda r, v=value, kept=kept: kept(r) and r[table.category] == v)
            yield Case(f"How many {noun} with {category} {value} have {_a(amount)} of {words} {shown}?", both, "count both", held)
    yield from _dated(table, count)
    yield Case(f"How many different {_plural(category)} are there among the {noun}?", float(len(values)), "count distinct", held)
    top = max(known)
    yield Case(f"Which {noun} have the highest {amount}?", names(lambda r: _number(r[table.amount]) == top), "extreme", held)
    yield Case(f"What is the average {amount} of the {noun}?", sum(known) / len(known), "average", held)
    yield Case(f"What is the lowest {amount} of the {noun}?", min(known), "extreme", held)
    yield from _traps(table, values[0])


def _dated(table: Table, count: Callable[[Callable[[Row], bool]], float]) -> Iterator[Case]:
    when = _plain(table.when).lower()
    for year in (2005, 2019):
        yield Case(
            f"How many {table.noun} were {when} before {year}?", count(lambda r, y=year: int(str(r[table.when])[:4]) < y),
            "dated", table.held_out,
        )  # fmt: skip
        yield Case(
            f"How many {table.noun} were {when} in {year}?", count(lambda r, y=year: int(str(r[table.when])[:4]) == y), "dated",
            table.held_out,
        )  # fmt: skip


def _traps(table: Table, value: str) -> Iterator[Case]:
    noun, category, amount = table.noun, _plain(table.category), _plain(table.amount)
    for question in (
        f"How many {noun} are there per {category}?",
        f"How many {noun} do not have {category} {value}?",
        f"How many {noun} with {category} {value} were sold last week?",
        f"How many {noun} have {category} {value} or {_a(amount)} of more than 3?",
        f"How many visitors came to see the {noun}?",
        f"How many {_plural(amount)} does {table.rows[0][table.key]} have?",
        f"Which {noun} are the best?",
        f"How many other {noun} are there besides {table.rows[1][table.key]}?",
        f"How many {noun} have most of the {category} {value}?",
        f"Why do so many {noun} have {category} {value}?",
    ):
        yield Case(question, None, "trap", table.held_out)


def _plain(name: str) -> str:
    return name.split(" (")[0].lower()


def _plural(word: str) -> str:
    return word[:-1] + "ies" if word.endswith("y") else word if word.endswith("s") else word + "s"


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _number(value: object) -> float | None:
    text = str(value).replace(",", "").replace("€", "").strip()
    return float(text) if text else None


# ------------------------------------------------------------------------------------------------ files


def write(table: Table, folder: Path) -> None:
    path, names = folder / table.file, list(table.rows[0])
    cells = [[str(row[name]) for name in names] for row in table.rows]
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([names, *cells])
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in table.rows), encoding="utf-8")
    elif path.suffix == ".md":
        lines = [f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *cells)]
        path.write_text(f"# {table.noun.title()}\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    elif path.suffix == ".html":
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in cells)
        head = "".join(f"<th>{name}</th>" for name in names)
        path.write_text(
            f"<html><title>{table.noun.title()}</title><h1>{table.noun.title()}</h1>"
            f"<p>{'What the city keeps on record. ' * 12}</p><table><tr>{head}</tr>{body}</table></html>",
            encoding="utf-8",
        )
    else:
        from openpyxl import Workbook

        book = Workbook()
        sheet = book.active
        sheet.title = table.noun.title()
        for row in (names, *cells):
            sheet.append(row)
        other = book.create_sheet("Remarks")
        for row in (("Remark", "Author"), ("Counted by hand", "Ito"), ("Counted again", "Novak")):
            other.append(row)
        book.save(path)


# ------------------------------------------------------------------------------------------------ the run


def judged(answer: Answer, case: Case) -> str:
    """right, wrong or passed."""
    if answer.computed is None:
        return "passed"
    if case.truth is None:
        return "wrong"
    if isinstance(case.truth, frozenset):
        shown = frozenset(
            sentence.text.removeprefix("• ").split(" (")[0] for sentence in answer.sentences if "•" in sentence.text
        )
        return "right" if shown == case.truth or answer.computed.rows == len(case.truth) > 50 else "wrong"
    value = answer.computed.value
    return "right" if value is not None and abs(value - case.truth) < 1e-3 * max(1.0, abs(case.truth)) else "wrong"


def opened(home: Path) -> KnowledgeBase:
    settings = load_settings(home, overrides={}, environment={})
    replacements = Replacements(MemoryStore(), HashingEmbedder(), ScriptedLLM(lambda _messages: "I do not know."))
    return open_knowledge_base(collection="main", settings=settings, replacements=replacements)


def accuracy(seed: int, *, show_wrong: bool) -> dict[str, Any]:
    rng = random.Random(seed)
    made = tables(rng)
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents"
        documents.mkdir()
        for table in made:
            write(table, documents)
        with opened(Path(folder) / "home") as kb:
            assert not ingest([str(documents)], kb).rejected
            asked = [case for table in made for case in cases(table, rng)]
            outcomes = [(case, judged(kb.ask(case.question), case)) for case in asked]
    if show_wrong:
        for case, outcome in outcomes:
            if outcome == "wrong" or (outcome == "passed" and case.truth is not None):
                print(f"{outcome}: {case.question}")
    return {"rows_known": _shares(outcomes, held=False), "rows_held_out": _shares(outcomes, held=True), "kinds": _kinds(outcomes)}


def _shares(outcomes: Sequence[tuple[Case, str]], *, held: bool) -> dict[str, Any]:
    mine = [(case, outcome) for case, outcome in outcomes if case.held_out is held]
    real = Counter(outcome for case, outcome in mine if case.truth is not None)
    traps = Counter(outcome for case, outcome in mine if case.truth is None)
    return {"questions": dict(real), "traps": {"passed": traps["passed"], "computed": traps["wrong"] + traps["right"]}}


def _kinds(outcomes: Sequence[tuple[Case, str]]) -> dict[str, dict[str, int]]:
    kinds: dict[str, Counter[str]] = {}
    for case, outcome in outcomes:
        kinds.setdefault(case.kind, Counter())[outcome] += 1
    return {kind: dict(counts) for kind, counts in kinds.items()}


def speed(rows: int) -> dict[str, Any]:
    """Seconds of a question over one table of that many rows; `rows_s` with reranking, without the search."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "meters.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["Meter ID", "Town", "Reading", "Read on", "Fitter"])
            writer.writerows(
                [f"M-{at:06d}", rng.choice(["Oslo", "Lyon", "Bergen"]), rng.randint(0, 99_999), _day(rng), f"fitter {at % 977}"]
                for at in range(rows)
            )
        with opened(Path(folder) / "home") as kb:
            report = ingest([str(path)], kb)
            times = {}
            for question in (
                "How many meters have the town Oslo?", "How many meters have a reading above 90,000?",
                "What is the average reading of meters in Bergen?", "Which meters were read on 2020-03-04?",
            ):  # fmt: skip
                began = time.perf_counter()
                answer = kb.ask(question)
                times[question] = {
                    "rows_s": round(answer.timings.rerank_s, 3), "total_s": round(time.perf_counter() - began, 3),
                    "computed": answer.computed is not None, "cited": len(answer.citations),
                }  # fmt: skip
    return {"rows": rows, "chunks": report.chunks, "questions": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rows", type=int, default=0, help="also measure one table of so many rows")
    parser.add_argument("--wrong", action="store_true", help="print what was answered wrongly or passed on")
    given = parser.parse_args()
    report = accuracy(given.seed, show_wrong=given.wrong)
    if given.rows:
        report["speed"] = speed(given.rows)
    print(json.dumps(report, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
