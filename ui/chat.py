"""Questions and answers, with the source beside the answer."""

from __future__ import annotations

from functools import partial

import streamlit as st

from ckllm.contracts import Answer
from ui import answers, components, sources, suggestions
from ui.connection import guarded
from ui.markup import escaped, plain
from ui.pending import Pending
from ui.place import Place
from ui.session import ROUTED, State, Turn, state
from ui.talk import again, ask
from ui.why import why

_TICK_S = 0.12


def view() -> None:
    now = state()
    for turn in now.turns:
        turn.settle()
    asked = st.chat_input("Ask a question", max_chars=8000, key="question")
    if asked and asked.strip():
        ask(now, asked.strip())
    if now.opened is None:
        with guarded(now):
            _conversation(now)
        return
    sources.beside(now, now.opened, partial(_show, now), _conversation)


def _show(now: State, place: Place | None) -> None:
    now.opened = place


def _conversation(now: State) -> None:
    """The welcome and the turns have a container each, so that one never shows for a moment in the other's place."""
    with st.container(key="hello"):
        if not now.turns:
            suggestions.welcome(now, partial(ask, now))
    with st.container(key="turns", gap="large"):
        if now.turns:
            with guarded(now):
                now.models = now.client.models()
        for turn in now.turns:
            _turn(now, turn)


def _turn(now: State, turn: Turn) -> None:
    with st.container(key=f"turn-{turn.key}", gap="small"):
        st.html(f'<div class="ck-question" dir="auto">{escaped(turn.question)}</div>')
        if turn.pending is not None:
            _follow(turn, turn.pending)
        elif turn.answer is not None:
            _answered(now, turn, turn.answer)
        else:
            st.html(f'<div class="ck-trouble" role="status">{escaped(turn.trouble)}</div>')
            _actions(now, turn)


def _follow(turn: Turn, pending: Pending) -> None:
    """Show the draft as it grows, until the answer is there; a click elsewhere starts the page anew and comes back here."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        status = st.empty()
        st.button("Stop", icon=":material/stop_circle:", key=f"stop-{turn.key}", type="tertiary", on_click=pending.stop)
    draft = st.empty()
    told, shown = "", ""
    while not pending.finished:
        if told != pending.step():
            told = pending.step()
            status.html(f'<div class="ck-step" role="status">{escaped(told)}<span class="ck-dots"></span></div>', width="content")
        if shown != pending.draft:
            shown = pending.draft
            draft.html(f'<div class="ck-draft" dir="auto" aria-label="Draft, not yet checked">{escaped(shown)}</div>')
        pending.wait(_TICK_S)
    st.rerun()


def _answered(now: State, turn: Turn, answer: Answer) -> None:
    components.answer(answers.drawn(answer, now.opened, turn.key), f"answer-{turn.key}", partial(_open, now, turn, answer))
    _actions(now, turn)
    why(answer)


def _open(now: State, turn: Turn, answer: Answer, number: int) -> None:
    now.opened = Place.among(answer, number, turn.key, now.opened)


def _actions(now: State, turn: Turn) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"actions-{turn.key}"):
        if turn.answer is not None:
            _thumbs(now, turn, turn.answer)
        with st.popover("Retry", icon=":material/refresh:", type="tertiary"):
            _experts(now, turn)
        with st.popover("Edit", icon=":material/edit:", type="tertiary"), st.form(f"edit-{turn.key}", border=False):
            question = st.text_area("Question", turn.question, max_chars=8000, key=f"edited-{turn.key}")
            if st.form_submit_button("Ask this instead", type="primary") and question.strip():
                again(now, turn, question.strip(), turn.model)
                st.rerun()


def _experts(now: State, turn: Turn) -> None:
    names = now.models
    told = {name: "Chosen by the question" if name == ROUTED else name for name in names}
    model = st.radio(
        "Answer with", names, index=names.index(turn.model) if turn.model in names else 0,
        format_func=lambda name: plain(told[name]), key=f"with-{turn.key}",
    )  # fmt: skip
    if st.button("Ask again", key=f"again-{turn.key}", type="primary") and model:
        again(now, turn, turn.question, model)
        st.rerun()


def _thumbs(now: State, turn: Turn, answer: Answer) -> None:
    key = f"thumbs-{turn.key}"

    def rated() -> None:
        thumb = st.session_state[key]
        turn.rating = 0 if thumb is None else (1 if thumb else -1)
        with guarded(now):
            now.client.feedback(answer, turn.rating)
            st.toast("Thank you: noted." if turn.rating else "Taken back.")

    st.feedback("thumbs", key=key, on_change=rated)
