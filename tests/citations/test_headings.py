"""A heading repeats the question's words and answers nothing."""

from __future__ import annotations

from ckllm.citations.attribution import EvidenceIndex
from ckllm.citations.quoting import answering_quotes, joined_quotes, scored_quotes
from ckllm.contracts import Evidence, Hit

TEXT = "## टंकी कितनी बार साफ़ करें\n\nघर की छत पर रखी टंकी को हर छह महीने में एक बार साफ़ करना चाहिए।"


def evidence(text: str) -> Evidence:
    hit = Hit(
        rank=1, score=1.0, text=text, source="/a.md", title="पानी की टंकी", page=None,
        section="पानी की टंकी › टंकी कितनी बार साफ़ करें", start=40, end=40 + len(text), document_id="d", chunk_id="c",
        found_by=("dense",), lang="hi",
    )  # fmt: skip
    return Evidence(1, hit, in_prompt=True)


def test_the_sentence_below_a_heading_is_quoted() -> None:
    index = EvidenceIndex([evidence(TEXT)])
    heading, sentence = (entry.quote for entry in index.sentences)
    assert "##" in heading.text
    cosines = {(1, heading.start, heading.end): 0.95, (1, sentence.start, sentence.end): 0.90}
    assert answering_quotes(scored_quotes("टंकी को कितनी बार साफ़ करना चाहिए?", index, cosines))[0] == sentence


def test_a_heading_is_not_quoted_for_being_close_where_the_reader_finds_no_words() -> None:
    index = EvidenceIndex([evidence(TEXT)])
    heading, sentence = (entry.quote for entry in index.sentences)
    cosines = {(1, heading.start, heading.end): 0.95, (1, sentence.start, sentence.end): 0.85}
    read = [(0.6, heading), (0.5, sentence)]
    assert joined_quotes("टंकी को कितनी बार साफ़ करना चाहिए?", index, read, cosines, words=False)[0][1] == sentence


def test_a_heading_alone_is_not_quoted() -> None:
    index = EvidenceIndex([evidence("## टंकी कितनी बार साफ़ करें")])
    assert answering_quotes(scored_quotes("टंकी?", index, {})) == []
