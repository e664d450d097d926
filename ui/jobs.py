"""Documents on their way in: how far each job is, and what was rejected, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from ckllm.contracts import DocumentRow
from ckllm.service.nouns import FileState, Job, JobFile, JobState
from ui.connection import guarded
from ui.markup import escaped, name_of, plain, shortened
from ui.session import State

_LOOK_S = 1.0
_SHOWN = 5
_EACH = 12
"""Files of a job up to which each has a line of its own; of more, those that something is to be said of."""
_LINES = 60
_STATES = {
    FileState.WAITING: "waiting", FileState.READING: "being read", FileState.OPENED: "opened", FileState.EMBEDDING: "read",
    FileState.WRITTEN: "almost ready", FileState.ADDED: "ready", FileState.UPDATED: "replaced", FileState.UNCHANGED: "unchanged",
    FileState.REJECTED: "rejected",
}  # fmt: skip
_AT_WORK = (FileState.READING, FileState.OPENED, FileState.EMBEDDING, FileState.REJECTED)


def shown(now: State) -> None:
    """The open jobs, looked at again every second, and the latest finished ones until they are put away."""
    open_ = any(not job.state.final for job in _latest(now))
    st.fragment(_draw, run_every=_LOOK_S if open_ else None)(now, was_open=open_)


def again(now: State, failed: Sequence[DocumentRow]) -> list[DocumentRow]:
    """Try failed documents again, by their job or by their address; those that have neither are given back."""
    of_job = {
        str(row.get("source")): job.id
        for job in now.client.jobs()
        for row in (job.report or {}).get("rejected", ())
        if job.state.final
    }
    left = [row for row in failed if row.source not in of_job and "://" not in row.source]
    for job_id in dict.fromkeys(of_job[row.source] for row in failed if row.source in of_job):
        now.client.retry_job(job_id)
        now.put_away.add(job_id)
    for row in failed:
        if row.source not in of_job and "://" in row.source:
            now.client.ingest_urls([row.source], row.collection, row.groups)
    return left


def _draw(now: State, *, was_open: bool) -> None:
    with guarded(now):
        jobs = _latest(now)
        if was_open and all(job.state.final for job in jobs):
            st.rerun()
        for job in jobs:
            _job(now, job)


def _latest(now: State) -> list[Job]:
    return [job for job in now.client.jobs() if job.id not in now.put_away][:_SHOWN]


def _job(now: State, job: Job) -> None:
    with st.container(border=True, key=f"job-{job.id}", gap="small"):
        if not job.state.final:
            _running(now, job)
            return
        rejected = list((job.report or {}).get("rejected", ()))
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"job-head-{job.id}"):
            st.html(f'<div class="ck-job">{_summary(job, len(rejected))}</div>', width="stretch")
            lacking = bool(rejected) or job.state is not JobState.DONE
            if lacking and st.button("Retry", icon=":material/refresh:", key=f"retry-{job.id}", type="tertiary"):
                now.client.retry_job(job.id)
                now.put_away.add(job.id)
                st.rerun()
            if st.button("Put away", icon=":material/close:", key=f"icon-away-{job.id}", type="tertiary"):
                now.put_away.add(job.id)
                st.rerun()
        if job.error:
            st.html(f'<div class="ck-trouble">{escaped(job.error)}</div>')
        if rejected:
            st.html(_rejections(rejected))


def _running(now: State, job: Job) -> None:
    told = f"{job.done} of {max(job.found, len(job.sources))}" if job.state is JobState.RUNNING else "Waiting"
    current = shortened(name_of(job.current), 60) if job.current else ""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"job-head-{job.id}"):
        share = min(1.0, job.done / max(job.found, len(job.sources), 1))
        st.progress(share, text=plain(f"{told} · {current}" if current else told))
        if st.button("Stop", icon=":material/stop_circle:", key=f"cancel-{job.id}", type="tertiary"):
            now.client.cancel_job(job.id)
    if job.files:
        st.html(_files(job.files))


def _files(files: Sequence[JobFile]) -> str:
    """A line for each file; where there are many, for those that are at work or rejected, and how many the others are."""
    shown = list(files) if len(files) <= _EACH else [one for one in files if one.state in _AT_WORK][:_LINES]
    others = Counter(one.state for one in files) - Counter(one.state for one in shown)
    rest = ", ".join(f"{others[state]} {told}" for state, told in _STATES.items() if others[state])
    lines = "".join(
        f'<li class="ck-{one.state}"><strong dir="auto">{escaped(shortened(name_of(one.name), 80))}</strong> '
        f"{escaped(_told(one))}</li>"
        for one in shown
    )
    return f'<ul class="ck-files">{lines}{f"<li>{escaped(rest)}</li>" if rest else ""}</ul>'


def _told(file: JobFile) -> str:
    if file.state is FileState.EMBEDDING:
        return f"{file.done} of {file.of} passages"
    return file.reason or _STATES[file.state]


def _summary(job: Job, rejected: int) -> str:
    names = shortened(", ".join(job.sources[:3]), 80) + (f" and {len(job.sources) - 3} more" if len(job.sources) > 3 else "")
    if job.state is JobState.CANCELLED:
        return f"<strong>Stopped</strong> · {escaped(names)}"
    if job.state is JobState.FAILED:
        return f"<strong>Failed</strong> · {escaped(names)}"
    report = job.report or {}
    counts = ", ".join(f"{report[name]} {name}" for name in ("added", "updated", "unchanged") if report.get(name))
    parts = [part for part in (counts, f"{rejected} rejected" if rejected else "") if part]
    return f"<strong>{escaped(', '.join(parts) or 'Nothing to do')}</strong> · {escaped(names)}"


def _rejections(rejected: Sequence[dict[str, object]]) -> str:
    lines = "".join(
        f'<li><strong dir="auto">{escaped(name_of(str(row.get("name") or row["source"])))}</strong> {escaped(row["reason"])}</li>'
        for row in rejected
    )
    return f'<ul class="ck-rejected">{lines}</ul>'
