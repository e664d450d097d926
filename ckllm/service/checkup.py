"""What `ckllm doctor --service` looks at: whether the service of this home runs, answers, and is safe to be called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ckllm import __version__, presence
from ckllm.client import Client, UnavailableError
from ckllm.doctor import Finding
from ckllm.errors import CkllmError
from ckllm.service.doors import is_loopback

if TYPE_CHECKING:
    from ckllm.config import Settings


def examine_service(settings: Settings) -> Iterator[Finding]:
    found = presence.find(settings)
    if found is None:
        yield Finding("service", "warn", "none runs for this home", "start it with `ckllm serve`")
        yield _keys(settings)
        return
    with Client(found.address, found.token, timeout_s=10) as client:
        try:
            version = str(client.health()["version"])
        except UnavailableError:
            mend = "start it again with `ckllm serve`: what a killed one has left is replaced"
            yield Finding("service", "fail", f"process {found.pid} announced {found.address} and does not answer", mend)
            return
        yield _version(found.address, version)
        yield _readiness(client)
        yield _jobs(client)
    if found.socket:
        open_ = found.store_is_open()
        mend = "" if open_ else "stop the service and start it again"
        yield Finding("shared store", "ok" if open_ else "fail", f"{found.store} through {found.socket}", mend)
    same = found.settings == presence.fingerprint(settings)
    mend = "" if same else "start the service again; until then search and ask load their own models"
    yield Finding("settings", "ok" if same else "warn", f"{'the same' if same else 'other ones'} as the service's", mend)
    yield _keys(settings)


def _version(address: str, version: str) -> Finding:
    if version == __version__:
        return Finding("service", "ok", f"{version} at {address}")
    return Finding("service", "warn", f"{version} at {address}, this is {__version__}", "start the service again")


def _readiness(client: Client) -> Finding:
    if client.ready():
        return Finding("models of the service", "ok", "loaded")
    return Finding("models of the service", "warn", "not loaded", "wait a little; if it stays so, run `ckllm doctor`")


def _jobs(client: Client) -> Finding:
    jobs = client.jobs()
    failed, waiting = (sum(job.state == state for job in jobs) for state in ("failed", "queued"))
    detail = f"{len(jobs)} known, {waiting} waiting, {failed} failed"
    return Finding("ingestion jobs", "warn" if failed else "ok", detail, "see GET /v1/jobs" if failed else "")


def _keys(settings: Settings) -> Finding:
    from ckllm.assembly import open_keys

    try:
        ring = open_keys(settings)
        try:
            keys = [key for key in ring.issued() if not key.revoked]
        finally:
            ring.close()
    except CkllmError as error:
        return Finding("API keys", "fail", str(error), "see the message")
    host = settings.service.host
    if keys:
        return Finding("API keys", "ok", f"{len(keys)} in use, for {len({key.user for key in keys})} users")
    if is_loopback(host):
        return Finding("API keys", "ok", f"none: whoever uses this machine is the owner, and the service listens on {host} only")
    return Finding("API keys", "fail", f"none, and service.host is {host}", "make some with `ckllm keys create`")
