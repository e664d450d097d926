"""Parsing and embedding on a Ray cluster. What runs on a node is tested here without one; the cluster, where Ray is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ckllm.config import EmbeddingSettings
from ckllm.contracts import Source, VersionState
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import DataError, UpstreamError
from ckllm.knowledge_base import KnowledgeBase
from ingestion import ingest
from ingestion.options import Progress
from ingestion.parse.worker import ParserPool
from ingestion.ray_runner import Limits, Parsed, RayParsers, RayRunner, _brought_here, embed_there, parse_there
from tests.ingestion.kill_driver import SMALL_STEPS, opened

LIMITS = Limits(60, 2048, 10_000_000)
MAIL = b"""From: a@example.org\r\nTo: b@example.org\r\nSubject: Minutes\r\nMIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nThe minutes are attached.\r
--b\r\nContent-Type: text/plain; name="minutes.txt"\r\nContent-Disposition: attachment; filename="minutes.txt"\r\n\r
The ropeway was closed in 1960.\r\n--b--\r\n"""
DOCUMENTS = 24
HAS_RAY = importlib.util.find_spec("ray") is not None


def source(file: Path) -> Source:
    return Source(str(file), file, file.stat().st_size, "0" * 64)


def test_a_node_parses_as_the_parsers_here_do_and_sends_attachments_along(tmp_path: Path) -> None:
    file = tmp_path / "minutes.eml"
    file.write_bytes(MAIL)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    there = parse_there(MAIL, source(file), "", LIMITS)
    assert isinstance(there, Parsed)
    assert not any(child.path.exists() for child in there.document.attachments), "nothing stays on the node"
    brought = _brought_here(there, scratch)
    with ParserPool(1, 60, 2048, scratch) as pool:
        here = pool.submit(source(file)).result(60)
    assert (brought.text, brought.elements, brought.title) == (here.text, here.elements, here.title)
    assert [child.uri for child in brought.attachments] == [child.uri for child in here.attachments]
    assert [child.path.read_bytes() for child in brought.attachments] == [child.path.read_bytes() for child in here.attachments]


def test_a_file_that_cannot_be_parsed_on_a_node_has_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "broken.pdf"
    file.write_bytes(b"%PDF-1.7\nnothing")
    told = parse_there(file.read_bytes(), source(file), "", LIMITS)
    assert isinstance(told, str)
    assert "\n" not in told


def test_a_file_that_is_gone_when_it_is_sent_costs_itself_alone(tmp_path: Path) -> None:
    class Ray:
        def remote(self, **_: Any) -> Any:
            return lambda task: task

    gone = Source(str(tmp_path / "gone.txt"), tmp_path / "gone.txt", 4, "0" * 64)
    with pytest.raises(DataError, match="No such file"):
        RayParsers(Ray(), LIMITS, tmp_path).submit(gone).result(1)


def test_a_node_embeds_as_here_and_refuses_another_model(tmp_path: Path) -> None:
    texts = ["The ropeway was closed in 1960.", "The canal of Brenn"]
    here = HashingEmbedder()
    assert (embed_there(texts, EmbeddingSettings(model="hashing"), tmp_path, here.name) == here.embed(texts, "passage")).all()
    with pytest.raises(RuntimeError, match="other-model"):
        embed_there(texts, EmbeddingSettings(model="hashing"), tmp_path, "other-model")


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_the_command_that_installs_it_is_named() -> None:
    with pytest.raises(UpstreamError, match=r"pip install 'ckllm\[ray\]'"):
        RayRunner()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without processors, and two nodes with one each."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    store = 100 * 1024 * 1024
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": store})
    try:
        for _ in range(2):
            started.add_node(num_cpus=1, object_store_memory=store)
        monkeypatch.setenv("RAY_ADDRESS", started.address)
        yield started
    finally:
        ray.shutdown()
        started.shutdown()


def chunks(kb: KnowledgeBase) -> list[tuple[str, str]]:
    """Every chunk in the store, by its document's name; one that was written twice would show."""
    found = [record for records, _ in kb.store.scan(kb.index.name) for record in records]
    return sorted((Path(record.source).name, record.chunk.chunk_id) for record in found)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_that_is_lost_midway_loses_and_doubles_nothing(tmp_path: Path, cluster: Any) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for number in range(DOCUMENTS):
        (folder / f"n{number}.txt").write_text(f"Note {number} is about subject{number}. " * 20, encoding="utf-8")
    lost = next(iter(cluster.worker_nodes))

    def listen(progress: Progress) -> None:
        nonlocal lost
        if progress.done >= DOCUMENTS // 4 and lost is not None:
            going, lost = lost, None
            cluster.remove_node(going, allow_graceful=False)
            cluster.add_node(num_cpus=1, object_store_memory=100 * 1024 * 1024)

    with opened(tmp_path / "cluster") as there, RayRunner() as runner:
        assert runner.workers == 2
        report = ingest([folder], there, options=SMALL_STEPS, progress=listen, runner=runner)
        assert lost is None
        assert (report.added, report.rejected) == (DOCUMENTS, ())
        assert len(there.catalogue.versions("main", VersionState.LIVE)) == DOCUMENTS
        written = chunks(there)
    with opened(tmp_path / "here") as here:
        ingest([folder], here, options=SMALL_STEPS)
        assert written == chunks(here)
