"""What is done before anything else: finish or undo what a run that was killed has left.

The catalogue says how far each version got, and every step can be done twice. See `ingestion/write.py` for the steps.
"""

from __future__ import annotations

from ckllm.contracts import VersionState
from ingestion.target import Target


def recover(target: Target) -> None:
    """EMBEDDED versions go live if the store has all their chunks, else back to PARSED; what is OBSOLETE is dropped.

    PARSED and PENDING versions are gone on with when their source comes by. A run that finds nothing to mend opens no store.
    """
    versions = target.catalogue.versions(target.collection, VersionState.EMBEDDED)
    row = target.catalogue.collection(target.collection)
    if versions and row is not None:
        counts = target.store.count(row.index, [version.version_id for version in versions])
        complete = [one.version_id for one in versions if counts.get(one.version_id) == one.chunk_count > 0]
        target.catalogue.back_to_parsed([one.version_id for one in versions if one.version_id not in set(complete)])
        if complete:
            target.store.flush(row.index)
            target.catalogue.go_live(complete)
    drop_obsolete(target, target.collection)


def drop_obsolete(target: Target, collection: str) -> None:
    """Delete the chunks of a collection's OBSOLETE versions, then forget them.

    The deletion is on disk before the catalogue forgets: a chunk that the catalogue does not know could not be hidden.
    """
    obsolete = target.catalogue.obsolete(collection)
    row = target.catalogue.collection(collection)
    if obsolete and row is not None:
        target.store.delete_versions(row.index, obsolete)
        target.store.flush(row.index)
        target.catalogue.forget(obsolete)
