"""Uploads and URLs become jobs: `POST /v1/documents`, `/v1/jobs`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from ckllm.contracts import digest
from ckllm.errors import UnknownDocumentError
from ckllm.service.caller import Caller, reader, writer
from ckllm.service.completion import event_bytes
from ckllm.service.errors import HttpError, Json
from ckllm.service.events import Events
from ckllm.service.jobs import Order
from ckllm.service.schemas import Body, Name

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


class UrlsBody(Fields):
    urls: list[Annotated[str, Field(min_length=8, max_length=4000, pattern="^https?://")]] = Field(min_length=1, max_length=FILES)


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
                order = await core.work(_uploaded, core, form, caller)
        elif kind == "application/json":
            order = await core.work(_addresses, core, await request.body(), caller)
        else:
            raise HttpError(415, "media_type", "send files as multipart/form-data, or addresses as application/json")
        job = await core.work(core.jobs().create, caller, order)
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
        again = await core.work(core.jobs().create, caller, await core.work(core.jobs().order, job_id))
        core.worker.wake()
        return Json({"job": again.as_json()}, 202)

    return routes


def _uploaded(core: Core, form: FormData, caller: Caller) -> Order:
    """Store the files of a form."""
    strange = set(form) - {"files", "file", "collection", "groups"}
    if strange:
        raise HttpError(422, "invalid_body", f"unknown field {sorted(strange)[0][:80]!r}: send files, collection, groups")
    files = [one for one in (*form.getlist("files"), *form.getlist("file")) if isinstance(one, UploadFile)]
    groups = [part.strip() for one in form.getlist("groups") if isinstance(one, str) for part in one.split(",") if part.strip()]
    fields = _checked(Fields, {"collection": form.get("collection", "main"), "groups": groups})
    if not files:
        raise HttpError(422, "no_files", "there is no file in the form: send some as `files`", "files")
    caller.may_give(fields.groups)
    kept = dict(core.uploads.keep(one.file, one.filename or "", caller.user, fields.collection) for one in files)
    return Order(fields.collection, tuple(sorted(set(fields.groups))), tuple(kept.items()))


def _addresses(core: Core, body: bytes, caller: Caller) -> Order:
    fields = _checked(UrlsBody, body)
    caller.may_give(fields.groups)
    for url in fields.urls:
        _refuse_taken(core, fields.collection, url.split("#", 1)[0], caller)
    urls = tuple((url, url) for url in dict.fromkeys(fields.urls))
    return Order(fields.collection, tuple(sorted(set(fields.groups))), urls)


def _refuse_taken(core: Core, collection: str, url: str, caller: Caller) -> None:
    """One address is one document of a collection: a user must not change one that belongs to others."""
    document_id = digest(collection, url)
    if core.lookup().exists(document_id):
        try:
            core.lookup().document(document_id, caller.access)
        except UnknownDocumentError:
            raise HttpError(409, "taken", f"{url[:200]} cannot be added to this collection: use another one", "urls") from None


def _checked(kind: type[Any], values: Any) -> Any:
    """The values as `kind`; HttpError 422 that names the field."""
    try:
        return kind.model_validate_json(values) if isinstance(values, bytes) else kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise HttpError(422, "invalid_body", f"{place or 'the body'}: {first['msg']}", place or None) from None


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
