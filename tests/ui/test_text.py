from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ckllm.contracts import Computed, Sentence
from tests.ui.fake import FakeClient, answer, hit
from ui.answers import drawn, segments, verdict, with_footnotes
from ui.markup import bar, escaped, name_of, plain, seconds, shortened
from ui.session import State
from ui.sources import excerpt
from ui.suggestions import about, suggested, varied


def test_segments_are_the_answer_without_its_brackets() -> None:
    said = "One. [1] [2]\n\nTwo is not so. [12]"
    given = answer(
        "q", answer=said, short_answer=None,
        sentences=(Sentence("One.", 0, 4, True, 1.0, (1, 2)), Sentence("Two is not so.", 14, 28, False, 0.2, (12,))),
    )  # fmt: skip
    kinds = [(one["kind"], one.get("n")) for one in segments(given)]
    assert kinds == [("sentence", None), ("marker", 1), ("marker", 2), ("text", None), ("sentence", None), ("marker", 12)]
    assert segments(given)[3]["text"] == "\n\n"
    assert verdict(given) == "1 of 2 sentences supported by their sources"
    assert not drawn(given, None, "t")["whole"]


def test_quoted_answers_are_told_apart() -> None:
    assert verdict(answer("q", quoted=True)) == "Exact words of the source"
    assert verdict(answer("q")) == "Supported by its source"


def test_computed_answers_are_told_apart_and_rows_read_well() -> None:
    given = replace(answer("q"), computed=Computed("count", "Staff", "doc", (), 2, 9, 2.0))
    given = replace(given, citations=(replace(given.citations[0], quote="| Ann | 3 |"),))
    assert verdict(given) == "Computed from the 9 rows of the table"
    shown = drawn(given, None, "turn")
    assert shown["sources"][0]["quote"] == "Ann · 3"
    assert "“Ann · 3”" in shown["copy"]


def test_footnotes_hold_the_quote_and_its_place() -> None:
    lines = with_footnotes(answer("q")).splitlines()
    assert lines[0] == "The mill was built in 1802. [1]"
    assert lines[2] == "[1] The <i>mill</i>, page 2 · History: “The mill was built in 1802.” (/docs/mill.pdf)"


def test_an_excerpt_marks_the_exact_words() -> None:
    found = excerpt(FakeClient().document_text("d1"), 28, 42)
    assert found["words"] == "<b>Nobody</b> "
    assert not found["cutBefore"]


@given(st.text())
def test_nothing_is_left_of_html_and_markdown(text: str) -> None:
    assert not set("<>\"'") & set(escaped(text))
    line = plain(text)
    marks = [place for place, mark in enumerate(line) if mark in "*_`[]!<:$#~|" and (place == 0 or line[place - 1] != "\\")]
    assert not marks


def test_names_and_times_are_short() -> None:
    assert name_of("/a/b.zip!/inner/c.txt") == "c.txt"
    assert name_of("https://example.org/x/hand%20book.html?q=1") == "hand book.html"
    assert name_of("https://example.org/") == "example.org"
    assert [seconds(one) for one in (0.004, 1.25, 61.0)] == ["4 ms", "1.2 s", "1 min"]
    assert shortened("one two three four", 12) == "one two…"
    assert "width:100.0%" in bar("<x>", 7.0, "told")
    assert "<x>" not in bar("<x>", 7.0, "told")


def test_suggestions_are_in_the_documents_language_and_varied() -> None:
    rows = FakeClient().documents()
    row = type(rows[0])("d3", "/docs/es/guia.docx", "Guía", "LIVE", 1, 0, "es", (), "main")
    assert about(row, [hit(section="Guía › 2 La cosecha")]) == "¿Qué dicen los documentos sobre «La cosecha»?"
    untitled = type(row)("d4", "/docs/notes.txt", "notes.txt", "LIVE", 1, 0, "en", (), "main")
    assert about(untitled, [hit(section="")]) == ""
    assert varied([rows[0], rows[0], row])[1] is row


def test_a_title_without_a_word_is_not_searched_for() -> None:
    client = FakeClient()
    rows = [replace(client.documents()[0], id="d9", title="???")]
    assert suggested(State(client), rows) == []
    assert client.calls == []
