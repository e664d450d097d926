"""Reading Milvus Lite's database in the process that has it open: no messages, no gRPC, no client library.

Through Lite's server every hit is packed into a message and unpacked again, and the client alone takes a second to import.
Here the reading calls of pymilvus's client, as far as the store uses them, are answered by the database itself. Writing, and
every other process, still goes through the server, which works on the same database.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from milvus_lite.exceptions import MilvusLiteError

from ckllm.embedding.base import Vectors
from ckllm.store.lite_search import vectors_of

_CLOSING_S = 5.0
"""How long `close` waits for what is being read."""


class LiteReader:
    """Methods named as pymilvus's have its parameters, and ignore the others. They raise MilvusLiteError. Safe in threads."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._idle = threading.Condition()
        self._running = 0
        self._closed = False

    def has_collection(self, name: str, **_: Any) -> bool:
        with self._reading():
            return bool(self._database.has_collection(name))

    def describe_collection(self, name: str, **_: Any) -> dict[str, Any]:
        """The properties alone."""
        with self._reading():
            return {"properties": {key: str(value) for key, value in self._collection(name).schema.properties.items()}}

    def load_collection(self, name: str, **_: Any) -> None:
        with self._reading():
            self._collection(name).load()

    def search(
        self, name: str, data: list[Any], *, filter: str, limit: int, anns_field: str, output_fields: Sequence[str], **_: Any
    ) -> list[list[dict[str, Any]]]:
        with self._reading():
            collection = self._collection(name)
            found = collection.search(
                data, top_k=limit, expr=filter or None, output_fields=list(output_fields), anns_field=anns_field
            )
            return [[{**hit, collection._pk_name: hit["id"]} for hit in hits] for hits in found]

    def vectors(self, name: str, field: str, keys: Sequence[str]) -> tuple[list[str], Vectors]:
        """The stored vectors of some keys, in no order: keys, and shape (keys, dimension). Unknown keys are left out."""
        with self._reading():
            found = vectors_of(self._collection(name), field, keys)
            return list(found), np.asarray(list(found.values()), np.float32)

    def close(self) -> None:
        """Wait for what is being read; refuse what comes later."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: not self._running, _CLOSING_S)

    def _collection(self, name: str) -> Any:
        return self._database.get_collection(name)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._idle:
            if self._closed:
                raise MilvusLiteError("it is closed")
            self._running += 1
        try:
            yield
        except MilvusLiteError:
            raise
        except Exception as error:
            # the engine raises whatever its libraries raise; its server, too, answers all of them as one kind
            raise MilvusLiteError(f"{type(error).__name__}: {error}") from error
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()
