"""A server on the loopback that speaks OpenAI's protocol, well or badly."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeAlias

Mode: TypeAlias = Literal[
    "good", "slow", "silent", "rubbish", "midway", "unfinished", "error_midway", "undecodable", "busy", "refuses", "failing"
]

WORDS = ("river", "mill", "bridge", "नमस्ते", "दुनिया", "你好", "🙂", "tower", "canal", "harbour", "stone", "lamp")


def answer_of(prompt: str, temperature: float, seed: int | None) -> list[str]:
    """Twelve words that depend on the prompt, and on the seed where there is a temperature."""
    key = f"{prompt}|{seed}" if temperature else prompt
    chosen = random.Random(key)
    return [chosen.choice(WORDS) + " " for _ in range(12)]


class FakeServer:
    """`mode` decides how the next requests go; `bodies` holds what was asked; `open_streams` the answers being written."""

    def __init__(self) -> None:
        self.mode: Mode = "good"
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.failures_left = 0
        self.delay_s = 0.0
        self.open_streams = 0
        self.numbered: list[dict[str, Any]] | None = None
        """What llama.cpp's server lists at /lora-adapters; None: as other servers, it has no such path."""
        server = self

        class Handler(_Handler):
            owner = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=lambda: self._http.serve_forever(0.05), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    @contextmanager
    def behaving(self, mode: Mode, failures: int = 0, delay_s: float = 0.0) -> Iterator[None]:
        self.mode, self.failures_left, self.delay_s = mode, failures, delay_s
        try:
            yield
        finally:
            self.mode, self.failures_left, self.delay_s = "good", 0, 0.0


class _Handler(BaseHTTPRequestHandler):
    owner: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        if self.path == "/lora-adapters":
            numbered = self.owner.numbered
            self._json(404 if numbered is None else 200, {"detail": "Not Found"} if numbered is None else numbered)
            return
        self._json(200, {"object": "list", "data": [{"id": "small"}, {"id": "sailing-adapter"}]})

    def do_POST(self) -> None:
        owner = self.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        owner.bodies.append(body)
        owner.headers.append(dict(self.headers.items()))
        if owner.mode == "busy" and owner.failures_left:
            owner.failures_left -= 1
            self._json(429, {"error": {"message": "too many requests"}}, {"Retry-After": "0.01"})
        elif owner.mode == "refuses":
            self._json(400, {"error": {"message": "the context of 2048 tokens is exceeded by 12"}})
        elif owner.mode == "failing":
            self._json(500, {"error": {"message": "out of memory"}}, {"Retry-After": "0.01"})
        elif owner.mode == "silent":
            time.sleep(owner.delay_s)
        elif body.get("echo"):
            self._json(200, _scored(str(body["prompt"])))
        else:
            self._stream(body)

    def _stream(self, body: dict[str, Any]) -> None:
        owner = self.owner
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        if owner.mode == "undecodable":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Connection", "close")
        self.end_headers()
        owner.open_streams += 1
        try:
            self._events(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has closed the stream
        finally:
            owner.open_streams -= 1
            self.close_connection = True

    def _events(self, body: dict[str, Any]) -> None:
        mode = self.owner.mode
        prompt = str(body.get("prompt") or body["messages"][-1]["content"])
        words = answer_of(prompt, float(body["temperature"]), body.get("seed"))[: int(body["max_tokens"])]
        text, stopped = "".join(words), False
        for stop in body.get("stop", []):
            if stop in text:
                text, stopped = text[: text.index(stop)], True
        self._send(": a comment")
        for number in range(0, len(text), 3):
            time.sleep(self.owner.delay_s)
            if number >= 9 and mode == "midway":
                self.connection.close()
                raise BrokenPipeError
            if number >= 9 and mode == "unfinished":
                return
            if number >= 9 and mode == "rubbish":
                self._send("data: <html>so sorry</html>")
                return
            if number >= 9 and mode == "error_midway":
                self._send("data: " + json.dumps({"error": {"message": "worker died"}}))
                return
            self._send("data: " + json.dumps(self._chunk(body, text[number : number + 3], None), ensure_ascii=False))
        reason = "stop" if stopped or int(body["max_tokens"]) > 12 else "length"
        self._send("data: " + json.dumps(self._chunk(body, "", reason)))
        made = len(text.split()) if stopped else len(words)
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": made}
        self._send("data: " + json.dumps({"choices": [], "usage": usage}))
        self._send("data: [DONE]")

    def _chunk(self, body: dict[str, Any], text: str, reason: str | None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
        choice |= {"text": text} if "prompt" in body else {"delta": {"content": text}}
        return {"object": "chunk", "choices": [choice]}

    def _send(self, line: str) -> None:
        self.wfile.write(f"{line}\n\n".encode())
        self.wfile.flush()

    def _json(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _scored(text: str) -> dict[str, Any]:
    """Every character a token, each with log-probability -1, the last word "right" with -0.1."""
    right = text.endswith(" right")
    values: list[float | None] = [None, *(-1.0 for _ in text[1:])]
    if right:
        values[-6:] = [-0.1] * 6
    return {"choices": [{"logprobs": {"text_offset": list(range(len(text))), "token_logprobs": values}}]}
