"""A command ends with the same exit code whether a service answers for it or not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ckllm.cli.app import EXIT_STORE, EXIT_UNEXPECTED, EXIT_USAGE, exit_code
from ckllm.cli.remote import RemoteBase
from ckllm.errors import CkllmError, StoreError
from ckllm.llm.scripted import Fault
from ckllm.presence import Presence
from ckllm.store.milvus import MilvusStore
from tests.service.conftest import ROPEWAY
from tests.service.serving import TOKEN, Served, served

QUESTION = "Who built the ropeway at Gansett?"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Its model fails at the second token."""
    with served(tmp_path_factory.mktemp("home"), fault=Fault(fail_after=1)) as running:
        running.add(tmp_path_factory.mktemp("docs"), "ropeway.txt", ROPEWAY)
        yield running


def through(address: str) -> RemoteBase:
    presence = Presence(os.getpid(), address, "", "", TOKEN, "", time.time())
    return RemoteBase(presence, "main")


def raised(base: Any, streamed: bool, **options: Any) -> CkllmError:
    with pytest.raises(CkllmError) as caught:
        if streamed:
            list(base.stream(QUESTION, **options))
        else:
            base.ask(QUESTION, **options)
    return caught.value


@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_that_fails(service: Served, streamed: bool) -> None:
    here, there = raised(service.core.base(), streamed), raised(through(service.url), streamed)
    assert exit_code(here) == exit_code(there) == EXIT_UNEXPECTED
    assert str(here) == str(there)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_store_that_fails(service: Served, streamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("the store is gone")

    monkeypatch.setattr(MilvusStore, "search_dense", fail)
    here, there = raised(service.core.base(), streamed), raised(through(service.url), streamed)
    assert exit_code(here) == exit_code(there) == EXIT_STORE
    assert str(here) == str(there)


def test_an_expert_that_does_not_exist(service: Served) -> None:
    here, there = raised(service.core.base(), False, expert="nobody"), raised(through(service.url), False, expert="nobody")
    assert exit_code(here) == exit_code(there) == EXIT_USAGE


def test_a_service_that_does_not_answer(tmp_path: Path) -> None:
    assert exit_code(raised(through("http://127.0.0.1:1"), False)) == EXIT_STORE
