"""Jobs, kept in the catalogue's database: what waits, what runs, what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Row, and_, insert, or_, select, update

from ckllm.service.caller import Caller
from ckllm.service.errors import HttpError
from ckllm.service.nouns import FileState, Job, JobFile, JobState
from ckllm.service.tables import job_table, packed, unpacked
from ckllm.store.catalogue_rows import pack_names, storable, unpack_names
from ckllm.store.database import Database

KEPT_S = 30 * 86_400.0
"""How long a finished job is remembered."""
LISTED = 200


@dataclass(frozen=True, slots=True)
class Order:
    """What a job is to ingest: shown name → file or URL."""

    collection: str
    groups: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]


class Jobs(Database):
    """Objects may be shared by threads, and the table by processes."""

    def create(self, caller: Caller, order: Order) -> Job:
        values = {
            "id": uuid4().hex, "user": caller.user, "collection": order.collection, "groups": pack_names(order.groups),
            "sources": packed(order.sources), "state": JobState.QUEUED.value, "cancelled": 0, "progress": packed({}),
            "created": time.time(),
        }  # fmt: skip
        with self._writing() as connection:
            connection.execute(insert(job_table).values(**values))
            old = and_(job_table.c.finished.is_not(None), job_table.c.finished < time.time() - KEPT_S)
            connection.execute(job_table.delete().where(old))
        return self.get(str(values["id"]), caller)

    def get(self, job_id: str, caller: Caller) -> Job:
        """HttpError 404, the same for what does not exist and what is another user's."""
        with self._reading() as connection:
            row = connection.execute(select(job_table).where(job_table.c.id == job_id)).first()
        if row is None or not (caller.is_owner or row.user == caller.user):
            raise HttpError(404, "unknown_job", "there is no job of that id")
        return _job(row)

    def listed(self, caller: Caller) -> list[Job]:
        """The caller's own, all of them for the owner; the newest first."""
        query = select(job_table).order_by(job_table.c.created.desc(), job_table.c.id).limit(LISTED)
        if not caller.is_owner:
            query = query.where(job_table.c.user == caller.user)
        with self._reading() as connection:
            return [_job(row, briefly=True) for row in connection.execute(query)]

    def order(self, job_id: str) -> Order:
        with self._reading() as connection:
            row = connection.execute(select(job_table).where(job_table.c.id == job_id)).one()
        return Order(row.collection, unpack_names(row.groups), tuple((name, place) for name, place in unpacked(row.sources)))

    def clash(self, order: Order, since: float | None = None) -> str | None:
        """Name of a source that an open job has for other groups too, or, with `since`, any job made later; None: of none."""
        open_ = job_table.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value])
        rivals = open_ if since is None else or_(open_, job_table.c.created > since)
        other = and_(job_table.c.collection == order.collection, job_table.c.groups != pack_names(order.groups))
        with self._reading() as connection:
            rows = connection.execute(select(job_table.c.sources).where(rivals, other)).scalars().all()
        theirs = {place for sources in rows for _, place in unpacked(sources)}
        return next((name for name, place in order.sources if place in theirs), None)

    def cancel(self, job_id: str, caller: Caller) -> Job:
        """A waiting job ends at once, a running one soon; a finished one stays as it is."""
        self.get(job_id, caller)
        mine = job_table.c.id == job_id
        with self._writing() as connection:
            waiting = and_(mine, job_table.c.state == JobState.QUEUED.value)
            ended = {"state": JobState.CANCELLED.value, "finished": time.time(), "cancelled": 1}
            connection.execute(update(job_table).where(waiting).values(**ended))
            running = and_(mine, job_table.c.state == JobState.RUNNING.value)
            connection.execute(update(job_table).where(running).values(cancelled=1))
        return self.get(job_id, caller)

    # -- for the worker

    def resume(self) -> None:
        """Jobs that an earlier process left running wait again; what they had finished is found finished."""
        left = job_table.c.state == JobState.RUNNING.value
        with self._writing() as connection:
            connection.execute(update(job_table).where(left).values(state=JobState.QUEUED.value))

    def claim(self) -> str | None:
        """The oldest waiting job, which runs from now on; None where none waits."""
        waiting = job_table.c.state == JobState.QUEUED.value
        with self._writing() as connection:
            oldest = select(job_table.c.id).where(waiting).order_by(job_table.c.created, job_table.c.id).limit(1)
            found = connection.execute(oldest.with_for_update(skip_locked=True)).scalar()
            if found is None:
                return None
            values = {"state": JobState.RUNNING.value, "started": time.time()}
            connection.execute(update(job_table).where(job_table.c.id == found).values(**values))
        return str(found)

    def unclaim(self, job_id: str) -> None:
        """The process ends: another one goes on."""
        with self._writing() as connection:
            mine = and_(job_table.c.id == job_id, job_table.c.state == JobState.RUNNING.value)
            connection.execute(update(job_table).where(mine).values(state=JobState.QUEUED.value))

    def progressed(self, job_id: str, progress: Mapping[str, Any]) -> bool:
        """Note how far a job is; True where it is to end."""
        with self._writing() as connection:
            connection.execute(update(job_table).where(job_table.c.id == job_id).values(progress=packed(progress)))
            return bool(connection.execute(select(job_table.c.cancelled).where(job_table.c.id == job_id)).scalar())

    def finish(self, job_id: str, state: JobState, report: Mapping[str, Any] | None = None, error: str | None = None) -> None:
        values = {
            "state": state.value,
            "finished": time.time(),
            "report": None if report is None else packed(report),
            "error": None if error is None else storable(error),
        }
        with self._writing() as connection:
            connection.execute(update(job_table).where(job_table.c.id == job_id).values(**values))

    def waiting(self) -> int:
        """Jobs that wait or run."""
        open_ = or_(job_table.c.state == JobState.QUEUED.value, job_table.c.state == JobState.RUNNING.value)
        with self._reading() as connection:
            return len(connection.execute(select(job_table.c.id).where(open_)).all())


def _job(row: Row[*tuple[Any, ...]], *, briefly: bool = False) -> Job:
    sources: Sequence[Sequence[str]] = unpacked(row.sources)
    # an address is ingested without what stands behind its #
    names = {place.split("#", 1)[0] if "://" in place else place: name for name, place in sources}
    progress = unpacked(row.progress)
    report = None if row.report is None else _shown(unpacked(row.report), names)
    current = str(progress.get("current", ""))
    state = JobState(row.state)
    noted = progress.get("files", ())
    files = () if state.final and (briefly or not noted) else _files(noted, names)
    return Job(
        id=row.id, state=state, user=row.user, collection=row.collection, groups=unpack_names(row.groups),
        sources=tuple(name for name, _ in sources), created=row.created, started=row.started, finished=row.finished,
        found=progress.get("found", 0), done=progress.get("done", 0), rejected=progress.get("rejected", 0),
        chunks=progress.get("chunks", 0), current=_named(current, names), files=files, report=report,
        error=row.error,
    )  # fmt: skip


def _files(noted: Sequence[Sequence[Any]], names: Mapping[str, str]) -> tuple[JobFile, ...]:
    known = {place: values for place, *values in noted}
    return tuple(
        JobFile(names.get(place) or _named(place, names), FileState(state), reason, done, of)
        for place in dict.fromkeys((*names, *known))
        for state, reason, done, of in (known.get(place, (FileState.WAITING, "", 0, 0)),)
    )


def _shown(report: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The report with the names that the user gave beside the sources."""
    rejected = [{**one, "name": _named(one["source"], names)} for one in report.get("rejected", ())]
    return {**report, "rejected": rejected}


def _named(source: str, names: Mapping[str, str]) -> str:
    """A file's own name for a path among the uploads, members of archives included."""
    for place, name in names.items():
        if source == place or source.startswith(place + "!/"):
            return name + source[len(place) :]
    return source
