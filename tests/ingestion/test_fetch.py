"""Fetching, with a real server on loopback for what may be fetched, and faked name resolution for what may not."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ckllm.config import Settings
from ckllm.errors import DataError
from ingestion import ingest
from ingestion.fetch import Fetcher, is_public
from ingestion.options import IngestOptions
from tests.ingestion.collection import Collection

PAGE = b"<html><body><h1>Title</h1><p>A page from the web.</p></body></html>"


class Site(BaseHTTPRequestHandler):
    robots = b""
    robots_status = 200

    def do_GET(self) -> None:
        path = self.path
        if path == "/robots.txt":
            self.answer(self.robots, "text/plain", self.robots_status)
        elif path == "/page":
            self.answer(PAGE, "text/html; charset=utf-8")
        elif path.startswith("/redirect/"):
            left = int(path.rsplit("/", 1)[1])
            self.redirect(f"/redirect/{left - 1}" if left else "/page")
        elif path == "/to-metadata":
            self.redirect("http://169.254.169.254/latest/meta-data")
        elif path == "/to-file":
            self.redirect("file:///etc/passwd")
        elif path == "/video":
            self.answer(b"x", "video/mp4")
        elif path == "/big":
            self.answer(b"x " * 100_000, "text/plain")
        elif path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(1000):
                self.wfile.write(b"drop ")
                self.wfile.flush()
                time.sleep(0.05)
        elif path == "/empty":
            self.answer(b"", "text/plain")
        else:
            self.answer(b"none", "text/plain", 404)

    def answer(self, body: bytes, media_type: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def redirect(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Site, "robots", b"")
    monkeypatch.setattr(Site, "robots_status", 200)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetcher(tmp_path: Path, max_bytes: int = 10_000, total_s: float = 20.0) -> Fetcher:
    return Fetcher(max_bytes, tmp_path, allow_private=True, total_s=total_s)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    found = [(socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "168.63.129.16", "::1", "::", "fe80::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "fec0::1", "240.0.0.1", "192.0.2.1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "0"])
def test_loopback_is_refused_however_it_is_written(host: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a public one|cannot be resolved|not a valid"):
        Fetcher(1000, tmp_path).fetch(f"http://{host}:9/")


def test_one_private_address_among_public_ones_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "93.184.216.34", "10.0.0.7")
    with pytest.raises(DataError, match=r"10\.0\.0\.7"):
        Fetcher(1000, tmp_path).fetch("http://example.org/")


def test_the_connection_goes_to_the_address_that_was_checked(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    port = site.rsplit(":", 1)[1]

    def once(host: str, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]

    monkeypatch.setattr("ingestion.fetch.socket.getaddrinfo", once)
    source = fetcher(tmp_path).fetch(f"http://rebinding.example:{port}/page")
    assert source.path.read_bytes() == PAGE
    names = [host for host in asked if host == "rebinding.example"]
    assert len(names) == 2, "resolved once for robots.txt and once for the page, and not again to connect"


def test_a_page_becomes_a_source(site: str, tmp_path: Path) -> None:
    source = fetcher(tmp_path).fetch(f"{site}/page")
    assert (source.uri, source.size, source.media_type) == (f"{site}/page", len(PAGE), "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nothing", "404"), ("/video", "video/mp4"), ("/big", "larger than"), ("/empty", "empty"), ("/redirect/6", "redirects"),
        ("/to-file", "only http and https"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(site: str, path: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason):
        fetcher(tmp_path).fetch(site + path)


def test_five_redirects_are_followed(site: str, tmp_path: Path) -> None:
    assert fetcher(tmp_path).fetch(f"{site}/redirect/4").path.read_bytes() == PAGE


def test_a_redirect_into_the_private_network_is_refused(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.fetch.is_public", lambda address: str(address) == "127.0.0.1")
    with pytest.raises(DataError, match=r"169\.254\.169\.254"):
        Fetcher(1000, tmp_path).fetch(f"{site}/to-metadata")


def test_a_dripping_server_is_left(site: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(DataError, match="not done within"):
        fetcher(tmp_path, total_s=0.4).fetch(f"{site}/slow")
    assert time.monotonic() - began < 25


def test_robots_are_respected(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Site, "robots", b"User-agent: *\nDisallow: /page\n")
    with pytest.raises(DataError, match=r"robots\.txt"):
        fetcher(tmp_path).fetch(f"{site}/page")
    with pytest.raises(DataError, match=r"robots\.txt"):
        fetcher(tmp_path).fetch(f"{site}/redirect/0")
    monkeypatch.setattr(Site, "robots_status", 404)
    assert fetcher(tmp_path).fetch(f"{site}/page").size
    monkeypatch.setattr(Site, "robots_status", 503)
    with pytest.raises(DataError, match=r"robots\.txt.*503"):
        fetcher(tmp_path).fetch(f"{site}/page")


def test_passwords_in_addresses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="password"):
        Fetcher(1000, tmp_path).fetch("http://ana:secret@example.org/")


def test_a_url_is_ingested_like_a_file(site: str, kb: Collection) -> None:
    urls = [f"{site}/page", f"{site}/nothing", "ftp://example.org/x"]
    report = ingest(urls, kb, options=IngestOptions(allow_private_urls=True))
    assert report.added == 1 and sorted(one.source for one in report.rejected) == sorted(urls[1:])
    assert {one.stage for one in report.rejected} == {"fetch"}
    assert ingest(urls[:1], kb, options=IngestOptions(allow_private_urls=True)).unchanged == 1
    assert ingest(urls[:1], kb).rejected[0].stage == "fetch", "by default loopback is refused"
    assert not Settings(home=kb.home).ingest.allow_private_urls
    assert list((kb.home / "ingesting").glob("*")) == []
