"""Training in the background of a service: an administrator starts it, follows it, stops it, and has an expert in the end."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ckllm.client import Client, RefusedError
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.experts.routers.training import RouterRow, train_router
from ckllm.experts.table import router_folder
from ckllm.service.nouns import JobState, TrainingRun
from tests.experts.models import whole_model
from tests.service.serving import Served, served, wait_for

ROWS = "".join(
    json.dumps({"prompt": f"colour {n}?", "response": ("red", "green", "blue")[n % 3], "source": f"doc{n % 12}"}) + "\n"
    for n in range(36)
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    base = whole_model(tmp_path_factory.mktemp("models") / "tiny", "chatml", 5, spread=0.1)
    with served(tmp_path_factory.mktemp("home"), llm__model=str(base), llm__device="cpu") as running:
        yield running


def latest(client: Client) -> TrainingRun:
    run = client.training()
    assert run is not None
    return run


def children() -> list[psutil.Process]:
    """Training processes that live."""
    found = []
    for one in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie among them
            if "ckllm.service.training_process" in one.cmdline():
                found.append(one)
    return found


def test_an_expert_is_trained_in_the_background(service: Served) -> None:
    with service.client() as client:
        assert client.training() is None
        assert client.train("colours", rows=ROWS, description="colours").state is JobState.RUNNING
        with pytest.raises(RefusedError, match="being trained") as refused:
            client.train("others", rows=ROWS)
        assert refused.value.status == 409
        wait_for(lambda: latest(client).state.final, 300)
        run = latest(client)
        assert (run.state, run.error) == (JobState.DONE, "")
        assert [step for step, _, _ in run.curve] == list(range(1, run.step + 1))
        assert run.curve[-1][2] is not None, "the last step is validated"
        mine = next(one for one in client.experts() if one.name == "colours")
        assert mine.description == "colours"
        assert mine.scores["rows"]
        with pytest.raises(RefusedError, match="already"):
            client.train("colours", rows=ROWS)
    assert not list((service.core.settings.home / "training").glob("*.jsonl")), "the rows are not kept"


def test_a_run_is_stopped_and_its_process_ends(service: Served) -> None:
    with service.client() as client:
        client.train("slow", rows=ROWS)
        assert children(), "it cannot be over yet: it has a language model to load"
        stopped = client.stop_training()
        assert stopped is not None
        assert stopped.state is JobState.CANCELLED
        assert not children(), "a run of the same name may start now"
        assert "slow" not in [one.name for one in client.experts()]
        assert latest(client).state is JobState.CANCELLED


def test_a_run_that_does_not_end_is_killed_before_the_next_one_starts(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckllm.service.training._END_S", 0.0)
    with service.client() as client:
        client.train("slow", rows=ROWS)
        [first] = children()
        client.stop_training()
        client.train("slow", rows=ROWS)
        [second] = children()
        assert first != second
        client.stop_training()
        assert not children()


def test_rows_that_cannot_be_used_are_said_so(service: Served) -> None:
    with service.client() as client:
        client.train("broken", rows="{no json")
        wait_for(lambda: latest(client).state.final, 300)
        assert latest(client).state is JobState.FAILED
        assert "is not JSON" in latest(client).error


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x"}, 422),
        ({"name": "x", "rows": "{}", "collection": "main"}, 422),
        ({"name": "../x", "rows": "{}"}, 400),
        ({"name": "base", "rows": "{}"}, 400),
        ({"name": "qa", "rows": "{}"}, 409),
        ({"name": "x", "collection": "nowhere"}, 404),
        ({"name": "x", "rows": "{}", "base": "/etc"}, 422),
    ],
)
def test_bad_orders_are_refused(service: Served, body: dict[str, str], status: int) -> None:
    with service.http() as http:
        assert http.post("/v1/training", json=body).status_code == status


def test_the_router_is_shown_once_there_is_one(service: Served) -> None:
    router_rows = [RouterRow(f"prune the rose hedge {n}", "gardens") for n in range(15)]
    router_rows += [RouterRow(f"bake the dough in oven {n}", "baking") for n in range(15)]
    with service.client() as client:
        assert client.router() is None
        train_router(router_rows, HashingEmbedder(), router_folder(service.core.settings))
        report = client.router()
        assert report is not None
        assert report["macro_f1"] > 0.9
        assert sum(map(sum, report["confusion"]["counts"])) == len(router_rows)


def test_only_administrators_train(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        reader, boss = running.key("ana"), running.key("boss", right="admin")
        with running.client(reader) as client:
            for call in (client.training, client.stop_training, lambda: client.train("x", rows=ROWS)):
                with pytest.raises(RefusedError) as refused:
                    call()
                assert refused.value.status == 403
            assert client.router() is None
        with running.client(boss) as client:
            assert client.training() is None
