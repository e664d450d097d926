from __future__ import annotations

from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckllm.contracts import ElementKind, Source
from ckllm.errors import DataError
from ingestion.parse.language import detect_language
from ingestion.parse.text import TextBuilder, clean
from tests.ingestion.parse.reading import check

SOURCE = Source("/somewhere/report.txt", Path("/somewhere/report.txt"), 1, "")
ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
PIECES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([ElementKind.PARAGRAPH, ElementKind.CODE, ElementKind.LIST_ITEM, ElementKind.NOTE]), ANYTHING),
        st.tuples(st.just(ElementKind.TABLE), st.lists(st.lists(ANYTHING, max_size=3), max_size=4)),
        st.tuples(st.just(ElementKind.HEADING), ANYTHING),
        st.tuples(st.just("page"), st.none()),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(PIECES)
def test_whatever_is_appended_the_promises_hold(pieces: list[tuple[object, object]]) -> None:
    builder, page = TextBuilder("text/plain"), 0
    for kind, content in pieces:
        if kind == "page":
            page += 1
            builder.page(page)
        elif kind is ElementKind.TABLE:
            assert isinstance(content, list)
            builder.table(content)
        else:
            assert isinstance(kind, ElementKind)
            builder.append(kind, str(content), 2 if kind is ElementKind.HEADING else 0)
    if builder.empty:
        with pytest.raises(DataError, match="no text"):
            builder.build("", SOURCE)
    else:
        check(builder.build("", SOURCE))


@given(ANYTHING)
def test_clean_text_can_be_encoded(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert "\0" not in cleaned and "\r" not in cleaned
    assert clean(cleaned) == cleaned


def test_words_are_whole_without_their_soft_hyphens() -> None:
    assert clean("\ufeffHafen\xadmeister\x00") == "Hafenmeister"


def test_surrogate_pairs_become_one_character() -> None:
    assert clean("\ud83d\ude00!") == "😀!"
    assert clean("a\ud83d") == "a�"


def test_boxes_follow_the_text_when_it_is_trimmed() -> None:
    builder = TextBuilder()
    builder.append(ElementKind.PARAGRAPH, "first")
    builder.append(ElementKind.PARAGRAPH, " ab ", boxes=array("f", [9.0] * 4 + [1.0] * 4 + [2.0] * 4 + [9.0] * 4))
    document = builder.build("", SOURCE)
    assert document.boxes is not None
    start = document.text.index("ab")
    assert list(document.boxes[4 * start : 4 * start + 8]) == [1.0] * 4 + [2.0] * 4
    assert document.boxes[0] != document.boxes[0]


def test_a_table_knows_its_header_and_its_rows() -> None:
    builder = TextBuilder()
    builder.table([["name", "age"], ["Ada", "36"], ["", ""], ["Alan", "41"]])
    document = builder.build("", SOURCE)
    (table,) = document.elements
    assert document.text == "name | age\nAda | 36\nAlan | 41"
    assert table.header == "name | age"
    assert [document.text[row:].split("\n")[0] for row in table.rows] == ["name | age", "Ada | 36", "Alan | 41"]


def test_the_title_comes_from_the_properties_then_a_heading_then_the_name() -> None:
    builder = TextBuilder()
    builder.append(ElementKind.PARAGRAPH, "text")
    assert builder.build("", SOURCE).title == "report.txt"
    builder.append(ElementKind.HEADING, "The  heading", 1)
    assert builder.build("", SOURCE).title == "The heading"
    assert builder.build(" given ", SOURCE).title == "given"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The committee will meet again next week to discuss the budget.", "en"),
        ("El comité volverá a reunirse la próxima semana para discutir el presupuesto.", "es"),
        ("समिति बजट पर चर्चा करने के लिए अगले सप्ताह फिर से बैठक करेगी।", "hi"),
        ("委员会将于下周再次开会讨论预算问题。", "zh"),
        ("委員会は来週もう一度集まって予算について話し合います。", "ja"),
        ("위원회는 다음 주에 다시 모여 예산을 논의할 것입니다.", "ko"),
        ("Комитет снова соберется на следующей неделе для обсуждения бюджета.", "ru"),
        ("ستجتمع اللجنة مرة أخرى الأسبوع المقبل لمناقشة الميزانية.", "ar"),
        ("คณะกรรมการจะประชุมอีกครั้งในสัปดาห์หน้า", "th"),
        ("ok", ""),
        ("1234 5678 http://example.org/a/b/c", ""),
    ],
)
def test_the_language_is_told(text: str, code: str) -> None:
    assert detect_language(text) == code


def test_a_declared_language_counts_where_the_text_is_too_short() -> None:
    assert detect_language("ok", "de-AT") == "de"
    assert detect_language("The committee will meet again next week.", "de") == "en"
