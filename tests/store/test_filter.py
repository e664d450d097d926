"""Conditions: what they accept, how they are written for Milvus, and that they cannot break out."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckllm.contracts import Access
from ckllm.errors import UsageError
from ckllm.store.base import Filter
from ckllm.store.filter import COLUMNS, expression, parse_where


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("", ""),
        (None, ""),
        ({}, ""),
        ("lang == 'hi'", '(lang == "hi")'),
        ("lang=='hi' and page<=3 or not title != \"x\"", '(((lang == "hi") and (page <= 3)) or (not (title != "x")))'),
        ("2 <= page < 5", "(page >= 2 and page < 5)"),
        ("page in (1, 2) ", "(page in [1, 2])"),
        ("section not in ['a', 'b']", '(section not in ["a", "b"])'),
        ("ingested_at > 5", "(ingested_at > 5.0)"),
        ({"lang": "hi", "page": [1, 2]}, 'lang == "hi" and page in [1, 2]'),
        ({"page": -1}, "page == -1"),
        ("source == 'a\"b\\\\c\\n'", '(source == "a\\"b\\\\c\\n")'),
    ],
)
def test_conditions(given: Any, written: str) -> None:
    assert parse_where(given) == written


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("langs == 'hi'", r"unknown column 'langs'; did you mean 'lang'\? known are source, title"),
        ("groups == 'x'", "unknown column 'groups'"),
        ("audience == ''", "unknown column 'audience'"),
        ("version_id == 'x'", "unknown column"),
        ("page == 'x'", "page is a whole number, and 'x' is not"),
        ("page == True", "page is a whole number"),
        ("page == 1.5", "page is a whole number"),
        ("lang == 3", "lang is text"),
        ("lang == hi", "is not a value for lang.*quotes"),
        ("lang in 'hi'", "wants a list"),
        ("lang is 'hi'", "use =="),
        ("lang", "is not a comparison"),
        ("__import__('os').system('x') == 1", "is not a column"),
        ("lang == 'a') or (1 == 1", "is not a condition"),
        ("page == 1 if page else 2", "is not a comparison"),
        ("(lambda: 1)() == 1", "is not a column"),
        ("lang == f'{1}'", "is not a value"),
        ("page + 1 == 2", "is not a column"),
        ("ingested_at < 1e999", "is not a number"),
        ("page == 99999999999999999999", "out of range"),
        ("lang ==", "is not a condition"),
        ("lang == '\ud800'", "condition|Unicode"),
        ("not " * 80 + "page == 1", "nested too deeply|not a condition"),
        ("x" * 10_001, "10001 characters"),
        ({"groups": "x"}, "unknown column"),
        ({"page": None}, "whole number"),
        ({"lang": ["a", 1]}, "lang is text"),
        ({'lang == "x" or lang': "hi"}, "unknown column"),
    ],
)
def test_what_is_refused_and_why(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        parse_where(given)
    assert "\n" not in str(error.value)


@given(st.text(max_size=40), st.sampled_from(sorted(name for name, kind in COLUMNS.items() if kind is str)))
@settings(deadline=None)
def test_any_text_stays_inside_its_quotes(value: str, column: str) -> None:
    try:
        written = parse_where({column: value})
    except UsageError:
        assert any(0xD800 <= ord(character) <= 0xDFFF for character in value)
        return
    tree = ast.parse(written.replace("\x00", "?"), mode="eval").body
    assert isinstance(tree, ast.Compare) and isinstance(tree.comparators[0], ast.Constant)
    assert tree.comparators[0].value == value.replace("\x00", "?")


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_condition_is_translated_or_refused(text: str) -> None:
    try:
        written = parse_where(text)
    except UsageError:
        return
    assert written.count("(") == written.count(")")


@given(st.lists(st.text(max_size=20), max_size=4))
@settings(deadline=None)
def test_groups_never_reach_the_expression(groups: list[str]) -> None:
    written = expression(Filter(Access("x", tuple(groups)), 'lang == "a"', ("v1",)))
    assert written.startswith('(audience == ""') and written.endswith('and (lang == "a") and version_id not in ["v1"]')
    assert set(written[: written.index(")")]) <= set('(audience == "" or audience like "%|0123456789abcdef|%"')


def test_the_owner_is_not_restricted() -> None:
    assert expression(Filter()) == ""
