from __future__ import annotations

import pytest

from ckllm.contracts import Message
from ckllm.standalone import standalone_query

FIRST = "Who designed the Kestrel bridge?"
HISTORY = (Message("user", FIRST), Message("assistant", "Ada Brandt."))


@pytest.mark.parametrize(
    "question",
    [
        "And when?", "Why?", "Since when?", "In which year?", "For how many people?", "And the toll for lorries?",
        "And how many trains?", "What about the approach roads?", "How tall is it?",
        "How long did it take her to build the approach roads?", "How much does that cost?", "When was that?",
        "Which one is longer?", "How do I get there?", "What is its length?", "Für wie viele Züge?",
        "Wie hoch ist er?", "Depuis quand ?", "¿Y los trenes?", "¿Cuánto dura eso?", "А когда?",
        "इसका निर्माण कब हुआ और किसने किया?", "它有多高？", "什么时候？", "なぜ？",
    ],
)  # fmt: skip
def test_a_follow_up_is_searched_for_with_the_question_before_it(question: str) -> None:
    assert standalone_query(question, HISTORY) == f"{FIRST} {question}"


@pytest.mark.parametrize(
    "question",
    [
        "What pressure does the main boiler of the Heron reach?", "What is a weir?", "How many ferries are there?",
        "And what is the toll for lorries?", "¿Y cuánto cuesta el túnel?",
        "What is the toll that lorries pay?", "Which one of the ferries is the oldest?",
        "When did Ada Brandt finish her studies?", "Was ist ein Wehr?", "¿Cuál es la altura de la torre?",
        "Tòa tháp đó cao bao nhiêu là đúng?", "ما هو ارتفاع البرج الكبير؟", "Кто построил старый мост?",
        "谁在河上建造了第一座桥？", "ใครเป็นผู้สร้างสะพานแห่งแรก", "最初の橋を建てたのは誰ですか？",
    ],
)  # fmt: skip
def test_a_question_that_stands_alone_is_left_alone(question: str) -> None:
    assert standalone_query(question, HISTORY) == question


def test_without_a_question_before_it_nothing_is_added() -> None:
    assert standalone_query("And when?", ()) == "And when?"


def test_a_follow_up_of_a_follow_up_goes_back_to_what_both_speak_of() -> None:
    history = (Message("user", "How long is the Otter tunnel?"), *HISTORY, Message("user", "When?"))
    assert standalone_query("And how tall is it?", history) == f"{FIRST} And how tall is it?"


def test_what_a_follow_up_names_is_kept() -> None:
    history = (*HISTORY, Message("user", "And the Heron bridge?"), Message("assistant", "Eve Stone."))
    assert standalone_query("When was it opened?", history) == f"{FIRST} And the Heron bridge? When was it opened?"
