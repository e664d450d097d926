"""Documents for tests: generated ones, and one made by hand."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

from ckllm.contracts import Document, Element, ElementKind, PageSpan

ALPHABET = "abcdefgh ABC.,;!?\n\n\t-1234567890 ।。؟，नमस्तेदुनिया知识库文档مرحبا 🙂\u200d\u0301"
KINDS = st.sampled_from(list(ElementKind))


@st.composite
def texts(draw: st.DrawFn, most: int = 1500) -> str:
    """Text of words, sentences and long runs without white space, in several scripts."""
    pieces = draw(
        st.lists(
            st.one_of(
                st.text(alphabet=ALPHABET, max_size=80),
                st.sampled_from(
                    ["word " * 40, "A sentence of six short words. " * 12, "知识库。" * 60, "x" * 700, "\n\n", "a | b | c\n" * 20]
                ),
            ),
            max_size=12,
        )
    )
    return "".join(pieces)[:most]


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Documents with elements of all kinds, gaps between them, and pages that begin anywhere."""
    text = draw(texts())
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=16)))
    elements = []
    for start, end in itertools.pairwise(cuts):
        kind = draw(KINDS)
        if draw(st.integers(0, 4)) == 0:
            continue  # a gap
        level = draw(st.integers(1, 4)) if kind in (ElementKind.HEADING, ElementKind.TITLE) else 0
        rows: tuple[int, ...] = ()
        if kind is ElementKind.TABLE:
            rows = (start, *(at + 1 for at in range(start, end - 1) if text[at] == "\n"))
        header = text[start : text.find("\n", start) if "\n" in text[start:end] else end] if rows else ""
        elements.append(Element(kind, start, end, level, None, header, rows))
    starts = sorted({0, *draw(st.sets(st.integers(0, len(text)), max_size=4))}) if draw(st.booleans()) else []
    pages = tuple(
        PageSpan(number, start, end)
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)], strict=False), start=1)
    )
    return Document(draw(st.sampled_from(["", "A title", "t" * 400])), text, tuple(elements), pages)


def document_of(*parts: tuple[ElementKind, str] | tuple[ElementKind, str, int], title: str = "Manual") -> Document:
    """A document of the given parts, with empty lines between them."""
    text, elements = "", []
    for kind, content, *level in parts:
        text += "\n\n" if text else ""
        start = len(text)
        text += content
        rows: tuple[int, ...] = ()
        header = ""
        if kind is ElementKind.TABLE:
            rows = (start, *(start + at + 1 for at, letter in enumerate(content) if letter == "\n"))
            header = content.split("\n", 1)[0]
        elements.append(Element(kind, start, len(text), level[0] if level else 0, None, header, rows))
    return Document(title, text, tuple(elements))
