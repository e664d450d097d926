from __future__ import annotations

import pytest

from ckllm.contracts import Message
from ckllm.retrieval.rewrite import standalone_query

HISTORY = (Message("user", "Who designed the Kestrel bridge?"), Message("assistant", "Ada Brandt."))


@pytest.mark.parametrize(
    "question", ["And when?", "How long did it take her to build the approach roads?", "इसका निर्माण कब हुआ और किसने किया?"]
)
def test_a_follow_up_is_searched_for_with_the_question_before_it(question: str) -> None:
    assert standalone_query(question, HISTORY) == f"Who designed the Kestrel bridge? {question}"


def test_a_question_that_stands_alone_is_left_alone() -> None:
    question = "What pressure does the main boiler of the Heron reach?"
    assert standalone_query(question, HISTORY) == question
    assert standalone_query("And when?", ()) == "And when?"
