"""Documents: what is known, their text, how they are removed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Query
from filelock import Timeout
from starlette.responses import Response

from ckllm.contracts import to_json
from ckllm.service.caller import Caller, reader, writer
from ckllm.service.errors import HttpError, Json
from ckllm.service.page_image import page_image

if TYPE_CHECKING:
    from ckllm.service.core import Core

Reader = Annotated[Caller, Depends(reader)]
Writer = Annotated[Caller, Depends(writer)]
BUSY_S = 20.0
"""How long a removal waits for a running ingestion."""


def router(core: Core) -> APIRouter:
    removing = ThreadPoolExecutor(2, "remove")

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        removing.shutdown(wait=False, cancel_futures=True)

    routes = APIRouter(tags=["documents"], lifespan=life)

    @routes.get("/v1/documents", response_model=None)
    async def listed(caller: Reader, collection: str | None = None, state: str | None = None) -> Response:
        """Every live, pending and failed document that the caller may see."""
        catalogue = core.base().catalogue
        rows = await core.work(catalogue.documents, collection, caller.access, state)
        return Json({"documents": [row.as_json() for row in rows]})

    @routes.get("/v1/documents/{document_id}", response_model=None)
    async def one(document_id: str, caller: Reader) -> Response:
        known = await core.work(core.lookup().document, document_id, caller.access)
        return Json(known.row.as_json())

    @routes.get("/v1/documents/{document_id}/text", response_model=None)
    async def text(document_id: str, caller: Reader) -> Response:
        """The extracted text, its pages and its chunks; offsets count Unicode code points."""
        return Json(await core.work(_text, core, document_id, caller))

    @routes.get("/v1/documents/{document_id}/pages/{page}", response_model=None)
    async def picture(
        document_id: str,
        page: Annotated[int, Path(ge=1, le=1_000_000)],
        caller: Reader,
        scale: Annotated[float, Query(ge=0.1, le=4, description="pixels a point (1/72 inch)")] = 2.0,
    ) -> Response:
        """A page of a PDF as PNG, where its file still is as it was ingested."""
        known = await core.work(core.lookup().document, document_id, caller.access)
        drawn = await core.work(page_image, known, page, round(scale, 2))
        return Response(drawn, media_type="image/png")

    @routes.delete("/v1/documents/{document_id}", response_model=None)
    async def remove(document_id: str, caller: Writer) -> Response:
        """Remove a document with everything that is stored of it."""
        # threads of their own: removals that wait for an ingestion must not hold up everything else
        await asyncio.get_running_loop().run_in_executor(removing, _remove, core, document_id, caller, time.monotonic() + BUSY_S)
        return Json({"removed": document_id})

    return routes


def _text(core: Core, document_id: str, caller: Caller) -> dict[str, Any]:
    core.lookup().document(document_id, caller.access)
    return to_json(core.base().document_text(document_id, caller.access))


def _remove(core: Core, document_id: str, caller: Caller, deadline: float) -> None:
    """HttpError 409 where an ingestion goes on for longer than a client should wait: until `deadline`, in monotonic seconds."""
    from ingestion.pipeline import remove

    known = core.lookup().document(document_id, caller.access)
    try:
        remove(core.base(), [document_id], patience_s=max(0.0, deadline - time.monotonic()))
    except Timeout:
        message = "documents are being ingested at the moment: try again when that is done"
        raise HttpError(409, "busy", message, headers={"Retry-After": "10"}) from None
    core.uploads.forget(known.row.source)
