"""From rows to an expert's folder: split, train, measure on the documents held out, write adapter and card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ckllm.errors import DataError
from ckllm.experts.card import ADAPTER, CONFIG, Card, write_card
from ckllm.experts.training.loop import Outcome, Progress, Trainer, TrainingOptions, mean_loss
from ckllm.experts.training.lora import save_adapter, with_adapter
from ckllm.experts.training.packing import Example, pack
from ckllm.experts.training.rows import Row, examples, split_by_source
from ckllm.file_hash import file_sha256


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained. `base` is a Hugging Face folder, `base_name` what `llm.model` calls it."""

    name: str
    base: Path
    base_name: str
    folder: Path
    """Adapter, card and checkpoints go here; a run that was stopped goes on from them."""
    options: TrainingOptions = field(default_factory=TrainingOptions)
    description: str = ""
    licence: str = ""
    data_sha256: str = ""
    command: str = ""
    device: str = "cpu"


def train_expert(order: Order, rows: Sequence[Row], progress: Callable[[Progress], None] | None = None) -> Card:
    """Train an adapter and write its folder; the card that was written.

    Raises DataError for too few sources, for rows that are all too long, and for a folder that holds another run.
    """
    from transformers import AutoTokenizer

    options = order.options
    tokenizer = AutoTokenizer.from_pretrained(order.base, local_files_only=True, trust_remote_code=False)
    parts = split_by_source(rows, seed=options.seed)
    training, validation, test = (list(examples(part, tokenizer, options.max_tokens)) for part in parts)
    if not test:
        raise DataError(f"no test row fits into max_tokens = {options.max_tokens}: raise it, or give shorter rows")
    model = with_adapter(order.base, options, order.device)
    weights = order.base / "model.safetensors"
    base_sha256 = file_sha256(weights) if weights.is_file() else ""
    trainer = Trainer(model, order.folder, options, order.device, base_sha256 or order.base_name)
    outcome = trainer.run(training, validation, progress)
    scores = held_out_loss(model, test, options, order.device)
    save_adapter(model, order.folder)
    card = Card(
        name=order.name,
        description=order.description,
        base_model=order.base_name,
        base_sha256=base_sha256,
        adapter_sha256=file_sha256(order.folder / ADAPTER),
        config_sha256=file_sha256(order.folder / CONFIG),
        licence=order.licence,
        scores=scores,
        training=_training(order, outcome, (training, validation, test), len(rows)),
    )
    write_card(card, order.folder)
    return card


def held_out_loss(model: Any, test: Sequence[Example], options: TrainingOptions, device: str) -> dict[str, Any]:
    """Mean negative log-likelihood of an answer token, of the expert and of the base model on the same rows."""
    packs = pack(test, options.pack_tokens)
    model.eval()
    with model.disable_adapter():
        base = mean_loss(model, packs, device)
    return {"rows": len(test), "expert": {"loss": mean_loss(model, packs, device)}, "base": {"loss": base}}


def _training(order: Order, outcome: Outcome, parts: Sequence[Sequence[Example]], rows: int) -> dict[str, Any]:
    return {
        "data_sha256": order.data_sha256,
        "rows": rows,
        "used": dict(zip(("train", "validation", "test"), map(len, parts), strict=True)),
        "options": asdict(order.options),
        "command": order.command,
        "steps": outcome.steps,
        "best_step": outcome.best_step,
        "validation_loss": outcome.best_validation_loss,
    }
