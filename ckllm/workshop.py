"""Work on experts that needs several parts at once: bundles, training, scores.

Like `ckllm.assembly`, this file knows which implementations do it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckllm.errors import UsageError
from ckllm.experts.card import write_card
from ckllm.experts.models import model_folder, model_key
from ckllm.experts.table import open_registry, router_folder
from ckllm.experts.training.rows import read_rows, split_by_source
from ckllm.home import make_home

if TYPE_CHECKING:
    from ckllm.config import LlmSettings, Settings
    from ckllm.experts.bundle import Bundle
    from ckllm.experts.card import Card
    from ckllm.experts.evaluation import Task
    from ckllm.experts.registry import Expert
    from ckllm.experts.training.loop import Progress
    from ckllm.experts.training.order import Plan
    from ckllm.experts.training.rows import Row
    from ckllm.llm.base import BaseLLM

ANSWER_TOKENS = 48
"""The most new tokens of an answer that is scored."""


def save_expert_bundle(settings: Settings, folder: Path, only: Sequence[str] = (), *, references: bool = False) -> Bundle:
    """Router, experts and the models under them, as one folder. See `ckllm.experts.bundle`.

    All experts, but for those that ship with ckllm for another model than `llm.model`; or `only` those named.
    """
    from ckllm.experts.bundle import save_bundle
    from ckllm.experts.routers.folder import has_router

    registry = open_registry(settings)
    serving = registry.serving(settings.llm.model)
    every = [one for one in registry if one.origin != "shipped" or one.name in serving]
    experts = [registry.get(name) for name in only] if only else every
    router = router_folder(settings) if has_router(router_folder(settings)) else None
    if not experts and router is None:
        raise UsageError("there is nothing to bundle: no expert is installed and no router is trained")
    models = {}
    if not settings.llm.base_url:
        bases = {settings.llm.model, *(one.card.base_model for one in experts if one.card.is_adapter and one.card.base_model)}
        models = {model_key(base): model_folder(base, settings.models_folder) for base in bases}
        models |= {one.name: model_folder(one.card.model, settings.models_folder) for one in experts if not one.card.is_adapter}
    base = "" if settings.llm.base_url else model_key(settings.llm.model)
    return save_bundle(folder, experts, router, models, references=references, base=base)


def load_expert_bundle(settings: Settings, folder: Path) -> Bundle:
    """Check a bundle and install its experts and its router in the home directory."""
    from ckllm.experts.bundle import install, load_bundle

    bundle = load_bundle(folder)
    make_home(settings.home)
    install(bundle, open_registry(settings), router_folder(settings))
    return bundle


def train(settings: Settings, plan: Plan, progress: Callable[[Progress], None], say: Callable[[str], None]) -> Expert:
    """Train an expert, score it beside the base model on documents held out, and install it. A run that was stopped goes on.

    Raises UsageError for a name that is taken, DataError for rows that cannot be used or a run with other data or settings.
    """
    from ckllm.experts.registry import checked_name
    from ckllm.experts.training.run import Order, train_expert

    registry = open_registry(settings)
    checked_name(plan.name)
    if plan.name in registry and registry.get(plan.name).origin == "installed":
        raise UsageError(f"there is an expert {plan.name!r} already: remove it first, or give another name")
    base_name = plan.base or settings.llm.model
    base = model_folder(base_name, settings.models_folder)
    rows, sha256 = _rows(settings, plan)
    folder = settings.home / "training" / plan.name
    with _alone(folder, plan.name):
        if plan.restart:
            for part in ("checkpoint", "best"):
                shutil.rmtree(folder / part, ignore_errors=True)
        say(f"{len(rows)} rows; base model {base_name}")
        order = Order(
            name=plan.name, base=base, base_name=base_name, folder=folder, options=plan.options, description=plan.description,
            licence=plan.licence, data_sha256=sha256, command=plan.command, device=plan.device,
        )  # fmt: skip
        with _tracked(plan, folder, progress) as told:
            card = train_expert(order, rows, told)
        if plan.score_rows:
            held_out = split_by_source(rows, seed=plan.options.seed)[2][: plan.score_rows]
            say(f"scoring {len(held_out)} rows held out")
            write_card(card.with_values({"scores": dict(card.scores) | _scored(base, folder, held_out, card)}), folder)
        expert = registry.add(folder, plan.name)
    shutil.rmtree(folder)
    return expert


def _rows(settings: Settings, plan: Plan) -> tuple[list[Row], str]:
    if plan.data is not None:
        return read_rows(plan.data)
    from ckllm.assembly import open_knowledge_base
    from ckllm.experts.training.data import Passage
    from ckllm.experts.training.order import rows_of_passages

    with open_knowledge_base(collection=plan.collection, settings=settings, create=False) as kb:
        if kb.catalogue.collection(plan.collection) is None:
            raise UsageError(f"there is no collection {plan.collection!r}: `ckllm collections list` shows those there are")
        passages = [
            Passage(chunk.text, version.title, version.source, chunk.section)
            for version in kb.catalogue.versions(plan.collection, "LIVE")
            if not (plan.open_only and version.groups)
            for chunk in kb.catalogue.chunks(version.version_id)
        ]
    return rows_of_passages(passages, plan.options.seed)


def _scored(base: Path, adapter: Path, held_out: Sequence[Row], card: Card) -> dict[str, Any]:
    """What expert and base model answer to rows held out, beside the losses that the card has."""
    from ckllm.experts.evaluation import compare, evaluate, tasks_of
    from ckllm.llm.transformers import TransformersLLM

    with TransformersLLM(str(base)) as llm:
        tasks = [t for t in tasks_of(held_out) if llm.count_tokens(t.messages) + ANSWER_TOKENS <= llm.context_length]
        report = compare(
            tasks,
            evaluate(llm, tasks, {str(adapter): 1.0}, ANSWER_TOKENS),
            evaluate(llm, tasks, {}, ANSWER_TOKENS),
        )
    for part in ("expert", "base"):
        report[part] = dict(card.scores[part]) | report[part]
    return report | {"loss_rows": card.scores["rows"]}


def open_expert(settings: Settings, expert: str) -> BaseLLM:
    """A language model that is an expert, a mixture of experts or `base`, in every call. UsageError for an unknown name.

    Adapters are applied by transformers: the fast engine gives no likelihoods with them.
    """
    from ckllm.experts.base import BASE
    from ckllm.experts.mixing import named
    from ckllm.experts.registry import adapter_weights
    from ckllm.llm.table import choose_engine, open_llm

    if expert == BASE:
        return open_llm(settings.llm, settings.models_folder)
    registry = open_registry(settings)
    weights = named(expert)
    cards = [registry.get(name).card for name in weights]
    if len(cards) == 1 and not cards[0].is_adapter:
        return open_llm(_own_model(settings, cards[0]), settings.models_folder)
    fast = choose_engine(settings.llm)[0] == "openvino"
    chosen = settings.llm.model_copy(update={"engine": "transformers"}) if fast else settings.llm
    adapters = adapter_weights(weights, registry)
    llm = open_llm(chosen, settings.models_folder)
    llm.adapters = adapters
    return llm


def _own_model(settings: Settings, card: Card) -> LlmSettings:
    """The settings of an expert that is a model of its own."""
    own = {"model": card.model, "profile": card.profile, "quantisation": card.quantisation}
    return settings.llm.model_copy(update=own)


def evaluate_expert(settings: Settings, name: str, tasks: Sequence[Task], progress: Callable[[int], None]) -> dict[str, Any]:
    """An expert and the base model on the same rows; see `ckllm.experts.evaluation.compare`. The engine is the settings'."""
    from ckllm.experts.evaluation import compare, evaluate
    from ckllm.experts.registry import adapter_weights
    from ckllm.llm.table import open_llm

    registry = open_registry(settings)
    expert = registry.get(name)
    whole = not expert.card.is_adapter
    adapters = {} if whole else adapter_weights({name: 1.0}, registry)
    with open_llm(settings.llm, settings.models_folder) as llm:
        base = evaluate(llm, tasks, {}, ANSWER_TOKENS, progress)
        if not whole:
            found = evaluate(llm, tasks, adapters, ANSWER_TOKENS, lambda done: progress(len(tasks) + done))
    if whole:
        with open_llm(_own_model(settings, expert.card), settings.models_folder) as llm:
            found = evaluate(llm, tasks, {}, ANSWER_TOKENS, lambda done: progress(len(tasks) + done))
    return {"expert_name": name, "base_model": settings.llm.model} | compare(tasks, found, base)


@contextmanager
def _tracked(plan: Plan, folder: Path, progress: Callable[[Progress], None]) -> Iterator[Callable[[Progress], None]]:
    """`progress`, and the tracker that the plan names."""
    if not plan.log_to:
        yield progress
        return
    from dataclasses import asdict

    from ckllm.experts.training.trackers import open_tracker

    tracker = open_tracker(plan.log_to, plan.name, folder.parent / "logs" / plan.name, asdict(plan.options))

    def both(at: Progress) -> None:
        progress(at)
        tracker.log(at)

    try:
        yield both
    finally:
        tracker.close()


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """The run's folder, for one process at a time."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"another process is training {name!r} now: wait for it, or give another name") from None
    try:
        yield
    finally:
        lock.release()
