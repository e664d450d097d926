"""What a paragraph of a DOCX is: its style's kind and outline level, and the number that Word shows before it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ckllm.contracts import ElementKind
from ckllm.errors import DataError
from ingestion.parse.package import Package

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING = re.compile(r"^(?:heading|überschrift|titre|título|titolo|заголовок|标题|標題|見出し|제목)\s*(\d)$", re.I)
_BULLET = "bullet"
_MAX_CHAIN = 20


@dataclass(slots=True)
class Style:
    name: str = ""
    based_on: str = ""
    outline: int | None = None
    numbering: tuple[str, int] | None = None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class _Level:
    start: int
    format: str
    text: str


@dataclass(slots=True)
class Styles:
    """Styles and numbering of one document; counts the numbered paragraphs as they come."""

    styles: dict[str, Style] = field(default_factory=dict)
    _levels: dict[str, dict[int, _Level]] = field(default_factory=dict)
    _abstract: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, dict[int, int]] = field(default_factory=dict)
    _restarted: set[str] = field(default_factory=set)
    _overrides: dict[str, dict[int, int]] = field(default_factory=dict)
    _changed: dict[str, dict[int, _Level]] = field(default_factory=dict)
    """Levels that a list has otherwise than its abstract definition."""
    _links: dict[str, str] = field(default_factory=dict)
    """Abstract definitions that only name a style whose list they are."""

    @classmethod
    def read(cls, package: Package, document: str) -> Styles:
        styles = cls()
        for part in package.related(document, "styles"):
            styles._read_styles(_root(package, part))
        for part in package.related(document, "numbering"):
            styles._read_numbering(_root(package, part))
        return styles

    def kind(self, properties: Any, is_list: bool) -> tuple[ElementKind, int]:
        """Kind and heading level of a paragraph with these w:pPr."""
        outline = _value(properties, "outlineLvl")
        if outline.isdigit() and int(outline) < 9:
            return ElementKind.HEADING, int(outline) + 1
        for style in self.chain(_value(properties, "pStyle")):
            name = style.name.lower()
            if found := _HEADING.match(name):
                return ElementKind.HEADING, int(found[1])
            if style.outline is not None and style.outline < 9:
                return ElementKind.HEADING, style.outline + 1
            if name == "title":
                return ElementKind.TITLE, 0
            if name == "caption":
                return ElementKind.CAPTION, 0
            if name in ("html preformatted", "code", "source code", "plain text", "macro text") or name.endswith(" code"):
                return ElementKind.CODE, 0
            if name.startswith("list ") and name != "list paragraph":
                return ElementKind.LIST_ITEM, 0
        return (ElementKind.LIST_ITEM if is_list else ElementKind.PARAGRAPH), 0

    def chain(self, style_id: str) -> list[Style]:
        """A style and those that it is based on."""
        found: list[Style] = []
        while style_id in self.styles and len(found) < _MAX_CHAIN:
            found.append(self.styles[style_id])
            style_id = found[-1].based_on
        return found

    def numbering(self, properties: Any) -> tuple[str, int] | None:
        """List id and level of a paragraph, None where it is in no list."""
        own = _numbering(properties)
        if own is None or not own[0]:
            inherited = next((style.numbering for style in self.chain(_value(properties, "pStyle")) if style.numbering), None)
            own = (inherited[0], own[1]) if own is not None and inherited else inherited
        return None if own is None or own[0] in ("", "0") else own

    def number(self, numbering: tuple[str, int]) -> str:
        """The number before the next paragraph of this list, e.g. "2.1."; "" for bullets and unknown lists."""
        list_id, depth = numbering
        abstract = self._linked(list_id)
        levels = self._levels.get(abstract, {}) | self._changed.get(list_id, {})
        level = levels.get(depth)
        if level is None:
            return ""
        counts = self._counts.setdefault(abstract, {})
        if list_id not in self._restarted:
            self._restarted.add(list_id)
            for at, start in self._overrides.get(list_id, {}).items():
                counts[at] = start - 1
        counts[depth] = counts.get(depth, level.start - 1) + 1
        for deeper in [at for at in counts if at > depth]:
            del counts[deeper]
        if level.format in (_BULLET, "none"):
            return ""

        def shown(match: re.Match[str]) -> str:
            at = int(match[1]) - 1
            which = levels.get(at, level)
            return _formatted(counts.get(at, which.start), which.format)

        return re.sub(r"%(\d)", shown, level.text)

    def hidden(self, properties: Any) -> bool:
        """True where a paragraph's style hides it."""
        return any(style.hidden for style in self.chain(_value(properties, "pStyle")))

    def _linked(self, list_id: str) -> str:
        """The abstract definition of a list, by way of a style where it refers to one."""
        abstract = self._abstract.get(list_id, "")
        style = self.styles.get(self._links.get(abstract, ""))
        return self._abstract.get(style.numbering[0], abstract) if style and style.numbering else abstract

    def _read_styles(self, root: Any) -> None:
        for one in root.iter(f"{W}style"):
            properties = one.find(f"{W}pPr")
            outline = _value(properties, "outlineLvl")
            run = one.find(f"{W}rPr")
            self.styles[str(one.get(f"{W}styleId"))] = Style(
                _value(one, "name"),
                _value(one, "basedOn"),
                int(outline) if outline.isdigit() else None,
                _numbering(properties),
                run is not None and is_on(run.find(f"{W}vanish")),
            )

    def _read_numbering(self, root: Any) -> None:
        for abstract in root.iter(f"{W}abstractNum"):
            name = str(abstract.get(f"{W}abstractNumId"))
            self._levels[name] = dict(filter(None, map(_level, abstract.iter(f"{W}lvl"))))
            if link := _value(abstract, "numStyleLink"):
                self._links[name] = link
        for number in root.iter(f"{W}num"):
            list_id = str(number.get(f"{W}numId"))
            self._abstract[list_id] = _value(number, "abstractNumId")
            for override in number.iter(f"{W}lvlOverride"):
                start, depth = _value(override, "startOverride"), str(override.get(f"{W}ilvl") or "")
                if start.isdigit() and depth.isdigit():
                    self._overrides.setdefault(list_id, {})[int(depth)] = int(start)
                levels = dict(filter(None, map(_level, override.iter(f"{W}lvl"))))
                self._changed.setdefault(list_id, {}).update(levels)


def _level(element: Any) -> tuple[int, _Level] | None:
    start, depth = _value(element, "start"), str(element.get(f"{W}ilvl") or "0")
    if not depth.isdigit():
        return None
    shown = _value(element, "numFmt") or "decimal"
    return int(depth), _Level(int(start) if start.isdigit() else 1, shown, _value(element, "lvlText"))


def _root(package: Package, part: str) -> Any:
    from lxml import etree

    try:
        return package.xml(part)
    except DataError:
        return etree.Element("broken")


def _value(parent: Any, name: str) -> str:
    child = parent.find(f"{W}{name}") if parent is not None else None
    return str(child.get(f"{W}val") or "") if child is not None else ""


def _numbering(properties: Any) -> tuple[str, int] | None:
    numbering = properties.find(f"{W}numPr") if properties is not None else None
    if numbering is None:
        return None
    depth = _value(numbering, "ilvl")
    return _value(numbering, "numId"), int(depth) if depth.isdigit() else 0


def is_on(toggle: Any) -> bool:
    return toggle is not None and toggle.get(f"{W}val", "1") not in ("0", "false", "off")


def _formatted(number: int, shown: str) -> str:
    if shown in ("lowerLetter", "upperLetter"):
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter if shown == "lowerLetter" else letter.upper()
    if shown in ("lowerRoman", "upperRoman") and 0 < number < 4000:
        roman = ""
        for value, sign in zip(
            (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
            ["m", "cm", "d", "cd", "c", "xc", "l", "xl", "x", "ix", "v", "iv", "i"],
            strict=True,
        ):
            roman += sign * (number // value)
            number %= value
        return roman if shown == "lowerRoman" else roman.upper()
    return f"{number:02d}" if shown == "decimalZero" else str(number)
