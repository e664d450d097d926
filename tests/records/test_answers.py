"""Count, list and sum questions over ingested tables, end to end."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckllm import from_json
from ckllm.contracts import Done, Message, Retrieved, Routed, Token, Verified
from ckllm.knowledge_base import KnowledgeBase
from ckllm.llm.scripted import ScriptedLLM
from tests.records.asking import Rows, asked_about, csv, exact, html, jsonl

STAFF: Rows = [
    ["Name", "City", "Department", "Age", "Salary", "Hired"],
    ["Anna Schmidt", "Berlin", "IT", 34, "€ 52,000", "2019-03-04"],
    ["Bernd Maier", "Munich", "Sales", 45, "€ 61,500", "2021-07-01"],
    ["Carla Ruiz", "Berlin", "Sales", 29, "", "2020-03-15"],
    ["Dan Wu", "Hamburg", "IT", 51, "€ 70,000", "2015-01-09"],
    ["Eve Stone", "Berlin", "IT", 38, "€ 48,250", "2022-11-30"],
]
PRODUCTS = [
    {"product": "Lamp", "price": 25, "colour": "red", "tags": ["home", "light"]},
    {"product": "Chair", "price": 80.5, "colour": "black", "tags": ["home"]},
    {"product": "Pen", "price": 2, "colour": "red"},
    {"product": "Desk", "price": 210, "colour": "brown", "note": "second hand\n\nproduct: Fake\ncolour: red"},
]
BRIDGES: Rows = [
    ["Bridge", "River", "Length (m)"],
    ["Kestrel", "Venn", "1,204"],
    ["Old ferry crossing", "Venn", "310"],
    ["Harrow", "Ilm", "96"],
]


def workbook() -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    first = book.active
    first.title = "Orders 2022"
    for row in (["Order ID", "Status", "Total"], ["A-1", "open", 10], ["A-2", "paid", 20], ["A-3", "open", 5]):
        first.append(row)
    second = book.create_sheet("Orders 2023")
    for row in (["Order ID", "Status", "Total"], ["B-1", "paid", 7], ["B-2", "open", 30], ["B-3", "paid", 4]):
        second.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def word() -> bytes:
    import docx

    made = docx.Document()
    made.add_heading("Vehicles", 1)
    table = made.add_table(rows=0, cols=3)
    for row in (
        ["Vehicle", "Depot", "Seats"],
        ["Bus 7", "North", "40"],
        ["Bus 9", "", "52"],
        ["Van 2", "", "9"],
        ["Van 4", "South", "8"],
    ):
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    table.cell(1, 1).merge(table.cell(3, 1))  # Bus 7, Bus 9 and Van 2 share one cell: North
    stream = io.BytesIO()
    made.save(stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    files: dict[str, str | bytes] = {
        "staff.csv": csv(STAFF), "products.jsonl": jsonl(PRODUCTS), "bridges.html": html(BRIDGES, "Bridges"),
        "orders.xlsx": workbook(), "vehicles.docx": word(),
    }  # fmt: skip
    with asked_about(tmp_path_factory.mktemp("tables"), files) as opened:
        yield opened


@pytest.mark.parametrize(
    ("question", "number", "conditions"),
    [
        ("How many rows of staff.csv have the city Berlin?", 3, ("City = Berlin",)),
        ("how many staff rows are in IT?", 3, ("Department = IT",)),
        ("How many staff rows are in BERLIN or Munich?", 4, ("City = Berlin / Munich",)),
        ("How many staff rows have department IT and an age of more than 35?", 2, ("Department = IT", "Age > 35")),
        ("How many rows of staff have a salary over 50,000?", 3, ("Salary > 50000",)),
        ("How many rows of staff were hired in March?", 2, ("Hired = *-03",)),
        ("How many rows of staff were hired between 2019 and 2021?", 3, ("Hired 2019–2021",)),
        ("How many rows of staff were hired after 15 March 2020?", 2, ("Hired > 2020-03-15",)),
        ("How many different cities are there in the staff table?", 3, ()),
        ("How many products have the colour red?", 2, ("colour = red",)),
        ("How many products have a price below 30?", 2, ("price < 30",)),
        ("How many products are there?", 4, ()),
        ("How many products with tags home are there?", 2, ("tags ∋ home",)),
        ("How many products with tags light are there?", 1, ("tags ∋ light",)),
        ("How many bridges have the river Venn?", 2, ("River = Venn",)),
        ("How many bridges have a length above 300 m?", 2, ("Length (m) > 300 m",)),
        ("How many orders 2022 have the status open?", 2, ("Status = open",)),
        ("How many orders 2023 have the status open?", 1, ("Status = open",)),
        ("How many vehicles are in the depot North?", 3, ("Depot = North",)),
        ("How many vehicles have 40 seats?", 1, ("Seats = 40",)),
    ],
)
def test_counts(kb: KnowledgeBase, question: str, number: int, conditions: tuple[str, ...]) -> None:
    answer = exact(kb, kb.ask(question))
    assert answer.computed is not None
    assert (answer.computed.value, answer.computed.conditions) == (number, conditions)
    assert answer.short_answer == str(number)
    assert not answer.refused
    rows = {citation.quote for citation in answer.citations} - {" | ".join(map(str, STAFF[0]))}
    assert len(rows) == number or conditions == ()


@pytest.mark.parametrize(
    ("question", "number"),
    [
        ("¿Cuántas filas de staff tienen la city Berlin?", 3),
        ("Wie viele Zeilen von staff haben age über 35?", 3),
        ("Combien de lignes de staff ont city Berlin ?", 3),
        ("staff की कितनी पंक्तियाँ city Berlin में हैं?", 3),
        ("staff में age ३५ से अधिक वाली कितनी पंक्तियाँ हैं?", 3),
    ],
)
def test_counts_in_other_languages(kb: KnowledgeBase, question: str, number: int) -> None:
    answer = exact(kb, kb.ask(question))
    assert answer.short_answer == str(number)


def test_the_sentence_is_in_the_language_of_the_question(kb: KnowledgeBase) -> None:
    assert kb.ask("Wie viele Zeilen von staff haben city Berlin?").answer.startswith("3 der 5 Zeilen")
    assert kb.ask("¿Cuántas filas de staff tienen city Berlin?").answer.startswith("3 de las 5 filas")


@pytest.mark.parametrize(
    ("question", "items"),
    [
        ("List all products with the colour red.", ["Lamp", "Pen"]),
        ("Which products have a price above 20?", ["Lamp (price: 25)", "Chair (price: 80.5)", "Desk (price: 210)"]),
        ("Which product has the highest price?", ["Desk (price: 210)"]),
        ("Which bridges cross the river Venn?", []),  # "cross" is in no column
        ("Which of the bridges have the river Venn?", ["Kestrel", "Old ferry crossing"]),
        ("List the cities of the staff table", ["Berlin", "Munich", "Hamburg"]),
        ("List the names and ages of staff in Munich", ["Bernd Maier (Age: 45)"]),
        ("Which vehicles are in the depot South?", ["Van 4"]),
        ("Nenne alle vehicles mit depot South", ["Van 4"]),
    ],
)
def test_lists(kb: KnowledgeBase, question: str, items: list[str]) -> None:
    answer = kb.ask(question)
    if not items:
        assert answer.computed is None
        return
    exact(kb, answer)
    assert [sentence.text for sentence in answer.sentences[1:]] == [f"• {item}" for item in items]
    quotes = {citation.marker: citation.quote for citation in answer.citations}
    for sentence, item in zip(answer.sentences[1:], items, strict=True):
        assert item.split(" (")[0] in quotes[sentence.citations[0]]


@pytest.mark.parametrize(
    ("question", "short"),
    [
        ("What is the average age of staff in Berlin?", "33.6667"),
        ("What is the total salary in the staff table?", "€231750"),
        ("What is the lowest salary in department IT?", "€48250"),
        ("What is the highest price of the products?", "210"),
        ("What is the sum of the length of the bridges?", "1610 m"),
    ],
)
def test_sums_and_extremes(kb: KnowledgeBase, question: str, short: str) -> None:
    assert exact(kb, kb.ask(question)).short_answer == short


def test_rows_without_a_value_are_told(kb: KnowledgeBase) -> None:
    answer = exact(kb, kb.ask("How many rows of staff have a salary over 50,000?"))
    assert "not counted: 1" in answer.answer


def test_nothing_that_matches_is_an_answer_too(kb: KnowledgeBase) -> None:
    answer = exact(kb, kb.ask("How many products have a price above 1000?"))
    assert answer.answer.startswith("None of the 4 rows")
    assert answer.computed is not None
    assert answer.computed.value == 0


@pytest.mark.parametrize(
    "question",
    [
        "How many products do not have the colour red?",
        "How many products are there per colour?",
        "How many products have the colour red or a price above 20?",
        "How many products have the colour purple?",
        "How many products are cheap?",
        "How many customers are there?",
        "How many seats does Bus 7 have?",
        "How many orders have the status open?",  # of which year?
        "How many rows are there?",  # of which table?
        "How many vehicles have the depot North, apart from Bus 7?",
        "Which staff earn most?",
        "Who is in Berlin?",
        "How old is Anna Schmidt?",
        "Why are so many staff in Berlin?",
        "What is the average of the staff table?",
        "What is the total city of staff?",
        "How many staff rows have an age above old?",
        "List",
        "How many",
        "How many staff rows were hired before March?",  # of which year?
        "How many bridges have a length above 300 kg?",
        "How many bridges have a length above 1.000.0?",
    ],
)
def test_what_is_not_certain_is_left_to_the_usual_path(kb: KnowledgeBase, question: str) -> None:
    assert kb.ask(question).computed is None


def test_the_model_is_not_asked(kb: KnowledgeBase) -> None:
    llm = kb.llm
    assert isinstance(llm, ScriptedLLM)
    events = list(kb.stream("How many products have the colour red?"))
    assert [type(event) for event in events] == [Retrieved, Routed, Verified, Done]
    assert not any(isinstance(event, Token) for event in events)
    done = events[-1]
    assert isinstance(done, Done)
    assert done.answer.usage.completion_tokens == 0


def test_json_there_and_back(kb: KnowledgeBase) -> None:
    answer = kb.ask("Which products have a price above 20?")
    assert answer.as_json()["computed"]["conditions"] == ("price > 20",)
    assert from_json.answer(answer.as_json()).computed == answer.computed
    assert "computed" not in kb.ask("Who painted the bridge?").as_json()


def test_a_follow_up_is_left_to_the_model(kb: KnowledgeBase) -> None:
    history = (Message("user", "How many staff rows are in Berlin?"), Message("assistant", "3"))
    assert kb.ask("And in Munich?", history=history).computed is None


def test_a_condition_on_documents_is_kept(kb: KnowledgeBase) -> None:
    assert kb.ask("How many orders have the status open?", where="page == 2").short_answer == "1"
    assert kb.ask("How many products are there?", where='title == "staff.csv"').computed is None


def test_rows_of_documents_that_a_user_may_not_see_are_not_counted(tmp_path: Path) -> None:
    question = "How many products have the colour red?"
    with asked_about(tmp_path, {"products.jsonl": jsonl(PRODUCTS)}, groups=("board",)) as kb:
        assert kb.ask(question).short_answer == kb.ask(question, user="ana").short_answer == "2"
        assert kb.ask(question, user="bo").computed is None
        assert kb.ask(question, user="eve").computed is None


def test_a_table_cut_into_many_chunks_is_counted_whole(tmp_path: Path) -> None:
    rows = [["Meter ID", "Town", "Reading"], *([f"M-{at}", ["Oslo", "Lyon", "Bergen"][at % 3], at] for at in range(900))]
    with asked_about(tmp_path, {"meters.csv": csv(rows)}) as kb:
        answer = exact(kb, kb.ask("How many meters have the town Lyon?"))
        assert answer.short_answer == "300"
        assert len(answer.citations) == 11  # ten rows, and the header beside the note of how many more there are
        assert "not cited: 290" in answer.answer
        listed = exact(kb, kb.ask("Which meters have a reading of at least 840?"))
        assert sum(sentence.text.startswith("•") for sentence in listed.sentences) == 50
        assert "not listed: 10" in listed.answer
        chunks = {citation.chunk_id for citation in listed.citations}
        assert len(chunks) > 1
        assert all(any(entry.hit.chunk_id == one for entry in listed.evidence) for one in chunks)


def test_the_language_model_is_not_loaded_for_what_rows_answer(tmp_path: Path) -> None:
    rows = [["Hall", "Lamps"], ["North", 3], ["South", 5], ["West", 8]]
    with asked_about(tmp_path, {"halls.csv": csv(rows), "note.txt": "The north hall was painted green in May."}) as kb:
        assert kb.ask("How many halls are there?").computed
        assert not kb._parts.warming and not kb._parts.llm.taken()
        kb.ask("When was the north hall painted?")
        assert kb._parts.warming
