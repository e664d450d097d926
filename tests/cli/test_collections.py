"""Collections and keys by command."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.cli.conftest import Run


def test_export_and_import_keep_ids_and_vectors(run: Run, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("ingest", notes)
    hits = run("search", "toll for a lorry", "--json").json["hits"]
    written = run("collections", "export", tmp_path / "main.ckllm", "--json")
    assert written.json["documents"] == 3
    monkeypatch.setenv("CKLLM_HOME", str(tmp_path / "elsewhere"))
    assert run("collections", "import", tmp_path / "main.ckllm", "--json").json["documents"] == 3
    again = run("search", "toll for a lorry", "--json").json["hits"]
    assert [(hit["text"], hit["score"]) for hit in again] == [(hit["text"], hit["score"]) for hit in hits]


def test_collections_are_created_listed_and_deleted(run: Run, notes: Path) -> None:
    run("ingest", notes, "--collection", "river")
    assert run("collections", "create", "empty", "--json").json["embedder"].startswith("hashing")
    listed = {row["name"]: row["documents"] for row in run("collections", "list", "--json").json}
    assert listed == {"river": 3, "empty": 0}
    assert run("collections", "delete", "river", "--yes", "--json").json == {"deleted": "river", "documents": 3}
    assert run("search", "ferry", "--collection", "river").code == 2


def test_nothing_is_deleted_unless_somebody_says_yes(run: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("ingest", notes)
    for said, told in (("n\n", "Delete collection main"), ("", "--yes")):
        monkeypatch.setattr("sys.stdin", io.StringIO(said))
        done = run("collections", "delete", "main")
        assert done.code == 2
        assert told in done.err
    assert len(run("documents", "list", "--json").json) == 3


def test_reembed_moves_to_another_embedder(
    run: Run, home: Path, notes: Path, monkeypatch: pytest.MonkeyPatch, models_folder: Path
) -> None:
    run("ingest", notes)
    (home / "models").symlink_to(models_folder, target_is_directory=True)
    done = run("collections", "reembed", "--model", "all-MiniLM-L6-v2", "--json")
    assert done.code == 0, done.err
    assert done.json["embedder"] == "all-MiniLM-L6-v2"
    assert run("search", "ferry").code == 4
    monkeypatch.setenv("CKLLM_EMBEDDING__MODEL", "all-MiniLM-L6-v2")
    assert run("search", "how many cars fit on the ferry", "--json").json["hits"][0]["source"].endswith("ferry.txt")
    assert run("ingest", notes, "--json").json["unchanged"] == 3


def test_a_users_groups_are_those_of_the_keys(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("The payroll cipher of the harbour office is quillfeather 88.\n")
    run("ingest", secret, "--group", "harbour")
    key = run("keys", "create", "rosa", "--group", "harbour", "--right", "read", "--json").json
    assert key["key"].startswith("ckllm_")
    assert (key["user"], key["groups"], key["rights"]) == ("rosa", ["harbour"], ["read"])
    assert "quillfeather" in run("search", "payroll cipher", "--as", "rosa", "--json").out
    assert "quillfeather" not in run("ask", "What is the payroll cipher?", "--as", "bruno", "--json").out
    assert key["key"] not in run("keys", "list", "--json").out
    run("keys", "revoke", key["id"])
    assert "quillfeather" not in run("search", "payroll cipher", "--as", "rosa", "--json").out
