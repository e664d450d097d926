"""A collection of experts as one object: whole models, each with tokenizer and template, and adapters, behind a router.

After Kraken, and with what that lacked: every row of a batch is routed by itself, messages stay structured until the model's
own template renders them, a doubtful question goes to the base model, and a bundle is checked before anything is loaded.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from ckllm.contracts import Message, Route, Usage
from ckllm.embedding.base import Embedder
from ckllm.errors import CkllmError, UsageError
from ckllm.experts.base import BASE, Router, RouteRequest
from ckllm.experts.bundle import Bundle, check_references, load_bundle
from ckllm.experts.card import Card, read_card
from ckllm.experts.models import model_key
from ckllm.experts.routers.base_only import BaseOnlyRouter
from ckllm.experts.routers.explicit import ExplicitRouter
from ckllm.experts.routers.folder import load_router
from ckllm.experts.routers.scoring import ScoredRouter
from ckllm.llm.base import BaseLLM

Prompt: TypeAlias = str | Sequence[Message] | Sequence[Mapping[str, str]]
"""A question, or a conversation as messages or as `{"role", "content"}` rows, oldest turn first."""


@dataclass(frozen=True, slots=True)
class Member:
    """How an expert is served: by which model, with which adapter, after which system prompt."""

    model: str
    adapter: str = ""
    """Folder; "" for a whole model."""
    system_prompt: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    text: str
    route: Route
    usage: Usage
    finish_reason: str | None

    @property
    def expert(self) -> str:
        return self.route.expert


class ExpertCollection:
    """Opened with `load`, or made of parts. Each model is opened when a question first goes to it; use it as a context manager.

    Safe to use from several threads.
    """

    def __init__(self, router: Router, members: Mapping[str, Member], models: Mapping[str, Callable[[], BaseLLM]]) -> None:
        """`members`: name → how it is served; one of them is `base`. `models`: name → what opens it."""
        if BASE not in members:
            raise UsageError(f"the collection has no member {BASE!r}: say which model answers where no expert does")
        if missing := sorted({member.model for member in members.values()} - set(models)):
            raise UsageError(f"the collection has no model {missing[0]!r}: there are {', '.join(sorted(models))}")
        self._router, self._members, self._open = router, dict(members), dict(models)
        self._opened: dict[str, BaseLLM] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        embedder: Callable[[], Embedder] | None = None,
        models: Mapping[str, Path] | None = None,
        **parameters: Any,
    ) -> ExpertCollection:
        """A bundle, checked and ready. `embedder` opens the one that the router was trained with (by default: as the settings
        say); `models` (name → folder) is for a bundle with references; `parameters` are those of every model.

        Raises DataError for a bundle that was changed or lacks a model.
        """
        bundle = load_bundle(Path(folder))
        given = dict(models or {})
        check_references(bundle, given)
        folders = {name: given[name] if name in bundle.references else place for name, place in bundle.models.items()}
        cards = [read_card(bundle.folder / "experts" / name) for name in bundle.experts]
        members = _members(bundle, cards)
        profiles = {card.name: card for card in cards if not card.is_adapter}
        openers = {name: _opener(place, name, profiles.get(name), parameters) for name, place in folders.items()}
        return cls(ExplicitRouter(set(members), _router(bundle, embedder)), members, openers)

    @property
    def experts(self) -> tuple[str, ...]:
        return tuple(self._members)

    def generate(self, prompts: Sequence[Prompt], *, expert: str = "auto", **parameters: Any) -> list[Reply | CkllmError]:
        """A reply a prompt, in order; in the place of one that failed stands its error. `parameters` as of `BaseLLM.run`.

        Rows of one model are computed together, each with its own adapter.
        """
        results: list[Reply | CkllmError | None] = [None] * len(prompts)
        waiting: dict[str, list[tuple[int, tuple[Message, ...], Route]]] = defaultdict(list)
        for place, prompt in enumerate(prompts):
            try:
                messages = _messages(prompt)
                route = self.route(messages, expert)
                waiting[self._member(route).model].append((place, messages, route))
            except CkllmError as error:
                results[place] = error
        for model, rows in waiting.items():
            self._run(model, rows, parameters, results)
        assert all(result is not None for result in results), "every row has its reply or its error"
        return [result for result in results if result is not None]

    def chat(self, messages: Prompt, *, expert: str = "auto", **parameters: Any) -> Reply:
        """The reply to one conversation. Raises what `generate` gives back as a row's error."""
        (reply,) = self.generate([messages], expert=expert, **parameters)
        if isinstance(reply, CkllmError):
            raise reply
        return reply

    def route(self, prompt: Prompt, expert: str = "auto") -> Route:
        """Which expert a prompt goes to: by its last user turn and the turns before it, no system message."""
        messages = _messages(prompt)
        last = max((n for n, message in enumerate(messages) if message.role == "user"), default=-1)
        if last < 0:
            raise UsageError("the conversation has no user turn: there is nothing to route by")
        history = tuple(message for message in messages[:last] if message.role != "system")
        return self._router.route([RouteRequest(messages[last].content, history, expert)])[0]

    def close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, {}
        for llm in opened.values():
            llm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------ inside

    def _run(
        self,
        model: str,
        rows: Sequence[tuple[int, tuple[Message, ...], Route]],
        parameters: Mapping[str, Any],
        results: list[Reply | CkllmError | None],
    ) -> None:
        llm = self._model(model)
        places, requests = [], []
        for place, messages, route in rows:
            member = self._member(route)
            adapters = {self._members[name].adapter: weight for name, weight in self._adapters(route).items()}
            try:
                request = llm.request(_with_system(messages, member.system_prompt), adapters=adapters, **parameters)
            except UsageError as error:
                results[place] = error
                continue
            places.append((place, route))
            requests.append(request)
        for index, done in llm.generate_many(requests):
            place, route = places[index]
            if isinstance(done, CkllmError):
                results[place] = done
            elif isinstance(done, Exception):
                raise done
            else:
                results[place] = Reply(done.text, route, done.usage, done.finish_reason)

    def _member(self, route: Route) -> Member:
        """A label without a member of its own is served by the base model."""
        return self._members.get(route.expert, self._members[BASE])

    def _adapters(self, route: Route) -> dict[str, float]:
        """The mixture of the route. UsageError for one that no single model can be."""
        named = {name: weight for name, weight in route.weights.items() if name in self._members}
        if len({self._members[name].model for name in named}) > 1 or (
            len(named) > 1 and not all(self._members[name].adapter for name in named)
        ):
            raise UsageError(f"the experts {', '.join(named)} are different models: only adapters of one model can be mixed")
        return {name: weight for name, weight in named.items() if self._members[name].adapter}

    def _model(self, name: str) -> BaseLLM:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = self._open[name]()
            return self._opened[name]


def _members(bundle: Bundle, cards: Sequence[Card]) -> dict[str, Member]:
    base = bundle.base or next(iter(bundle.models), "")
    members = {BASE: Member(base)}
    for card in cards:
        if card.is_adapter:
            under = model_key(card.base_model) if card.base_model else base
            members[card.name] = Member(under, str(bundle.folder / "experts" / card.name), card.system_prompt)
        else:
            members[card.name] = Member(card.name, "", card.system_prompt)
    return members


def _router(bundle: Bundle, embedder: Callable[[], Embedder] | None) -> Router:
    if not bundle.has_router:
        return BaseOnlyRouter()
    saved = load_router(bundle.folder / "router")

    def matching() -> Embedder:
        opened = (embedder or _default_embedder)()
        if opened.name != saved.embedder:
            raise UsageError(
                f"the bundle's router was trained with the embedder {saved.embedder}, not {opened.name}: give that one"
            )
        return opened

    return ScoredRouter(saved.scorer, saved.threshold, matching)


def _default_embedder() -> Embedder:
    from ckllm.config import load_settings
    from ckllm.embedding.table import open_embedder

    settings = load_settings()
    return open_embedder(settings.embedding, settings.models_folder)


def _opener(folder: Path, name: str, card: Card | None, parameters: Mapping[str, Any]) -> Callable[[], BaseLLM]:
    def opened() -> BaseLLM:
        from ckllm.llm.transformers import TransformersLLM

        profile, quantisation = (card.profile, card.quantisation) if card is not None else ("", "none")
        return TransformersLLM(str(folder), model_id=name, profile=profile, quantisation=quantisation, **parameters)

    return opened


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    turns = []
    for turn in prompt:
        if isinstance(turn, Message):
            turns.append(turn)
            continue
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, Mapping) else (None, None)
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise UsageError('each turn needs a "role" (system, user or assistant) and a "content" text')
        turns.append(Message(role, content))  # type: ignore[arg-type]  # checked above
    return tuple(turns)


def _with_system(messages: tuple[Message, ...], system_prompt: str) -> tuple[Message, ...]:
    """The expert's own system prompt, where the conversation brings none."""
    if not system_prompt or (messages and messages[0].role == "system"):
        return messages
    return (Message("system", system_prompt), *messages)
