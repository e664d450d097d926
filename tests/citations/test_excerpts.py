"""An excerpt is a span of its document with the best sentences and their neighbours in it."""

from __future__ import annotations

from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.excerpts import excerpts
from ckllm.contracts import Evidence, Hit

FIRST = "Alpha stands first. Beta is second. Gamma comes third. Delta goes fourth. Epsilon ends it."
OTHER = "Nothing of this matters. Nor does that."


def evidence() -> list[Evidence]:
    return [
        Evidence(
            marker,
            Hit(
                rank=marker, score=1.0, text=text, source="/a", title="", page=None, section="", start=start,
                end=start + len(text), document_id="d", chunk_id=f"c{marker}", found_by=(), lang="en",
            ),
            in_prompt=False,
        )
        for marker, start, text in ((1, 50, FIRST), (2, 400, OTHER))
    ]  # fmt: skip


def shown(*words: str, most: int = 3) -> tuple[list[str], list[str]]:
    """Excerpts and the passages left out, where the sentences with these words score best, in this order."""
    given = evidence()
    index = EvidenceIndex(given)
    order = {word: len(words) - place for place, word in enumerate(words)}
    scored = sorted(
        ((float(order.get(entry.quote.text.split()[0], 0)), entry.quote) for entry in index.sentences), key=lambda pair: -pair[0]
    )
    found, others = excerpts(scored, index, given, most)
    document = " " * 50 + FIRST + " " * (400 - 50 - len(FIRST)) + OTHER
    assert all(document[hit.start : hit.end] == hit.text for hit in found)
    return [hit.text for hit in found], [hit.text for hit in others]


def test_a_sentence_comes_with_its_neighbours() -> None:
    assert shown("Gamma", most=1) == (["Beta is second. Gamma comes third. Delta goes fourth."], [OTHER])


def test_the_first_and_the_last_have_one_neighbour() -> None:
    assert shown("Alpha", most=1)[0] == ["Alpha stands first. Beta is second."]
    assert shown("Epsilon", most=1)[0] == ["Delta goes fourth. Epsilon ends it."]


def test_several_sentences_of_a_passage_make_one_excerpt() -> None:
    assert shown("Alpha", "Epsilon", most=2) == ([FIRST], [OTHER])


def test_passages_keep_their_order() -> None:
    assert shown("Nor", "Beta", most=2)[0] == ["Alpha stands first. Beta is second. Gamma comes third.", OTHER]


def test_none_means_whole_passages() -> None:
    assert shown("Beta", most=0) == ([FIRST, OTHER], [])
