"""What the catalogue knew of a collection when a run began, and what that says about each source that comes by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ckllm.contracts import Chunk, Rejected, Source, VersionState, digest
from ckllm.store.catalogue import Catalogue, LiveVersion, StoredVersion
from ingestion.nesting import containers

UNFINISHED = (VersionState.PENDING, VersionState.PARSED, VersionState.EMBEDDED)


@dataclass(frozen=True, slots=True)
class Job:
    """A source that is to become a version."""

    source: Source
    document_id: str
    version_id: str
    groups: tuple[str, ...]
    replaces: bool
    """A version of the document was live when the run began."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A parsed and chunked version, stored in the catalogue, ready to be embedded."""

    job: Job
    title: str
    lang: str
    chunks: tuple[Chunk, ...]


class Known:
    """Snapshot of a collection's documents. `before` is taken ahead of recovery, so that what recovery finished counts as new."""

    def __init__(
        self, catalogue: Catalogue, collection: str, groups: tuple[str, ...], fingerprint: str, before: Mapping[str, LiveVersion]
    ) -> None:
        self._collection = collection
        self._groups = tuple(sorted(set(groups)))
        self._fingerprint = fingerprint
        self._before = before
        self._live = catalogue.live(collection)
        self._unfinished = {version.version_id: version for version in catalogue.versions(collection, *UNFINISHED)}
        self._pending = {version.source for version in self._unfinished.values()}
        self._failures = {failure.source: failure for failure in catalogue.failures(collection)}
        self._ids = {row.source: row.id for row in catalogue.documents(collection)}
        self._children: dict[str, dict[str, None]] = defaultdict(dict)
        for uri in self._ids:
            child = uri
            for container in containers(uri):
                self._children[container][child] = None
                child = container

    def job(self, source: Source) -> Job:
        document_id = digest(self._collection, source.uri)
        version_id = digest(document_id, source.sha256, self._fingerprint, *self._groups)
        return Job(source, document_id, version_id, self._groups, source.uri in self._before)

    def is_live(self, job: Job) -> bool:
        live = self._live.get(job.source.uri)
        return live is not None and live.version_id == job.version_id

    def has_live(self, uri: str) -> bool:
        return uri in self._live

    def was_live(self, uri: str) -> bool:
        """Whether the version that is live now was live when the run began."""
        return self._before.get(uri) == self._live.get(uri)

    def parsed(self, job: Job) -> StoredVersion | None:
        """The same version, parsed by an earlier run that did not get further."""
        version = self._unfinished.get(job.version_id)
        return version if version is not None and version.state is VersionState.PARSED else None

    def failure(self, uri: str) -> Rejected | None:
        """Why the last attempt on this source failed, if it did."""
        failure = self._failures.get(uri)
        return Rejected(uri, failure.stage, failure.reason) if failure else None  # type: ignore[arg-type]

    def settled(self, uri: str) -> bool:
        """Whether nothing of a source failed, or was begun and not finished."""
        return uri not in self._failures and uri not in self._pending

    def document_id(self, uri: str) -> str | None:
        """Its id, if a document of that name is known, in whatever state."""
        return self._ids.get(uri)

    def uris(self) -> list[str]:
        return list(self._ids)

    def children(self, uri: str) -> list[str]:
        """Direct members and attachments of a container; those that are archives need not be documents themselves."""
        return list(self._children.get(uri, ()))

    def descendants(self, uri: str) -> Iterator[str]:
        """Documents known of what is in a container, at every depth."""
        for child in self.children(uri):
            if child in self._ids:
                yield child
            yield from self.descendants(child)

    def missing(self, uri: str, *, failed_too: bool) -> list[str]:
        """Documents in a container for whose sake it has to be opened again."""
        return [child for child in self.descendants(uri) if child in self._pending or (failed_too and child in self._failures)]
