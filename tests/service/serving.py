"""A real service in a thread: real sockets, real Milvus Lite, real catalogue; a hashing embedder and a scripted model."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from ckllm.assembly import Replacements
from ckllm.client import Client
from ckllm.config import load_settings
from ckllm.contracts import Message
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.llm.base import BaseLLM
from ckllm.llm.scripted import Fault, ScriptedLLM
from ckllm.service.core import Core
from ckllm.service.doors import Doors
from ckllm.service.run import configuration
from ingestion import ingest

TOKEN = "the-owner-s-token"


@dataclass
class Served:
    """A running service, with what tests look at and meddle with."""

    core: Core
    doors: Doors
    port: int
    llm: ScriptedLLM
    ids: dict[str, str] = field(default_factory=dict)
    """File name → document id."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str | None = None) -> Client:
        return Client(self.url, key, timeout_s=60)

    def http(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def key(self, user: str, groups: Sequence[str] = (), right: str = "read") -> str:
        secret = self.core.keys().create(user, groups, right)[1]
        self.doors._keyed = True  # what it finds out within a second
        return secret

    def add(self, folder: Path, name: str, text: str, groups: Sequence[str] = (), collection: str = "main") -> str:
        """Ingest a file; its document id."""
        file = folder / name
        file.write_text(text, encoding="utf-8")
        report = ingest([file], self.core.base(collection), groups=groups)
        assert report.added == 1, report
        rows = self.core.base().catalogue.documents()
        self.ids[name] = next(row.id for row in rows if row.source == str(file))
        return self.ids[name]


def first_passage(messages: Sequence[Message]) -> str:
    """What a model that copies says: the first sentence of the first passage."""
    text = messages[-1].content
    return text.split(">\n", 1)[1].split("\n</passage>")[0].split(". ")[0].rstrip(".") + "." if ">\n" in text else "Nothing."


@contextmanager
def served(
    home: Path, *, fault: Fault | None = None, at_port: int = 0, model: BaseLLM | None = None, **overrides: Any
) -> Iterator[Served]:
    """`model`: in place of the scripted one."""
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    settings = load_settings(home, overrides={"ingest.workers": 1, **given}, environment={})
    llm = ScriptedLLM(first_passage, fault=fault)
    core = Core(settings, Replacements(embedder=HashingEmbedder(), llm=model or llm))
    doors = Doors(settings.service, core.keys, TOKEN)
    core.open()
    core.warm_up()
    core.worker.start()
    listening = socket.create_server(("127.0.0.1", at_port))
    server = uvicorn.Server(configuration(core, doors))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    port = listening.getsockname()[1]
    try:
        yield Served(core, doors, port, llm)
    finally:
        server.should_exit = True
        thread.join(10)
        core.close()


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    """Until the condition holds; fails where it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def chat(question: str, **more: Any) -> dict[str, Any]:
    return {"model": "ckllm", "messages": [{"role": "user", "content": question}], **more}


def envelope(response: httpx.Response) -> Mapping[str, Any]:
    """The error of a response, which must have the one form that errors have."""
    error = response.json()["error"]
    assert set(error) == {"type", "message", "param", "code"}
    assert error["message"] and error["code"] and error["type"], error
    return dict(error)
