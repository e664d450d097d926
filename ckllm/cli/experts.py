"""`ckllm experts`: which experts exist, where they come from, and how they travel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ckllm.cli import output, routing, training
from ckllm.cli.session import Json, session

if TYPE_CHECKING:
    from ckllm.experts.card import Card
    from ckllm.experts.registry import Expert

app = typer.Typer(help="List, train, move experts, and route questions to them.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The expert.", metavar="NAME")]


@app.command("list")
def list_experts(context: typer.Context, as_json: Json = False) -> None:
    """The experts that ship with ckllm, are installed, or stand in the settings; `serves`: on top of the model that is set.

    Example: ckllm experts list
    """
    from ckllm.experts.table import open_registry

    settings = session(context).settings()
    model = settings.llm.model
    registry = open_registry(settings)
    serving = registry.serving(model)
    rows = [_base_row(model), *(_row(one, model) | {"serves": one.name in serving} for one in registry)]
    if as_json:
        output.print_json(rows)
    else:
        columns = ("name", "origin", "serves", "model", "licence", "gain", "description")
        output.print_table(columns, ([row[column] for column in columns] for row in rows), empty="No experts.")


@app.command()
def show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """The card of an expert: what it is, what it was made from, and its held-out scores; its files are checked.

    Example: ckllm experts show qa
    """
    from ckllm.experts.base import BASE
    from ckllm.experts.registry import verify
    from ckllm.experts.table import open_registry

    settings = session(context).settings()
    if name == BASE:
        card = _base_row(settings.llm.model)
    else:
        expert = open_registry(settings).get(name)
        verify(expert)
        card = expert.as_json() | {"verified": bool(expert.card.hashes)}
    if as_json:
        output.print_json(card)
    else:
        output.print_table(("card", ""), _flat(card), empty="")


@app.command()
def add(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A PEFT LoRA folder, with or without a card.", metavar="FOLDER")],
    name: Annotated[str, typer.Option(help="Its name here; else the card's, else the folder's.")] = "",
    as_json: Json = False,
) -> None:
    """Copy an adapter into the home directory; what its card says of its files is checked.

    Example: ckllm experts add ./my-adapter --name contracts
    """
    from ckllm.experts.table import open_registry

    expert = open_registry(session(context).settings()).add(folder, name)
    if as_json:
        output.print_json(expert.as_json())
    else:
        typer.echo(f"added {expert.name}: {expert.folder}")


@app.command()
def remove(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete an installed expert with its files.

    Example: ckllm experts remove contracts --yes
    """
    from ckllm.experts.table import open_registry

    registry = open_registry(session(context).settings())
    registry.get(name)
    output.confirm(f"Delete the expert {name} and its files?", yes or as_json)
    registry.remove(name)
    if as_json:
        output.print_json({"removed": name})
    else:
        typer.echo(f"removed {name}")


@app.command()
def bundle(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A new folder.", metavar="DIR")],
    references: Annotated[bool, typer.Option("--references", help="Pin the models' weights by hash, leave them out.")] = False,
    only: Annotated[list[str] | None, typer.Option("--expert", help="Only this expert; repeatable.", metavar="NAME")] = None,
    as_json: Json = False,
) -> None:
    """Save router, experts and models, with their tokenizers, templates and hashes, as one folder that works offline.

    Example: ckllm experts bundle ./experts-2026 --references
    """
    from ckllm.workshop import save_expert_bundle

    made = save_expert_bundle(session(context).settings(), folder, tuple(only or ()), references=references)
    _print_bundle(made, "saved", as_json)


@app.command()
def load(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder that `experts bundle` wrote.", metavar="DIR")],
    as_json: Json = False,
) -> None:
    """Check every file of a bundle and install its experts and its router. Nothing in a bundle is ever executed.

    Example: ckllm experts load ./experts-2026
    """
    from ckllm.workshop import load_expert_bundle

    loaded = load_expert_bundle(session(context).settings(), folder)
    _print_bundle(loaded, "loaded", as_json)


def _print_bundle(made: Any, done: str, as_json: bool) -> None:
    row = {
        "folder": str(made.folder.absolute()),
        "experts": list(made.experts),
        "router": made.has_router,
        "models": {name: str(folder.absolute()) for name, folder in made.models.items()},
        "references": {name: dict(files) for name, files in made.references.items()},
    }
    if as_json:
        output.print_json(row)
        return
    parts = [f"{len(made.experts)} expert(s)", f"{len(made.models)} model(s)", *(["a router"] if made.has_router else [])]
    typer.echo(f"{done} {', '.join(parts)}: {made.folder}")
    for name in made.references:
        typer.echo(f"  the weights of {name} are left out and pinned by SHA-256")


def _base_row(model: str) -> dict[str, Any]:
    from ckllm.experts.base import BASE

    fixed = {"origin": "model", "licence": "", "gain": None, "serves": True}
    return {"name": BASE, "description": "the base model, as it is", "model": model} | fixed


def _row(one: Expert, model: str) -> dict[str, Any]:
    card = one.card
    return {
        "name": one.name, "description": card.description, "model": card.model or card.base_model or model,
        "origin": one.origin, "licence": card.licence, "gain": gain(card), "languages": list(card.languages),
        "sha256": card.adapter_sha256,
    }  # fmt: skip


def gain(card: Card) -> float | None:
    """Held-out F1 of the expert less that of the base model; None where the card has neither."""
    try:
        return round(float(card.scores["expert"]["f1"]) - float(card.scores["base"]["f1"]), 4)
    except (KeyError, TypeError, ValueError):
        return None


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """Nested values as rows of dotted names; empty ones left out."""
    rows: list[tuple[str, object]] = []
    for key, one in value.items():
        if isinstance(one, dict):
            rows += _flat(one, f"{prefix}{key}.")
        elif one not in (None, "", [], ()):
            rows.append((f"{prefix}{key}", ", ".join(map(str, one)) if isinstance(one, list | tuple) else one))
    return rows


app.command("route")(routing.route_question)
app.command("train-router")(routing.train_the_router)
app.command("train")(training.train)
app.command("evaluate")(training.evaluate)
app.command("prepare-data")(training.prepare_data)
