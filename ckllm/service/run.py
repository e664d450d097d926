"""`ckllm serve`: open the knowledge base, listen, announce, and end cleanly."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import psutil
import uvicorn

from ckllm import presence
from ckllm.errors import UsageError
from ckllm.service import logs
from ckllm.service.app import create_app
from ckllm.service.core import Core
from ckllm.service.doors import Doors, is_loopback
from ckllm.service.protocol import Protocol

if TYPE_CHECKING:
    from ckllm.config import Settings

_AGAIN_S = 15.0
"""After which models that could not be loaded are tried again."""
_GRACE_S = 3
"""For answers that are under way at the end; then they are cut off."""
KEEP_ALIVE_S = 30
"""For the next request on a connection. Longer than clients keep theirs (httpx and OpenAI's client: 5 s): whoever closes first
closes on no request that is on its way."""
_LAST_S = 8.0
"""After which the process ends whatever still holds it."""


def serve(settings: Settings, told: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises UsageError, StoreError before anything listens. `told` hears the address then."""
    running = presence.running(settings)
    if running is not None and running.socket:
        raise UsageError(f"a service of this home runs already, at {running.address} (process {running.pid}): stop it first")
    logs.set_up()
    token = secrets.token_urlsafe(32)
    core = Core(settings)
    doors = Doors(settings.service, core.keys, token)
    try:
        _refuse_strangers(settings, doors)
        listening = _listen(settings)
        core.open()
        threading.Thread(target=_warm_up, args=(core,), name="warm-up", daemon=True).start()
        if settings.service.run_jobs:
            core.worker.start()
        address = _announce(settings, core, token, listening, keyed=doors.keyed())
        if told is not None:
            told(address)
        _Server(configuration(core, doors)).run([listening])
    finally:
        _end(settings, core)


def _warm_up(core: Core) -> None:
    while not core.warm:
        core.warm_up()
        if not core.warm:
            time.sleep(_AGAIN_S)
    core.rehearse()


def _refuse_strangers(settings: Settings, doors: Doors) -> None:
    host = settings.service.host
    if not doors.keyed() and not is_loopback(host):
        raise UsageError(
            f"there are no API keys, so only this machine may call the service: make some with `ckllm keys create`, "
            f"or leave out --host {host}"
        )


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.service.host, settings.service.port
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(kind, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        return listening
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}; give another --port or --host") from None


def configuration(core: Core, doors: Doors) -> uvicorn.Config:
    """The application and how it is served; the address comes with the socket."""
    return uvicorn.Config(
        create_app(core, doors, core.settings.service.host), http=Protocol, ws="none", log_config=None, access_log=False,
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=_GRACE_S, timeout_keep_alive=KEEP_ALIVE_S,
    )  # fmt: skip


def _announce(settings: Settings, core: Core, token: str, listening: socket.socket, *, keyed: bool) -> str:
    """Tell the other commands, the log and the person at the terminal where the service is and who may call it; its address."""
    host, port = listening.getsockname()[:2]
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound to
    address = f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
    presence.publish(
        settings,
        presence.Presence(
            os.getpid(), address, settings.store_uri, core.store_socket, token, presence.fingerprint(settings), time.time()
        ),
    )
    who = "callers need an API key" if keyed else "there are no API keys: whoever uses this machine is the owner"
    logs.log.info("listening", extra={"fields": {"address": address, "access": who}})
    return address


class _Server(uvicorn.Server):
    """Ends with exit code 0 on SIGTERM, where uvicorn would die of it."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._captured_signals.clear()
        _end_in_time()


def _end_in_time() -> None:
    """However the threads behave, the process is gone soon, with everything that it started."""

    def end() -> None:
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(0)

    timer = threading.Timer(_LAST_S, end)
    timer.daemon = True
    timer.start()


def _end(settings: Settings, core: Core) -> None:
    presence.withdraw(settings, os.getpid())
    core.close()
    for child in psutil.Process().children(recursive=True):
        child.kill()
    sys.stderr.flush()
