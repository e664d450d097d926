"""Every error as `{"error": {"type", "message", "param", "code"}}`, translated in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ckllm.errors import CkllmError, DataError, StoreError, UnknownDocumentError, UpstreamError, UsageError, is_disk_full
from ckllm.json_text import json_text
from ckllm.service.nouns import STORE_FAILS

RETRY_S = 5
"""What `Retry-After` says where nothing better is known."""
_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 409: "conflict_error",
    413: "request_too_large_error", 429: "rate_limit_error", 500: "server_error", 503: "unavailable_error",
}  # fmt: skip


@dataclass
class HttpError(CkllmError):
    """A refusal of the service itself, with its HTTP status."""

    status: int
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


class Json(Response):
    """JSON in UTF-8; text that UTF-8 cannot hold (lone surrogates) goes as escapes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json_text(content).encode("utf-8")


def envelope(problem: HttpError) -> dict[str, Any]:
    kind = _TYPES.get(problem.status, "invalid_request_error")
    return {"error": {"type": kind, "message": problem.message, "param": problem.param, "code": problem.code}}


def answer(problem: HttpError) -> Json:
    return Json(envelope(problem), problem.status, dict(problem.headers))


def client_gone() -> HttpError:
    """Told to nobody; in the log and the counts it is no error of the service."""
    return HttpError(499, "client_gone", "the client went away")


def known(error: Exception) -> Exception:
    """A full disk, and a client that went away while it sent, in our words; anything else as it is."""
    if isinstance(error, ClientDisconnect):
        return client_gone()
    if is_disk_full(error):
        return StoreError("the disk is full: free some space")
    return error


def fault_in_words(found: Mapping[str, Any]) -> str:
    """What pydantic has found wrong with a field, in the middle of a sentence."""
    message = str(found["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def problem_of(error: Exception, *, trusted: bool) -> HttpError:
    """What a client is told of an error. Only a `trusted` one, the owner or an administrator, reads what is wrong inside."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, UnknownDocumentError):
        return HttpError(404, "unknown_document", "there is no document of that id")
    if isinstance(error, UsageError):
        return HttpError(400, "invalid_request", str(error))
    if isinstance(error, DataError):
        return HttpError(422, "unusable_input", str(error))
    if isinstance(error, UpstreamError):
        code = STORE_FAILS if isinstance(error, StoreError) else "unavailable"
        message = str(error) if trusted else "something that the service depends on does not serve at the moment: try again later"
        return HttpError(503, code, message, headers={"Retry-After": str(RETRY_S)})
    return HttpError(500, "internal", "an unexpected error; the service's log has it under the request's id")
