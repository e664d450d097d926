"""Uploads and addresses become jobs."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ckllm.client import Client, RefusedError, UnavailableError
from ckllm.contracts import IngestReport
from ckllm.errors import StoreError
from ckllm.service.jobs import Jobs
from ckllm.service.nouns import FileState, Job, JobState
from ckllm.service.uploads import file_name, folder_name
from ingestion import pipeline
from ingestion.options import Progress
from tests.service.serving import Served, served, wait_for


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home"), service__upload_limit_mb=1) as running:
        yield running


def test_uploaded_files_are_ingested_and_rejections_shown(service: Served) -> None:
    with service.client() as client:
        job = client.upload(
            [("canal.md", b"# Canal\n\nThe canal of Brenn is twelve kilometres long."), ("bad.pdf", b"%PDF-1.4 no")]
        )
        assert (job.state, job.sources) == (JobState.QUEUED, ("canal.md", "bad.pdf"))
        seen = list(client.job_events(job.id))
        assert seen[-1].state is JobState.DONE
        assert seen[-1].report is not None
        assert seen[-1].report["added"] == 1
        assert [(one["name"], one["stage"]) for one in seen[-1].report["rejected"]] == [("bad.pdf", "parse")]
        assert (seen[-1].found, seen[-1].done, seen[-1].rejected) == (2, 2, 1)
        assert client.search("length of the canal").hits[0].source.endswith("/uploads/@owner/main/canal.md")
        assert client.jobs()[0].id == job.id


def test_a_file_of_the_same_name_replaces_the_one_before_it(service: Served) -> None:
    with service.client() as client:
        for text, count in (("The bridge is red.", "added"), ("The bridge is green.", "updated")):
            job = client.upload([("bridge.txt", text.encode())])
            last = list(client.job_events(job.id))[-1]
            assert last.report is not None
            assert last.report[count] == 1
        assert [hit.text.strip() for hit in client.search("bridge").hits if "bridge" in hit.text] == ["The bridge is green."]


def test_a_removed_upload_is_gone_from_the_disk_too(service: Served) -> None:
    with service.client() as client:
        job = client.upload([("gone.txt", b"The tower of Uhl was razed.")])
        list(client.job_events(job.id))
        row = next(row for row in client.documents() if row.source.endswith("gone.txt"))
        assert Path(row.source).is_file()
        client.remove(row.id)
        assert not Path(row.source).exists()
        assert not any("Uhl" in hit.text for hit in client.search("tower of Uhl").hits)


def test_addresses_inside_this_network_are_not_fetched(service: Served) -> None:
    with service.client() as client:
        job = client.ingest_urls([f"{service.url}/health", "http://169.254.169.254/latest"])
        last = list(client.job_events(job.id))[-1]
    assert last.report is not None
    assert [one["stage"] for one in last.report["rejected"]] == ["fetch", "fetch"]


@pytest.mark.parametrize(
    ("files", "data", "status"),
    [
        ([], {"collection": "main"}, 422),
        ([("files", ("...", b"x"))], {}, 422),
        ([("files", ("a.txt", b"x"))], {"colour": "red"}, 422),
        ([("files", ("a.txt", b"x"))], {"collection": "x" * 201}, 422),
        ([("files", ("a.txt", b"x" * 1_100_000))], {}, 413),
    ],
)
def test_forms_that_cannot_be_taken(service: Served, files: Any, data: Any, status: int) -> None:
    with service.http() as http:
        # a form without files has to be sent as multipart all the same
        response = http.post("/v1/documents", files=files or [("collection", (None, "main"))], data=data if files else None)
    assert response.status_code == status, response.text
    assert ("service.upload_limit_mb" in response.json()["error"]["message"]) == (status == 413)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a b.pdf", "a b.pdf"),
        (".hidden", "hidden"),
        ("x\x00\n\u202ey.txt", "xy.txt"),
        ("ü" * 300 + ".pdf", "ü" * 98 + ".pdf"),
    ],
)
def test_names_of_files_stay_names(given: str, kept: str) -> None:
    assert file_name(given) == kept
    assert len(file_name(given).encode()) <= 200


@pytest.mark.parametrize("text", ["..", ".", "a/b", "@owner", "@lock", " ", "../x", "." * 200, "\u4e00" * 200])
def test_names_of_users_are_no_paths(text: str) -> None:
    name = folder_name(text)
    assert "/" not in name
    assert name not in ("", ".", "..", "@owner", "@lock")
    assert len(name.encode()) <= 200


def test_long_names_do_not_become_one() -> None:
    names = [folder_name("\u4e00" * 100 + end) for end in ("a", "b")]
    names += [folder_name(name) for name in names]
    assert len(set(names)) == 4


def endless(started: threading.Event) -> Any:
    """An ingestion that goes on until its listener ends it."""

    def ingest(sources: Any, kb: Any, *, groups: Any = (), progress: Any) -> IngestReport:
        started.set()
        for number in range(10_000):
            progress(Progress(10_000, number, 0, number, 0.1, "some file"))
            time.sleep(0.02)
        raise AssertionError("nobody has ended it")

    return ingest


def test_a_job_tells_how_far_each_file_is(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    listening, go_on = threading.Event(), threading.Event()
    real = pipeline.ingest

    def held(*given: Any, progress: Any, **more: Any) -> IngestReport:
        """A real ingestion that stands still once it has something to tell of a file."""

        def listen(told: Progress) -> None:
            progress(told)
            if any(step.state == "rejected" for step in told.steps):
                listening.set()
                assert go_on.wait(60)

        return real(*given, progress=listen, **more)

    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("inner.txt", "The quarry of Ost.")
        archive.writestr("hollow.txt", "")
    monkeypatch.setattr(pipeline, "ingest", held)
    monkeypatch.setattr("ckllm.service.worker._NOTE_S", 0.0)
    with service.client() as client:
        files = [("a-empty.txt", b""), ("b-good.txt", b"The weir of Ost."), ("c-bundle.zip", bundle.getvalue())]
        job = client.upload(files, collection="told")
        assert [(one.name, one.state) for one in job.files] == [(name, FileState.WAITING) for name, _ in files]
        assert listening.wait(60)
        wait_for(lambda: client.job(job.id).files[0].state is FileState.REJECTED)
        live = next(one for one in client.jobs() if one.id == job.id)
        assert not live.state.final
        assert "empty" in live.files[0].reason
        go_on.set()
        *_, last = client.job_events(job.id)
        states = {one.name: one.state for one in last.files}
        assert states == {
            "a-empty.txt": FileState.REJECTED, "b-good.txt": FileState.ADDED, "c-bundle.zip": FileState.OPENED,
            "c-bundle.zip!/hollow.txt": FileState.REJECTED,
        }  # fmt: skip
        assert next(one for one in client.jobs() if one.id == job.id).files == (), "a list of finished jobs stays short"


def test_a_running_job_can_be_cancelled_and_retried(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()
    with service.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "ingest", endless(started))
            job = client.upload([("slow.txt", b"The mill of Ost turns slowly.")])
            waiting = client.upload([("later.txt", b"Later.")])
            assert started.wait(60)
            wait_for(lambda: client.job(job.id).done > 0)
            assert client.cancel_job(waiting.id).state is JobState.CANCELLED
            client.cancel_job(job.id)
            wait_for(lambda: client.job(job.id).state is JobState.CANCELLED)
        again = client.retry_job(job.id)
        assert list(client.job_events(again.id))[-1].state is JobState.DONE
        assert "mill of Ost" in client.search("mill").hits[0].text


def plan(client: Client, text: str, groups: tuple[str, ...] = ()) -> Job:
    return client.upload([("plan.txt", text.encode())], groups=groups)


def refused(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(RefusedError) as error:
        call()
    return error.value.status, error.value.code


def test_a_job_never_gets_the_bytes_that_were_uploaded_for_other_groups(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()
    folder = service.core.settings.home / "uploads" / "@owner" / "main"
    with service.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "ingest", endless(started))
            running = client.upload([("running.txt", b"It runs.")])
            assert started.wait(60)
            public = plan(client, "The plan is public.")
            assert refused(lambda: plan(client, "The plan is secret.", ("board",))) == (409, "other_groups")
            assert (folder / "plan.txt").read_text() == "The plan is public."
            assert not list(folder.glob(".*")), "what was refused is gone"
            plan(client, "The plan is still public.")
            for job in client.jobs():
                if not job.state.final and job.id != running.id:
                    client.cancel_job(job.id)
            secret = plan(client, "The plan is secret.", ("board",))
            assert refused(lambda: client.retry_job(public.id)) == (409, "other_groups")
            client.cancel_job(secret.id)
            assert refused(lambda: client.retry_job(public.id)) == (409, "other_groups"), "the bytes are those of the later job"
            client.cancel_job(running.id)
            wait_for(lambda: client.job(running.id).state.final)
        again = client.retry_job(secret.id)
        assert list(client.job_events(again.id))[-1].state is JobState.DONE
        assert [row.groups for row in client.documents() if row.source.endswith("/plan.txt")] == [("board",)]


def test_a_document_that_has_other_groups_by_now_is_not_given_the_old_ones_again(service: Served) -> None:
    with service.client() as client:
        job = client.upload([("moved.txt", b"The moved note.")])
        list(client.job_events(job.id))
        assert list(client.job_events(client.retry_job(job.id).id))[-1].state is JobState.DONE
        row = next(row for row in client.documents() if row.source.endswith("/moved.txt"))
        pipeline.ingest([row.source], service.core.base(), groups=["board"])
        assert refused(lambda: client.retry_job(job.id)) == (409, "other_groups")


def test_an_upload_without_a_job_does_not_stay(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Job:
        raise StoreError("the disk is full")

    with service.client() as client, monkeypatch.context() as patch:
        patch.setattr(Jobs, "create", full)
        with pytest.raises(UnavailableError):
            client.upload([("lost.txt", b"Lost.")])
    assert not list((service.core.settings.home / "uploads").rglob("lost.txt"))


def test_two_files_of_one_name_are_refused(service: Served) -> None:
    files = [("files", ("a/same.txt", b"One.")), ("files", ("b/same.txt", b"Two."))]
    with service.http() as http:
        response = http.post("/v1/documents", files=files)
    assert response.status_code == 422
    assert "same.txt" in response.json()["error"]["message"]
    assert not list((service.core.settings.home / "uploads").rglob("same.txt"))


def test_jobs_outlive_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "ingest", endless(started))
        with served(tmp_path) as first, first.client() as client:
            running = client.upload([("first.txt", b"The well of Aar is deep.")])
            waiting = client.upload([("second.txt", b"The well of Bru is dry.")])
            assert started.wait(60)
    with served(tmp_path) as second, second.client() as client:
        for job in (running, waiting):
            assert list(client.job_events(job.id))[-1].state is JobState.DONE
        assert len(client.documents()) == 2


def test_a_failure_is_told_and_the_next_job_runs(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any, **__: Any) -> IngestReport:
        raise RuntimeError("the secret inside")

    with service.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "ingest", breaks)
            broken = client.upload([("x.txt", b"x y z")])
            last = list(client.job_events(broken.id))[-1]
        assert last.state is JobState.FAILED
        assert last.error is not None
        assert "secret" not in last.error
        fine = client.upload([("fine.txt", b"All is fine.")])
        assert list(client.job_events(fine.id))[-1].state is JobState.DONE


def test_a_removal_does_not_wait_for_a_long_ingestion(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr("ckllm.service.documents.BUSY_S", 0.2)
    with service.client() as client:
        row = client.documents(state="live")[0]
        with FileLock(service.core.settings.home / "writer.lock"), pytest.raises(RefusedError) as refused:
            client.remove(row.id)
        assert (refused.value.status, refused.value.code) == (409, "busy")
        client.remove(row.id)


def test_removals_that_wait_hold_up_nothing_else(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from filelock import FileLock

    monkeypatch.setattr("ckllm.service.documents.BUSY_S", 5.0)
    with service.client() as client:
        row = client.documents(state="live")[0]

    def remove() -> int:
        with service.http() as http:
            return http.delete(f"/v1/documents/{row.id}").status_code

    began = time.monotonic()
    with FileLock(service.core.settings.home / "writer.lock"), ThreadPoolExecutor(12) as pool:
        removals = [pool.submit(remove) for _ in range(12)]
        time.sleep(0.5)
        with service.http() as http:
            assert http.get(f"/v1/documents/{row.id}").status_code == 200
        assert not any(removal.done() for removal in removals), "they still wait"
        assert [removal.result() for removal in removals] == [409] * 12
    assert time.monotonic() - began < 20, "they wait beside each other, not one after the other, which would take 30 s"


def test_the_threads_for_removals_end_with_the_service(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with served(tmp_path) as running, running.http() as http:
        assert http.delete(f"/v1/documents/{'0' * 32}").status_code == 404
        mine = [one for one in set(threading.enumerate()) - before if one.name.startswith("remove")]
        assert mine
    wait_for(lambda: not any(thread.is_alive() for thread in mine))


def test_a_job_whose_end_could_not_be_written_down_is_gone_on_with(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    finish, refused = Jobs.finish, threading.Event()

    def full(self: Jobs, *args: Any, **kwargs: Any) -> None:
        if not refused.is_set():
            refused.set()
            raise StoreError("the disk is full")
        finish(self, *args, **kwargs)

    monkeypatch.setattr(Jobs, "finish", full)
    with service.client() as client:
        job = client.upload([("full.txt", b"The barn of Isk is full.")])
        wait_for(lambda: client.job(job.id).state is JobState.DONE)
    assert refused.is_set()


def test_what_is_wrong_inside_is_logged_and_not_told(
    service: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: Any, **__: Any) -> IngestReport:
        raise StoreError("postgresql://inside does not serve")

    with service.client() as client, monkeypatch.context() as patch:
        patch.setattr(pipeline, "ingest", breaks)
        last = list(client.job_events(client.upload([("y.txt", b"x y z")]).id))[-1]
    assert last.state is JobState.FAILED
    assert last.error is not None
    assert "postgresql" not in last.error
    logged = [getattr(record, "fields", {}) for record in caplog.records if record.getMessage() == "job failed"]
    assert logged == [{"job": last.id, "reason": "postgresql://inside does not serve"}]
