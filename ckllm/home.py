"""The home directory: everything that ckllm stores, and nobody's business but its owner's."""

from __future__ import annotations

from pathlib import Path

from ckllm.errors import UsageError


def make_home(home: Path) -> None:
    """Make the folder where there is none, for its owner alone; one that is there keeps its permissions. UsageError where it
    cannot be made."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the home directory {home} cannot be made: {error.strerror}; give another one with --home") from None
