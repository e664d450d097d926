"""Terms survive any analyser of Milvus, and what a document says can be asked for in the same words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckllm.store.lexical import query_terms, terms

LANGS = st.sampled_from(["en", "es", "hi", "zh", "ar", "ru", "tr", "de", "te", "th", "fr", "", "xx"])
TEXTS = st.text(max_size=200) | st.text(alphabet="aáßİıñनदीतयार中国ほンไทย٣१12.,'’ \u00a0\u200d\ud800é", max_size=80)


@given(TEXTS, LANGS)
@settings(max_examples=400, deadline=None)
def test_terms_survive_every_analyser(text: str, lang: str) -> None:
    line = terms(text, lang)
    assert re.fullmatch(r"([a-z0-9]+( [a-z0-9]+)*)?", line)
    assert re.findall(r"\w+", line.lower()) == line.split()  # Lite's analyser
    assert all(len(term) <= 27 for term in line.split())


@given(TEXTS, TEXTS, LANGS, LANGS)
@settings(max_examples=400, deadline=None)
def test_a_question_names_terms_of_the_text_it_quotes(before: str, text: str, lang: str, other: str) -> None:
    in_document = set(terms(f"{before}\n{text}\n", lang).split())
    assert set(query_terms(text, [lang]).split()) == set(terms(text, lang).split())
    assert set(query_terms(text, [other, lang]).split()) >= set(terms(text, lang).split())
    assert set(terms(text, lang).split()) <= in_document


@pytest.mark.parametrize(
    ("lang", "one", "other"),
    [
        ("en", "running", "runs"),
        ("en", "Newton's", "newton"),
        ("en", "ＡＢＣ ﬁsh", "abc fish"),
        ("en", "1,000 and 1\u00a0000", "1000 and 1000"),
        ("de", "Häuser", "HAUS"),
        ("es", "montañas", "montaña"),
        ("ru", "реками", "реки"),
        ("hi", "१९४७", "1947"),
        ("en", "3.5", "3,5"),
    ],
)
def test_forms_of_a_word_meet(lang: str, one: str, other: str) -> None:
    assert set(terms(one, lang).split()) == set(terms(other, lang).split()) != set()


@pytest.mark.parametrize(
    ("lang", "one", "other"),
    [("hi", "मंदिर", "मदर"), ("en", "3.5", "35"), ("zh", "中国", "国"), ("en", "1000", "1.5"), ("th", "ไทย", "ไท")],
)
def test_different_things_differ(lang: str, one: str, other: str) -> None:
    assert set(terms(one, lang).split()) != set(terms(other, lang).split())


def test_scripts_without_spaces_give_characters_and_pairs() -> None:
    assert len(terms("中国的首都", "zh").split()) == 9
    assert set(terms("首都", "zh").split()) <= set(terms("中国的首都", "zh").split())


def test_without_a_stemmer_the_beginning_of_a_word_counts() -> None:
    assert set(terms("కుటుంబము", "te").split()) & set(terms("కుటుంబాలు", "te").split())
    assert not set(terms("nyumba", "sw").split()) & set(terms("nyumbu", "en").split())


def test_a_part_of_a_date_is_found() -> None:
    assert "2020" in terms("on 12.05.2020", "en").split()


def test_a_question_is_analysed_under_every_language() -> None:
    asked = query_terms("running montañas", ["en", "es"]).split()
    assert {"run", *terms("montañas", "es").split()} <= set(asked)
    assert query_terms("", ["en"]) == query_terms("… ?", []) == ""
