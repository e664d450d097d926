"""Beside every page: the collection, the conversations, who is signed in."""

from __future__ import annotations

import streamlit as st

from ckllm.service.nouns import Conversation
from ui.connection import guarded
from ui.markup import escaped, plain, shortened
from ui.session import State
from ui.talk import resume

_SHOWN = 30
_UNNAMED = "New conversation"


def sidebar(now: State) -> None:
    with st.sidebar, guarded(now):
        _collection(now)
        if st.button("New conversation", icon=":material/edit_square:", width="stretch", key="new"):
            now.start()
            _to_chat()
        with st.container(key="conversations", gap=None):
            for one in now.client.conversations()[:_SHOWN]:
                _conversation(now, one)
        if now.me.user:
            _who(now)


def _who(now: State) -> None:
    groups = f" · {', '.join(now.me.groups)}" if now.me.groups else ""
    with st.container(horizontal=True, vertical_alignment="center", key="who"):
        st.html(f'<div class="ck-faint" dir="auto">{escaped(now.me.user)}{escaped(groups)}</div>', width="stretch")
        if now.key:
            st.button("Sign out", icon=":material/logout:", key="sign-out", type="tertiary", on_click=now.forget)


def _conversation(now: State, one: Conversation) -> None:
    here = one.id == now.conversation
    label = plain(shortened(one.title, 60)) or _UNNAMED
    with st.container(horizontal=True, gap=None, key=f"{'here' if here else 'past'}-{one.id}", vertical_alignment="center"):
        if st.button(label, key=f"open-{one.id}", type="tertiary", width="stretch") and not here:
            resume(now, one.id)
            _to_chat()
        if here:
            with st.popover("Rename or delete", icon=":material/more_horiz:", type="tertiary", key=f"icon-more-{one.id}"):
                _manage(now, one)


def _manage(now: State, one: Conversation) -> None:
    with st.form(f"rename-{one.id}", border=False):
        title = st.text_input("Name", one.title, max_chars=200, key=f"title-{one.id}")
        if st.form_submit_button("Rename", type="primary") and title.strip():
            now.client.rename_conversation(one.id, title.strip())
            st.rerun()
    if st.button("Delete this conversation", icon=":material/delete:", key=f"delete-{one.id}"):
        now.client.delete_conversation(one.id)
        now.start()
        st.rerun()


def _collection(now: State) -> None:
    names = [row.name for row in now.client.collections()]
    if now.collection not in names:
        names.insert(0, now.collection)
    if len(names) < 2:
        return
    chosen = st.selectbox("Collection", names, index=names.index(now.collection))
    if chosen and chosen != now.collection:
        now.start()
        now.collection = chosen
        st.rerun()


def _to_chat() -> None:
    st.switch_page(st.session_state["pages"]["chat"])
