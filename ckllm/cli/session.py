"""What every command shares: the settings, and an opened knowledge base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ckllm.cli.remote import RemoteBase
    from ckllm.config import Settings
    from ckllm.knowledge_base import KnowledgeBase

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Collection = Annotated[str, typer.Option("--collection", "-c", help="The collection of documents.", metavar="NAME")]
AsUser = Annotated[str | None, typer.Option("--as", help="See only what this user may see.", metavar="USER")]


@dataclass(frozen=True, slots=True)
class Session:
    """The global options of one command."""

    home: Path | None
    config: Path | None
    debug: bool

    def settings(self, overrides: Mapping[str, Any] | None = None) -> Settings:
        from ckllm.config import load_settings

        return load_settings(self.home, self.config, overrides)

    def open(self, collection: str, *, create: bool = False) -> KnowledgeBase:
        """The knowledge base of these options; use it as a context manager."""
        from ckllm.assembly import open_knowledge_base

        return open_knowledge_base(collection=collection, settings=self.settings(), create=create)

    def reading(self, collection: str) -> KnowledgeBase | RemoteBase:
        """What to search and ask: the service that runs for this home with these settings, else the knowledge base itself."""
        from ckllm.presence import fingerprint, running

        settings = self.settings()
        service = running(settings)
        if service is None or service.settings != fingerprint(settings):
            return self.open(collection)
        from ckllm.cli.remote import RemoteBase

        return RemoteBase(service, collection)

    def open_to_reembed(self, collection: str, model: str | None) -> KnowledgeBase:
        """A collection with the embedder that it is to move to; `model` None: the one of the settings."""
        from ckllm.assembly import Replacements, open_knowledge_base

        settings = self.settings({"embedding.model": model} if model else None)
        return open_knowledge_base(
            collection=collection, settings=settings, create=False, replacements=Replacements(any_embedder=True)
        )


def session(context: typer.Context) -> Session:
    found = context.find_object(Session)
    assert found is not None, "the global callback runs before every command"
    return found
