"""`ckllm serve`: open the knowledge base, listen, and end cleanly."""

from __future__ import annotations

import secrets
import signal
import threading
from typing import TYPE_CHECKING

import uvicorn

from ckllm.errors import UsageError
from ckllm.service.app import create_app
from ckllm.service.core import Core
from ckllm.service.doors import Doors, is_loopback

if TYPE_CHECKING:
    from ckllm.config import Settings

_GRACE_S = 4


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    service = settings.service
    core = Core(settings)
    try:
        doors = Doors(service, core.keys, secrets.token_urlsafe(32))
        keyed = doors.keyed()
        if not keyed and not is_loopback(service.host):
            raise UsageError(
                f"there are no API keys, so only this machine may call the service: make some with `ckllm keys create`,"
                f" or leave out --host {service.host}"
            )
        core.open()
        threading.Thread(target=core.warm_up, name="warm-up", daemon=True).start()
        config = uvicorn.Config(
            create_app(core, doors, service.host), service.host, service.port, http="h11", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, limit_concurrency=service.connections,
            timeout_graceful_shutdown=_GRACE_S, ws="none",
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal again when it has ended
            signal.signal(number, lambda *_: None)
        uvicorn.Server(config).run()
    finally:
        core.close()
