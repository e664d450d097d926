"""What is in a collection: add, look, remove."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from ckllm.contracts import DocumentRow
from ui import jobs, sources
from ui.connection import guarded
from ui.markup import name_of, plain
from ui.place import Place
from ui.session import State, state

_STATES = {"LIVE": "ready", "FAILED": "failed", "PENDING": "waiting", "PARSED": "read", "EMBEDDED": "almost ready"}


def view() -> None:
    now = state()
    if now.previewed is None:
        with st.container(key="wide"), guarded(now):
            _page(now)
        return
    sources.beside(now, now.previewed, partial(_show, now), _page)


def _show(now: State, place: Place | None) -> None:
    now.previewed = place


def _page(now: State) -> None:
    st.html('<h1 class="ck-title">Documents</h1>')
    if now.me.may_write:
        _add(now)
    jobs.shown(now)
    rows = now.client.documents(now.collection)
    if not rows:
        st.html('<p class="ck-lead">There are no documents in this collection that you may see.</p>')
        return
    _list(now, rows)


def _add(now: State) -> None:
    with st.expander("Add documents", icon=":material/upload_file:", expanded=now.adding, key=f"add-{now.uploads}"):
        files, pages = st.tabs(["Files", "Web pages"])
        with files:
            chosen = st.file_uploader(
                "Files or archives of any supported format", accept_multiple_files=True, key=f"files-{now.uploads}"
            )
        with pages:
            addresses = st.text_area(
                "Addresses, one on a line", key=f"urls-{now.uploads}", placeholder="https://example.org/handbook.html"
            )
        collection, groups = _where_to(now)
        urls = [line.strip() for line in addresses.splitlines() if line.strip()]
        count = len(chosen) + len(urls)
        label = f"Add {count} to {plain(collection)}" if count else "Add"
        if st.button(label, type="primary", disabled=not count or not collection, key="add"):
            if chosen:
                now.client.upload([(file.name, file.getvalue()) for file in chosen], collection, groups)
            if urls:
                now.client.ingest_urls(urls, collection, groups)
            now.uploads += 1
            now.adding, now.collection = False, collection
            st.rerun()


def _where_to(now: State) -> tuple[str, list[str]]:
    """Collection and groups of what is added."""
    names = sorted({now.collection, *(row.name for row in now.client.collections())})
    left, right = st.columns(2)
    with left:
        collection = st.selectbox(
            "Collection", names, index=names.index(now.collection), accept_new_options=True, key=f"into-{now.uploads}",
            help="Type a new name to make a collection.",
        )  # fmt: skip
    with right:
        groups = st.multiselect(
            "Only for these groups", sorted(now.me.groups), accept_new_options=now.me.may_administer, key=f"for-{now.uploads}",
            placeholder="Everybody",
        )  # fmt: skip
    return (collection or "").strip(), [str(group) for group in groups]


def _list(now: State, rows: Sequence[DocumentRow]) -> None:
    found = _filtered(rows)
    table = [
        {
            "Title": row.title or name_of(row.source), "File": name_of(row.source), "State": _STATES.get(row.state, row.state),
            "Pages": str(row.pages or ""), "Passages": row.chunks, "Language": row.lang, "Groups": ", ".join(row.groups),
            "Trouble": row.reason or "",
        }
        for row in found
    ]  # fmt: skip
    # the state first: on a narrow screen the columns after the title are out of sight
    columns = ["State", "Title"] if now.previewed else ["State", "Title", "File", "Pages", "Passages", "Language"]
    columns += [name for name in ("Groups", "Trouble") if not now.previewed and any(line[name] for line in table)]
    actions = st.container()
    event = st.dataframe(
        table, hide_index=True, column_order=columns, on_select="rerun", selection_mode="multi-row", key="documents-table",
        height="auto" if len(found) < 15 else 560,
        column_config={name: st.column_config.TextColumn(width="large") for name in ("Title", "Trouble")}
        | {"Pages": st.column_config.TextColumn(alignment="right")},
    )  # fmt: skip
    picked = [found[number] for number in event["selection"]["rows"] if number < len(found)]
    with actions:
        _actions(now, picked)


def _filtered(rows: Sequence[DocumentRow]) -> list[DocumentRow]:
    failed = sum(row.state == "FAILED" for row in rows)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        words = st.text_input(
            "Find", placeholder=f"Find among {len(rows)} documents", label_visibility="collapsed", key="find-document"
        )
        only = st.toggle(f"Only the {failed} failed", key="only-failed") if failed else False
    wanted = words.casefold().split()
    return [
        row
        for row in rows
        if all(word in f"{row.title} {row.source} {row.lang} {' '.join(row.groups)}".casefold() for word in wanted)
        and (not only or row.state == "FAILED")
    ]


def _actions(now: State, picked: Sequence[DocumentRow]) -> None:
    if not picked:
        st.caption("Choose rows to look at a document or to remove some.")
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        one = picked[0] if len(picked) == 1 and picked[0].state == "LIVE" else None
        if one is not None and st.button("Look", icon=":material/visibility:", key="look"):
            now.previewed = Place(one.id, one.title, one.source, "", 1 if one.pages else None, 0, 0)
            st.rerun()
        if now.me.may_write and st.button(f"Remove {len(picked)}", icon=":material/delete:", key="remove"):
            _confirm(now, picked)
        failed = [row for row in picked if row.state == "FAILED"]
        if failed and now.me.may_write and st.button(f"Try {len(failed)} again", icon=":material/refresh:", key="try-again"):
            left = jobs.again(now, failed)
            if not left:
                st.rerun()
            st.info(f"{len(left)} came from the command line: `ckllm documents retry` tries them again.")
    for row in picked:
        if row.reason:
            st.warning(f"{plain(row.title or name_of(row.source))}: {plain(row.reason)}", icon=":material/error:")


@st.dialog("Remove documents?")
def _confirm(now: State, picked: Sequence[DocumentRow]) -> None:
    for row in picked[:10]:
        st.markdown(f"- {plain(row.title or name_of(row.source))}")
    if len(picked) > 10:
        st.markdown(f"- and {len(picked) - 10} more")
    st.caption("Their text and everything that was made of it go. Files of yours on disk stay; uploaded copies are deleted.")
    if st.button("Remove", type="primary", key="really-remove"):
        with guarded(now):
            for row in picked:
                now.client.remove(row.id)
            now.previewed = None
            st.rerun()
