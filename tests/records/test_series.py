"""Tables that are split over numbered files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckllm.contracts import Answer
from ingestion import ingest
from tests.records.asking import Rows, asked_about, csv, exact, jsonl

HEAD = ["Parcel", "City", "Weight"]
FIRST: Rows = [["P1", "Oslo", 4], ["P2", "Lyon", 6], ["P3", "Oslo", 5]]
SECOND: Rows = [["P4", "Oslo", 9], ["P5", "Ghent", 2]]
THIRD: Rows = [["P6", "Lyon", 1]]


def ask(folder: Path, question: str, files: dict[str, Rows]) -> Answer:
    with asked_about(folder, {name: csv([HEAD, *rows]) for name, rows in files.items()}) as kb:
        answer = kb.ask(question)
        return exact(kb, answer) if answer.computed else answer


@pytest.mark.parametrize(
    ("question", "short"),
    [
        ("How many parcels are there?", "6"),
        ("How many parcels have the city Oslo?", "3"),
        ("What is the total weight of the parcels?", "27"),
        ("Which parcel has the highest weight?", "P4"),
        ("How many different cities are there?", "3"),
    ],
)
def test_all_files_are_counted_and_named(tmp_path: Path, question: str, short: str) -> None:
    answer = ask(tmp_path, question, {"parcels-01.csv": FIRST, "parcels-02.csv": SECOND, "parcels-03.csv": THIRD})
    assert answer.short_answer == short
    assert "parcels-01.csv, parcels-02.csv, parcels-03.csv" in answer.answer
    assert answer.computed is not None
    assert answer.computed.of == 6


def test_rows_are_cited_from_the_file_that_they_are_in(tmp_path: Path) -> None:
    answer = ask(tmp_path, "List the parcels with the city Oslo.", {"parcels-1.csv": FIRST, "parcels-2.csv": SECOND})
    cited = {(Path(one.source).name, one.quote.split(" | ")[0]) for one in answer.citations}
    assert {("parcels-1.csv", "P1"), ("parcels-1.csv", "P3"), ("parcels-2.csv", "P4")} <= cited


def test_the_one_whose_number_is_given_is_counted_alone(tmp_path: Path) -> None:
    answer = ask(tmp_path, "How many rows are in parcels 02?", {"parcels-01.csv": FIRST, "parcels-02.csv": SECOND})
    assert answer.short_answer == "2"
    assert "“parcels-02.csv”" in answer.answer


@pytest.mark.parametrize(
    "files",
    [
        {"parcels-01.csv": FIRST, "parcels-03.csv": SECOND},
        {"parcels-2.csv": FIRST, "parcels-3.csv": SECOND},
        {"parcels-2023.csv": FIRST, "parcels-2024.csv": SECOND},
        {"parcels-1-1.csv": FIRST, "parcels-1-2.csv": SECOND, "parcels-2-1.csv": THIRD},
        {"parcels-1.csv": FIRST, "parcels-2.csv": [*SECOND, FIRST[0]]},
        {"parcels-1.csv": FIRST, "parcels-2.csv": [["P1", "Oslo", 7], ["P5", "Ghent", 2]]},
        {"parcels-1.csv": FIRST, "parcels-2.csv": [*SECOND, ["a remark"]]},
    ],
    ids=["gap", "no first", "years", "two numbers", "a row twice", "a later state", "one that cannot be read"],
)
def test_what_may_not_be_the_whole_is_not_counted(tmp_path: Path, files: dict[str, Rows]) -> None:
    assert ask(tmp_path, "How many parcels are there?", files).computed is None


def test_a_neighbour_with_another_header_is_no_part(tmp_path: Path) -> None:
    files = {"list-1.csv": csv([HEAD, *FIRST]), "list-2.csv": csv([["Lamp", "Price"], ["L1", 3], ["L2", 4]])}
    with asked_about(tmp_path, files) as kb:
        assert kb.ask("How many parcels are there?").short_answer == "3"


def test_records_of_several_files_are_counted_together(tmp_path: Path) -> None:
    first = [{"parcel": "P1", "city": "Oslo"}, {"parcel": "P2", "city": "Oslo", "weight": 3}]
    second = [{"parcel": "P3", "note": "fragile", "city": "Oslo"}, {"parcel": "P4", "city": "Lyon"}]
    with asked_about(tmp_path, {"parcels-1.jsonl": jsonl(first), "parcels-2.jsonl": jsonl(second)}) as kb:
        answer = exact(kb, kb.ask("How many parcels have the city Oslo?"))
        assert answer.short_answer == "3"
        assert {Path(one.source).name for one in answer.citations} == {"parcels-1.jsonl", "parcels-2.jsonl"}


def test_a_file_with_one_record_is_no_table_and_in_the_way(tmp_path: Path) -> None:
    first = [{"parcel": "P1", "city": "Oslo"}, {"parcel": "P2", "city": "Oslo"}]
    files = {"parcels-1.jsonl": jsonl(first), "parcels-2.jsonl": jsonl([{"parcel": "P3", "city": "Oslo"}])}
    with asked_about(tmp_path, files) as kb:
        assert kb.ask("How many parcels have the city Oslo?").computed is None


def test_parts_that_the_asker_may_not_see_are_not_counted(tmp_path: Path) -> None:
    files = {"parcels-1.csv": csv([HEAD, *FIRST]), "parcels-2.csv": csv([HEAD, *SECOND])}
    with asked_about(tmp_path, files) as kb:
        third = tmp_path / "documents" / "parcels-3.csv"
        third.write_text(csv([HEAD, *THIRD]), encoding="utf-8")
        assert ingest([third], kb, groups=("press",)).added == 1
        assert kb.ask("How many parcels are there?", user="eve").short_answer == "5"
        assert kb.ask("How many parcels are there?").short_answer == "6"
