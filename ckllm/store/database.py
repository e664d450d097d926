"""Connections to the SQL database, and its errors in our words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ckllm.errors import StoreError
from ckllm.store.catalogue_rows import explain, one_line
from ckllm.store.catalogue_schema import open_engine, prepare


class Database:
    """Opens the database and makes its tables. Objects may be shared by threads: every call takes a connection from the pool.

    Raises StoreError when the database does not serve.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._name = self._engine.url.render_as_string(hide_password=True)
        # SQLite has one writer at a time, and one that waits there sleeps for ever longer times: threads take turns here instead
        self._turn: AbstractContextManager[object] = threading.RLock() if self._engine.dialect.name == "sqlite" else nullcontext()
        with self._writing() as connection:
            prepare(connection, self._name)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with (
            self._turn,
            self._translated(),
            self._engine.connect().execution_options(ckllm_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StoreError(explain(self._name, str(error.orig))) from error
        except SQLAlchemyError as error:
            raise StoreError(f"the catalogue {self._name} does not serve: {one_line(str(error))}") from error
