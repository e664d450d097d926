"""Conditions on the metadata of chunks, from what a user wrote to what the database evaluates.

A condition is a Python expression over a few columns, read with `ast` and translated node by node; whatever is not on the
whitelist is an error. So a condition can neither name the columns that carry access rights nor close a parenthesis that it has
not opened.

    lang == "hi" and page <= 3        section in ["Introduction", "Abstract"]        not (title == "Draft")        10 <= page < 20
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ckllm.contracts import Access, digest
from ckllm.errors import UsageError
from ckllm.store.base import Filter

COLUMNS: Mapping[str, type] = {
    "source": str, "title": str, "section": str, "lang": str, "kind": str, "document_id": str, "page": int, "ingested_at": float,
}  # fmt: skip
"""What a condition may name, and its type. `page` is 0 where a format has none; `ingested_at` is in seconds since the epoch."""

_COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_LONGEST = 10_000
_DEEPEST = 50


def parse_where(where: str | Mapping[str, Any] | None) -> str:
    """The condition as a Milvus expression, "" for none; in a mapping, a value means equality and a list `in`.

    UsageError names the column, the known columns, and what is wrong.
    """
    if not where:
        return ""
    if isinstance(where, Mapping):
        return " and ".join(_equality(str(name), value) for name, value in where.items())
    if len(where) > _LONGEST:
        raise UsageError(f"--where is {len(where)} characters long: at most {_LONGEST} are accepted")
    try:
        tree = ast.parse(where.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError(f"--where {_shorten(where)} is not a condition: write, say, lang == 'hi' and page <= 3") from None
    return _condition(tree.body, where, 0)


def expression(where: Filter) -> str:
    """The whole filter as a Milvus expression: access first, then the condition, then the versions that are not live."""
    parts = [_access(where.access), f"({where.where})" if where.where else "", _hidden(where.hidden_versions)]
    return " and ".join(part for part in parts if part)


def audience(groups: Sequence[str]) -> str:
    """Groups as one string that `LIKE` can search: `|digest|digest|`, "" for everyone.

    Milvus Lite evaluates array functions row by row in Python (2.5 s at 20,000 chunks) and `LIKE` in C++; a digest holds
    no character that means anything in an expression or a pattern.
    """
    return "".join(f"|{_mark(group)}" for group in sorted(set(groups))) + "|" if groups else ""


def literal(value: str | float | bool) -> str:
    """A value as Milvus writes it. UsageError for text that cannot be sent (lone surrogates) and numbers that are not finite."""
    if isinstance(value, bool):
        raise UsageError("--where: true and false are not values of any column")
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise UsageError(f"--where: {value} is not a number that can be compared")
        return repr(value)
    if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise UsageError(f"--where: {value!r} is not valid Unicode")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f'"{escaped}"'


def literals(values: Sequence[str]) -> str:
    return "[" + ", ".join(literal(value) for value in values) + "]"


def _access(access: Access) -> str:
    if access.everything:
        return ""
    likes = "".join(f' or audience like "%|{_mark(group)}|%"' for group in sorted(set(access.groups)))
    return f'(audience == ""{likes})'


def _mark(group: str) -> str:
    return digest(group, size=8)


def _hidden(versions: Sequence[str]) -> str:
    return f"version_id not in {literals(versions)}" if versions else ""


def _equality(name: str, value: Any) -> str:
    kind = _column(name)
    if isinstance(value, list | tuple | set | frozenset):
        return f"{name} in [{', '.join(_typed(name, kind, each) for each in value)}]"
    return f"{name} == {_typed(name, kind, value)}"


def _condition(node: ast.expr, where: str, depth: int) -> str:
    if depth > _DEEPEST:
        raise UsageError(f"--where {_shorten(where)} is nested too deeply")
    if isinstance(node, ast.BoolOp):
        word = " and " if isinstance(node.op, ast.And) else " or "
        return "(" + word.join(_condition(value, where, depth + 1) for value in node.values) + ")"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return f"(not {_condition(node.operand, where, depth + 1)})"
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        pairs = zip(sides, node.ops, sides[1:], strict=False)
        return "(" + " and ".join(_comparison(left, op, right, where) for left, op, right in pairs) + ")"
    raise UsageError(
        f"--where {_shorten(where)}: {ast.unparse(node)[:60]!r} is not a comparison; "
        f"compare one of {', '.join(COLUMNS)} with a value, joined by and, or, not"
    )


def _comparison(left: ast.expr, op: ast.cmpop, right: ast.expr, where: str) -> str:
    sign = _COMPARISONS.get(type(op))
    if sign is None:
        raise UsageError(f"--where {_shorten(where)}: use ==, !=, <, <=, >, >=, in or not in")
    if isinstance(right, ast.Name) and not isinstance(left, ast.Name) and sign in _MIRRORED:
        left, right, sign = right, left, _MIRRORED[sign]
    if not isinstance(left, ast.Name):
        raise UsageError(f"--where {_shorten(where)}: {ast.unparse(left)[:60]!r} is not a column; known are {', '.join(COLUMNS)}")
    kind = _column(left.id)
    if sign in ("in", "not in"):
        if not isinstance(right, ast.List | ast.Tuple | ast.Set):
            raise UsageError(f"--where: {left.id} {sign} wants a list in brackets, such as {left.id} {sign} [{_example(kind)}]")
        return f"{left.id} {sign} [{', '.join(_typed(left.id, kind, _value(each, left.id, kind)) for each in right.elts)}]"
    return f"{left.id} {sign} {_typed(left.id, kind, _value(right, left.id, kind))}"


def _column(name: str) -> type:
    if name not in COLUMNS:
        near = difflib.get_close_matches(name, COLUMNS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"--where: unknown column {name!r}; {hint}known are {', '.join(COLUMNS)}")
    return COLUMNS[name]


def _value(node: ast.expr, name: str, kind: type) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise UsageError(
            f"--where: {ast.unparse(node)[:60]!r} is not a value for {name}; write {_example(kind)} (text stands in quotes)"
        ) from None


def _typed(name: str, kind: type, given: Any) -> str:
    value = float(given) if kind is float and type(given) is int else given
    if type(value) is not kind or not isinstance(value, str | int | float):
        raise UsageError(f"--where: {name} is {_NAMES[kind]}, and {value!r} is not; write {_example(kind)}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UsageError(f"--where: {name} {value} is out of range")
    return literal(value)


_NAMES: Mapping[type, str] = {str: "text", int: "a whole number", float: "a number"}


def _example(kind: type) -> str:
    return {str: '"hi"', int: "3", float: "1735689600.0"}[kind]


def _shorten(where: str) -> str:
    return repr(where if len(where) <= 80 else where[:77] + "…")
