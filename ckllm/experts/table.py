"""From settings to the router that serves, and to where trained routers and experts lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ckllm.errors import UsageError
from ckllm.experts.base import BASE, Router
from ckllm.experts.registry import Registry
from ckllm.experts.routers.base_only import BaseOnlyRouter
from ckllm.experts.routers.explicit import DefaultRouter, ExplicitRouter

if TYPE_CHECKING:
    from ckllm.config import RoutingSettings, Settings
    from ckllm.embedding.base import Embedder


def experts_folder(settings: Settings) -> Path:
    return settings.home / "experts"


def router_folder(settings: Settings) -> Path:
    """Where `experts train-router` saves, and where a router is looked for."""
    return settings.home / "router"


def open_registry(settings: Settings) -> Registry:
    return Registry(experts_folder(settings), settings.experts)


def open_router(settings: Settings, embedder: Callable[[], Embedder], registry: Registry | None = None) -> Router:
    """The router that the settings describe, behind the names that a caller may give. Loads no model; the embedder is
    opened with the first question that a trained router has to judge.

    Raises UsageError for a strategy without what it needs, DataError for a router that was tampered with.
    """
    experts = registry or open_registry(settings)
    default = settings.routing.default if settings.routing.default in experts.serving(settings.llm.model) else BASE
    automatic = _automatic(settings.routing, router_folder(settings), embedder, default)
    return ExplicitRouter({*experts.names, *getattr(automatic, "labels", ())}, automatic)


def _automatic(routing: RoutingSettings, folder: Path, embedder: Callable[[], Embedder], default: str) -> Router:
    from ckllm.experts.routers.folder import has_router
    from ckllm.experts.routers.rule import RuleRouter

    strategy = routing.strategy
    if strategy == "auto":
        strategy = "head" if has_router(folder) else "rule" if routing.rules else "base-only"
        if strategy == "base-only" and default != BASE:
            return DefaultRouter(default)
    if strategy == "head":
        if not has_router(folder):
            raise UsageError("routing.strategy = head, but no router is trained: run `ckllm experts train-router --data FILE`")
        return _trained(folder, embedder)
    return RuleRouter([(rule.pattern, rule.expert) for rule in routing.rules]) if strategy == "rule" else BaseOnlyRouter()


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
