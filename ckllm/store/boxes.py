"""Boxes of characters: how they are stored, and how those of a quote become one rectangle a line."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ckllm.contracts import Box, PageSpan

_GAP = 3.0
"""A horizontal distance of more line heights than this starts a new rectangle: another column, another table cell."""


def pack(boxes: array[float], block: int) -> Iterator[tuple[int, bytes]]:
    """(block number, compressed float32 of at most `block` characters), in order."""
    values = np.frombuffer(boxes, dtype=np.float32)
    for number, start in enumerate(range(0, len(values), 4 * block)):
        yield number, zlib.compress(values[start : start + 4 * block].tobytes(), 1)


def unpack(blocks: Sequence[bytes]) -> NDArray[np.float32]:
    """Consecutive blocks as one array of shape (characters, 4)."""
    data = b"".join(zlib.decompress(block) for block in blocks)
    return np.frombuffer(data, dtype=np.float32).reshape(-1, 4)


def merge_lines(boxes: NDArray[np.float32], start: int, pages: Sequence[PageSpan]) -> tuple[Box, ...]:
    """One rectangle a line of text.

    `boxes` has shape (characters, 4), x0 y0 x1 y1 in points from the top left, NaN where a character has no place; its first row
    belongs to offset `start` of the text. A new rectangle starts with a new page, where a character does not overlap the
    line vertically, and where it is far to either side of it (both, since scripts run both ways).
    """
    merged: list[Box] = []
    for page in pages:
        first, last = max(page.start - start, 0), min(page.end - start, len(boxes))
        on_page: list[Box] = []
        for x0, y0, x1, y1 in boxes[first:last].tolist():
            if x0 != x0 or y0 != y0 or x1 != x1 or y1 != y1:  # NaN
                continue
            box = Box(page.page, x0, y0, x1, y1)
            if on_page and _continues(on_page[-1], box):
                on_page[-1] = _union(on_page[-1], box)
            else:
                on_page.append(box)
        merged += on_page
    return tuple(Box(b.page, *(round(value, 2) for value in (b.x0, b.y0, b.x1, b.y1))) for b in merged)


def _union(one: Box, other: Box) -> Box:
    return Box(one.page, min(one.x0, other.x0), min(one.y0, other.y0), max(one.x1, other.x1), max(one.y1, other.y1))


def _continues(line: Box, box: Box) -> bool:
    overlap = min(line.y1, box.y1) - max(line.y0, box.y0)
    smaller = min(line.y1 - line.y0, box.y1 - box.y0)
    # a space or a dash may be a box without height: it belongs where it lies inside the line
    if overlap < 0 or overlap < 0.3 * smaller:
        return False
    distance = max(box.x0 - line.x1, line.x0 - box.x1)
    return distance <= _GAP * max(line.y1 - line.y0, box.y1 - box.y0)
