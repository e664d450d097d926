"""Questions that read as if rows could answer them, and would be answered wrongly: they go the usual way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ckllm.knowledge_base import KnowledgeBase
from tests.records.asking import asked_about, csv

EMPLOYEES = [
    ["Name", "Department", "City", "Salary", "Hired", "Remote"],
    ["Ana Ruiz", "Sales", "Berlin", 52000, "2019-03-01", "no"],
    ["Bo Lee", "Sales", "Munich", 61000, "2018-07-15", "yes"],
    ["Cy Tan", "Operations", "Berlin", 70000, "2021-01-04", "no"],
    ["Di Fox", "Operations", "Hamburg", 83000, "2015-11-30", "yes"],
    ["Ed Orr", "Management", "Berlin", 48000, "2020-02-29", "no"],
]
PARTS = [["Name", "Quantity", "Hall"], ["Bolt", 100, "North"], ["Nut", 50, "North"], ["Washer", 70, "South"]]
DAYS = [["Day", "Temperature"], ["Monday", -10], ["Tuesday", -5], ["Wednesday", 5], ["Thursday", -3], ["Friday", 12]]
REGIONS = [["Region", "Sales"], ["North", 10], ["South", 20], ["West", 5], ["Company total", 35]]
REVENUE = [["Branch", "Revenue (EUR m)"], ["Ulm", 12], ["Bonn", 7], ["Kiel", 3]]


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    files = {"employees.csv": csv(EMPLOYEES), "parts.csv": csv(PARTS), "days.csv": csv(DAYS)}
    files |= {"regions.csv": csv(REGIONS), "branches.csv": csv(REVENUE)}
    with asked_about(tmp_path_factory.mktemp("left"), files) as opened:
        yield opened


def test_the_tables_can_be_counted(kb: KnowledgeBase) -> None:
    assert kb.ask("How many employees are in Berlin?").short_answer == "3"
    assert kb.ask("How many employees have a salary over 50000?").short_answer == "4"
    assert kb.ask("How many regions are there?").short_answer == "3"


@pytest.mark.parametrize(
    "question",
    [
        "How many employees are not in Berlin?",
        "How many employees aren't in Berlin?",
        "Which employees do not have the department Sales?",
        "What is the average salary of employees without the city Berlin?",
        "How many employees have no salary over 60000?",
        "How many other employees are in Berlin?",
        "How many employees are in Sales in Berlin and Operations in Munich?",
        "How many employees were hired in 2019 and in 2020?",
        "How many employees were hired before 2016 and after 2020?",
        "How many employees have a salary under 50000 and over 80000?",
        "How many employees have a salary between 80000 and 50000?",
        "How many employees were there in 2019?",
        "How many employees are operators?",
        "How many employees are managers?",
        "What does salary mean?",
        "Who has the highest salary?",
        "How many parts are in the North?",
        "How many days have a temperature below -5?",
        "How many days have the temperature 5?",
        "How many branches have a revenue over 5000000?",
    ],
)
def test_what_would_be_counted_wrongly_is_not_counted(kb: KnowledgeBase, question: str) -> None:
    assert kb.ask(question).computed is None


@pytest.mark.parametrize(
    "question",
    ["Wie viele Employees sind nicht in Berlin?", "Wie viele Employees haben kein Gehalt?", "¿Cuántos employees hay sin Berlin?"],
)
def test_negation_is_known_in_other_languages(kb: KnowledgeBase, question: str) -> None:
    assert kb.ask(question).computed is None
