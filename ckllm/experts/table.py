"""From settings to the router that serves, and to where trained routers and experts lie."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from ckllm.errors import UsageError
from ckllm.experts.base import BASE, Router
from ckllm.experts.card import ADAPTER, CARD, card_files
from ckllm.experts.registry import SHIPPED, Registry
from ckllm.experts.routers.base_only import BaseOnlyRouter
from ckllm.experts.routers.explicit import ExplicitRouter
from ckllm.experts.routers.wording import WordingRouter
from ckllm.file_hash import Stamp, stamp

if TYPE_CHECKING:
    from ckllm.config import RoutingSettings, Settings
    from ckllm.embedding.base import Embedder

T = TypeVar("T")
SHIPPED_DEFAULT = "qa"
"""Beside it the wording of a question may choose another expert that ships; whoever sets another default means that one."""


def experts_folder(settings: Settings) -> Path:
    return settings.home / "experts"


def router_folder(settings: Settings) -> Path:
    """Where `experts train-router` saves, and where a router is looked for."""
    return settings.home / "router"


def open_registry(settings: Settings) -> Registry:
    return Registry(experts_folder(settings), settings.experts)


class Latest(Generic[T]):
    """What files say now: read again only where one of them came, went or was changed. Safe in threads."""

    def __init__(self, files: Callable[[], Iterable[Path]], read: Callable[[], T]) -> None:
        """`files`: all that decide what `read` gives; those that do not exist are left out."""
        self._files, self._read = files, read
        self._lock = threading.Lock()
        self._known: tuple[frozenset[tuple[Path, Stamp]], T] | None = None

    def __call__(self) -> T:
        with self._lock:
            stamps = frozenset((file, stamp(file.stat())) for file in self._files() if file.exists())
            if self._known is None or self._known[0] != stamps:
                self._known = stamps, self._read()
            return self._known[1]


def latest_registry(settings: Settings) -> Latest[Registry]:
    """The registry, as long as a process runs."""
    return Latest(lambda: _files_of_experts(settings), lambda: open_registry(settings))


def latest_router(settings: Settings, embedder: Callable[[], Embedder]) -> Latest[Router]:
    """The router, as long as a process runs; see `open_router`."""
    return Latest(lambda: _files_of_router(settings), lambda: open_router(settings, embedder))


def _files_of_experts(settings: Settings) -> Iterator[Path]:
    for place in (SHIPPED, experts_folder(settings)):
        yield from card_files(place)
    for one in settings.experts:
        if one.adapter:
            yield from (Path(one.adapter).expanduser() / name for name in (CARD, ADAPTER))


def _files_of_router(settings: Settings) -> Iterator[Path]:
    """With the experts': only an expert that is there is routed to."""
    yield from _files_of_experts(settings)
    yield from router_folder(settings).glob("*")
    if settings.routing.model:
        yield from Path(settings.routing.model).expanduser().glob("*")


def open_router(settings: Settings, embedder: Callable[[], Embedder], registry: Registry | None = None) -> Router:
    """The router that the settings describe, behind the names that a caller may give. Loads no model; the embedder is
    opened with the first question that a trained router has to judge.

    Raises UsageError for a strategy without what it needs, DataError for a router that was tampered with.
    """
    experts = registry or open_registry(settings)
    serving = experts.serving(settings.llm.model)
    default = settings.routing.default if settings.routing.default in serving else BASE
    local = default == SHIPPED_DEFAULT and not settings.llm.base_url  # a server may have been given fewer adapters
    shipped = [name for name, expert in serving.items() if expert.origin == "shipped"] if local else []
    automatic = _automatic(settings.routing, router_folder(settings), embedder, WordingRouter(default, shipped))
    return ExplicitRouter({*experts.names, *getattr(automatic, "labels", ())}, automatic)


def _automatic(routing: RoutingSettings, folder: Path, embedder: Callable[[], Embedder], default: WordingRouter) -> Router:
    from ckllm.experts.routers.folder import has_router
    from ckllm.experts.routers.rule import RuleRouter

    strategy = routing.strategy
    if strategy == "auto":
        strategy = "head" if has_router(folder) else "rule" if routing.rules else "base-only"
        if strategy == "base-only" and default.expert != BASE:
            return default
    if strategy == "head":
        if not has_router(folder):
            raise UsageError("routing.strategy = head, but no router is trained: run `ckllm experts train-router --data FILE`")
        return _trained(folder, embedder)
    if strategy == "classifier":
        return _classifier(routing)
    return RuleRouter([(rule.pattern, rule.expert) for rule in routing.rules]) if strategy == "rule" else BaseOnlyRouter()


def _classifier(routing: RoutingSettings) -> Router:
    from ckllm.experts.routers.classifier import ClassifierRouter

    if not routing.model:
        raise UsageError("routing.strategy = classifier, but routing.model names no folder of a sequence classifier")
    return ClassifierRouter(Path(routing.model).expanduser(), routing.threshold)


def _trained(folder: Path, embedder: Callable[[], Embedder]) -> Router:
    from ckllm.experts.routers.folder import load_router
    from ckllm.experts.routers.scoring import ScoredRouter

    saved = load_router(folder)

    def matching() -> Embedder:
        opened = embedder()
        if opened.name != saved.embedder:
            raise UsageError(
                f"the router in {folder} was trained with the embedder {saved.embedder}, the settings name "
                f"{opened.name}: train it again"
            )
        return opened

    return ScoredRouter(saved.scorer, saved.threshold, matching)
