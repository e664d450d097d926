"""Uploads and URLs become jobs: `POST /v1/documents`, `/v1/jobs`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import AfterValidator, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from ckllm.errors import CkllmError
from ckllm.service.caller import Caller, reader, writer
from ckllm.service.completion import event_bytes
from ckllm.service.errors import HttpError, Json, fault_in_words
from ckllm.service.events import Events
from ckllm.service.jobs import Order
from ckllm.service.nouns import Job
from ckllm.service.schemas import Body, Name
from ckllm.service.uploads import Arrival, file_name

if TYPE_CHECKING:
    from ckllm.service.core import Core

Reader = Annotated[Caller, Depends(reader)]
Writer = Annotated[Caller, Depends(writer)]
FILES, FIELDS = 1000, 200
_LOOK_S = 0.3
_PAUSE_LOOKS = 50


class Fields(Body):
    collection: Name = "main"
    groups: list[Name] = Field(default=[], max_length=100, description="who may see it; nobody named: everybody")


def _address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError(f"{text[:200]!r} is no address of a page: begin it with https://")
    return text


Address = Annotated[
    str, Field(min_length=8, max_length=4000, json_schema_extra={"pattern": "^https?://"}), AfterValidator(_address)
]


class UrlsBody(Fields):
    urls: list[Address] = Field(min_length=1, max_length=FILES)


_FORM = {
    "type": "object", "required": ["files"],
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "collection": {"type": "string", "default": "main"},
        "groups": {"type": "array", "items": {"type": "string"}},
    },
}  # fmt: skip
_URLS = {"schema": UrlsBody.model_json_schema(), "example": {"urls": ["https://example.org/handbook.html"]}}
_OPENAPI = {"requestBody": {"content": {"multipart/form-data": {"schema": _FORM}, "application/json": _URLS}}}


def router(core: Core) -> APIRouter:
    routes = APIRouter(tags=["documents"])

    @routes.post("/v1/documents", response_model=None, status_code=202, openapi_extra=_OPENAPI)
    async def add(request: Request, caller: Writer) -> Response:
        """Ingest files (multipart) or web pages (`{"urls": […]}`) in the background: 202 with the job."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            async with request.form(max_files=FILES, max_fields=FIELDS) as form:
                job = await core.work(_uploaded, core, form, caller)
        elif kind == "application/json":
            job = await core.work(_addresses, core, await request.body(), caller)
        else:
            raise HttpError(415, "media_type", "send files as multipart/form-data, or addresses as application/json")
        core.worker.wake()
        return Json({"job": job.as_json()}, 202)

    @routes.get("/v1/jobs", response_model=None)
    async def jobs(caller: Reader) -> Response:
        """The caller's jobs, the newest first."""
        return Json({"jobs": [job.as_json() for job in await core.work(core.jobs().listed, caller)]})

    @routes.get("/v1/jobs/{job_id}", response_model=None)
    async def job(job_id: str, caller: Reader) -> Response:
        return Json({"job": (await core.work(core.jobs().get, job_id, caller)).as_json()})

    @routes.get("/v1/jobs/{job_id}/events", response_model=None)
    async def events(job_id: str, caller: Reader) -> Response:
        """Server-sent events: the job whenever it has changed, until it is at its end."""
        await core.work(core.jobs().get, job_id, caller)
        return Events(_changes(core, job_id, caller), headers={"X-Accel-Buffering": "no"})

    @routes.delete("/v1/jobs/{job_id}", response_model=None)
    async def cancel(job_id: str, caller: Writer) -> Response:
        """End a job. What it has ingested so far stays."""
        return Json({"job": (await core.work(core.jobs().cancel, job_id, caller)).as_json()})

    @routes.post("/v1/jobs/{job_id}/retry", response_model=None, status_code=202)
    async def retry(job_id: str, caller: Writer) -> Response:
        """A new job with the same sources; what is there already costs nothing."""
        old = await core.work(core.jobs().get, job_id, caller)
        caller.may_give(old.groups)
        again = await core.work(_again, core, old, caller)
        core.worker.wake()
        return Json({"job": again.as_json()}, 202)

    return routes


def _uploaded(core: Core, form: FormData, caller: Caller) -> Job:
    """Store the files of a form and make their job."""
    strange = set(form) - {"files", "file", "collection", "groups"}
    if strange:
        raise HttpError(422, "invalid_body", f"unknown field {sorted(strange)[0][:80]!r}: send files, collection, groups")
    files = [one for one in (*form.getlist("files"), *form.getlist("file")) if isinstance(one, UploadFile)]
    groups = [part.strip() for one in form.getlist("groups") if isinstance(one, str) for part in one.split(",") if part.strip()]
    fields = _checked(Fields, {"collection": form.get("collection", "main"), "groups": groups})
    if not files:
        raise HttpError(422, "no_files", "there is no file in the form: send some as `files`", "files")
    caller.may_give(fields.groups)
    names = [file_name(one.filename or "") for one in files]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise HttpError(422, "same_name", f"two files of the form are called {twice!r}: send one under another name", "files")
    arrivals: list[Arrival] = []
    try:
        for one, name in zip(files, names, strict=True):
            arrivals.append(core.uploads.store(one.file, name, caller.user, fields.collection))
        sources = tuple((one.shown, str(one.path)) for one in arrivals)
        return _create(core, Order(fields.collection, tuple(sorted(set(fields.groups))), sources), caller, arrivals)
    finally:
        core.uploads.drop(arrivals)


def _addresses(core: Core, body: bytes, caller: Caller) -> Job:
    fields = _checked(UrlsBody, body)
    caller.may_give(fields.groups)
    urls = {url.split("#", 1)[0]: url for url in fields.urls}
    sources = tuple((url, place) for place, url in urls.items())
    return _create(core, Order(fields.collection, tuple(sorted(set(fields.groups))), sources), caller)


def _again(core: Core, old: Job, caller: Caller) -> Job:
    return _create(core, core.jobs().order(old.id), caller, since=old.created)


def _create(core: Core, order: Order, caller: Caller, arrivals: Sequence[Arrival] = (), since: float | None = None) -> Job:
    """Make a job, and bring its uploads to their paths. `since`: when the job was made that it repeats.

    A job keeps paths, not bytes. HttpError 409 where it could come to read what another one has for other groups, or where an
    address belongs to documents that the caller does not see.
    """
    with core.uploads.settled():
        clash = core.jobs().clash(order, since)
        if clash is not None:
            mend = "wait for its end, or cancel it" if since is None else "add it anew when that is at its end"
            raise HttpError(409, "other_groups", f"{clash[:200]} is in another job, for other groups: {mend}")
        # only now: what another job was about to add is there by now
        _refuse_taken(core, order, caller, again=since is not None)
        try:
            core.uploads.place(arrivals)
            return core.jobs().create(caller, order)
        except CkllmError:
            core.uploads.take_back(arrivals)
            raise


def _refuse_taken(core: Core, order: Order, caller: Caller, *, again: bool) -> None:
    """One address is one document of a collection: a user must not change one that belongs to others."""
    for name, place in order.sources:
        if place.startswith(("http://", "https://")):
            if core.lookup().taken(order.collection, place.split("#", 1)[0], caller.access):
                raise HttpError(409, "taken", f"{place[:200]} cannot be added to this collection: use another one", "urls")
        elif again and any(groups != order.groups for groups in core.lookup().groups_of(order.collection, place)):
            raise HttpError(409, "other_groups", f"{name[:200]} has been added for other groups: upload it anew")


def _checked(kind: type[Any], values: Any) -> Any:
    """The values as `kind`; HttpError 422 that names the field."""
    try:
        return kind.model_validate_json(values) if isinstance(values, bytes) else kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise HttpError(422, "invalid_body", f"{place or 'the body'}: {fault_in_words(first)}", place or None) from None


async def _changes(core: Core, job_id: str, caller: Caller) -> AsyncGenerator[bytes, None]:
    told, looks = None, 0
    while True:
        job = await core.work(core.jobs().get, job_id, caller)
        if job != told:
            told, looks = job, 0
            yield event_bytes(job.as_json())
        if job.state.final:
            return
        looks += 1
        if looks % _PAUSE_LOOKS == 0:
            yield b": still at work\n\n"
        await asyncio.sleep(_LOOK_S)
