"""A whole collection of experts as one folder: router, adapters, models with tokenizers and templates, and a hash of every file.

A bundle works offline on a machine that has ckllm and nothing else. With references, the weights of whole models are left out
and named by their hash; everything else is still in it. Nothing in a bundle is ever executed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ckllm.errors import DataError, UsageError
from ckllm.experts.card import ADAPTER, CARD, CONFIG, read_card, write_card
from ckllm.experts.registry import Expert, Registry, checked_name, verify
from ckllm.experts.routers import folder as router_files
from ckllm.file_hash import file_sha256

MANIFEST = "bundle.json"
FORMAT = 1
_WEIGHTS = (".safetensors", ".gguf", ".bin")
_CODE = (".py", ".pkl", ".pickle", ".pt", ".pth", ".so")
_OF_A_MODEL = (*_WEIGHTS, ".json", ".txt", ".jinja", ".model", ".xml")
"""What is taken from a model's folder; a `.bin` only beside the OpenVINO graph of the same name, never a pickle of torch."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    experts: tuple[str, ...]
    has_router: bool
    models: Mapping[str, Path]
    """Name → folder inside the bundle."""
    references: Mapping[str, Mapping[str, str]]
    """Model → file → SHA-256 of weights that have to be on the machine already."""
    base: str = ""
    """The model that answers where no expert does; "" where the bundle names none."""


def save_bundle(
    folder: Path,
    experts: Iterable[Expert],
    router: Path | None,
    models: Mapping[str, Path],
    *,
    references: bool = False,
    base: str = "",
) -> Bundle:
    """Write a bundle into an empty or new folder. Raises UsageError for another one, DataError for a changed expert.

    `models`: name → folder, `base` one of them. An expert that is a whole model takes the folder of its own name.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: give a new folder for the bundle")
    folder.mkdir(parents=True, exist_ok=True)
    for expert in experts:
        verify(expert)
        target = folder / "experts" / checked_name(expert.name)
        if expert.card.is_adapter and expert.folder is not None:
            _copy(expert.folder, target, [ADAPTER, CONFIG])
            write_card(expert.card, target)
        elif expert.name in models:
            target.mkdir(parents=True)
            write_card(expert.card.with_values({"model": expert.name}), target)
        else:
            raise UsageError(
                f"the expert {expert.name!r} has no files of its own: leave it out of the bundle, or give its model's folder"
            )
    if router is not None:
        router_files.load_router(router)
        _copy(router, folder / "router", [router_files.CARD, router_files.WEIGHTS])
    pinned: dict[str, dict[str, str]] = {}
    for name, source in models.items():
        files = _model_files(source)
        left_out = [file for file in files if references and file.endswith(_WEIGHTS)]
        _copy(source, folder / "models" / checked_name(name), [file for file in files if file not in left_out])
        if left_out:
            pinned[name] = {file: file_sha256(source / file) for file in left_out}
    manifest = {
        "format": FORMAT,
        "files": {path: file_sha256(folder / path) for path in _listing(folder)},
        "models": sorted(models),
        "references": pinned,
        "base": base,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
    return load_bundle(folder)


def load_bundle(folder: Path) -> Bundle:
    """Check every file against the manifest. Raises DataError for one that is missing, changed, foreign, or could be code."""
    manifest = _manifest(folder)
    files: dict[str, str] = manifest["files"]
    for path in files:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or path.endswith(_CODE):
            raise DataError(f"{folder / MANIFEST} lists {path!r}, which no bundle may hold")
    there = set(_listing(folder))
    if missing := sorted(set(files) - there):
        raise DataError(f"the bundle {folder} lacks {missing[0]}: copy it again")
    if foreign := sorted(there - set(files)):
        raise DataError(
            f"the bundle {folder} holds {foreign[0]}, which is not in its manifest: remove the file, or copy the bundle again"
        )
    for path, expected in files.items():
        if file_sha256(folder / path) != expected:
            raise DataError(f"{folder / path} was changed since the bundle was saved: copy it again")
    cards = [read_card(file.parent) for file in sorted(folder.glob(f"experts/*/{CARD}"))]
    has_router = router_files.has_router(folder / "router")
    if has_router:
        router_files.load_router(folder / "router")
    models = {name: folder / "models" / checked_name(name) for name in manifest["models"]}
    return Bundle(
        folder, tuple(card.name for card in cards), has_router, models, manifest["references"], str(manifest.get("base", ""))
    )


def install(bundle: Bundle, registry: Registry, router: Path) -> list[str]:
    """Take a bundle's experts and router into a home directory; the names of the experts. An expert that is there is refused."""
    taken = [name for name in bundle.experts if name in registry and registry.get(name).origin == "installed"]
    if taken:
        raise UsageError(f"there is an expert {taken[0]!r} already: remove it first")
    added = [registry.add(bundle.folder / "experts" / name, model=bundle.models.get(name)).name for name in bundle.experts]
    if bundle.has_router:
        _copy(bundle.folder / "router", router, [router_files.WEIGHTS, router_files.CARD])
    return added


def check_references(bundle: Bundle, models: Mapping[str, Path]) -> None:
    """Raises DataError where a model that the bundle refers to is not in `models` (name → folder), or is another one."""
    for name, files in bundle.references.items():
        for file, expected in files.items():
            if name not in models or not (models[name] / file).is_file():
                raise DataError(f"the bundle refers to the model {name!r}, whose {file} is not here: fetch it first")
            if file_sha256(models[name] / file) != expected:
                raise DataError(f"{models[name] / file} is not the file that the bundle was made with (SHA-256 differs)")


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{folder} is no bundle: its {MANIFEST} cannot be read ({error})") from error
    kinds = {"files": dict, "models": list, "references": dict}
    if (
        not isinstance(value, dict)
        or value.get("format") != FORMAT
        or any(not isinstance(value.get(k), t) for k, t in kinds.items())
    ):
        raise DataError(f"{file} is not a manifest of format {FORMAT}")
    return value


def _model_files(source: Path) -> list[str]:
    names = sorted(file.name for file in source.iterdir() if file.is_file() and file.suffix in _OF_A_MODEL)
    return [name for name in names if not name.endswith(".bin") or f"{name.removesuffix('.bin')}.xml" in names]


def _listing(folder: Path) -> list[str]:
    """Every file below the folder but the manifest. Raises DataError for a link: it could lead anywhere."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise DataError(f"{path} is a link: a bundle holds files only")
        if path.is_file() and path != folder / MANIFEST:
            found.append(path.relative_to(folder).as_posix())
    return found


def _copy(source: Path, target: Path, files: Iterable[str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        new = target / f"{file}.new"
        shutil.copyfile(source / file, new)
        new.replace(target / file)
