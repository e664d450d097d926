"""Fetching from the web, guarded: a document's address must not become a way into the network that ckllm runs in.

Every host name is resolved here, every address that it has is checked, and the connection goes to a checked address, so that a
name cannot be resolved to something else in between (DNS rebinding). The same holds for every redirect and for robots.txt.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
import threading
import time
import urllib.robotparser
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath

import httpx

from ckllm.contracts import Source
from ckllm.errors import DataError

USER_AGENT = "ckllm"
MAX_REDIRECTS = 5
TOTAL_S = 120.0
WAIT_S = 15.0
"""For one connection or one read."""
_ROBOTS_BYTES = 500_000
_REFUSED_TYPES = frozenset({"audio", "video", "font", "model"})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})
"""Addresses that look public and are a cloud's own."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: Address) -> bool:
    """Whether an address is out on the internet: not loopback, private, link-local, multicast, reserved or a cloud's metadata."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in _METADATA


def checked_address(host: str, port: int, *, allow_private: bool) -> str:
    """One address of the host, after all of them were checked. Raises DataError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DataError(f"the host {host} cannot be resolved: {error}") from None
    addresses = [str(entry[4][0]).split("%", 1)[0] for entry in found]
    for address in addresses:
        if not allow_private and not is_public(ipaddress.ip_address(address)):
            raise DataError(
                f"the host {host} has the address {address}, which is not a public one;"
                " ingest.allow_private_urls lets such hosts be fetched from"
            )
    return addresses[0]


class PinnedTransport(httpx.BaseTransport):
    """Connects to the address that was checked, under the name that was asked for."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        # no connection is kept: one opened for a name must not serve another name at the same address
        self._transport = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0), trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        address = checked_address(url.host, url.port or (443 if url.scheme == "https" else 80), allow_private=self._allow_private)
        pinned = httpx.Request(
            request.method,
            url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": url.host},
        )
        return self._transport.handle_request(pinned)

    def close(self) -> None:
        self._transport.close()


class Fetcher:
    """Fetches documents into `folder`, within a size, a time and five redirects, where robots.txt allows it."""

    def __init__(self, max_bytes: int, folder: Path, *, allow_private: bool = False, total_s: float = TOTAL_S) -> None:
        self._max_bytes = max_bytes
        self._folder = folder
        self._total_s = total_s
        self._robots: dict[str, urllib.robotparser.RobotFileParser] = {}
        self._client = httpx.Client(
            transport=PinnedTransport(allow_private=allow_private),
            timeout=WAIT_S,
            headers={"User-Agent": USER_AGENT},
            follow_redirects=False,
            trust_env=False,
        )

    def close(self) -> None:
        self._client.close()

    def fetch(self, url: str) -> Source:
        """The document at `url`; its uri is the address asked for, whatever it redirects to. Raises DataError with the reason."""
        fetched: Future[Source] = Future()
        # a server can drip a header byte by byte below every timeout of a single read; the thread is left to itself then
        thread = threading.Thread(target=_settle, args=(fetched, lambda: self._fetch(url)), name="fetch", daemon=True)
        thread.start()
        try:
            return fetched.result(self._total_s)
        except FutureTimeoutError:
            raise _too_slow(self._total_s) from None

    def _fetch(self, url: str) -> Source:
        deadline = time.monotonic() + self._total_s
        with self._response(url, deadline, ask_robots=True) as response:
            if response.status_code != httpx.codes.OK:
                raise DataError(f"the server answered {response.status_code} {response.reason_phrase}".strip())
            media_type = response.headers.get("content-type", "")
            if media_type.partition("/")[0].lower() in _REFUSED_TYPES:
                raise DataError(f"the server sends {media_type}, which is not a document")
            name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:24]
            path = self._folder / f"{name}{PurePosixPath(response.url.path).suffix[:16]}"
            size, sha256 = self._save(response, path, deadline)
        return Source(url, path, size, sha256, media_type, _modified(response))

    @contextmanager
    def _response(self, url: str, deadline: float, *, ask_robots: bool) -> Iterator[httpx.Response]:
        """The answer at the end of the redirects, its body not yet read."""
        for _ in range(MAX_REDIRECTS + 1):
            parsed = _checked_url(url)
            if ask_robots:
                self._ask_robots(parsed, deadline)
            if time.monotonic() > deadline:
                raise _too_slow(self._total_s)
            try:
                with self._client.stream("GET", parsed) as response:
                    if not response.has_redirect_location:
                        yield response
                        return
                    url = str(parsed.join(response.headers["location"]))
            except httpx.TimeoutException:
                raise DataError(f"the server did not answer within {WAIT_S:g} s") from None
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
                raise DataError(f"cannot be fetched: {str(error) or type(error).__name__}") from None
        raise DataError(f"more than {MAX_REDIRECTS} redirects")

    def _save(self, response: httpx.Response, path: Path, deadline: float) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            for piece in response.iter_bytes():
                size += len(piece)
                if size > self._max_bytes:
                    raise DataError(f"larger than {self._max_bytes / 1e6:,.0f} MB (ingest.max_file_mb)")
                if time.monotonic() > deadline:
                    raise _too_slow(self._total_s)
                digest.update(piece)
                file.write(piece)
        if not size:
            raise DataError("the server sent an empty document")
        return size, digest.hexdigest()

    def _ask_robots(self, url: httpx.URL, deadline: float) -> None:
        """Raise DataError where robots.txt forbids the address (RFC 9309)."""
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        if origin not in self._robots:
            self._robots[origin] = self._read_robots(origin, deadline)
        if not self._robots[origin].can_fetch(USER_AGENT, str(url)):
            raise DataError(f"the robots.txt of {origin} does not allow it")

    def _read_robots(self, origin: str, deadline: float) -> urllib.robotparser.RobotFileParser:
        robots = urllib.robotparser.RobotFileParser()
        with self._response(f"{origin}/robots.txt", deadline, ask_robots=False) as response:
            status = response.status_code
            if status >= 500 or status in (401, 403):
                raise DataError(f"the robots.txt of {origin} cannot be read ({status}), so nothing may be fetched from there")
            lines: list[str] = []
            if status == httpx.codes.OK:
                body = b""
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > _ROBOTS_BYTES:
                        break
                lines = body[:_ROBOTS_BYTES].decode("utf-8", "replace").splitlines()
            robots.parse(lines)
        return robots


def _checked_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise DataError(f"not a valid address: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise DataError(f"only http and https addresses can be fetched, and this is {str(parsed)[:100]}")
    if parsed.userinfo:
        raise DataError("the address holds a user name or password, which would be stored with the document: leave them out")
    return parsed


def _too_slow(seconds: float) -> DataError:
    return DataError(f"not done within {seconds:g} s")


def _settle(future: Future[Source], call: Callable[[], Source]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - it is raised to the one who waits
        future.set_exception(error)


def _modified(response: httpx.Response) -> float | None:
    try:
        return parsedate_to_datetime(response.headers.get("last-modified", "")).timestamp()
    except (ValueError, TypeError):
        return None
