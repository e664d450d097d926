from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckllm.contracts import Chunk, Document, ElementKind, PageSpan
from ckllm.embedding.hashing import HashingEmbedder
from ingestion.chunk import chunks_of
from ingestion.cut import Costs, with_overlap
from tests.ingestion.documents import document_of, documents

EMBEDDER = HashingEmbedder()
SENTENCE = "The pump must be checked before every start of the machine. "


def chunked(document: Document, chunk_tokens: int = 64, overlap_tokens: int = 8, max_tokens: int = 512) -> list[Chunk]:
    return chunks_of(document, "d", "v", HashingEmbedder(max_tokens=max_tokens), chunk_tokens, overlap_tokens)


@settings(max_examples=150, deadline=None)
@given(documents(), st.integers(16, 80), st.integers(0, 20), st.integers(32, 128))
def test_every_chunk_is_its_span_within_limits_and_nothing_is_left_out(
    document: Document, chunk_tokens: int, overlap_tokens: int, max_tokens: int
) -> None:
    chunks = chunked(document, chunk_tokens, overlap_tokens, max_tokens)
    embedder = HashingEmbedder(max_tokens=max_tokens)
    covered: set[int] = set()
    for chunk in chunks:
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert chunk.text == chunk.text.strip() != ""
        assert len(chunk.text.encode()) <= 65_535
        assert embedder.count_tokens([chunk.text])[0] <= chunk_tokens
        assert embedder.count_tokens([chunk.embedding_text])[0] <= max_tokens
        covered.update(range(chunk.start, chunk.end))
    assert all(at in covered or letter.isspace() for at, letter in enumerate(document.text))
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert len({chunk.chunk_id for chunk in chunks}) == len(chunks)
    ends = [chunk.end for chunk in chunks]
    assert ends == sorted(set(ends)), "chunks follow the text"


@settings(max_examples=100, deadline=None)
@given(documents())
def test_a_chunk_lies_on_one_page(document: Document) -> None:
    for chunk in chunked(document):
        pages = {page.page for page in document.pages if page.start < chunk.end and chunk.start < page.end}
        assert chunk.page is None if not document.pages else pages == {chunk.page}


@settings(max_examples=50, deadline=None)
@given(documents())
def test_chunking_is_deterministic(document: Document) -> None:
    assert chunked(document) == chunked(document)


def test_small_neighbours_under_one_heading_share_a_chunk_and_headings_part_them() -> None:
    document = document_of(
        (ElementKind.HEADING, "Setup", 1), (ElementKind.PARAGRAPH, "Unpack it."), (ElementKind.LIST_ITEM, "Plug it in."),
        (ElementKind.HEADING, "Power", 2), (ElementKind.PARAGRAPH, "Press the button."),
        (ElementKind.HEADING, "Repair", 1), (ElementKind.PARAGRAPH, "Call us."),
    )  # fmt: skip
    chunks = chunked(document)
    assert [chunk.section for chunk in chunks] == ["Setup", "Setup › Power", "Repair"]
    assert chunks[0].text == "Setup\n\nUnpack it.\n\nPlug it in."
    assert chunks[1].context == "Manual › Setup", "a heading that is in the text is not said twice"


def test_a_title_is_said_once() -> None:
    document = document_of(
        (ElementKind.TITLE, "Manual"), (ElementKind.PARAGRAPH, "First."), (ElementKind.HEADING, "## Manual", 1)
    )
    assert {chunk.context for chunk in chunked(document)} == {"Manual"}
    assert [chunk.section for chunk in chunked(document)] == ["", "Manual"]


def test_a_paragraph_that_fits_is_kept_whole_and_a_long_one_is_cut_at_sentences() -> None:
    short, long = SENTENCE * 4, SENTENCE * 30
    document = document_of((ElementKind.PARAGRAPH, short.strip()), (ElementKind.PARAGRAPH, long.strip()))
    chunks = chunked(document, overlap_tokens=0)
    assert chunks[0].text == short.strip()
    assert len(chunks) > 3
    assert all(chunk.text.startswith("The pump") and chunk.text.endswith("machine.") for chunk in chunks)


def test_neighbouring_pieces_overlap_by_whole_sentences() -> None:
    text = " ".join(f"Sentence number {n} says little." for n in range(60))
    chunks = chunked(document_of((ElementKind.PARAGRAPH, text)), chunk_tokens=64, overlap_tokens=16)
    for before, after in itertools.pairwise(chunks):
        shared = text[after.start : before.end]
        assert after.start < before.end and shared.startswith("Sentence") and shared.endswith("little.")
        assert EMBEDDER.count_tokens([shared])[0] <= 20


def test_a_long_table_is_cut_at_rows_with_its_header_in_the_context() -> None:
    rows = "\n".join(["item | price | stock", *(f"part {n} | {n} euro | {n * 3}" for n in range(80))])
    chunks = chunked(document_of((ElementKind.TABLE, rows)))
    assert len(chunks) > 3
    assert chunks[0].text.startswith("item | price") and "item | price" not in chunks[0].context
    for chunk in chunks[1:]:
        assert chunk.context == "Manual\nitem | price | stock"
        assert chunk.text.startswith("part ")
        assert chunk.kind is ElementKind.TABLE
    lines = [line for chunk in chunks for line in chunk.text.split("\n")]
    assert lines == rows.split("\n"), "every row is whole, in one chunk"


def test_code_is_cut_before_definitions() -> None:
    code = "\n".join(f"def function_{n}(value):\n    total = value + {n}\n\n    return total" for n in range(20))
    chunks = chunked(document_of((ElementKind.CODE, code)))
    assert len(chunks) > 3
    assert all(chunk.text.startswith("def ") for chunk in chunks)


def test_pages_are_not_mixed() -> None:
    text = "One page.\n\nAnother page."
    document = Document("t", text, (), (PageSpan(1, 0, 11), PageSpan(2, 11, len(text))))
    assert [(chunk.page, chunk.text) for chunk in chunked(document)] == [(1, "One page."), (2, "Another page.")]


def test_a_run_without_white_space_is_cut_without_parting_letters_from_their_marks() -> None:
    text = "किताबें" * 3000
    chunks = chunked(document_of((ElementKind.PARAGRAPH, text)), chunk_tokens=16)
    assert all(len(chunk.text) <= 16 * 16 for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks).count("क") >= 3000


@pytest.mark.parametrize("cut", range(3, 24))
def test_pieces_that_overlap_in_nothing_but_marks_leave_nothing_out(cut: int) -> None:
    text = "one b" + "\u0308" * 20 + " c"
    (_, end), (start, _) = with_overlap(text, [(0, cut), (cut, len(text))], 1, Costs(HashingEmbedder(8)))
    assert start <= end == cut


def test_a_document_of_white_space_has_no_chunks() -> None:
    assert chunked(Document("t", " \n\t ", ())) == []


@pytest.mark.parametrize("paragraph", [SENTENCE, "word ", "知识库里有很多文档", "x"])
def test_time_grows_with_the_text_and_not_faster(paragraph: str) -> None:
    def seconds(length: int) -> float:
        document = Document("t", paragraph * (length // len(paragraph)), ())
        start = time.thread_time()  # what else the machine does is not counted
        chunked(document, chunk_tokens=256, overlap_tokens=32)
        return time.thread_time() - start

    seconds(10_000)
    small, large = seconds(100_000), seconds(800_000)
    assert large < small * 8 * 3 + 0.2
