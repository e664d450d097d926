"""An empty conversation: what may be asked. Suggestions are made of titles and headings of the collection, by template."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import streamlit as st

from ckllm.contracts import DocumentRow, Hit
from ui.markup import escaped, name_of, plain, shortened
from ui.session import State

_COUNT = 4
_NUMBER = re.compile(r"^\s*[\d.]+\s+(?=\S)")
_HELLO = '<h1 class="ck-hello">Ask your documents</h1>'
_ABOUT = {
    "ar": "ماذا تقول الوثائق عن «{topic}»؟", "de": "Was steht in den Dokumenten über „{topic}“?",
    "en": "What do the documents say about “{topic}”?", "es": "¿Qué dicen los documentos sobre «{topic}»?",
    "fr": "Que disent les documents sur « {topic} » ?", "hi": "दस्तावेज़ “{topic}” के बारे में क्या कहते हैं?",
    "pt": "O que dizem os documentos sobre “{topic}”?", "ru": "Что говорится в документах о «{topic}»?",
    "zh": "文件中关于“{topic}”说了什么？",
}  # fmt: skip


def welcome(now: State, ask: Callable[[str], None]) -> None:
    """What an empty conversation shows."""
    documents = [row for row in now.client.documents(now.collection) if row.state == "LIVE"]
    with st.container(key="welcome", gap="small"):
        if not documents:
            st.html(_HELLO + '<p class="ck-lead">There are no documents here yet. Add some, and ask.</p>')
            if now.me.may_write and st.button("Add documents", icon=":material/upload_file:", type="primary"):
                now.adding = True
                st.switch_page(st.session_state["pages"]["documents"])
            return
        count = f"{len(documents)} documents" if len(documents) > 1 else "1 document"
        st.html(
            f'{_HELLO}<p class="ck-lead">{count} in <strong>{escaped(now.collection)}</strong>. '
            "Every sentence of an answer is checked against the words it cites.</p>"
        )
        if now.suggested[0] != documents:
            now.suggested = (documents, suggested(now, documents))
        for question in now.suggested[1]:
            st.button(plain(question), key=f"suggested-{question}", on_click=ask, args=(question,))


def suggested(now: State, documents: Sequence[DocumentRow]) -> list[str]:
    """A question about a heading of a few documents, as different ones as there are."""
    found: list[str] = []
    for row in varied(documents)[: 2 * _COUNT]:
        title = row.title or name_of(row.source)
        if not any(character.isalnum() for character in title):
            continue  # there is no word to search for
        hits = now.client.search(title, 8, now.collection, {"document_id": row.id}).hits
        question = about(row, hits)
        if question and question not in found:
            found.append(question)
        if len(found) == _COUNT:
            break
    return found


def varied(documents: Sequence[DocumentRow]) -> list[DocumentRow]:
    """In turn one of each language and folder, so that the first few show what there is."""
    groups: dict[tuple[str, str], list[DocumentRow]] = {}
    for row in documents:
        groups.setdefault((row.lang, row.source.rpartition("/")[0]), []).append(row)
    rounds = max((len(rows) for rows in groups.values()), default=0)
    return [rows[turn] for turn in range(rounds) for rows in groups.values() if turn < len(rows)]


def about(row: DocumentRow, hits: Sequence[Hit]) -> str:
    """A question in the document's language about its first heading below the title; about the title where it has none.

    "" where the title is but the file's name.
    """
    title = row.title or name_of(row.source)
    headings = [part for hit in sorted(hits, key=lambda hit: hit.start) for part in hit.section.split(" › ")[-1:] if part]
    headings = [_NUMBER.sub("", heading) for heading in headings]
    topic = next((heading for heading in headings if heading.casefold() != title.casefold()), title)
    if topic == name_of(row.source) or topic == name_of(row.source).rpartition(".")[0]:
        return ""
    return _ABOUT.get(row.lang, _ABOUT["en"]).format(topic=shortened(topic, 70))
