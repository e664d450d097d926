"""Requests made up from the API's own description, well formed and not: none ends in a 500."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.service.conftest import ROPEWAY
from tests.service.serving import TOKEN, Served, envelope, served

FEW, MANY = 8, 400
"""Requests made up for each operation, well formed ones, and as many of the others; many make more than 10,000 in all."""
HEALTH, PHASES = list(HealthCheck), (Phase.generate,)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home")) as running:
        running.add(tmp_path_factory.mktemp("docs"), "ropeway.txt", ROPEWAY)
        yield running


@pytest.mark.parametrize(
    ("examples", "least"), [(FEW, 150), pytest.param(MANY, 10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_no_request_ends_in_an_unexpected_error(service: Served, examples: int, least: int) -> None:
    api = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) > 25
    statuses: Counter[int] = Counter()
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=HEALTH, phases=PHASES
            )
            def probe(case: Any) -> None:
                response = case.call(timeout=60, headers={"Authorization": f"Bearer {TOKEN}"})
                statuses[response.status_code] += 1
                check(response)

            with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with a request that takes nothing
                probe()
    assert statuses.total() > least, statuses
    assert {200, 404, 422} <= set(statuses), statuses


def check(response: Any) -> None:
    told = f"{response.request.url}: {response.status_code} {response.text[:300]}"
    assert response.status_code < 500 or response.request.url.endswith("/ready"), told
    if response.status_code >= 400 and not response.request.url.endswith("/ready"):
        assert set(response.json()["error"]) == {"type", "message", "param", "code"}, told


def test_the_service_is_well_afterwards(service: Served) -> None:
    with service.http(TOKEN) as http:
        assert http.post("/v1/search", json={"query": "ropeway"}).json()["hits"]
        assert envelope(http.get("/v1/nope"))["code"] == "unknown_path"
