"""Reading order of a PDF page: characters → fragments (runs without a wide gap) → lines, column by column.

Columns are found by the white gutter between them, as in the recursive X-Y cut (Nagy and Seth 1984), with two changes: lines
that span the gutter cut the page into bands, and a gutter counts only between columns of prose, so that a table's rows stay rows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from ingestion.parse.pdf_glyphs import Glyph, PageGlyphs, Style

_GAP = 1.1
_WORD_GAP = 0.22
_UNNAMED_BULLET = re.compile("[\x80-\x9f\ue000-\uf8ff]")
_MIN_GUTTER = 6.0
_MIN_COLUMN_LINES = 3
_MIN_COLUMN_CHARACTERS = 16
_MAX_SPANNING = 0.35
_MAX_JUMPS = 0.25
_MAX_DEPTH = 6


@dataclass(slots=True)
class Fragment:
    """Characters on one line without a wide gap. Coordinates are turned so that the text runs upright."""

    glyphs: list[Glyph]
    order: int
    x0: float
    y0: float
    x1: float
    y1: float
    spaced: bool = False
    """True where the file itself has a space after it: in scripts that break lines inside words, it ends a word."""

    @property
    def text(self) -> str:
        return "".join(glyph.text for glyph in self.glyphs)

    @property
    def style(self) -> Style:
        return next((glyph.style for glyph in self.glyphs if not glyph.generated), self.glyphs[0].style)

    @property
    def middle(self) -> float:
        return (self.y0 + self.y1) / 2


@dataclass(slots=True)
class Line:
    """Fragments on one line of a column, left to right (right to left where the script runs so)."""

    fragments: list[Fragment] = field(default_factory=list)
    column: int = 0

    @property
    def x0(self) -> float:
        return min(one.x0 for one in self.fragments)

    @property
    def x1(self) -> float:
        return max(one.x1 for one in self.fragments)

    @property
    def y0(self) -> float:
        return min(one.y0 for one in self.fragments)

    @property
    def y1(self) -> float:
        return max(one.y1 for one in self.fragments)

    @property
    def text(self) -> str:
        return " ".join(one.text.strip() for one in self.fragments)

    @property
    def size(self) -> float:
        return max(one.style.size for one in self.fragments)

    @property
    def bold(self) -> bool:
        return all(one.style.bold for one in self.fragments)

    @property
    def mono(self) -> bool:
        return all(one.style.mono for one in self.fragments)


def lines_of(page: PageGlyphs) -> list[Line]:
    """The page's lines in reading order. Text turned against the page's main direction comes last."""
    by_angle: dict[int, list[Fragment]] = {}
    for fragment in _fragments(page):
        by_angle.setdefault(fragment.style.angle, []).append(fragment)
    lines: list[Line] = []
    for fragments in sorted(by_angle.values(), key=lambda group: -sum(len(one.glyphs) for one in group)):
        columns = [0]
        for run in _ordered(fragments, 0):
            lines.extend(_joined(run, columns[0]))
            columns[0] += 1
    return lines


def _fragments(page: PageGlyphs) -> list[Fragment]:
    """Cut pdfium's sequence of characters where a line ends, or where a gap is wider than a word space.

    Only places count: pdfium's own line ends also come where the font changes in the middle of a line.
    """
    found: list[Fragment] = []
    run: list[Glyph] = []
    last: tuple[float, float, float, float] | None = None
    for glyph in page.glyphs:
        if glyph.generated or glyph.text == " ":
            if run and glyph.text != "\n":
                run.append(glyph)
            continue
        box = _upright(glyph, page)
        if last is not None and (_is_apart(last, box, glyph.style.size) or run[0].style.angle != glyph.style.angle):
            _close(run, found)
            run = []
        elif last is not None and run[-1].text != " " and _gap(last, box) > _WORD_GAP * glyph.style.size:
            run.append(Glyph(" ", 0.0, 0.0, 0.0, 0.0, glyph.style, True))
        run.append(glyph)
        last = box
    _close(run, found)
    for fragment in found:
        seen = [glyph for glyph in fragment.glyphs if not glyph.generated and glyph.text != " "]
        boxes = [glyph[1:5] for glyph in seen] if not seen[0].style.angle else [_upright(glyph, page) for glyph in seen]
        fragment.x0, fragment.y0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
        fragment.x1, fragment.y1 = max(box[2] for box in boxes), max(box[3] for box in boxes)
    return found


def _close(run: list[Glyph], found: list[Fragment]) -> None:
    spaced = False
    while run and run[-1].text == " ":
        spaced |= not run.pop().generated
    if not run:
        return
    if _UNNAMED_BULLET.match(run[0].text) and (len(run) == 1 or run[1].text == " "):
        run[0] = run[0]._replace(text="•")
    for place in range(len(run) - 1):
        one, following = run[place], run[place + 1]
        # the ligature lam-alef is one glyph; pdfium turns right-to-left text round by characters, and so splits it wrongly
        if one.text in "اأإآ" and following.text == "ل" and one[1:5] == following[1:5]:
            run[place], run[place + 1] = following, one
    found.append(Fragment(run, len(found), 0.0, 0.0, 0.0, 0.0, spaced))


def _is_apart(last: tuple[float, float, float, float], box: tuple[float, float, float, float], size: float) -> bool:
    height = max(1.0, min(last[3] - last[1], box[3] - box[1]))
    if min(last[3], box[3]) - max(last[1], box[1]) < 0.3 * height:
        return True
    return _gap(last, box) > _GAP * max(size, height * 0.6)


def _gap(last: tuple[float, float, float, float], box: tuple[float, float, float, float]) -> float:
    """White space between two boxes on one line, whichever way it runs; negative where they overlap."""
    return max(box[0] - last[2], last[0] - box[2])


def _upright(glyph: Glyph, page: PageGlyphs) -> tuple[float, float, float, float]:
    """The glyph's box, turned so that its text runs from left to right."""
    angle = glyph.style.angle
    if angle == 90:  # runs downwards
        return glyph.y0, page.width - glyph.x1, glyph.y1, page.width - glyph.x0
    if angle == 270:  # runs upwards
        return page.height - glyph.y1, glyph.x0, page.height - glyph.y0, glyph.x1
    if angle == 180:
        return page.width - glyph.x1, page.height - glyph.y1, page.width - glyph.x0, page.height - glyph.y0
    return glyph.x0, glyph.y0, glyph.x1, glyph.y1


def _ordered(fragments: list[Fragment], depth: int) -> Iterable[list[Fragment]]:
    """Runs of fragments in reading order; a run is what stands in one column between two spanning lines."""
    gutter = _gutter(fragments) if depth < _MAX_DEPTH else None
    if gutter is None:
        yield _in_rows(fragments)
        return
    spanning = sorted((one for one in fragments if one.x0 < gutter < one.x1), key=lambda one: one.middle)
    rest = [one for one in fragments if not one.x0 < gutter < one.x1]
    tops = [one.middle for one in spanning]
    bands: list[tuple[list[Fragment], list[Fragment]]] = [([], []) for _ in range(len(tops) + 1)]
    for one in rest:
        band = sum(top < one.middle for top in tops)
        bands[band][one.x0 >= gutter].append(one)
    pending: list[Fragment] = []
    for place, (left, right) in enumerate(bands):
        if left and right and _is_prose(left) and _is_prose(right):
            if pending:
                yield _in_rows(pending)
                pending = []
            yield from _ordered(left, depth + 1)
            yield from _ordered(right, depth + 1)
        else:
            pending.extend(left + right)
        if place < len(spanning):
            pending.append(spanning[place])
    if pending:
        yield _in_rows(pending)


def _gutter(fragments: list[Fragment]) -> float | None:
    """The x of a white strip with prose on both sides that few lines cross, None where there is none."""
    if len(fragments) < 2 * _MIN_COLUMN_LINES:
        return None
    left, right = min(one.x0 for one in fragments), max(one.x1 for one in fragments)
    edges = sorted({round(one.x1, 1) for one in fragments} | {round(one.x0, 1) for one in fragments})
    best: tuple[float, float] | None = None
    for start, end in itertools.pairwise(edges):
        x = (start + end) / 2
        if end - start < _MIN_GUTTER / 2 or not left + 0.15 * (right - left) < x < right - 0.15 * (right - left):
            continue
        crossing = [one for one in fragments if one.x0 < x < one.x1]
        if len(crossing) > _MAX_SPANNING * len(fragments):
            continue
        sides = [one for one in fragments if one.x1 <= x], [one for one in fragments if one.x0 >= x]
        if not all(_is_prose(side) for side in sides) or not _side_by_side(*sides):
            continue
        score = len(crossing) * 20.0 - (end - start)
        if best is None or score < best[0]:
            best = (score, x)
    return best[1] if best else None


def _is_prose(side: list[Fragment]) -> bool:
    """At least three lines that are as long as lines of text, not as cells of a table."""
    if len(side) < _MIN_COLUMN_LINES:
        return False
    lengths = [len(one.glyphs) * (2 if one.text[:1] > "\u2e7f" else 1) for one in side]
    return sum(lengths) / len(lengths) >= _MIN_COLUMN_CHARACTERS


def _side_by_side(left: list[Fragment], right: list[Fragment]) -> bool:
    top = max(min(one.y0 for one in left), min(one.y0 for one in right))
    bottom = min(max(one.y1 for one in left), max(one.y1 for one in right))
    shorter = min(max(one.y1 for one in side) - min(one.y0 for one in side) for side in (left, right))
    return bottom - top > 0.5 * shorter


def _in_rows(fragments: list[Fragment]) -> list[Fragment]:
    """The content stream's own order where it runs down the page, else row by row."""
    ordered = sorted(fragments, key=lambda one: one.order)
    height = median(one.y1 - one.y0 for one in ordered)
    jumps = sum(following.middle < one.middle - height for one, following in itertools.pairwise(ordered))
    if jumps <= max(1, _MAX_JUMPS * len(ordered)) and not _starts_late(ordered, height):
        return ordered
    rows: list[list[Fragment]] = []
    for one in sorted(fragments, key=lambda one: one.middle):
        if rows and abs(one.middle - rows[-1][0].middle) < 0.5 * max(1.0, min(one.y1 - one.y0, rows[-1][0].y1 - rows[-1][0].y0)):
            rows[-1].append(one)
        else:
            rows.append([one])
    return [one for row in rows for one in sorted(row, key=lambda one: -one.x1 if _runs_left(row) else one.x0)]


def _starts_late(ordered: list[Fragment], height: float) -> bool:
    """True where what comes last in the stream stands at the top of the page: titles drawn after the text."""
    return len(ordered) > 2 and ordered[-1].middle < min(one.middle for one in ordered[:-1]) - height


def _runs_left(fragments: Iterable[Fragment]) -> bool:
    text = "".join(one.text for one in fragments)
    rightward = sum("\u0590" <= character <= "\u08ff" or "\ufb1d" <= character <= "\ufefc" for character in text)
    return rightward * 2 > sum(character.isalpha() for character in text) > 0


def _joined(run: list[Fragment], column: int) -> list[Line]:
    """Fragments that follow each other on one line, as lines."""
    lines: list[Line] = []
    for one in run:
        last = lines[-1] if lines else None
        if last is not None and _on_line(last, one):
            last.fragments.append(one)
        else:
            lines.append(Line([one], column))
    for line in lines:
        line.fragments.sort(key=(lambda one: -one.x1) if _runs_left(line.fragments) else (lambda one: one.x0))
    return lines


def _on_line(line: Line, one: Fragment) -> bool:
    last = line.fragments[-1]
    height = max(1.0, min(last.y1 - last.y0, one.y1 - one.y0))
    overlap = min(last.y1, one.y1) - max(last.y0, one.y0)
    apart = one.x0 >= line.x1 - 0.5 * height or one.x1 <= line.x0 + 0.5 * height
    return overlap > 0.6 * height and apart
