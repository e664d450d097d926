"""Rows for the expert `code`: questions about Python source whose answers are computed from its syntax tree.

    python -m benchmarks.code_data --out WORK

The source is the standard library of the Python that runs this (PSF licence). A passage is a definition of a module, cut as
ingestion cuts it; a prompt shows one or two of the same module. Every module lies in one part, whole. Half of the wordings of
each kind of question are kept for validation and test.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import platform
import random
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ckllm.contracts import Hit
from ckllm.prompting.grounded import grounded_messages
from ingestion.parse.code import definition_starts

SHORTEST, LONGEST = 160, 800
"""Characters of a definition."""
LONGEST_ANSWER = 60
LEFT_OUT = frozenset({"test", "site-packages", "encodings"})
"""Packages; the modules of encodings repeat each other."""
PROMPTS = {"train": 75, "validation": 12, "test": 60}
ASKED = {"train": 7, "validation": 3, "test": 2}
"""Questions a prompt at most: in training they share its tokens."""
WORDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "default": (
        ("What is the default of {arg} in {name}?", "Which value does {arg} have in {name} if it is not given?",
         "default value of {arg} in {name}"),
        ("If I call {name} without {arg}, what is used?", "What does the parameter {arg} of {name} default to?"),
    ),
    "raises": (
        ("Which exception does {name} raise?", "What does {name} raise when something is wrong?", "exception raised by {name}"),
        ("What error can {name} throw?", "Which exception should I catch when I call {name}?"),
    ),
    "returns": (
        ("What does {name} return?", "Which expression is returned by {name}?", "return value of {name}"),
        ("What do I get back from {name}?", "What is the result of {name}?"),
    ),
    "docstring": (
        ("Which function or class is described as: {doc}", "What is the name of the definition that says: {doc}"),
        ("What should I use for this: {doc}", "Where is this done: {doc}"),
    ),
    "parameters": (
        ("Which parameters does {name} take?", "What are the arguments of {name}?", "parameters of {name}"),
        ("What can be passed to {name}?", "List the arguments that {name} accepts."),
    ),
    "inherits": (
        ("Which class does {name} inherit from?", "What is the base class of {name}?"),
        ("What does {name} extend?", "{name} is a subclass of what?"),
    ),
    "attribute": (
        ("What is the value of {arg} in {name}?", "Which value is assigned to {arg} in {name}?"),
        ("What is {arg} set to in {name}?", "Tell me the value {arg} has in {name}."),
    ),
}  # fmt: skip
"""Kind → wordings of training, wordings of validation and test."""


@dataclass(frozen=True, slots=True)
class Fact:
    kind: str
    name: str
    answer: str
    arg: str = ""
    doc: str = ""
    others: tuple[str, ...] = ()
    """Answers that are as right."""


@dataclass(frozen=True, slots=True)
class Definition:
    module: str
    """File name, the title of the passage."""
    text: str
    facts: tuple[Fact, ...]


def part_of(module: str) -> str:
    place = int(hashlib.sha256(module.encode()).hexdigest(), 16) % 10
    return "test" if place < 3 else "validation" if place == 3 else "train"


def definitions(file: Path) -> list[Definition]:
    """The top-level definitions of a module that are neither tiny nor long, each with what is asked about it."""
    text = file.read_text(encoding="utf-8")
    starts = definition_starts(text, "python")
    found = []
    for start, end in pairwise([*starts, len(text)]):
        piece = text[start:end].strip()
        if not SHORTEST <= len(piece) <= LONGEST:
            continue
        try:
            nodes = ast.parse(piece).body
        except SyntaxError:  # a definition under `if`, or code after it that belongs to something else
            continue
        if nodes and isinstance(nodes[0], ast.FunctionDef | ast.ClassDef) and not nodes[0].name.startswith("_"):
            found.append(Definition(file.name, piece, tuple(_facts(nodes[0], piece))))
    return [one for one in found if one.facts]


def _facts(node: ast.FunctionDef | ast.ClassDef, text: str) -> Iterator[Fact]:
    doc = (ast.get_docstring(node) or "").split("\n\n")[0]
    if 20 <= len(doc) <= 160 and node.name.lower() not in doc.lower():
        yield Fact("docstring", node.name, node.name, doc=" ".join(doc.split()))
    if isinstance(node, ast.FunctionDef):
        yield from _of_function(node, node.name, text)
        return
    if len(node.bases) == 1:
        yield from _fact("inherits", node.name, node.bases[0], text)
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("__"):
            yield from _of_function(inner, f"{node.name}.{inner.name}", text)
        elif isinstance(inner, ast.Assign) and len(inner.targets) == 1 and isinstance(inner.targets[0], ast.Name):
            yield from _fact("attribute", node.name, inner.value, text, inner.targets[0].id)


def _of_function(node: ast.FunctionDef, name: str, text: str) -> Iterator[Fact]:
    positional = [*node.args.posonlyargs, *node.args.args]
    with_default = zip(positional[len(positional) - len(node.args.defaults) :], node.args.defaults, strict=True)
    for arg, value in (*with_default, *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)):
        if value is not None:
            yield from _fact("default", name, value, text, arg.arg)
    names = [arg.arg for arg in (*positional, *node.args.kwonlyargs) if arg.arg not in ("self", "cls")]
    if 2 <= len(names) <= 5 and not node.args.vararg and not node.args.kwarg:
        yield Fact("parameters", name, ", ".join(names))
    inside = list(ast.walk(node))
    nested = any(isinstance(one, ast.FunctionDef | ast.Lambda) for one in inside if one is not node)
    raised = list(dict.fromkeys(_exception(one) for one in inside if isinstance(one, ast.Raise) and one.exc is not None))
    if raised and all(raised):
        yield Fact("raises", name, raised[0], others=tuple(raised[1:]))
    returned = [one.value for one in inside if isinstance(one, ast.Return) and one.value is not None]
    if len(returned) == 1 and not nested:
        yield from _fact("returns", name, returned[0], text)


def _exception(node: ast.Raise) -> str:
    called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return ast.unparse(called) if isinstance(called, ast.Name | ast.Attribute) else ""


def _fact(kind: str, name: str, value: ast.expr, text: str, arg: str = "") -> Iterator[Fact]:
    """A fact whose answer is an expression as it is written; none where it takes several lines or is long."""
    written = ast.get_source_segment(text, value) or ""
    if 0 < len(written) <= LONGEST_ANSWER and "\n" not in written:
        yield Fact(kind, name, written, arg)


def rows(part: str, modules: list[Path], seed: int = 0) -> Iterator[dict[str, Any]]:
    """Prompts of one part with their questions; kinds that are rare are asked first."""
    rng = random.Random(f"{seed}/{part}")
    by_module = [found for file in modules if part_of(file.name) == part and len(found := definitions(file)) > 1]
    prompts = [shown for found in by_module for shown in _shown(found, rng)]
    rng.shuffle(prompts)
    asked: dict[str, int] = defaultdict(int)
    for shown in prompts[: PROMPTS[part]]:
        facts = [fact for one in shown for fact in one.facts]
        rng.shuffle(facts)
        hits = [_hit(one, rank) for rank, one in enumerate(shown, 1)]
        chosen: list[Fact] = []
        while facts and len(chosen) < ASKED[part]:
            rarest = min(facts, key=lambda fact: asked[fact.kind])
            asked[rarest.kind] += 1
            chosen.append(rarest)
            facts.remove(rarest)
        for fact in chosen:
            seen, unseen = WORDINGS[fact.kind]
            wording = rng.choice(seen if part == "train" else (*seen[:1], *unseen, *unseen))
            question = wording.format(name=fact.name, arg=fact.arg, doc=fact.doc)
            turns = [{"role": m.role, "content": m.content} for m in grounded_messages(question, hits)]
            yield {
                "messages": [*turns, {"role": "assistant", "content": fact.answer}], "source": shown[0].module,
                "answers": [fact.answer, *fact.others], "set": fact.kind, "seen_wording": wording in seen,
            }  # fmt: skip


def _shown(found: list[Definition], rng: random.Random) -> Iterator[list[Definition]]:
    """At most six prompts a module, of one or two definitions."""
    order = rng.sample(found, len(found))
    for _ in range(6):
        size = rng.choice((1, 2, 2))
        shown, order = order[:size], order[size:]
        if shown:
            yield shown


def _hit(one: Definition, rank: int) -> Hit:
    return Hit(rank=rank, score=0.0, text=one.text, source="", title=one.module, page=None, section="", start=0,
               end=len(one.text), document_id=one.module, chunk_id=f"{one.module}/{rank}", found_by=())  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    library = Path(sysconfig.get_paths()["stdlib"])
    modules = sorted(file for file in (*library.glob("*.py"), *library.glob("*/*.py")) if file.parent.name not in LEFT_OUT)
    for part in PROMPTS:
        made = list(rows(part, modules))
        file = args.out / f"code.{part}.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
        kinds = {kind: sum(row["set"] == kind for row in made) for kind in WORDINGS}
        print(f"{file}: {len(made)} rows of Python {platform.python_version()}, {kinds}, "
              f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}")  # fmt: skip


if __name__ == "__main__":
    main()
