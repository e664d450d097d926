"""Keys and the audit log, for administrators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from starlette.responses import Response

from ckllm.errors import UsageError
from ckllm.service.caller import Caller, administrator
from ckllm.service.errors import HttpError, Json
from ckllm.service.schemas import Body, Name

if TYPE_CHECKING:
    from ckllm.service.core import Core

Administrator = Annotated[Caller, Depends(administrator)]


class NewKey(Body):
    user: Name
    groups: list[Name] = Field(default=[], max_length=100)
    right: Literal["read", "write", "admin"] = "read"


def router(core: Core) -> APIRouter:
    routes = APIRouter(tags=["administration"])

    @routes.get("/v1/keys", response_model=None)
    async def keys(_caller: Administrator) -> Response:
        """Every key with its user, groups and rights; never the key itself."""
        return Json({"keys": [key.as_json() for key in await core.work(core.keys().issued)]})

    @routes.post("/v1/keys", response_model=None, status_code=201)
    async def create(body: NewKey, _caller: Administrator) -> Response:
        """A new key, shown this once."""
        key, secret = await core.work(core.keys().create, body.user, body.groups, body.right)
        shown = {"id": key.id, "key": secret, "user": key.user, "groups": list(key.groups), "rights": list(key.rights)}
        return Json(shown, 201)

    @routes.delete("/v1/keys/{key_id}", response_model=None)
    async def revoke(key_id: str, _caller: Administrator) -> Response:
        """Make a key worthless at once."""
        try:
            await core.work(core.keys().revoke, key_id)
        except UsageError:
            raise HttpError(404, "unknown_key", "there is no key of that id") from None
        return Json({"revoked": key_id})

    @routes.get("/v1/audit", response_model=None)
    async def audit(_caller: Administrator, limit: Annotated[int, Query(ge=1, le=10_000)] = 200) -> Response:
        """The latest writes and refusals, the newest first."""
        return Json({"audit": await core.work(core.audit_log().latest, limit)})

    return routes
