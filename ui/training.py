"""Start a training from the page, and follow its curve."""

from __future__ import annotations

import streamlit as st

from ckllm.service.nouns import JobState, TrainingRun
from ui.connection import guarded
from ui.markup import escaped, plain, seconds
from ui.session import State

_LOOK_S = 2.0
_COLOURS = ["#2a9d86", "#c8741d"]


def shown(now: State) -> None:
    st.html('<h2 class="ck-subtitle">Train an expert</h2>')
    run = now.client.training()
    running = run is not None and not run.state.final
    if run is not None:
        st.fragment(_follow, run_every=_LOOK_S if running else None)(now, was_running=running)
    if not running:
        _form(now)


def _form(now: State) -> None:
    names = [row.name for row in now.client.collections()]
    with st.expander("New expert", icon=":material/model_training:"):
        st.html(
            '<p class="ck-faint">Rows made of documents teach little more than their words. Rows of your own, each a question '
            "with the answer that you want and the <code>source</code> it is from, teach more. Training takes minutes to hours; "
            "questions are answered meanwhile.</p>"
        )
        name = st.text_input("Name", max_chars=64, key="train-name", placeholder="contracts")
        documents, rows = st.tabs(["From a collection", "From rows"])
        with documents:
            collection = st.selectbox("Collection", names, key="train-collection")
        with rows:
            given = st.file_uploader("JSON Lines with prompt, response and source", type=["jsonl"], key="train-rows")
        description = st.text_input("What it is for", max_chars=200, key="train-about")
        from_rows = given is not None
        if st.button("Train", type="primary", key="train", disabled=not name.strip() or not (from_rows or collection)):
            text = given.getvalue().decode("utf-8", "replace") if given is not None else None
            now.client.train(
                name.strip(), collection=None if from_rows else collection, rows=text, description=description.strip()
            )
            st.rerun()


def _follow(now: State, *, was_running: bool) -> None:
    with guarded(now):
        run = now.client.training()
        if run is None:
            return
        if was_running and run.state.final:
            st.rerun()
        with st.container(border=True, gap="small", key="training"):
            _told(now, run)
            if run.curve:
                st.line_chart(points(run), x="Step", y=["Training", "Held out"], y_label="Loss", height=240, color=list(_COLOURS))


def _told(now: State, run: TrainingRun) -> None:
    ends = {JobState.DONE: "Installed", JobState.FAILED: "Failed", JobState.CANCELLED: "Stopped"}
    if run.state.final:
        st.html(f'<div class="ck-job"><strong>{ends[run.state]}</strong> · <span dir="auto">{escaped(run.name)}</span></div>')
        if run.error:
            st.html(f'<div class="ck-trouble" dir="auto">{escaped(run.error)}</div>')
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        left = f", {seconds(run.seconds_left)} left" if run.step < run.steps else ""
        step = f"step {run.step} of {run.steps}{left}" if run.steps else run.doing or "loading the model"
        if run.doing and run.steps:
            step = run.doing
        st.progress(min(1.0, run.step / max(1, run.steps)), text=plain(f"{run.name} · {step}"))
        if st.button("Stop", icon=":material/stop_circle:", key="stop-training", type="tertiary"):
            now.client.stop_training()
            st.rerun()


def points(run: TrainingRun) -> list[dict[str, float | None]]:
    """The curve as rows of a chart."""
    return [{"Step": step, "Training": loss, "Held out": held} for step, loss, held in run.curve]
