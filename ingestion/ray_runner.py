"""Parsing and embedding as tasks on a Ray cluster; everything that is written is written here, by the one writer.

What a task is given and gives back is bytes and values, so the nodes need no common file system, only the same ckllm. A task of
a node that is lost is run again elsewhere by Ray. The steps of a version (PENDING, PARSED, EMBEDDED, LIVE) are taken by the
driver as ever, so that a lost node, or a lost driver, loses and doubles nothing.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ckllm.contracts import Document, Source
from ckllm.errors import DataError, UpstreamError
from ingestion.options import IngestOptions
from ingestion.parse.worker import ParserPool

if TYPE_CHECKING:
    from ckllm.config import EmbeddingSettings
    from ckllm.embedding.base import Embedder, Purpose, Vectors
    from ingestion.target import Target

RETRIES = 5
"""How often a task is run again after its node or its process was lost."""
INSTALL = "pip install 'ckllm[ray]'"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost."""

    timeout_s: float
    memory_mb: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document whose attachments are still on the node where it was parsed, so they travel with it."""

    document: Document
    attachments: tuple[bytes, ...]


class RayRunner:
    """A connection to a cluster: the one of RAY_ADDRESS, else one that runs on this machine, else one that is started here.

    UpstreamError where Ray is not installed or the cluster is not reached. Use as a context manager.
    """

    def __init__(self) -> None:
        try:
            import ray
        except ImportError:
            raise UpstreamError(f"the runner ray needs a package that is not installed: {INSTALL}") from None
        self._ray = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            try:
                ray.init(log_to_driver=False, include_dashboard=False)
            except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
                raise UpstreamError(f"Ray's cluster is not reached: {' '.join(str(error).split())[:200]}") from error

    @property
    def workers(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def parsers(self, options: IngestOptions, scratch: Path) -> RayParsers:
        limits = Limits(options.parse_timeout_s, options.parse_memory_mb, options.max_file_bytes)
        return RayParsers(self._ray, limits, scratch)

    def embedder(self, target: Target) -> RayEmbedder:
        return RayEmbedder(self._ray, target.embedder, target.settings.embedding, target.settings.models_folder, self.workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._ours:
            self._ray.shutdown()


class RayParsers:
    """`ingestion.parse.worker.ParserPool` on the nodes of a cluster."""

    def __init__(self, ray: Any, limits: Limits, scratch: Path) -> None:
        self._limits, self._scratch = limits, scratch
        self._ray = ray
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(parse_there)
        self._waiting: set[Future[Document]] = set()
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, source: Source, media_type: str = "") -> Future[Document]:
        """A future of the document. It fails with DataError where the file cannot be parsed, UpstreamError where Ray fails."""
        future: Future[Document] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the parsers are closed")
            self._waiting.add(future)
        try:
            data = source.path.read_bytes()
        except OSError as error:  # it is gone since it was found
            self._end(future, DataError(f"cannot be read: {error.strerror or error}"))
            return future
        reference = self._task.remote(data, source, media_type, self._limits)
        # a future of Ray's keeps the result, a callback does not wait for it in a thread
        reference.future().add_done_callback(functools.partial(self._settle, future))
        return future

    def _settle(self, future: Future[Document], done: Future[Parsed | str]) -> None:
        try:
            result = done.result()
            if isinstance(result, str):
                raise DataError(result)
            value: Document | Exception = _brought_here(result, self._scratch)
        except DataError as error:
            value = error
        except Exception as error:  # noqa: BLE001 - whatever happens belongs to the one who waits for the future
            value = UpstreamError(f"Ray could not parse: {_line(error)}")
        self._end(future, value)

    def _end(self, future: Future[Document], value: Document | Exception) -> None:
        with self._lock:
            if future not in self._waiting:
                return
            self._waiting.discard(future)
        if isinstance(value, Exception):
            future.set_exception(value)
        else:
            future.set_result(value)

    def close(self) -> None:
        """What waits fails; what a node still computes is not waited for."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
        for future in waiting:
            self._end(future, DataError("not parsed, the run was ended"))


class RayEmbedder:
    """Passages are embedded on the nodes, in as many parts as the cluster has processors; all else is done here."""

    def __init__(self, ray: Any, here: Embedder, settings: EmbeddingSettings, models_folder: Path, workers: int) -> None:
        self._ray, self._here, self._workers = ray, here, workers
        self._settings, self._folder = settings, models_folder
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(embed_there)

    @property
    def name(self) -> str:
        return self._here.name

    @property
    def dimension(self) -> int:
        return self._here.dimension

    @property
    def max_tokens(self) -> int:
        return self._here.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._here.count_tokens(texts)

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """DataError for a text that the model refuses, UpstreamError where Ray fails or a node has another model."""
        if purpose == "query" or not texts:
            return self._here.embed(texts, purpose)
        size = -(-len(texts) // self._workers)
        parts = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
        try:
            results = self._ray.get([self._task.remote(part, self._settings, self._folder, self.name) for part in parts])
        except Exception as error:  # the classes of Ray's errors are known only where it is installed
            raise UpstreamError(f"Ray could not embed: {_line(error)}") from error
        for result in results:
            if isinstance(result, str):
                raise DataError(result)
        return np.concatenate(results)


def _brought_here(parsed: Parsed, scratch: Path) -> Document:
    """The document, with its attachments in `scratch`."""
    children = []
    for child, data in zip(parsed.document.attachments, parsed.attachments, strict=True):
        with tempfile.NamedTemporaryFile(dir=scratch, suffix=child.path.suffix, delete=False) as file:
            file.write(data)
        children.append(replace(child, path=Path(file.name)))
    return replace(parsed.document, attachments=tuple(children))


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


# ------------------------------------------------------------------------------------------------ on a node


def parse_there(data: bytes, source: Source, media_type: str, limits: Limits) -> Parsed | str:
    """The document in these bytes, or why there is none. Parsed in a process that is stopped at the limits, as everywhere."""
    pool = _pool(limits)
    with tempfile.TemporaryDirectory(prefix="ckllm-parse-") as folder:
        file = Path(folder) / f"source{source.path.suffix}"
        file.write_bytes(data)
        try:
            document = pool.submit(replace(source, path=file), media_type).result()
        except DataError as error:
            return str(error)
    children = tuple(child.path.read_bytes() for child in document.attachments)
    for child in document.attachments:
        child.path.unlink()
    return Parsed(document, children)


@functools.lru_cache(maxsize=1)
def _pool(limits: Limits) -> ParserPool:
    """Kept for the next task of this process, and ended with it."""
    inside = Path(tempfile.mkdtemp(prefix="ckllm-inside-"))
    atexit.register(shutil.rmtree, inside, ignore_errors=True)
    return ParserPool(1, limits.timeout_s, limits.memory_mb, inside, limits.max_bytes)


def embed_there(texts: list[str], settings: EmbeddingSettings, models_folder: Path, name: str) -> Vectors | str:
    """The passages' vectors, or why the model refuses one of them."""
    embedder = _opened(settings, models_folder)
    if embedder.name != name:
        raise RuntimeError(f"this node embeds with {embedder.name}, the collection was made with {name}")
    try:
        return embedder.embed(texts, "passage")
    except DataError as error:
        return str(error)


@functools.lru_cache(maxsize=1)
def _opened(settings: EmbeddingSettings, models_folder: Path) -> Embedder:
    """Kept for the next task of this process."""
    from ckllm.embedding.table import open_embedder

    return open_embedder(settings, models_folder)
