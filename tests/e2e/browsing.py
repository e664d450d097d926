"""A real service and a real page in processes of their own, and what a browser sees of them."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from ckllm.cli.ui_processes import Page as Address
from ckllm.cli.ui_processes import page_command
from ckllm.client import Client, UnavailableError
from ckllm.config import ServiceSettings
from ckllm.service.nouns import JobState
from tests.service.serving import TOKEN

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

ROOT = Path(__file__).parents[2]
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
ROPEWAY = "The ropeway at Gansett was built in 1931 by Odile Ferrand. It was closed in 1960.\n"
ATTACK = (
    'The <b>parade</b> of Ostrell is led by <img src=x onerror="window.hacked=1"> a goat. ![x](http://192.0.2.1/x.png) '
    "<script>window.hacked=1</script>\n"
)
LITANY = f"{', '.join(['Veldish litany'] * 60)}.\n"
"""A model that copies it is at it for long; no other question shares its words."""
ARABIC = "بُني جسر قرطان عام 1931 على يد سلمى الحداد. أُغلق الجسر عام 1960.\n"


@dataclass
class Site:
    """`service`: started and ended by tests as they like; `url`: the page's."""

    home: Path
    port: int
    url: str
    service: subprocess.Popen[bytes]

    def client(self, key: str | None = None) -> Client:
        return Client(f"http://127.0.0.1:{self.port}", key, timeout_s=60)

    def end_service(self) -> None:
        self.service.kill()
        self.service.wait()

    def start_service(self) -> None:
        command = [sys.executable, "-m", "tests.e2e.ui_service", str(self.home), str(self.port)]
        self.service = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        until(self._ready, "the service is ready")

    def _ready(self) -> bool:
        assert self.service.poll() is None, "the service has ended"
        try:
            with self.client() as client:
                return client.ready()
        except UnavailableError:
            return False

    def add(self, files: Sequence[tuple[str, bytes]], groups: Sequence[str] = (), key: str | None = None) -> None:
        with self.client(key) as client:
            *_, last = client.job_events(client.upload(files, groups=groups).id)
        assert last.state is JobState.DONE
        assert last.report is not None
        assert not last.report["rejected"], last.report


@contextmanager
def site(home: Path) -> Iterator[Site]:
    ports = free_ports(2)
    address = Address("127.0.0.1", ports[1], browser=False)
    made = Site(home, ports[0], address.address, subprocess.Popen(["true"]))
    page = subprocess.Popen(page_command(address, f"http://127.0.0.1:{ports[0]}", ServiceSettings()), cwd=home)
    try:
        made.start_service()
        until(lambda: answers(ports[1]), "the page is there")
        yield made
    finally:
        made.end_service()
        page.kill()
        page.wait()


@contextmanager
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


def opened(browser: Browser, url: str) -> Page:
    """A page of a person of their own. A request to anywhere but this machine, or an error of a script, fails the test's end."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(120_000)
    strange: list[str] = []
    page.on("request", lambda request: strange.append(request.url) if _is_strange(request.url) else None)
    page.on("pageerror", lambda error: strange.append(str(error)))
    page.goto(url)
    page.wait_for_function("() => document.querySelector('[data-testid=stApp]')")
    page.__dict__["strange"] = strange
    return page


def unharmed(page: Page) -> None:
    """No script of a document has run, nothing was asked of another machine."""
    assert page.evaluate("() => window.hacked") is None
    assert page.__dict__["strange"] == []


def ask(page: Page, question: str) -> None:
    page.get_by_test_id("stChatInputTextArea").fill(question)
    page.keyboard.press("Enter")


def shown(page: Page, selector: str, count: int = 1) -> Locator:
    """The elements, once the page's script is at rest and they are `count`: while it runs, what it replaces is there twice."""
    app, found = page.get_by_test_id("stApp"), page.locator(selector)
    state = "data-test-script-state"
    until(lambda: app.get_attribute(state) == "notRunning" and found.count() == count, f"{count} of {selector}")
    return found


def pdf(*paragraphs: str) -> bytes:
    """A PDF of one page a paragraph."""
    from reportlab.pdfgen.canvas import Canvas

    made = io.BytesIO()
    canvas = Canvas(made, pagesize=(400, 600))
    canvas.setTitle("Ferry handbook")
    for paragraph in paragraphs:
        for number, line in enumerate(paragraph.split("\n")):
            canvas.drawString(60, 500 - 20 * number, line)
        canvas.showPage()
    canvas.save()
    return made.getvalue()


def until(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"in time: {what}"
        time.sleep(0.1)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _is_strange(url: str) -> bool:
    return not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", url)


def locked(site: Site) -> bool:
    """Whether the service has noticed that there are keys, which takes it up to a second."""
    return httpx.get(f"http://127.0.0.1:{site.port}/v1/me", trust_env=False, timeout=60).status_code == 401


def key(site: Site, user: str, groups: Sequence[str]) -> str:
    """A new API key; boss may do everything."""
    body = {"user": user, "groups": list(groups), "right": "admin" if user == "boss" else "read"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    made = httpx.post(f"http://127.0.0.1:{site.port}/v1/keys", json=body, headers=headers, trust_env=False, timeout=60)
    return str(made.raise_for_status().json()["key"])
