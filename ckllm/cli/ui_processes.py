"""The two processes of `ckllm ui`: the service, unless one runs, and Streamlit. Both end when this process ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

import psutil
import typer

from ckllm import presence
from ckllm.cli import output
from ckllm.client import Client, RefusedError
from ckllm.errors import UpstreamError, UsageError
from ckllm.home import make_home
from ckllm.service.doors import is_loopback

if TYPE_CHECKING:
    from ckllm.cli.session import Session
    from ckllm.config import ServiceSettings, Settings

_BOUND = str(Path(presence.__file__).with_name("bound.py"))
"""Run by its path: it shall not wait for the package's imports."""
_START_S = 60.0
_END_S = 12.0
_TICK_S = 0.2
_LOOK = {
    "light": ("#12806b", "#ffffff", "#f4f4f1", "#1d2226", "#12806b"),
    "dark": ("#57c2ab", "#15181b", "#1f2428", "#e7e8e6", "#57c2ab"),
}
_COLOURS = ("primaryColor", "backgroundColor", "secondaryBackgroundColor", "textColor", "blueColor")
_OPTIONS = {
    "global.developmentMode": "false", "browser.gatherUsageStats": "false", "server.fileWatcherType": "none",
    "server.runOnSave": "false", "client.toolbarMode": "minimal", "client.showErrorDetails": "none",
    "server.showEmailPrompt": "false", "server.enableStaticServing": "false", "logger.level": "warning",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Page:
    host: str
    port: int
    browser: bool

    @property
    def reached(self) -> str:
        """The host as this machine reaches it."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound to

    @property
    def address(self) -> str:
        return f"http://{f'[{self.reached}]' if ':' in self.reached else self.reached}:{self.port}"


class _EndedError(Exception):
    """SIGTERM or SIGINT."""


def run(given: Session, page: Page, *, as_json: bool = False) -> None:
    """Serve the page until a signal. UsageError for a port that is taken; UpstreamError where a process does not start."""
    settings = given.settings()
    _free(page)
    with ExitStack() as stack:
        stack.enter_context(_signals())
        try:
            service, address = _service(given, settings, stack)
            _refuse_strangers(page, address)
            streamlit = stack.enter_context(_process(page_command(page, address, settings.service)))
            _await(streamlit, lambda: _answers(page), "the page")
            if as_json:
                output.print_json({"address": page.address, "service": address})
            else:
                typer.echo(page.address)
            _watch([one for one in (service, streamlit) if one is not None])
        except (_EndedError, KeyboardInterrupt):
            return


def _service(given: Session, settings: Settings, stack: ExitStack) -> tuple[subprocess.Popen[bytes] | None, str]:
    """The running service's address, or that of one that is started here."""
    running = presence.running(settings)
    if running is not None:
        typer.echo(f"ckllm: using the service that runs at {running.address}", err=True)
        return None, running.address
    port = 0 if _trouble("127.0.0.1", settings.service.port) else settings.service.port
    options = ["--home", str(settings.home), *(("--config", str(given.config)) if given.config else ())]
    make_home(settings.home)
    log = stack.enter_context((settings.home / "service.log").open("wb"))
    process = stack.enter_context(_process([sys.executable, "-m", "ckllm", *options, "serve", "--port", str(port)], log))
    _await(process, lambda: _announced(settings, process.pid) is not None, f"the service (see {log.name})")
    found = _announced(settings, process.pid)
    assert found is not None
    return process, found.address


def page_command(page: Page, address: str, service: ServiceSettings) -> list[str]:
    """What starts Streamlit with the application in front of a service."""
    spec = find_spec("ui.app")
    if spec is None or spec.origin is None or find_spec("streamlit") is None:
        raise UsageError("the web application is not installed: install ckllm with its dependencies, streamlit among them")
    options = {
        **_OPTIONS, "server.address": page.host, "server.port": str(page.port), "server.headless": str(not page.browser).lower(),
        "server.maxUploadSize": str(max(1, int(service.upload_limit_mb))),
        **{f"theme.{name}.{key}": value for name, look in _LOOK.items() for key, value in zip(_COLOURS, look, strict=True)},
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in options.items()]
    flags += [f"--server.allowedHosts={name}" for name in _names(page, service)]
    return [sys.executable, "-m", "streamlit", "run", str(Path(spec.origin)), *flags, "--", *_front(address, service)]


def _names(page: Page, service: ServiceSettings) -> list[str]:
    """Names that the page may be called by, so that no other name can be made to point here (DNS rebinding); none: any name."""
    if not service.allowed_hosts and not is_loopback(page.host):
        return []
    return ["localhost", "127.0.0.1", "::1", page.host, *service.allowed_hosts]


def _front(address: str, service: ServiceSettings) -> list[str]:
    """The application's own arguments."""
    trusted = [part for one in service.trusted_proxies for part in ("--trusted", one)]
    return ["--service", address, *(("--user-header", service.user_header, *trusted) if service.user_header else ())]


@contextmanager
def _process(command: list[str], log: IO[bytes] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, so that Ctrl-C reaches this process alone; it ends with everything that it started, and
    by itself where this process is killed."""
    bound = [sys.executable, "-P", _BOUND, str(os.getpid()), *command]
    process = subprocess.Popen(
        bound, stdin=subprocess.DEVNULL, stdout=log or subprocess.DEVNULL, stderr=log, start_new_session=True
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for child in children:
        if child.is_running():
            child.kill()


@contextmanager
def _signals() -> Iterator[None]:
    def ended(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        raise _EndedError

    before = {number: signal.signal(number, ended) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announced(settings: Settings, pid: int) -> presence.Presence | None:
    found = presence.running(settings)
    return found if found is not None and found.pid == pid else None


def _refuse_strangers(page: Page, service: str) -> None:
    """Without API keys everybody who reaches the page is the owner, so only this machine may reach it."""
    if is_loopback(page.host):
        return
    with Client(service) as client:
        try:
            client.models()
        except RefusedError:
            return
    raise UsageError(
        f"there are no API keys, so only this machine may open the page: make some with `ckllm keys create`, "
        f"or leave out --host {page.host}"
    )


def _free(page: Page) -> None:
    trouble = _trouble(page.host, page.port)
    if trouble:
        raise UsageError(f"cannot listen on {page.host}:{page.port}: {trouble}; give another --port or --host")


def _trouble(host: str, port: int) -> str:
    """Why nothing can listen there; "" where something can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _answers(page: Page) -> bool:
    try:
        with socket.create_connection((page.reached, page.port), timeout=1.0):
            return True
    except OSError:
        return False


def _await(process: subprocess.Popen[bytes], there: Callable[[], bool], what: str) -> None:
    """Until it is there. UpstreamError where its process ends or takes too long."""
    until = time.monotonic() + _START_S
    while not there():
        if process.poll() is not None:
            raise UpstreamError(f"{what} ended with exit code {process.returncode} before it answered")
        if time.monotonic() > until:
            raise UpstreamError(f"{what} did not answer within {_START_S:.0f} s")
        time.sleep(_TICK_S)


def _watch(processes: list[subprocess.Popen[bytes]]) -> None:
    """Until one ends by itself, which is an error."""
    while all(process.poll() is None for process in processes):
        time.sleep(_TICK_S)
    codes = [process.returncode for process in processes if process.returncode is not None]
    raise UpstreamError(f"a process of the web application ended by itself with exit code {codes[0]}")
