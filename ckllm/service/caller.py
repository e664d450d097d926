"""Who calls, and what the caller may do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from starlette.requests import Request

from ckllm.contracts import OWNER, Access
from ckllm.service.errors import HttpError
from ckllm.store.keys import ApiKey, Right


@dataclass(frozen=True, slots=True)
class Caller:
    """`access` decides what is seen, `rights` what may be done."""

    user: str
    """"" for the owner."""
    access: Access
    rights: tuple[str, ...]
    key_id: str = ""
    program: str = ""
    """Of the owner, who has no name: where from and with which program; "" of others."""

    @property
    def queues_as(self) -> str:
        """With whom turns are shared: all keys of a user wait in one queue, each program of the owner in one of its own."""
        return self.user or self.program

    @property
    def is_owner(self) -> bool:
        return self.access.everything

    @property
    def trusted(self) -> bool:
        """May read what is wrong inside the service."""
        return "admin" in self.rights

    def may(self, right: Right) -> None:
        """HttpError 403 where the right is missing."""
        if right not in self.rights:
            raise HttpError(403, "missing_right", f"this needs a key with the right {right!r}")

    def may_give(self, groups: Collection[str]) -> None:
        """HttpError 403 where a document is to be given to groups that the caller is not in."""
        strange = sorted(set(groups) - set(self.access.groups))
        if strange and "admin" not in self.rights:
            raise HttpError(
                403, "foreign_group", f"you are not in the group {strange[0]!r} and cannot give documents to it", "groups"
            )


THE_OWNER = Caller("", OWNER, ("read", "write", "admin"))


def of_key(key: ApiKey) -> Caller:
    return Caller(key.user, key.access, key.rights, key.id)


def caller_of(request: Request) -> Caller:
    """The caller, as the edge has found it."""
    caller = request.scope["ckllm.caller"]
    assert isinstance(caller, Caller)
    return caller


def reader(request: Request) -> Caller:
    caller = caller_of(request)
    caller.may("read")
    return caller


def writer(request: Request) -> Caller:
    caller = caller_of(request)
    caller.may("write")
    return caller


def administrator(request: Request) -> Caller:
    caller = caller_of(request)
    caller.may("admin")
    return caller
