"""Cards, the registry and bundles: what is there is what was described, or it is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ckllm.config import ExpertSettings, load_settings
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import DataError, UsageError
from ckllm.experts.base import BASE, RouteRequest
from ckllm.experts.bundle import check_references, install, load_bundle, save_bundle
from ckllm.experts.card import CARD, Card, read_card, write_card
from ckllm.experts.registry import SHIPPED, Registry, adapter_weights, verify
from ckllm.experts.routers.training import RouterRow, train_router
from ckllm.experts.table import latest_registry, latest_router, open_registry, open_router, router_folder
from ckllm.file_hash import file_sha256
from tests.experts.test_mixing import adapter


def expert(folder: Path, name: str, seed: int = 1, base: str = "") -> Path:
    made = adapter(folder, 2, 4, seed)
    hashes = {
        "adapter_sha256": file_sha256(made / "adapter_model.safetensors"),
        "config_sha256": file_sha256(made / "adapter_config.json"),
    }
    write_card(Card(name, "for tests", base_model=base, licence="Apache-2.0", languages=("en",), **hashes), made)
    return made


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    found = Registry(tmp_path / "home/experts", shipped=None)
    found.add(expert(tmp_path / "one", "one", 1))
    found.add(expert(tmp_path / "two", "two", 2, base="other-model"))
    return found


def test_experts_are_added_found_again_and_removed(registry: Registry, tmp_path: Path) -> None:
    again = Registry(tmp_path / "home/experts", shipped=None)
    assert again.names == registry.names == ("one", "two")
    assert read_card(tmp_path / "home/experts/one") == again.get("one").card
    assert set(again.serving("smollm2-135m-instruct")) == {"one"}
    with pytest.raises(UsageError, match="already"):
        again.add(tmp_path / "one")
    again.remove("one")
    assert "one" not in Registry(tmp_path / "home/experts", shipped=None)
    with pytest.raises(UsageError, match="there are base, two"):
        again.get("one")


def test_an_expert_that_is_still_being_added_is_not_there_yet(registry: Registry, tmp_path: Path) -> None:
    expert(tmp_path / "home/experts/.three.new", "three", 3)
    assert "three" not in Registry(tmp_path / "home/experts", shipped=None)


def test_the_latest_registry_is_read_again_only_where_something_changed(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "home", environment={})
    latest = latest_registry(settings)
    first = latest()
    assert latest() is first and "one" not in first
    Registry(tmp_path / "home/experts", shipped=None).add(expert(tmp_path / "one", "one", 1))
    second = latest()
    assert "one" in second and latest() is second
    changed = read_card(tmp_path / "home/experts/one").with_values({"description": "another description"})
    write_card(changed, tmp_path / "home/experts/one")
    assert latest().get("one").card.description == "another description"
    card = tmp_path / "home/experts/one" / CARD
    before = card.stat()
    card.write_text(card.read_text(encoding="utf-8").replace("another", "unusual"), encoding="utf-8")
    os.utime(card, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert latest().get("one").card.description == "unusual description", "size and time alone do not tell"
    Registry(tmp_path / "home/experts", shipped=None).remove("one")
    assert "one" not in latest()


def test_the_latest_router_follows_its_own_files_and_those_of_the_experts(tmp_path: Path, router_rows: list[RouterRow]) -> None:
    overrides = {"routing.default": "one", "llm.model": "m"}
    settings = load_settings(tmp_path / "home", environment={}, overrides=overrides)
    latest = latest_router(settings, HashingEmbedder)

    def chosen(question: str = "prune the rose hedge and the bulb") -> str:
        return latest().route([RouteRequest(question)])[0].expert

    assert (chosen(), latest() is latest()) == (BASE, True)
    open_registry(settings).add(expert(tmp_path / "one", "one", base="m"))
    assert chosen() == "one"
    card = read_card(tmp_path / "home/experts/one").with_values({"base_model": "another"})
    write_card(card, tmp_path / "home/experts/one")
    assert chosen() == BASE, "an expert for another model does not serve"
    train_router(router_rows, HashingEmbedder(), router_folder(settings))
    assert chosen() == "gardens"
    renamed = [RouterRow(row.prompt, row.label.replace("gardens", "parks")) for row in router_rows]
    train_router(renamed, HashingEmbedder(), router_folder(settings))
    assert chosen() == "parks"


def test_an_adapter_without_a_card_gets_one(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "experts", shipped=None)
    added = registry.add(adapter(tmp_path / "bare", 2, 4, 1), "mine")
    assert added.card.adapter_sha256 == file_sha256(tmp_path / "bare/adapter_model.safetensors")
    assert "mine" in Registry(tmp_path / "experts", shipped=None)


@pytest.mark.parametrize("name", ["base", "auto", "../up", "a/b", ".hidden", ""])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises((UsageError, DataError)):
        Registry(tmp_path / "experts", shipped=None).add(expert(tmp_path / "x", name))


def test_changed_weights_are_refused(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "home/experts/one/adapter_model.safetensors"
    assert adapter_weights({"one": 0.6, BASE: 0.4, "label-only": 0.1}, registry) == {str(file.parent): 0.6}
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match="SHA-256"):
        adapter_weights({"one": 1.0}, registry)


def test_broken_cards_are_named(tmp_path: Path) -> None:
    folder = expert(tmp_path / "x", "x")
    for text, complaint in (
        ("{", "cannot be read"),
        ('{"name": "x", "run": "code"}', "unknown key 'run'"),
        ('{"name": 3}', "name must be text"),
    ):
        (folder / "expert.json").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=complaint):
            read_card(folder)


def test_experts_in_the_settings(tmp_path: Path) -> None:
    made = expert(tmp_path / "one", "one")
    (tmp_path / "ckllm.toml").write_text(
        f'[[experts]]\nname = "mine"\nadapter = "{made}"\nlanguages = ["hi"]\n\n[[experts]]\nname = "big"\nmodel = "some/one"\n',
        encoding="utf-8",
    )
    registry = open_registry(load_settings(home=tmp_path, environment={}))
    assert registry.get("mine").card.languages == ("hi",)
    assert registry.get("mine").card.licence == "Apache-2.0"
    assert not registry.get("big").card.is_adapter
    assert adapter_weights({"mine": 1.0}, registry) == {str(made): 1.0}
    with pytest.raises(UsageError, match="either adapter or model"):
        Registry(tmp_path, [ExpertSettings(name="none")], shipped=None)


def test_shipped_experts_are_whole_and_have_beaten_base() -> None:
    registry = Registry(Path("nowhere"))
    assert {one.origin for one in registry} <= {"shipped"}
    for one in registry:
        verify(one)
        assert one.card.hashes.keys() == {"adapter_model.safetensors", "adapter_config.json"}
        assert one.card.licence
        assert one.card.training["data_sha256"]
        assert one.card.scores["expert"]["f1"] > one.card.scores["base"]["f1"]
        assert (SHIPPED / one.name / "adapter_model.safetensors").stat().st_size < 5_300_000


# -- the router that settings describe


def test_router_of_a_home_directory(tmp_path: Path, router_rows: list[RouterRow]) -> None:
    settings = load_settings(home=tmp_path, environment={}, overrides={"routing.default": "none"})
    fresh = open_router(settings, HashingEmbedder)
    assert fresh.route([RouteRequest("x")])[0].expert == BASE
    train_router(router_rows, HashingEmbedder(), router_folder(settings))
    trained = open_router(settings, HashingEmbedder)
    assert trained.route([RouteRequest("prune the rose hedge and the bulb")])[0].expert == "gardens"
    assert trained.route([RouteRequest("x", expert="sailing")])[0].strategy == "explicit"
    with pytest.raises(UsageError, match="nobody"):
        trained.route([RouteRequest("x", expert="nobody")])
    other = open_router(settings, lambda: HashingEmbedder(128))
    with pytest.raises(UsageError, match="train it again"):
        other.route([RouteRequest("x")])


def test_a_strategy_without_what_it_needs(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, environment={}, overrides={"routing.strategy": "head"})
    with pytest.raises(UsageError, match="train-router"):
        open_router(settings, HashingEmbedder)


def test_the_default_expert_serves_until_a_router_is_trained(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = load_settings(home=home, environment={}, overrides={"routing.default": "one", "llm.model": "m"})
    open_registry(settings).add(expert(tmp_path / "one", "one", base="m"))
    assert open_router(settings, HashingEmbedder).route([RouteRequest("x")])[0].weights == {"one": 1.0}
    elsewhere = load_settings(home=home, environment={}, overrides={"routing.default": "one", "llm.model": "another"})
    assert open_router(elsewhere, HashingEmbedder).route([RouteRequest("x")])[0].expert == BASE


# -- bundles


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors", "evil.py", "pytorch_model.bin"):
        (folder / name).write_text(name, encoding="utf-8")
    return folder


@pytest.fixture
def router(tmp_path: Path, router_rows: list[RouterRow]) -> Path:
    train_router(router_rows, HashingEmbedder(), tmp_path / "router")
    return tmp_path / "router"


def test_a_bundle_is_whole(registry: Registry, router: Path, model_folder: Path, tmp_path: Path) -> None:
    made = save_bundle(tmp_path / "bundle", registry, router, {"tiny": model_folder})
    assert (made.experts, made.has_router, dict(made.references)) == (("one", "two"), True, {})
    assert sorted(file.name for file in made.models["tiny"].iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    target = Registry(tmp_path / "other/experts", shipped=None)
    assert install(load_bundle(tmp_path / "bundle"), target, tmp_path / "other/router") == ["one", "two"]
    assert adapter_weights({"one": 1.0}, target)
    assert (tmp_path / "other/router/router.npz").read_bytes() == (router / "router.npz").read_bytes()
    with pytest.raises(UsageError, match="already"):
        install(made, target, tmp_path / "other/router")


def test_references_leave_weights_out_and_pin_them(registry: Registry, model_folder: Path, tmp_path: Path) -> None:
    made = save_bundle(tmp_path / "bundle", registry, None, {"tiny": model_folder}, references=True)
    assert not (made.models["tiny"] / "model.safetensors").exists()
    assert (made.models["tiny"] / "tokenizer.json").exists()
    check_references(made, {"tiny": model_folder})
    with pytest.raises(DataError, match="not here"):
        check_references(made, {})
    (model_folder / "model.safetensors").write_text("another", encoding="utf-8")
    with pytest.raises(DataError, match="SHA-256"):
        check_references(made, {"tiny": model_folder})


def test_tampering_is_found(registry: Registry, router: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    save_bundle(folder, registry, router, {})
    card, before = folder / "experts/one/expert.json", (folder / "experts/one/expert.json").read_text(encoding="utf-8")
    card.write_text(before.replace("for tests", "for  test"), encoding="utf-8")
    with pytest.raises(DataError, match="changed"):
        load_bundle(folder)
    card.write_text(before, encoding="utf-8")
    (folder / "extra.txt").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="not in its manifest"):
        load_bundle(folder)
    (folder / "extra.txt").unlink()
    (folder / "router/router.npz").unlink()
    with pytest.raises(DataError, match="lacks"):
        load_bundle(folder)


def test_a_bundle_holds_no_code_and_no_way_out(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    save_bundle(folder, registry, None, {})
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    for path in ("../outside.json", "experts/one/hook.py", "/etc/passwd"):
        (folder / "bundle.json").write_text(json.dumps(manifest | {"files": manifest["files"] | {path: "0"}}), encoding="utf-8")
        with pytest.raises(DataError, match="no bundle may hold"):
            load_bundle(folder)
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="link"):
        load_bundle(folder)
    with pytest.raises(UsageError, match="not empty"):
        save_bundle(folder, [], None, {})
