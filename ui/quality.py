"""How good the answers are: what users said, what the service counted, what evaluations measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from ui import figures
from ui.connection import guarded
from ui.markup import bar, escaped, seconds, shortened
from ui.session import State, state

_LATEST = 12
_LINE = "#2a9d86"


def view() -> None:
    now = state()
    with st.container(key="wide"), guarded(now):
        st.html('<h1 class="ck-title">Quality</h1>')
        if not now.me.may_administer:
            st.html('<p class="ck-lead">Your thumbs reach the administrators, who see all of them here.</p>')
            return
        service, users, runs = st.tabs(["Service", "Feedback", "Evaluations"])
        with service, guarded(now):
            _service(now)
        with users, guarded(now):
            _feedback(now)
        with runs, guarded(now):
            _evaluations(now)


def _service(now: State) -> None:
    text = now.client.metrics()
    counts = figures.outcomes(text)
    total = sum(counts.values())
    if not total:
        st.html('<p class="ck-lead">Nothing has been asked since the service was started.</p>')
        return
    st.html(f'<p class="ck-lead">{total} questions since the service was started</p>')
    for column, (name, label) in zip(st.columns(len(figures.OUTCOMES)), figures.OUTCOMES.items(), strict=True):
        column.metric(label, f"{counts[name] / total:.0%}", help=f"{counts[name]} of {total}")
    spent = figures.stages(text)
    longest = max((value for _, value in spent), default=1.0)
    bars = "".join(bar(name, value / longest, seconds(value)) for name, value in spent)
    st.html(f'<section class="ck-why"><h4>Mean time of an answer</h4>{bars}</section>')


def _feedback(now: State) -> None:
    rows = now.client.feedback_given()
    if not rows:
        st.html('<p class="ck-lead">No feedback yet. Thumbs under an answer land here, with the question and what was cited.</p>')
        return
    counts = figures.thumbs(rows)
    left, right, _ = st.columns(3)
    left.metric("Good", counts["good"])
    right.metric("Bad", counts["bad"])
    shown = [row for row in reversed(rows) if row.get("rating")][:_LATEST]
    st.html("".join(_said(row) for row in shown))
    st.caption("All of it, as rows to evaluate and to train with: GET /v1/feedback/export")


def _said(row: Mapping[str, Any]) -> str:
    answer = row.get("answer") or {}
    when = datetime.fromtimestamp(float(row["created"])).astimezone().strftime("%Y-%m-%d %H:%M")
    who = f" · {row['user']}" if row.get("user") else ""
    thumb = '<span class="ck-good">Good</span>' if row["rating"] > 0 else '<span class="ck-bad">Bad</span>'
    comment = f'<div dir="auto">“{escaped(row["comment"])}”</div>' if row.get("comment") else ""
    return (
        f'<div class="ck-said">{thumb} <strong dir="auto">{escaped(shortened(str(answer.get("question", "")), 160))}</strong>'
        f'<div dir="auto" class="ck-faint">{escaped(shortened(str(answer.get("answer", "")), 240))}</div>{comment}'
        f'<div class="ck-faint ck-small">{escaped(when)}{escaped(who)}</div></div>'
    )


def _evaluations(now: State) -> None:
    reports = now.client.evaluations()
    if not reports:
        st.html('<p class="ck-lead">No evaluation has been run. <code>ckllm eval DATASET</code> makes one and saves it.</p>')
        return
    rows = figures.runs(reports)
    known = figures.present(rows)
    st.dataframe(
        rows, hide_index=True, column_order=["When", "Questions from", "Questions", "Model", *known],
        column_config={name: st.column_config.NumberColumn(format="percent") for name in known},
    )  # fmt: skip
    if known and len(reports) > 1:
        _trend(rows, known)
    _risk(reports)


def _trend(rows: Sequence[Mapping[str, Any]], known: Sequence[str]) -> None:
    chosen = st.selectbox("Over time", known, key="trend")
    measured = [row for row in reversed(rows) if chosen and row.get(chosen) is not None]
    points = [{"When": _moment(row["When"]), chosen: row[chosen]} for row in measured]
    st.line_chart(points, x="When", y=chosen, y_label="", x_label="", height=260, color=_LINE)


def _moment(when: str) -> datetime | None:
    try:
        return datetime.fromisoformat(when)
    except ValueError:
        return None


def _risk(reports: Sequence[Mapping[str, Any]]) -> None:
    with_curve = {
        f"{one['about'].get('created', '')} {one['about'].get('dataset', '')}": one["risk_coverage"]
        for one in reports
        if one.get("risk_coverage")
    }
    if not with_curve:
        return
    marked = {
        f"{one['about'].get('created', '')} {one['about'].get('dataset', '')}": one.get("operating_points", {}) for one in reports
    }
    chosen = st.selectbox("Wrong answers by how many are answered, surest first", list(with_curve), key="risk")
    if chosen:
        curve = [{"Answered": point[0], "Wrong": point[1]} for point in with_curve[chosen]]
        st.line_chart(curve, x="Answered", y="Wrong", height=260, color=_LINE)
        if points := marked[chosen]:
            told = (f"{name}: {x:.0%} answered, {y:.0%} of them wrong" for name, (x, y) in points.items())
            st.caption(" · ".join(told))
