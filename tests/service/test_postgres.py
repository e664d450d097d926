"""The service over PostgreSQL in place of SQLite; skipped where there is no PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from ckllm.service.nouns import JobState
from tests.service.serving import served, wait_for
from tests.store.conftest import postgres_url

__all__ = ["postgres_url"]


def test_jobs_answers_conversations_and_the_audit_log_are_kept_in_postgresql(
    tmp_path: Path,
    postgres_url: str,
) -> None:
    with served(tmp_path / "home", store__catalogue=postgres_url) as service, service.client() as client:
        job = client.upload([("ropeway.txt", b"The ropeway at Gansett was built in 1931 by Odile Ferrand.")])
        assert list(client.job_events(job.id))[-1].state is JobState.DONE
        conversation = client.create_conversation()
        answer = client.ask("Who built the ropeway at Gansett?", conversation=conversation.id)
        assert "Odile Ferrand" in answer.answer
        assert client.feedback(answer, 1)
    with served(tmp_path / "home", store__catalogue=postgres_url) as again, again.client() as client:
        assert [turn.question for turn in client.conversation(conversation.id).turns] == ["Who built the ropeway at Gansett?"]
        assert len(client.jobs()) == len(client.feedback_given()) == 1
        with again.http() as http:
            wait_for(lambda: http.get("/v1/audit").json()["audit"])
        again.key("ana", ["red"])
        assert again.http("wrong").get("/v1/documents").status_code == 401
    assert not (tmp_path / "home/catalogue.db").exists()
