"""`ckllm experts`: list, show, add, remove, bundle, load, route, prepare-data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckllm.experts.card import Card, write_card
from ckllm.file_hash import file_sha256
from tests.cli.conftest import Run
from tests.experts.test_mixing import adapter


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What looks like a model's folder, named by the settings."""
    folder = tmp_path / "small-model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}", encoding="utf-8")
    monkeypatch.setenv("CKLLM_LLM__MODEL", str(folder))
    return folder


def carded(folder: Path, name: str) -> Path:
    made = adapter(folder, 2, 4, 1)
    hashes = {
        "adapter_sha256": file_sha256(made / "adapter_model.safetensors"),
        "config_sha256": file_sha256(made / "adapter_config.json"),
    }
    scores = {"expert": {"f1": 0.5}, "base": {"f1": 0.125}}
    write_card(Card(name, "reads contracts", licence="CC0-1.0", languages=("en", "hi"), scores=scores, **hashes), made)
    return made


def test_experts_are_added_shown_and_removed(run: Run, tmp_path: Path) -> None:
    folder = carded(tmp_path / "contracts", "contracts")
    added = run("experts", "add", folder, "--json")
    assert added.code == 0, added.err
    assert added.json["name"] == "contracts"
    rows = {row["name"]: row for row in run("experts", "list", "--json").json}
    assert rows["base"]["origin"] == "model"
    assert (rows["contracts"]["origin"], rows["contracts"]["gain"]) == ("installed", 0.375)
    shown = run("experts", "show", "contracts", "--json").json
    assert (shown["verified"], shown["licence"], shown["scores"]["expert"]["f1"]) == (True, "CC0-1.0", 0.5)
    assert run("experts", "add", folder).code == 2
    other = run("experts", "add", folder, "--name", "other", "--json")
    assert other.json["name"] == "other"
    assert run("experts", "remove", "contracts", "--json").json == {"removed": "contracts"}
    assert {row["name"] for row in run("experts", "list", "--json").json} >= {"base", "other"}
    assert run("experts", "show", "contracts").code == 2


def test_people_get_tables(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run("experts", "add", carded(tmp_path / "contracts", "contracts"))
    assert "reads contracts" in run("experts", "list").out
    shown = run("experts", "show", "contracts").out
    assert "scores.expert.f1" in shown
    assert "en, hi" in shown
    assert "smollm2" in run("experts", "show", "base").out


def test_tampered_files_are_refused(run: Run, home: Path, tmp_path: Path) -> None:
    run("experts", "add", carded(tmp_path / "contracts", "contracts"))
    weights = home / "experts/contracts/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    shown = run("experts", "show", "contracts")
    assert shown.code == 2
    assert "SHA-256" in shown.err


@pytest.mark.parametrize("name", ["base", "nobody"])
def test_what_cannot_be_removed(run: Run, name: str) -> None:
    refused = run("experts", "remove", name, "--yes")
    assert refused.code == 2
    assert name in refused.err


def test_a_folder_that_is_no_adapter_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "adapter_model.safetensors" in run("experts", "add", tmp_path / "empty").err
    assert run("experts", "add", tmp_path / "nowhere").code == 2


def test_a_bundle_travels(run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("experts", "add", carded(tmp_path / "contracts", "contracts"))
    saved = run("experts", "bundle", tmp_path / "bundle", "--json")
    assert saved.code == 0, saved.err
    assert "contracts" in saved.json["experts"]
    assert set(saved.json["models"]) == {"small-model"}
    assert (tmp_path / "bundle/models/small-model/model.safetensors").is_file()
    pinned = run("experts", "bundle", tmp_path / "pinned", "--references", "--expert", "contracts", "--json").json
    assert set(pinned["references"]["small-model"]) == {"model.safetensors"}
    assert run("experts", "bundle", tmp_path / "bundle").code == 2
    monkeypatch.setenv("CKLLM_HOME", str(tmp_path / "other-home"))
    loaded = run("experts", "load", tmp_path / "pinned", "--json")
    assert loaded.code == 0, loaded.err
    assert "contracts" in {row["name"] for row in run("experts", "list", "--json").json}
    assert "already" in run("experts", "load", tmp_path / "pinned").err


def test_a_tampered_bundle_installs_nothing(run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("experts", "add", carded(tmp_path / "contracts", "contracts"))
    run("experts", "bundle", tmp_path / "bundle", "--expert", "contracts")
    card = tmp_path / "bundle/experts/contracts/expert.json"
    card.write_text(card.read_text(encoding="utf-8").replace("contracts", "Contracts"), encoding="utf-8")
    monkeypatch.setenv("CKLLM_HOME", str(tmp_path / "other-home"))
    refused = run("experts", "load", tmp_path / "bundle")
    assert refused.code == 2
    assert "changed" in refused.err
    assert not (tmp_path / "other-home/experts/contracts").exists()
    assert run("experts", "load", tmp_path / "nowhere").code == 2


def labelled(file: Path) -> Path:
    kinds = {
        "cooking": "bake the {} bread in the oven",
        "sums": "add {} and seven together",
        "out_of_scope": "what a {} day for a walk",
    }
    rows = [{"prompt": text.format(f"number {n}"), "label": label} for label, text in kinds.items() for n in range(20)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_route_explains_itself(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    before = run("experts", "route", "bake bread")
    assert "knows no doubt" in before.out
    told = run("experts", "train-router", "--data", labelled(tmp_path / "rows.jsonl"))
    for said in ("points above raw means", "unchanged: polite", "p95 ms beyond the embedding", "nearest", "raw-mean"):
        assert said in told.out
    sure = run("experts", "route", "bake the number 31 bread in the oven")
    assert "→ cooking" in sure.out
    assert "█" in sure.out
    assert "less confidence" in sure.out
    doubtful = run("experts", "route", "zzz qqq xxx jjj vvv")
    asked = run("experts", "route", "zzz qqq xxx jjj vvv", "--json").json
    assert 0 <= asked["threshold"] <= 1
    assert ("more confidence" in doubtful.out) == (asked["confidence"] < asked["threshold"])


def test_instruction_data_is_divided_by_category(run: Run, tmp_path: Path) -> None:
    kinds = {"coding": 20, "quiz": 10, "weather": 3}
    rows = [
        {"prompt": f"{kind} {n}", "response": "yes", "category": kind, "source": f"{kind}-{n}"}
        for kind, count in kinds.items()
        for n in range(count)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = run("experts", "prepare-data", "--data", data, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert {one["expert"]: one["rows"] for one in done.json["experts"]} == {"code": 22, "qa": 11}
    assert done.json["left_out"] == ["weather"]
    made = [json.loads(line) for line in (tmp_path / "out/code.jsonl").read_text(encoding="utf-8").splitlines()]
    foreign = [row for row in made if not row["source"].startswith("coding")]
    assert len(foreign) == 2
    assert all(row["source"].startswith("quiz") for row in foreign)
    assert "category" in run("experts", "prepare-data", "--data", tmp_path / "out/qa.jsonl", "--out", tmp_path / "x").err


def test_training_is_refused_before_it_begins(run: Run, model: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "p", "response": "r"}\n', encoding="utf-8")
    for arguments, complaint in (
        (("x",), "either --data"),
        (("base", "--data", data), "cannot name"),
        (("x", "--data", tmp_path / "missing.jsonl"), "missing.jsonl"),
        (("x", "--data", data, "--base", "no/model"), "not on this machine"),
        (("x", "--data", data, "--quantisation", "1bit"), "none or 4bit"),
        (("x", "--collection", "nowhere"), "nowhere"),
    ):
        refused = run("experts", "train", *arguments)
        assert refused.code == 2, refused.err
        assert complaint in refused.err
    assert run("experts", "evaluate", "nobody", "--data", data).code == 2
