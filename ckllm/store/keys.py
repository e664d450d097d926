"""API keys: who holds one, which groups and rights it carries. Only a hash of each key is stored.

A key is 32 random bytes, so a plain SHA-256 of it cannot be reversed or guessed; the slow hashes that passwords need would only
slow down every request.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from sqlalchemy import Row, insert, select, update

from ckllm.contracts import Access, to_json
from ckllm.errors import UsageError
from ckllm.store.catalogue_rows import pack_names, unpack_names
from ckllm.store.catalogue_schema import key_table
from ckllm.store.database import Database

Right: TypeAlias = Literal["read", "write", "admin"]
_INCLUDED: dict[str, tuple[str, ...]] = {"read": ("read",), "write": ("read", "write"), "admin": ("read", "write", "admin")}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; never the key itself."""

    id: str
    user: str
    groups: tuple[str, ...]
    rights: tuple[str, ...]
    """With what they include: `admin` includes `write`, `write` includes `read`."""
    created: float
    """Seconds since the epoch."""
    revoked: bool

    @property
    def access(self) -> Access:
        return Access(self.user, self.groups)

    def as_json(self) -> dict[str, Any]:
        return to_json(self)


class KeyRing(Database):
    """The keys of one catalogue."""

    def create(self, user: str, groups: Sequence[str], right: str) -> tuple[ApiKey, str]:
        """A new key: what is known of it, and the key, which is not kept and cannot be shown again."""
        if not user.strip():
            raise UsageError("the user's name is empty: give the name that the key is for")
        if right not in get_args(Right):
            raise UsageError(f"unknown right {right!r}: give read, write or admin")
        if any(not group.strip() for group in groups):
            raise UsageError("a group's name is empty: leave --group out for none")
        secret = f"ckllm_{secrets.token_urlsafe(32)}"
        key = ApiKey(secrets.token_hex(6), user.strip(), tuple(sorted(set(groups))), _INCLUDED[right], time.time(), revoked=False)
        values = {"id": key.id, "user": key.user, "groups": pack_names(key.groups), "right": right, "created": key.created}
        with self._writing() as connection:
            connection.execute(insert(key_table).values(**values, hash=_hash(secret), revoked=None))
        return key, secret

    def issued(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        with self._reading() as connection:
            return [_key(row) for row in connection.execute(select(key_table).order_by(key_table.c.created, key_table.c.id))]

    def revoke(self, key_id: str) -> None:
        """The key opens nothing any more. UsageError for an id that does not exist; revoking twice is harmless."""
        with self._writing() as connection:
            where = key_table.c.id == key_id
            if connection.execute(select(key_table.c.id).where(where)).first() is None:
                raise UsageError(f"no key {key_id!r}: `ckllm keys list` shows the ids")
            connection.execute(update(key_table).where(where, key_table.c.revoked.is_(None)).values(revoked=time.time()))

    def find(self, secret: str) -> ApiKey | None:
        """The key that `secret` is; None where it is none, or a revoked one. Looked up by hash, so its time tells nothing."""
        with self._reading() as connection:
            row = connection.execute(select(key_table).where(key_table.c.hash == _hash(secret))).first()
        return None if row is None or row.revoked is not None else _key(row)

    def access(self, user: str) -> Access:
        """What a user may see: the groups of all the user's keys; an unknown user has none."""
        groups: set[str] = set()
        for key in self._of(user):
            groups.update(key.groups)
        return Access(user, tuple(sorted(groups)))

    def _of(self, user: str) -> Iterable[ApiKey]:
        with self._reading() as connection:
            rows = connection.execute(select(key_table).where(key_table.c.user == user, key_table.c.revoked.is_(None))).all()
        return [_key(row) for row in rows]


def _key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    return ApiKey(row.id, row.user, unpack_names(row.groups), _INCLUDED[row.right], row.created, row.revoked is not None)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
