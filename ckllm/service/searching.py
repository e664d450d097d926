"""Search, collections, experts, models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from ckllm.service.caller import Caller, reader
from ckllm.service.core import BASE
from ckllm.service.errors import HttpError, Json
from ckllm.service.leaving import unless_gone
from ckllm.service.schemas import RouteBody, SearchBody

if TYPE_CHECKING:
    from ckllm.service.core import Core

Reader = Annotated[Caller, Depends(reader)]


def router(core: Core) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/search", tags=["search"], response_model=None)
    async def search(body: SearchBody, request: Request, caller: Reader) -> Response:
        """Ranked passages, no generation."""

        def found() -> dict[str, Any]:
            base = core.visible(body.collection, caller)
            return base.search_many([body.query], k=body.k, where=body.where, user=caller.access)[0].as_json()

        return Json(await unless_gone(request, core.read(caller, found)))

    @routes.get("/v1/models", tags=["chat"], response_model=None)
    async def models(_caller: Reader) -> Response:
        """What `model` may be: ckllm (routed by the question), base, or an expert."""
        names = await core.work(core.models)
        return Json({"object": "list", "data": [_model(name) for name in names]})

    @routes.get("/v1/models/{name}", tags=["chat"], response_model=None)
    async def model(name: str, _caller: Reader) -> Response:
        if name not in await core.work(core.models):
            raise HttpError(404, "unknown_model", f"there is no model {name!r}: GET /v1/models lists them", "model")
        return Json(_model(name))

    @routes.get("/v1/collections", tags=["documents"], response_model=None)
    async def collections(caller: Reader) -> Response:
        """Collections that hold something for the caller, with what the caller sees of them."""
        return Json({"collections": await core.work(_collections, core, caller)})

    @routes.get("/v1/experts", tags=["experts"], response_model=None)
    async def experts(_caller: Reader) -> Response:
        """The experts that can answer."""
        return Json({"experts": await core.work(_experts, core)})

    @routes.post("/v1/experts/route", tags=["experts"], response_model=None)
    async def route(body: RouteBody, request: Request, caller: Reader) -> Response:
        """Which expert a question goes to, and why."""
        return Json((await unless_gone(request, core.read(caller, core.route, body.question))).as_json())

    return routes


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "ckllm"}


def _collections(core: Core, caller: Caller) -> list[dict[str, Any]]:
    catalogue = core.base().catalogue
    documents = catalogue.documents(None, caller.access)
    names = set(core.collections(caller))
    return [
        {
            "name": row.name,
            "documents": sum(document.collection == row.name for document in documents),
            "chunks": sum(document.chunks for document in documents if document.collection == row.name),
            "embedder": row.embedder,
            "dimension": row.dimension,
        }
        for row in catalogue.collections()
        if row.name in names
    ]


def _experts(core: Core) -> list[dict[str, Any]]:
    """Name, description, model and scores; paths of the machine are nobody's business."""
    model = core.settings.llm.model
    rows: list[dict[str, Any]] = [{"name": BASE, "description": "the base model, as it is", "model": model, "origin": "base"}]
    for expert in core.registry():
        card = expert.card
        rows.append(
            {
                "name": expert.name, "description": card.description, "model": card.model or model, "origin": expert.origin,
                "languages": list(card.languages), "licence": card.licence, "scores": dict(card.scores),
            }
        )  # fmt: skip
    return rows
