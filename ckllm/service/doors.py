"""Who is let in: API keys, the owner's local token, a trusted proxy's header; and what a browser may not be tricked into."""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers

from ckllm.service.caller import THE_OWNER, Caller, of_key
from ckllm.service.errors import HttpError

if TYPE_CHECKING:
    from ckllm.config import ServiceSettings
    from ckllm.store.keys import KeyRing

OPEN = frozenset({"/health", "/ready", "/docs", "/openapi.json"})
"""Paths that need no key: they tell nothing of documents or users."""
_LOOKED_S = 1.0
_PROGRAM = 100
"""Characters of a program's name that count."""
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Doors:
    """Decides who calls. Without any key ever made, whoever reaches the loopback address is the owner."""

    def __init__(self, settings: ServiceSettings, ring: Callable[[], KeyRing], token: str) -> None:
        self._settings = settings
        self._ring = ring
        self._token = token
        self._keyed = False
        self._looked = -_LOOKED_S

    def keyed(self) -> bool:
        """Whether keys are asked for: since the first one was made, and for good (revoked ones count)."""
        if not self._keyed and time.monotonic() - self._looked >= _LOOKED_S:
            self._looked = time.monotonic()
            self._keyed = bool(self._ring().issued())
        return self._keyed or bool(self._settings.user_header)

    def caller(self, headers: Headers, address: str) -> Caller:
        """HttpError 401 where nobody is recognised, 403 where another than the owner would look with a user's eyes."""
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        secret = secret.strip() if scheme.lower() == "bearer" else ""
        eyes = headers.get("x-ckllm-as")
        if self._opens(secret) or not self.keyed():
            return _the_owner(headers, address) if eyes is None else self._as(unquote(eyes))
        caller = self._recognised(headers, address, secret)
        if eyes is not None:
            raise HttpError(403, "not_the_owner", "only the owner may look with a user's eyes")
        return caller

    def _opens(self, secret: str) -> bool:
        """Whether it is the owner's local token."""
        return bool(secret and self._token) and hmac.compare_digest(secret.encode("utf-8", "replace"), self._token.encode())

    def _recognised(self, headers: Headers, address: str, secret: str) -> Caller:
        key = self._ring().find(secret) if secret else None
        if key is not None:
            return of_key(key)
        user = headers.get(self._settings.user_header, "") if self._settings.user_header and not secret else ""
        if user and address in self._settings.trusted_proxies:
            return self._signed_in(user)
        how = {"WWW-Authenticate": "Bearer"}
        if secret:
            raise HttpError(401, "invalid_key", "this API key opens nothing: check it, or have another one made", headers=how)
        raise HttpError(401, "missing_key", "an API key is needed: send it as `Authorization: Bearer KEY`", headers=how)

    def _as(self, user: str) -> Caller:
        """The owner, who looks with a user's eyes."""
        return Caller(user, self._ring().access(user), ("read",))

    def _signed_in(self, user: str) -> Caller:
        """A user whom the proxy vouches for: with the groups and rights of the user's keys, and to read where there are none."""
        keys = [key for key in self._ring().issued() if key.user == user and not key.revoked]
        rights = {right for key in keys for right in key.rights}
        return Caller(user, self._ring().access(user), tuple(sorted(rights | {"read"})))

    def check_browser(self, headers: Headers, bound_to: str) -> None:
        """HttpError 403 for what a web page elsewhere could make a browser send (DNS rebinding, forged requests)."""
        allowed = {*_LOCAL_NAMES, bound_to, *self._settings.allowed_hosts}
        called = _name(headers.get("host", ""))
        if (not self.keyed() or self._settings.allowed_hosts) and called not in allowed:
            raise HttpError(403, "unknown_host", "the service is not called by this name: see service.allowed_hosts")
        origin = headers.get("origin")
        # a browser sends a key only where a script put it there, and such a script needs leave (CORS) to call from elsewhere
        fine = origin is None or "authorization" in headers or origin in self._settings.cors_origins
        if not fine and _name(str(origin).partition("//")[2]) not in {*allowed, called or ""}:
            message = "web pages of this origin may not call the service: see service.cors_origins"
            raise HttpError(403, "foreign_origin", message)


def _the_owner(headers: Headers, address: str) -> Caller:
    return replace(THE_OWNER, program=f"{address} {headers.get('user-agent', '')[:_PROGRAM]}")


def _name(host: str) -> str | None:
    """The name in `NAME:PORT`; None where that is not what it is."""
    odd = set(host) & set("/\\@?#") or not host.isprintable() or host.count("[") != host.count("]") or host.count("[") > 1
    if not host or odd or ("[" in host and not host.startswith("[")):
        return None
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
