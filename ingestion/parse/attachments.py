"""Documents inside documents: their bytes go to a folder under names of our own making, their URI is `PARENT!/NAME`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ckllm.contracts import Source
from ingestion.parse.archive import safe_name

_MAX_ATTACHMENTS = 500


class AttachmentWriter:
    """Collects the attachments of one source."""

    def __init__(self, source: Source, folder: Path) -> None:
        self.sources: list[Source] = []
        self._parent = source.uri
        self._folder = folder / hashlib.blake2b(source.uri.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        self._names: set[str] = set()

    def add(self, name: str, data: bytes, media_type: str = "") -> None:
        """Write one attachment. Empty ones, and those past the 500th, are ignored."""
        if not data or len(self.sources) >= _MAX_ATTACHMENTS:
            return
        name = safe_name(name)
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name}#{number}"
        self._names.add(unique)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{len(self.sources):04d}"
        path.write_bytes(data)
        self.sources.append(Source(f"{self._parent}!/{unique}", path, len(data), hashlib.sha256(data).hexdigest(), media_type))
