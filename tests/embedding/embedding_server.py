"""A small embedding server on loopback that speaks `/v1/embeddings`, with faults on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ckllm.embedding.hashing import HashingEmbedder

DIMENSION = 32


@dataclass
class Server:
    """What the server was asked, and what it answers next: faults are served first, one a request."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    """Status and body."""
    embedder: HashingEmbedder = field(default_factory=lambda: HashingEmbedder(DIMENSION, max_tokens=10_000))

    def answer(self, body: dict[str, Any]) -> tuple[int, str]:
        self.requests.append(body)
        if self.faults:
            return self.faults.pop(0)
        vectors = self.embedder.embed(body["input"], "passage") * 3.0
        rows = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(vectors.tolist())]
        return 200, json.dumps({"object": "list", "data": rows[::-1], "model": body["model"]})


@contextmanager
def serving() -> Iterator[Server]:
    """A running server; its answers come in reverse order and not of unit length, as the protocol allows."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            server.authorizations.append(self.headers.get("Authorization"))
            status, text = server.answer(json.loads(content)) if self.path == "/v1/embeddings" else (404, "no such page")
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield server
        http.shutdown()
        thread.join()
