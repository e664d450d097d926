"""Milvus Lite's database, whose collections are opened, made and removed by one thread at a time, and whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from milvus_lite.db import DEFAULT_DATABASE_NAME, SCHEMA_FILENAME, MilvusLite


class LiteDatabase(MilvusLite):  # type: ignore[misc]  # Lite has no types
    """Lite opens a collection twice for two threads that ask for it at once: two logs of one name then overwrite each other, and
    two compactions remove each other's files. What a killed process, or a full disk, has half made it cannot make again.
    """

    def __init__(self, folder: Path) -> None:
        self._turn = threading.RLock()
        super().__init__(str(folder))

    def get_collection(self, name: str, database_name: str = DEFAULT_DATABASE_NAME) -> Any:
        with self._turn:
            return super().get_collection(name, database_name)

    def create_collection(
        self, name: str, schema: Any, properties: dict[str, Any] | None = None, database_name: str = DEFAULT_DATABASE_NAME
    ) -> Any:
        with self._turn:
            folder = Path(self._collection_dir(name, database_name))
            if folder.is_dir() and not (folder / SCHEMA_FILENAME).exists():
                shutil.rmtree(folder)
            return super().create_collection(name, schema, properties, database_name)

    def drop_collection(self, name: str, database_name: str = DEFAULT_DATABASE_NAME) -> None:
        """In one step: into the folder that Lite empties when it opens, where the files are removed now. Needs no space."""
        with self._turn:
            if not self.has_collection(name, database_name):
                return
            collection = self._collections.pop((database_name, name), None)
            if collection is not None:
                with contextlib.suppress(OSError):  # it writes what is in memory first
                    collection.close()
            going = Path(tempfile.mkdtemp(prefix="collection-", dir=self._database_staging_root()))
            Path(self._collection_dir(name, database_name)).rename(going / name)
            shutil.rmtree(going, ignore_errors=True)
