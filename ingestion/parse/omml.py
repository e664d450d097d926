"""Office Math (ECMA-376 part 1, chapter 22) as LaTeX-like text, so that formulas can be found and quoted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_OPERATORS = {
    "∑": "\\sum",
    "∏": "\\prod",
    "∫": "\\int",
    "∬": "\\iint",
    "∭": "\\iiint",
    "∮": "\\oint",
    "⋃": "\\bigcup",
    "⋂": "\\bigcap",
}
_ACCENTS = {
    "\u0302": "\\hat",
    "\u0303": "\\tilde",
    "\u0304": "\\bar",
    "\u0305": "\\overline",
    "\u20d7": "\\vec",
    "\u0307": "\\dot",
}
_MAX_DEPTH = 60


def math_text(element: Any, depth: int = 0) -> str:
    """The formula below `element` (m:oMath or a part of one)."""
    if depth > _MAX_DEPTH:
        return "".join(element.itertext())
    return "".join(_one(child, depth + 1) for child in element)


def _one(element: Any, depth: int) -> str:
    if not isinstance(element.tag, str):
        return ""
    tag = element.tag.removeprefix(_M)
    if tag == "r":
        return "".join(text.text or "" for text in element if text.tag in (f"{_M}t", f"{_W}t"))
    if tag.endswith("Pr") or element.tag in (f"{_W}del", f"{_W}rPr"):
        return ""
    part = _Parts(element, depth)
    if tag in _SHAPES:
        return _SHAPES[tag](part)
    return math_text(element, depth)


class _Parts:
    """The named arguments of a math object, as text."""

    def __init__(self, element: Any, depth: int) -> None:
        self.element = element
        self.depth = depth

    def text(self, name: str) -> str:
        child = self.element.find(f"{_M}{name}")
        return math_text(child, self.depth).strip() if child is not None else ""

    def all(self, name: str) -> list[str]:
        return [math_text(child, self.depth).strip() for child in self.element.findall(f"{_M}{name}")]

    def value(self, path: str, default: str) -> str:
        child = self.element.find("/".join(f"{_M}{name}" for name in path.split("/")))
        return str(child.get(f"{_M}val", default)) if child is not None else default


def _script(base: str, mark: str, text: str) -> str:
    grouped = f"{{{base}}}" if len(base) > 1 and ("\\frac" in base or " " in base) else base
    return f"{grouped}{mark}{{{text}}}" if text else grouped


def _fraction(part: _Parts) -> str:
    if part.value("fPr/type", "bar") == "lin":
        return f"{part.text('num')}/{part.text('den')}"
    return f"\\frac{{{part.text('num')}}}{{{part.text('den')}}}"


def _radical(part: _Parts) -> str:
    degree = part.text("deg")
    return f"\\sqrt[{degree}]{{{part.text('e')}}}" if degree else f"\\sqrt{{{part.text('e')}}}"


def _nary(part: _Parts) -> str:
    sign = part.value("naryPr/chr", "∫")
    return _script(_script(_OPERATORS.get(sign, sign), "_", part.text("sub")), "^", part.text("sup")) + part.text("e")


def _delimited(part: _Parts) -> str:
    start, end = part.value("dPr/begChr", "("), part.value("dPr/endChr", ")")
    return start + part.value("dPr/sepChr", ",").join(part.all("e")) + end


def _accent(part: _Parts) -> str:
    sign = part.value("accPr/chr", "\u0302")
    return f"{_ACCENTS.get(sign, sign)}{{{part.text('e')}}}"


def _matrix(part: _Parts) -> str:
    return " \\\\ ".join(" & ".join(_Parts(row, part.depth + 1).all("e")) for row in part.element.findall(f"{_M}mr"))


_SHAPES: dict[str, Callable[[_Parts], str]] = {
    "f": _fraction,
    "rad": _radical,
    "nary": _nary,
    "d": _delimited,
    "acc": _accent,
    "m": _matrix,
    "sSup": lambda part: _script(part.text("e"), "^", part.text("sup")),
    "sSub": lambda part: _script(part.text("e"), "_", part.text("sub")),
    "sSubSup": lambda part: _script(_script(part.text("e"), "_", part.text("sub")), "^", part.text("sup")),
    "sPre": lambda part: _script(_script("", "_", part.text("sub")), "^", part.text("sup")) + part.text("e"),
    "func": lambda part: f"{part.text('fName')} {part.text('e')}".strip(),
    "limLow": lambda part: _script(part.text("e"), "_", part.text("lim")),
    "limUpp": lambda part: _script(part.text("e"), "^", part.text("lim")),
    "eqArr": lambda part: " \\\\ ".join(part.all("e")),
    "bar": lambda part: f"\\overline{{{part.text('e')}}}",
    "phant": lambda _: "",
}
