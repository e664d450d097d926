"""Which experts there are: those that ship with the package, those in `<home>/experts/`, those in `ckllm.toml`; later ones win.

An expert's folder holds `expert.json` (its card) and, for an adapter, PEFT's two files. The card is data: nothing in it names
code, and no file of a folder is ever imported. What a card says of its files is checked before they are given to an engine.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckllm.config import ExpertSettings
from ckllm.errors import DataError, UsageError
from ckllm.experts.base import BASE
from ckllm.experts.card import ADAPTER, CARD, CONFIG, Card, card_files, read_card, write_card
from ckllm.file_hash import file_sha256

SHIPPED = Path(__file__).parent / "shipped"
_NAME = re.compile(r"[\w.-]{1,64}")
_RESERVED = frozenset({BASE, "auto", "ckllm"})


@dataclass(frozen=True, slots=True)
class Expert:
    """A card, and where its files lie."""

    card: Card
    folder: Path | None
    origin: str
    """shipped, installed or configured."""

    @property
    def name(self) -> str:
        return self.card.name

    def as_json(self) -> dict[str, Any]:
        return self.card.as_json() | {"origin": self.origin, "folder": None if self.folder is None else str(self.folder)}


class Registry:
    """The experts of one home directory. Cards are read once; files are verified when an expert is about to be used."""

    def __init__(self, folder: Path, configured: Iterable[ExpertSettings] = (), shipped: Path | None = SHIPPED) -> None:
        """`folder`: `<home>/experts`. Raises DataError for a broken card, UsageError for a bad configured expert."""
        self._folder = folder
        self._experts: dict[str, Expert] = {}
        for origin, place in (("shipped", shipped), ("installed", folder)):
            for card in card_files(place) if place is not None else []:
                self._put(Expert(read_card(card.parent), card.parent, origin))
        for settings in configured:
            self._put(_configured(settings))

    def __iter__(self) -> Iterator[Expert]:
        return iter(self._experts.values())

    def __contains__(self, name: object) -> bool:
        return name in self._experts

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._experts)

    def get(self, name: str) -> Expert:
        if name not in self._experts:
            known = ", ".join((BASE, *self._experts))
            raise UsageError(f"there is no expert {name!r}: there are {known}")
        return self._experts[name]

    def serving(self, model: str) -> dict[str, Expert]:
        """Experts that the model `model` can be: adapters made for it. A card that names no base serves any."""
        return {
            name: expert
            for name, expert in self._experts.items()
            if expert.folder is not None and expert.card.is_adapter and expert.card.base_model in ("", model)
        }

    def add(self, source: Path, name: str = "", model: Path | None = None) -> Expert:
        """Copy an expert's folder into the home; an adapter without a card gets one. Raises UsageError for a taken name.

        `model` is where a whole model that the card describes lies now: it is not copied.
        """
        if not source.is_dir():
            raise UsageError(f"{source} is not a folder: give the folder of an adapter")
        card = (
            read_card(source)
            if (source / CARD).is_file()
            else Card(name or source.name, adapter_sha256=file_sha256(source / ADAPTER))
        )
        card = card.renamed(name) if name else card
        card = card.with_values({"model": str(model.absolute())}) if model is not None and card.model else card
        checked_name(card.name)
        target = self._folder / card.name
        if target.exists():
            raise UsageError(f"there is an expert {card.name!r} already: remove it first, or give another name")
        verify(Expert(card, source, "installed"))
        new = self._folder / f".{card.name}.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for file in (*_files(card), *(["README.md"] if (source / "README.md").is_file() else [])):
            shutil.copyfile(source / file, new / file)
        write_card(card, new)
        new.rename(target)
        expert = Expert(card, target, "installed")
        self._put(expert)
        return expert

    def remove(self, name: str) -> None:
        """Delete an installed expert's folder. Raises UsageError for one that ships or is configured."""
        expert = self.get(name)
        if expert.origin != "installed" or expert.folder is None:
            raise UsageError(f"the expert {name!r} is {expert.origin}: only installed ones can be removed")
        shutil.rmtree(expert.folder)
        del self._experts[name]

    def adapter_folders(self, names: Iterable[str]) -> dict[str, Path]:
        """Verified adapter folders of those names that have one. Raises DataError where a file was changed."""
        found = {}
        for name in names:
            expert = self._experts.get(name)
            if expert is not None and expert.folder is not None and expert.card.is_adapter:
                verify(expert)
                found[name] = expert.folder
        return found

    def _put(self, expert: Expert) -> None:
        checked_name(expert.name)
        self._experts[expert.name] = expert


def checked_name(name: str) -> str:
    """Raises UsageError for a name that cannot be a folder, or that has a meaning of its own."""
    if name in _RESERVED or not _NAME.fullmatch(name) or name.startswith("."):
        raise UsageError(
            f"{name!r} cannot name an expert: use letters, digits, - and _, and none of {', '.join(sorted(_RESERVED))}"
        )
    return name


def verify(expert: Expert) -> None:
    """Raises DataError where an adapter's weights or configuration are not those that its card was written for."""
    if expert.folder is None or not expert.card.is_adapter:
        return
    for file, expected in expert.card.hashes.items():
        if file_sha256(expert.folder / file) != expected:
            raise DataError(
                f"{expert.folder / file} is not the file that its card describes (SHA-256 differs): add the expert again"
            )


def adapter_weights(weights: Mapping[str, float], registry: Registry) -> dict[str, float]:
    """`Route.weights` as `GenerationRequest.adapters`: verified folder → weight; {} for the base model alone.

    Raises UsageError for an expert that is a model of its own: the model that is open cannot be it.
    """
    for name in weights:
        if name in registry and not registry.get(name).card.is_adapter:
            raise UsageError(
                f"the expert {name!r} is a model of its own, {registry.get(name).card.model}: set llm.model to it, or ask it "
                "through ckllm.experts.collection"
            )
    folders = registry.adapter_folders(weights)
    return {str(folders[name]): weight for name, weight in weights.items() if name in folders}


def _files(card: Card) -> tuple[str, ...]:
    return (ADAPTER, CONFIG) if card.is_adapter else ()


def _configured(settings: ExpertSettings) -> Expert:
    if bool(settings.adapter) == bool(settings.model):
        raise UsageError(f"expert {settings.name!r} in the settings: give either adapter or model")
    folder = Path(settings.adapter).expanduser() if settings.adapter else None
    if folder is not None and (folder / CARD).is_file() and not settings.sha256:
        card = read_card(folder)
    else:
        card = Card(settings.name, adapter_sha256=settings.sha256 or (file_sha256(folder / ADAPTER) if folder else ""))
    given = {
        "name": settings.name, "description": settings.description, "model": settings.model, "profile": settings.profile,
        "system_prompt": settings.system_prompt, "languages": settings.languages, "licence": settings.licence,
        "revision": settings.revision,
        "quantisation": "" if settings.quantisation == "none" else settings.quantisation,
    }  # fmt: skip
    return Expert(card.with_values({key: value for key, value in given.items() if value}), folder, "configured")
