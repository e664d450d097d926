"""How a running service is found by the other commands: `service.json` in the home, readable by its owner alone.

Milvus Lite serves one process; the service that has the folder open lets the others in through its Unix socket. The file may be
stale, since a killed process leaves it: what counts is whether its socket takes a connection, or else its process runs.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from ckllm import __version__
from ckllm.contracts import digest

if TYPE_CHECKING:
    from ckllm.config import Settings

_CONNECT_S = 1.0


@dataclass(frozen=True, slots=True)
class Presence:
    """A service as it has announced itself."""

    pid: int
    address: str
    """http://HOST:PORT, as this machine reaches it."""
    store: str
    """What `store_uri` says in its settings."""
    socket: str
    """Unix socket of the embedded store; "" where the store is a server."""
    token: str
    """Opens the service as the owner."""
    settings: str
    """Fingerprint of everything that decides an answer."""
    started: float
    """Seconds since the epoch."""

    def store_is_open(self) -> bool:
        return bool(self.socket) and _connects(socket.AF_UNIX, self.socket)

    def lives(self) -> bool:
        """Whether the process that announced itself still runs: another one may have its number, or its port, by now."""
        if self.socket:
            return self.store_is_open()
        try:
            return psutil.Process(self.pid).create_time() <= self.started
        except (psutil.Error, ValueError):
            return False

    def answers(self) -> bool:
        place = urlsplit(self.address)
        family = socket.AF_INET6 if ":" in (place.hostname or "") else socket.AF_INET
        return _connects(family, (place.hostname, place.port))


def place(home: Path) -> Path:
    return home / "service.json"


def find(settings: Settings) -> Presence | None:
    """The service of this home as it announced itself, alive or not."""
    try:
        values = json.loads(place(settings.home).read_text(encoding="utf-8"))
        return Presence(**values)
    except (OSError, ValueError, TypeError):
        return None


def running(settings: Settings) -> Presence | None:
    """The service of this home, if it lives and answers."""
    found = find(settings)
    return found if found is not None and found.lives() and found.answers() else None


def store_socket(settings: Settings) -> str:
    """Socket of the embedded store of these settings, where a running service has it open; "" where none has."""
    found = find(settings)
    return found.socket if found is not None and found.store == settings.store_uri and found.store_is_open() else ""


def publish(settings: Settings, presence: Presence) -> None:
    """Announce a service; what a killed one has left is replaced."""
    old = find(settings)
    if old is not None and old.pid != presence.pid and not old.store_is_open():
        _forget_socket(old.socket)
    target = place(settings.home)
    new = target.with_suffix(f".{presence.pid}")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(presence), file)
    new.replace(target)


def withdraw(settings: Settings, pid: int) -> None:
    """Take the announcement back, if it is still that process's."""
    found = find(settings)
    if found is not None and found.pid == pid:
        place(settings.home).unlink(missing_ok=True)


def fingerprint(settings: Settings) -> str:
    """Identity of what decides an answer: a command with other settings does not let the service answer for it."""
    parts = (settings.store, settings.embedding, settings.retrieval, settings.answer, settings.llm, settings.routing)
    secrets = (settings.store.token, settings.embedding.api_key, settings.llm.api_key)  # their JSON hides them
    return digest(
        __version__,
        *(part.model_dump_json() for part in (*parts, *settings.experts)),
        *(secret.get_secret_value() for secret in secrets),
    )


def _connects(family: socket.AddressFamily, address: object) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_S)
        try:
            probe.connect(address)  # type: ignore[arg-type]
        except OSError:
            return False
        return True


def _forget_socket(path: str) -> None:
    """The private folder of a socket that nobody listens on."""
    folder = Path(path).parent
    if path and folder.name.startswith("ckllm-") and folder.parent == Path(tempfile.gettempdir()):
        shutil.rmtree(folder, ignore_errors=True)
