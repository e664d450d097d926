"""The card of an expert, `expert.json`: what it is, what it was made from, and how good it was on data it never saw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from ckllm.errors import DataError
from ckllm.llm import peft_folder

CARD, ADAPTER, CONFIG = "expert.json", peft_folder.WEIGHTS, peft_folder.CONFIG
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Card:
    name: str
    description: str = ""
    base_model: str = ""
    """Name of the model under the adapter, as in `llm.model`."""
    base_sha256: str = ""
    """Of that model's weights file."""
    adapter_sha256: str = ""
    """Of adapter_model.safetensors; "" for a whole or remote model."""
    config_sha256: str = ""
    """Of adapter_config.json."""
    model: str = ""
    """A whole model: hub id, folder, or name at a server."""
    profile: str = ""
    """Chat template profile; "": the model's own."""
    system_prompt: str = ""
    """"": the product's."""
    quantisation: str = "none"
    languages: tuple[str, ...] = ()
    licence: str = ""
    revision: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """Held-out figures, each with its count, of the expert and of the base model on the same questions."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Data (sets, licences, rows, SHA-256), options, command."""

    @property
    def is_adapter(self) -> bool:
        return not self.model

    @property
    def hashes(self) -> dict[str, str]:
        """File → SHA-256, of those that the card vouches for."""
        return {file: value for file, value in ((ADAPTER, self.adapter_sha256), (CONFIG, self.config_sha256)) if value}

    def renamed(self, name: str) -> Self:
        return replace(self, name=name)

    def with_values(self, values: Mapping[str, Any]) -> Self:
        return replace(self, **values)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def card_files(place: Path) -> list[Path]:
    """The cards of the experts in a folder, by name; one that is still being added has a dot before its name, and is none yet."""
    return sorted(place.glob(f"[!.]*/{CARD}"))


def read_card(folder: Path) -> Card:
    """Raises DataError for a card that is missing, not JSON, of a newer format, or holds unknown or misplaced values."""
    file = folder / CARD
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"the card {file} cannot be read: {error}") from error
    if not isinstance(value, dict) or value.pop("format", FORMAT) != FORMAT:
        raise DataError(f"{file} is not a card of format {FORMAT}")
    known = {one.name for one in fields(Card)}
    if unknown := sorted(set(value) - known):
        raise DataError(f"{file}: unknown key {unknown[0]!r}")
    for key in known & set(value):
        kind = dict if key in ("scores", "training") else list if key == "languages" else str
        if not isinstance(value[key], kind):
            raise DataError(f"{file}: {key} must be {'a list' if kind is list else 'an object' if kind is dict else 'text'}")
    if not value.get("name"):
        raise DataError(f"{file}: the name is missing")
    return Card(**(value | {"languages": tuple(value.get("languages", ()))}))


def write_card(card: Card, folder: Path) -> None:
    text = json.dumps({"format": FORMAT, **card.as_json()}, ensure_ascii=False, indent=1)
    new = folder / f"{CARD}.new"
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(folder / CARD)
