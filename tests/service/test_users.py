"""Keys, rights and groups: what a user may not see cannot be told from what does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from limits import RateLimitItemPerHour

from ckllm.contracts import Access, Rejected
from ckllm.service.jobs import Jobs
from tests.service.serving import TOKEN, Served, chat, envelope, served, wait_for

SECRET = "The payroll cipher of the red group is quillfeather 88.\n"
NOWHERE = "0" * 32
MARKS = ("quillfeather", "hidden", "secret-plans", "broken-red", "rosa")
"""What only the red group may read anything of."""


@dataclass
class Shared:
    service: Served
    keys: dict[str, str]
    ids: dict[str, str]
    """Of things that are red: document, job, conversation, key."""

    def call(self, user: str | None, method: str, path: str, body: Any = None, **more: Any) -> Any:
        with self.service.http(self.keys[user] if user else None) as http:
            return http.request(method, path.format(**self.ids), json=_filled(body, self.ids), **more)


def _filled(body: Any, ids: dict[str, str]) -> Any:
    if isinstance(body, dict):
        return {key: _filled(value, ids) for key, value in body.items()}
    return body.format(**ids) if isinstance(body, str) and body.startswith("{") and body.endswith("}") else body


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    docs: Path = tmp_path_factory.mktemp("docs")
    with served(tmp_path_factory.mktemp("home"), service__requests_per_minute=0) as service:
        rights = {"rosa": ("red", "admin"), "rolf": ("red", "write"), "bruno": ("blue", "read"), "wanda": ("blue", "write")}
        keys = {user: service.key(user, [group], right) for user, (group, right) in rights.items()}
        keys |= {"nemo": service.key("nemo"), "adam": service.key("adam", ["blue"], "admin")}
        service.add(docs, "open.txt", "The canteen opens at noon. It serves soup.\n")
        service.add(docs, "blue.txt", "The blue group meets on Tuesday in the cellar.\n", ["blue"])
        document = service.add(docs, "hidden.txt", SECRET, ["red"])
        service.add(docs, "hidden-plans.txt", SECRET, ["red"], collection="secret-plans")
        catalogue = service.core.base().catalogue
        catalogue.failed("main", Rejected("/docs/broken-red.pdf", "parse", "quillfeather is broken"), groups=["red"])
        failed = next(row.id for row in catalogue.documents() if row.state == "FAILED")
        with service.client(keys["rosa"]) as rosa:
            conversation = rosa.create_conversation()
            answer = rosa.ask("What is the payroll cipher of the red group?", conversation=conversation.id)
            assert "quillfeather" in answer.answer
            rosa.feedback(answer, 1, "good: quillfeather")
            job = rosa.upload([("hidden-upload.txt", SECRET.encode())], groups=["red"])
            last = list(rosa.job_events(job.id))[-1]
            assert last.report is not None
            assert last.report["added"] == 1
        ids = {"document": document, "failed": failed, "job": job.id, "conversation": conversation.id}
        chunk = catalogue.document_text([document])[0].chunks[0].chunk_id
        yield Shared(service, keys, {**ids, "chunk": chunk, "nowhere": NOWHERE})


CIPHER = "What is the payroll cipher of the red group?"
LEAKS: list[tuple[str, str, str, Any, int]] = [
    (user, method, path, body, status)
    for method, path, body, status in (
        ("POST", "/v1/search", {"query": CIPHER, "k": 100}, 200),
        ("POST", "/v1/search", {"query": "quillfeathers", "k": 100, "where": "title == 'hidden.txt'"}, 200),
        ("POST", "/v1/search", {"query": "payroll cipher", "collection": "secret-plans"}, 404),
        ("POST", "/v1/chat/completions", chat(CIPHER), 200),
        ("POST", "/v1/chat/completions", chat(CIPHER, stream=True, draft=True), 200),
        ("POST", "/v1/chat/completions", chat("What is said?", collection="secret-plans"), 404),
        ("POST", "/v1/chat/completions", chat("And what else?", conversation="{conversation}"), 404),
        ("GET", "/v1/documents", None, 200),
        ("GET", "/v1/documents?collection=secret-plans", None, 200),
        ("GET", "/v1/documents?state=failed", None, 200),
        ("GET", "/v1/documents/{document}", None, 404),
        ("GET", "/v1/documents/{failed}", None, 404),
        ("GET", "/v1/documents/{document}/text", None, 404),
        ("GET", "/v1/documents/{failed}/text", None, 404),
        ("GET", "/v1/documents/{document}/pages/1", None, 404),
        ("GET", "/v1/collections", None, 200),
        ("GET", "/v1/jobs", None, 200),
        ("GET", "/v1/jobs/{job}", None, 404),
        ("GET", "/v1/jobs/{job}/events", None, 404),
        ("GET", "/v1/conversations", None, 200),
        ("GET", "/v1/conversations/{conversation}", None, 404),
        ("PATCH", "/v1/conversations/{conversation}", {"title": "mine"}, 404),
        ("DELETE", "/v1/conversations/{conversation}", None, 404),
        ("GET", "/openapi.json", None, 200),
        ("GET", "/docs", None, 200),
        ("GET", "/health", None, 200),
        ("GET", "/ready", None, 200),
        ("GET", "/v1/experts", None, 200),
    )
    for user in ("wanda", "nemo")
]
LEAKS += [
    ("wanda", "DELETE", "/v1/documents/{document}", None, 404),
    ("wanda", "DELETE", "/v1/jobs/{job}", None, 404),
    ("wanda", "POST", "/v1/jobs/{job}/retry", {}, 404),
    ("adam", "GET", "/v1/documents/{document}/text", None, 404),
    ("adam", "DELETE", "/v1/documents/{document}", None, 404),
    ("adam", "GET", "/v1/jobs", None, 200),
    ("adam", "GET", "/v1/jobs/{job}", None, 404),
    ("adam", "GET", "/v1/conversations/{conversation}", None, 404),
    ("adam", "GET", "/v1/feedback/export", None, 200),
    ("adam", "GET", "/metrics", None, 200),
    ("adam", "POST", "/v1/search", {"query": CIPHER, "k": 100}, 200),
]


@pytest.mark.parametrize(("user", "method", "path", "body", "status"), LEAKS)
def test_nothing_of_another_group_is_told(shared: Shared, user: str, method: str, path: str, body: Any, status: int) -> None:
    response = shared.call(user, method, path, body)
    assert response.status_code == status, response.text
    told = (response.text + str(response.headers)).lower()
    asked = str(body).lower()
    for mark in (*MARKS, shared.ids["chunk"]):
        if user != "adam" or mark != "rosa":
            assert mark not in told or mark in asked, mark


SAME = [(method, path, body) for _, method, path, body, status in LEAKS if status == 404 and "{" in path]


@pytest.mark.parametrize(("method", "path", "body"), SAME)
def test_what_is_hidden_answers_as_what_does_not_exist(shared: Shared, method: str, path: str, body: Any) -> None:
    hidden = shared.call("wanda", method, path, body)
    nothing = shared.call("wanda", method, path[: path.index("{")] + "{nowhere}" + path[path.index("}") + 1 :], body)
    assert hidden.status_code == nothing.status_code
    assert hidden.json() == nothing.json()


def test_a_hidden_collection_answers_as_one_that_does_not_exist(shared: Shared) -> None:
    hidden = shared.call("wanda", "POST", "/v1/search", {"query": "x", "collection": "secret-plans"})
    nothing = shared.call("wanda", "POST", "/v1/search", {"query": "x", "collection": "secret-place"})
    assert hidden.json()["error"]["message"].replace("plans", "place") == nothing.json()["error"]["message"]


def test_those_of_the_group_see_it(shared: Shared) -> None:
    for user in ("rosa", "rolf"):
        assert "quillfeather" in shared.call(user, "POST", "/v1/search", {"query": CIPHER}).text
        assert "quillfeather" in shared.call(user, "GET", "/v1/documents/{document}/text").text
        assert "secret-plans" in shared.call(user, "GET", "/v1/collections").text
    assert "quillfeather" in shared.call("rosa", "GET", "/v1/feedback/export").text
    assert "quillfeather" in shared.call("rosa", "GET", "/v1/conversations/{conversation}").text
    assert "blue group meets" in shared.call("bruno", "POST", "/v1/search", {"query": "when does the blue group meet"}).text


def test_an_answer_in_a_conversation_is_withheld_once_its_documents_are_out_of_sight(shared: Shared) -> None:
    ring = shared.service.core.keys()
    secret = shared.service.key("ruth", ["red"])
    key_id = next(key.id for key in ring.issued() if key.user == "ruth")
    with shared.service.client(secret) as ruth:
        talk = ruth.create_conversation()
        ruth.ask(CIPHER, conversation=talk.id)
        assert ruth.conversation(talk.id).turns[0].answer is not None
    ring.revoke(key_id)
    with shared.service.client(shared.service.key("ruth", ["blue"])) as ruth:
        turn = ruth.conversation(talk.id).turns[0]
        assert turn.question == CIPHER
        assert turn.answer is None


# -- who gets in


@pytest.mark.parametrize("path", ["/v1/models", "/v1/documents", "/metrics", "/v1/nope", "/v1/keys"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic eDp5"}, {"X-User": "rosa"}])
def test_nobody_gets_in_without_a_key(shared: Shared, path: str, headers: dict[str, str]) -> None:
    with shared.service.http() as http:
        response = http.get(path, headers=headers)
    assert response.status_code in (401, 429)
    assert envelope(response)["type"] in ("authentication_error", "rate_limit_error")


def test_health_and_readiness_need_no_key(shared: Shared) -> None:
    for path in ("/health", "/ready", "/docs"):
        assert shared.call(None, "GET", path).status_code == 200


@pytest.mark.parametrize(
    ("user", "method", "path", "body"),
    [
        ("bruno", "DELETE", "/v1/documents/{nowhere}", None),
        ("bruno", "POST", "/v1/documents", {"urls": ["https://example.org/x"]}),
        ("bruno", "DELETE", "/v1/jobs/{nowhere}", None),
        ("bruno", "GET", "/metrics", None),
        ("wanda", "GET", "/v1/keys", None),
        ("wanda", "POST", "/v1/keys", {"user": "x"}),
        ("wanda", "DELETE", "/v1/keys/x", None),
        ("wanda", "GET", "/v1/feedback/export", None),
        ("wanda", "GET", "/v1/audit", None),
        ("wanda", "POST", "/v1/documents", {"urls": ["https://example.org/x"], "groups": ["red"]}),
    ],
)
def test_a_right_that_is_missing_is_403(shared: Shared, user: str, method: str, path: str, body: Any) -> None:
    response = shared.call(user, method, path, body)
    assert response.status_code == 403, response.text
    envelope(response)


def test_an_upload_is_given_only_to_ones_own_groups(shared: Shared) -> None:
    with shared.service.http(shared.keys["wanda"]) as http:
        files = [("files", ("note.txt", b"A note of the blue group about mushrooms."))]
        refused = http.post("/v1/documents", files=files, data={"groups": "red"})
        taken = http.post("/v1/documents", files=files, data={"groups": "blue"})
    assert (refused.status_code, taken.status_code) == (403, 202)
    with shared.service.client(shared.keys["wanda"]) as wanda:
        assert list(wanda.job_events(taken.json()["job"]["id"]))[-1].state == "done"
        assert any("mushrooms" in hit.text for hit in wanda.search("mushrooms").hits)
    with shared.service.client(shared.keys["nemo"]) as nemo:
        assert not any("mushrooms" in hit.text for hit in nemo.search("mushrooms").hits)


def test_an_address_of_another_groups_document_cannot_be_taken_over(shared: Shared) -> None:
    url = "https://example.org/red"
    catalogue = shared.service.core.base().catalogue
    catalogue.failed("main", Rejected(url, "fetch", "not reached"), groups=["red"])
    response = shared.call("wanda", "POST", "/v1/documents", {"urls": [url], "groups": ["blue"]})
    assert response.status_code == 409
    envelope(response)


def test_an_archives_address_is_taken_where_its_members_are_others(shared: Shared) -> None:
    archive, later = "https://example.org/red_1.zip", "https://example.org/later.zip"
    catalogue = shared.service.core.base().catalogue
    job = shared.call("wanda", "POST", "/v1/documents", {"urls": [later], "groups": ["blue"]}).json()["job"]["id"]
    with shared.service.client(shared.keys["wanda"]) as wanda:
        list(wanda.job_events(job))
        list(wanda.job_events(wanda.retry_job(job).id))
    for url in (archive, later):
        catalogue.failed("main", Rejected(f"{url}!/minutes.pdf", "parse", "not read"), groups=["red"])
    for body in ({"urls": [archive]}, {"urls": [f"{archive}#page=2"]}):
        response = shared.call("wanda", "POST", "/v1/documents", body)
        assert (response.status_code, envelope(response)["code"]) == (409, "taken")
    response = shared.call("wanda", "POST", f"/v1/jobs/{job}/retry")
    assert (response.status_code, envelope(response)["code"]) == (409, "taken")
    lookup, blue, red = shared.service.core.lookup(), Access(groups=("blue",)), Access(groups=("red",))
    assert lookup.taken("main", archive, blue)
    assert not lookup.taken("main", archive, red)
    for other in ("https://example.org/red%1.zip", "https://example.org/redx1.zip", archive.upper(), archive[:-1]):
        assert not lookup.taken("main", other, blue)


def test_an_address_that_waits_for_other_groups_is_not_added_beside(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://example.org/waits"
    monkeypatch.setattr(Jobs, "claim", lambda _: None)
    assert shared.call("rolf", "POST", "/v1/documents", {"urls": [url], "groups": ["red"]}).status_code == 202
    response = shared.call("wanda", "POST", "/v1/documents", {"urls": [f"{url}#top"]})
    assert (response.status_code, envelope(response)["code"]) == (409, "other_groups")


def test_administrators_make_and_revoke_keys(shared: Shared) -> None:
    made = shared.call("rosa", "POST", "/v1/keys", {"user": "ines", "groups": ["red"], "right": "read"})
    assert made.status_code == 201
    with shared.service.http(made.json()["key"]) as http:
        assert "quillfeather" in http.post("/v1/search", json={"query": CIPHER}).text
        shared.call("rosa", "DELETE", f"/v1/keys/{made.json()['id']}")
        assert http.get("/v1/models").status_code == 401
    listed = shared.call("rosa", "GET", "/v1/keys")
    assert made.json()["key"] not in listed.text
    assert next(key for key in listed.json()["keys"] if key["user"] == "ines")["revoked"]


def test_writes_and_refusals_are_in_the_audit_log(shared: Shared) -> None:
    refusal = shared.call("bruno", "DELETE", "/v1/documents/{document}").headers["x-request-id"]

    def audit() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = shared.call("rosa", "GET", "/v1/audit").json()["audit"]
        return rows

    wait_for(lambda: any(row["request_id"] == refusal for row in audit()))
    rows = audit()
    refused = next(row for row in rows if row["request_id"] == refusal)
    assert (refused["user"], refused["method"]) == ("bruno", "DELETE")
    assert refused["status"] == 403
    assert refused["path"].endswith(shared.ids["document"])
    assert any(row["user"] == "rosa" and row["path"] == "/v1/documents" and row["status"] == 202 for row in rows)
    assert not any(row["path"] == "/v1/search" and row["status"] == 200 for row in rows)


def test_strangers_cannot_fill_the_audit_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckllm.service.audit.STRANGERS", RateLimitItemPerHour(3))
    with served(tmp_path / "home") as service:
        admin = service.key("ana", right="admin")
        with service.http() as http:
            assert [http.get("/v1/models").status_code for _ in range(10)] == [401] * 10
        with service.http(admin) as http:
            made = http.post("/v1/keys", json={"user": "bo"}).headers["x-request-id"]
            wait_for(lambda: made in http.get("/v1/audit").text)
            rows = http.get("/v1/audit").json()["audit"]
    assert [row["status"] for row in rows] == [201, 401, 401, 401]


def test_the_owner_looks_with_a_users_eyes(shared: Shared) -> None:
    with shared.service.http(TOKEN) as http:
        as_owner = http.post("/v1/search", json={"query": CIPHER}).text
        as_bruno = http.post("/v1/search", json={"query": CIPHER}, headers={"X-Ckllm-As": "bruno"}).text
        refused = http.get("/v1/keys", headers={"X-Ckllm-As": "bruno"})
    assert "quillfeather" in as_owner
    assert "quillfeather" not in as_bruno
    assert refused.status_code == 403
    with shared.service.http(shared.keys["bruno"]) as http:
        foreign = http.post("/v1/search", json={"query": CIPHER}, headers={"X-Ckllm-As": "rosa"})
    assert (foreign.status_code, envelope(foreign)["code"]) == (403, "not_the_owner")
    with shared.service.http("nope") as http:
        assert http.get("/v1/models", headers={"X-Ckllm-As": "rosa"}).status_code in (401, 429)


def test_whoever_owns_a_service_without_keys_looks_with_a_users_eyes_too(tmp_path: Path) -> None:
    with served(tmp_path / "home") as service:
        service.add(tmp_path, "hidden.txt", SECRET, ["red"])
        with service.http() as http:
            assert "quillfeather" in http.post("/v1/search", json={"query": CIPHER}).text
            seen = http.post("/v1/search", json={"query": CIPHER}, headers={"X-Ckllm-As": "bruno"})
            assert seen.status_code in (200, 404)
            assert "quillfeather" not in seen.text
            assert http.get("/v1/keys", headers={"X-Ckllm-As": "bruno"}).status_code == 403


def test_a_proxys_header_counts_only_from_where_it_is_trusted(tmp_path: Path) -> None:
    with served(tmp_path / "home", service__user_header="X-User") as service:
        service.add(tmp_path, "hidden.txt", SECRET, ["red"])
        service.key("rosa", ["red"])
        with service.http() as http:
            assert http.get("/v1/models").status_code == 401
            assert "quillfeather" in http.post("/v1/search", json={"query": CIPHER}, headers={"X-User": "rosa"}).text
            assert "quillfeather" not in http.post("/v1/search", json={"query": CIPHER}, headers={"X-User": "zoe"}).text
            forged = {"X-User": "rosa", "Origin": "https://evil.example"}
            assert http.post("/v1/search", json={"query": CIPHER}, headers=forged).status_code == 403
            own = {"X-User": "rosa", "Origin": "https://ckllm.example", "Host": "ckllm.example"}
            assert http.post("/v1/search", json={"query": CIPHER}, headers=own).status_code == 200
    elsewhere: dict[str, Any] = {"service__user_header": "X-User", "service__trusted_proxies": ("10.1.1.1",)}
    with served(tmp_path / "home", **elsewhere) as service, service.http() as http:
        assert http.get("/v1/models", headers={"X-User": "rosa"}).status_code == 401


def test_a_key_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    with served(tmp_path / "home", service__requests_per_minute=5) as service:
        ana, bo = service.key("ana"), service.key("bo")
        with service.http(ana) as http:
            responses = [http.get("/v1/models") for _ in range(8)]
        with service.http(bo) as http:
            assert http.get("/v1/models").status_code == 200
        with service.http("wrong") as http:
            wrong = [http.get("/v1/models").status_code for _ in range(40)]
    assert [response.status_code for response in responses] == [200] * 5 + [429] * 3
    assert 1 <= int(responses[-1].headers["retry-after"]) <= 60
    envelope(responses[-1])
    assert wrong[0] == 401
    assert wrong[-1] == 429


def test_pages_of_named_origins_may_call(tmp_path: Path) -> None:
    with served(tmp_path / "home", service__cors_origins=("https://app.example",)) as service, service.http() as http:
        preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        assert http.options("/v1/search", headers=preflight).headers["access-control-allow-origin"] == "https://app.example"
        assert http.get("/v1/models", headers={"Origin": "https://app.example"}).status_code == 200
        assert http.get("/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403
