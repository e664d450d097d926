"""Which experts there are, how good they are on questions that they never saw, and two of them side by side."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from ckllm.client import AskFields
from ckllm.contracts import Answer
from ckllm.service.nouns import ExpertSummary
from ui import answers, components, router, training
from ui.connection import guarded
from ui.markup import escaped
from ui.pending import Pending
from ui.place import Place
from ui.session import ROUTED, State, Turn, state
from ui.sources import panel
from ui.why import why

_FIGURES = {"f1": "F1", "exact": "Exact", "refusal": "Refusals right", "loss": "Loss", "mean_words": "Words in an answer"}
_SHARES = ("f1", "exact", "refusal")
_TICK_S = 0.15


def view() -> None:
    now = state()
    for turn in now.trial:
        turn.settle()
    with st.container(key="wide"), guarded(now):
        st.html('<h1 class="ck-title">Experts</h1>')
        experts = now.client.experts()
        if len(experts) < 2:
            st.html(
                '<p class="ck-lead">Only the base model is installed. Experts are fine-tuned for a kind of question; '
                "<code>ckllm experts train</code> makes one, <code>ckllm experts add</code> installs one.</p>"
            )
        for expert in experts:
            _card(expert)
        with guarded(now):
            router.shown(now)
        if now.me.may_administer:
            with guarded(now):
                training.shown(now)
        _side_by_side(now)


def _card(expert: ExpertSummary) -> None:
    with st.container(border=True, gap="small"):
        about = " · ".join(
            part
            for part in (expert.origin if expert.origin != expert.name else "", ", ".join(expert.languages), expert.licence)
            if part
        )
        name = f'<strong dir="auto">{escaped(expert.name)}</strong> <span class="ck-faint">{escaped(about)}</span>'
        st.html(f'<div class="ck-card">{name}<p dir="auto">{escaped(expert.description)}</p></div>')
        if expert.scores:
            st.html(scores_table(expert.scores))
        elif expert.origin != "base":
            st.html('<p class="ck-faint">Its card has no held-out figures.</p>')


def scores_table(scores: Mapping[str, Any]) -> str:
    """The card's held-out figures beside those of the base model on the same questions."""
    mine, base = scores.get("expert"), scores.get("base")
    if not isinstance(mine, Mapping):
        return '<p class="ck-faint">Its card has no held-out figures.</p>'
    rows = "".join(
        f"<tr><td>{told}</td><td>{_figure(name, mine.get(name))}</td>"
        f"<td>{_figure(name, base.get(name) if isinstance(base, Mapping) else None)}</td></tr>"
        for name, told in _FIGURES.items()
        if name in mine
    )
    gain = scores.get("gain_f1")
    told = ""
    if isinstance(gain, Mapping) and {"mean", "low", "high"} <= set(gain):
        told = f"F1 {gain['mean']:+.2f} against base, with 95 % certainty between {gain['low']:+.2f} and {gain['high']:+.2f}"
    count = f"{escaped(scores.get('rows') or mine.get('answerable', '?'))} questions held out of training"
    return (
        '<div class="ck-scroll"><table class="ck-ledger ck-narrow">'
        f"<thead><tr><th>{count}</th><th>Expert</th><th>Base</th></tr></thead><tbody>{rows}</tbody></table>"
        f'</div><p class="ck-faint ck-small">{escaped(told)}</p>'
    )


def _figure(name: str, value: object) -> str:
    if not isinstance(value, int | float):
        return "–"
    return f"{value:.0%}" if name in _SHARES else f"{value:.2f}"


def _side_by_side(now: State) -> None:
    st.html('<h2 class="ck-subtitle">Side by side</h2>')
    names = now.client.models()
    with st.form("trial", border=False):
        question = st.text_input("Question", max_chars=8000, key="trial-question")
        left, right = st.columns(2)
        first = left.selectbox("One", names, key="trial-one", format_func=_told)
        second = right.selectbox("The other", names, index=min(1, len(names) - 1), key="trial-other", format_func=_told)
        if st.form_submit_button("Ask both", type="primary") and question.strip() and first and second:
            _begin(now, question.strip(), (first, second))
    if now.trial:
        _follow(now)


def _told(name: str) -> str:
    return "Chosen by the question" if name == ROUTED else name


def _begin(now: State, question: str, models: tuple[str, str]) -> None:
    for turn in now.trial:
        if turn.pending is not None:
            turn.pending.stop()
    client = now.client
    now.trial, now.compared = [], None
    for model in models:
        fields: AskFields = {"model": model, "collection": now.collection}
        turn = Turn(question, model)
        turn.pending = Pending(partial(client.stream, question, **fields))
        now.trial.append(turn)


def _follow(now: State) -> None:
    """Both answers, as far as they are; what is still being written is looked at until it is done."""
    drafts: list[tuple[Pending, Any]] = []
    for column, turn in zip(st.columns(2, gap="large"), now.trial, strict=True):
        with column:
            st.html(f'<div class="ck-step">{escaped(_told(turn.model))}</div>')
            if turn.pending is not None:
                drafts.append((turn.pending, st.empty()))
            elif turn.answer is not None:
                _answered(now, turn, turn.answer)
            else:
                st.html(f'<div class="ck-trouble">{escaped(turn.trouble)}</div>')
    if now.compared is not None:
        panel(now, now.compared, partial(_show, now))
    while drafts and not all(pending.finished for pending, _ in drafts):
        for pending, place in drafts:
            told = pending.draft or f"{pending.step()} …"
            place.html(f'<div class="ck-draft" dir="auto">{escaped(told)}</div>')
        for pending, _ in drafts:
            pending.wait(_TICK_S)
    if drafts:
        st.rerun()


def _answered(now: State, turn: Turn, answer: Answer) -> None:
    components.answer(answers.drawn(answer, now.compared, turn.key), f"trial-{turn.key}", partial(_open, now, turn, answer))
    why(answer)


def _open(now: State, turn: Turn, answer: Answer, number: int) -> None:
    now.compared = Place.among(answer, number, turn.key, now.compared)


def _show(now: State, place: Place | None) -> None:
    now.compared = place
