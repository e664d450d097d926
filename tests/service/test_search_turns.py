"""Many searches of one user, and another's single one."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from ckllm.service.caller import Caller
from ckllm.service.core import Core
from tests.service.conftest import ROPEWAY
from tests.service.serving import TOKEN, Served, envelope, served, wait_for

MANY = 200
SEARCH = "/v1/search"
QUERY = {"query": "ropeway"}
LIMITS = {"service__search_threads": 1, "service__search_queue": MANY + 2, "service__search_queue_per_user": MANY}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home"), **LIMITS) as running:
        running.add(tmp_path_factory.mktemp("docs"), "ropeway.txt", ROPEWAY)
        yield running


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """With whom turns were shared, in the order in which the service searched."""
    order: list[str] = []
    visible = Core.visible

    def noted(core: Core, collection: str, caller: Caller) -> Any:
        order.append(caller.queues_as)
        return visible(core, collection, caller)

    monkeypatch.setattr(Core, "visible", noted)
    return order


@contextmanager
def held(service: Served) -> Iterator[None]:
    """The only thread for searches is busy meanwhile."""
    free = threading.Event()
    service.core._searching.submit(free.wait)
    try:
        yield
    finally:
        free.set()


def waiting(service: Served, count: int) -> None:
    wait_for(lambda: service.core.searches.waiting == count, 60)


def find(service: Served, headers: dict[str, str]) -> httpx.Response:
    with httpx.Client(base_url=service.url, headers=headers, timeout=120, trust_env=False, verify=False) as http:
        return http.post(SEARCH, json=QUERY)


def of_key(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_one_search_does_not_wait_for_another_program_s_many(service: Served, searched: list[str]) -> None:
    """Without keys, the programs of the owner have turns."""
    with ThreadPoolExecutor(6) as pool:
        with held(service):
            many = [pool.submit(find, service, {"User-Agent": "script"}) for _ in range(5)]
            waiting(service, 4)
            one = pool.submit(find, service, {"User-Agent": "browser"})
            waiting(service, 5)
        assert {search.result().status_code for search in (*many, one)} == {200}
    assert searched.index("127.0.0.1 browser") <= 2


def test_one_search_does_not_wait_for_another_user_s_hundreds(service: Served, searched: list[str]) -> None:
    ana, bo = of_key(service.key("ana")), of_key(service.key("bo"))
    with ThreadPoolExecutor(MANY + 2) as pool:
        with held(service):
            many = [pool.submit(find, service, ana) for _ in range(MANY + 1)]
            waiting(service, MANY)
            refused = find(service, ana)
            assert (refused.status_code, envelope(refused)["code"]) == (429, "too_many_searches")
            assert int(refused.headers["retry-after"]) >= 1
            one = pool.submit(find, service, bo)
            waiting(service, MANY + 1)
        assert {search.result().status_code for search in (*many, one)} == {200}
    assert searched.index("bo") <= 2
    assert searched.count("ana") == MANY + 1
    assert (service.core.searches.waiting, service.core.searches.taken) == (0, 0)


def test_where_the_queue_is_full_nobody_s_search_is_taken(service: Served) -> None:
    keys = [of_key(service.key(user)) for user in ("cy", "dan")]
    with ThreadPoolExecutor(MANY + 3) as pool:
        with held(service):
            sent = [pool.submit(find, service, keys[0]) for _ in range(MANY + 1)]
            waiting(service, MANY)
            sent += [pool.submit(find, service, keys[1]) for _ in range(2)]
            waiting(service, MANY + 2)
            refused = find(service, of_key(TOKEN))
            assert (refused.status_code, envelope(refused)["code"]) == (503, "queue_full")
            assert int(refused.headers["retry-after"]) >= 1
        assert {search.result().status_code for search in sent} == {200}


def test_a_client_that_goes_away_gives_up_its_place_and_its_turn(service: Served, searched: list[str]) -> None:
    key = service.key("eve")
    body = json.dumps(QUERY).encode()
    head = (
        f"POST {SEARCH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    address = ("127.0.0.1", service.port)
    with held(service):
        with socket.create_connection(address) as at_work:
            at_work.sendall(head.encode() + body)
            wait_for(lambda: service.core.searches.taken == 1)
            with socket.create_connection(address) as queued:
                queued.sendall(head.encode() + body)
                waiting(service, 1)
            waiting(service, 0)
        assert service.core.searches.taken == 1  # its thread is not free yet
    wait_for(lambda: service.core.searches.taken == 0)
    assert searched == ["eve"]
    assert find(service, of_key(key)).status_code == 200


def test_errors_of_a_search_are_told_and_give_the_turn_back(service: Served) -> None:
    with service.http(TOKEN) as http:
        assert http.post(SEARCH, json={**QUERY, "collection": "nowhere"}).status_code == 404
    assert service.core.searches.taken == 0
