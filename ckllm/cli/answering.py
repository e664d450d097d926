"""`ckllm search`, `ckllm ask` and `ckllm chat`."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ckllm.cli import batch as batch_rows
from ckllm.cli import output
from ckllm.cli.session import AsUser, Collection, Json, session
from ckllm.errors import CkllmError, StoreError, UsageError

if TYPE_CHECKING:
    from ckllm.asking import AskOptions
    from ckllm.cli.remote import RemoteBase
    from ckllm.contracts import Answer
    from ckllm.knowledge_base import KnowledgeBase

Batch = Annotated[Path | None, typer.Option("--batch", help="A JSON Lines file; prints one JSON line a row.", metavar="FILE")]
Passages = Annotated[int | None, typer.Option("-k", min=1, max=1000, help="How many passages.")]
Expert = Annotated[str, typer.Option(help="auto, base, or names of experts, comma-separated.", metavar="auto|base|NAME[,NAME…]")]
SEARCH_BATCH = 64
"""Rows of a search batch that are embedded together."""


def search(
    context: typer.Context,
    query: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    batch: Batch = None,
    k: Passages = None,
    collection: Collection = "main",
    where: Annotated[str, typer.Option(help="A condition, e.g. 'lang == \"hi\" and page >= 2'.", metavar="EXPR")] = "",
    as_user: AsUser = None,
    as_json: Json = False,
) -> None:
    """Ranked passages, no generation.

    Example: ckllm search "how often are filters backwashed" -k 5
    """
    _exactly_one(query, batch, "QUERY")
    with session(context).reading(collection) as kb:
        if batch is not None:
            _search_rows(kb, batch, k, where, as_user)
            return
        assert query is not None
        result = kb.search_many([query], k=k, where=where, user=as_user)[0]
    if as_json:
        output.print_json(result.as_json())
    else:
        output.print_hits(result.hits)


def _search_rows(kb: KnowledgeBase | RemoteBase, file: Path, k: int | None, where: str, user: str | None) -> None:
    """One line out per line in; exits 1 only if every row failed."""
    rows = batch_rows.read(file, "query")
    seen = failed = 0
    while some := list(islice(rows, SEARCH_BATCH)):
        faults = [row.fault or _fault(row.text) for row in some]
        good = [row.text for row, fault in zip(some, faults, strict=True) if fault is None]
        results = iter(kb.search_many(good, k=k, where=where, user=user))
        for row, fault in zip(some, faults, strict=True):
            output.print_json(row.failed(fault) if fault else row.answered(next(results).as_json()))
        seen, failed = seen + len(some), failed + len(some) - len(good)
    batch_rows.exit_if_all_failed(seen, failed)


def _fault(query: str) -> CkllmError | None:
    """Why a query cannot be asked; None where it can."""
    from ckllm.asking import checked_question

    try:
        checked_question(query, "query")
    except CkllmError as error:
        return error
    return None


def ask(
    context: typer.Context,
    question: Annotated[str | None, typer.Argument(help="The question.")] = None,
    batch: Batch = None,
    k: Passages = None,
    collection: Collection = "main",
    expert: Expert = "auto",
    top_experts: Annotated[int, typer.Option(min=1, help="Mix so many of the nearest experts.")] = 1,
    only_base: Annotated[bool, typer.Option("--only-base", help="Answer with the base model alone.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Show the draft on stderr while it is written.")] = False,
    as_user: AsUser = None,
    as_json: Json = False,
) -> None:
    """One cited, verified answer, or an honest refusal.

    Example: ckllm ask "How long must the chlorine contact time be?"
    """
    _exactly_one(question, batch, "QUESTION")
    if only_base and expert not in ("auto", "base"):
        raise UsageError(f"--only-base and --expert {expert} contradict each other: give one of them")
    options: AskOptions = {"k": k, "expert": "base" if only_base else expert, "top_experts": top_experts, "user": as_user}
    with session(context).reading(collection) as kb:
        if batch is not None:
            batch_rows.answer_each(batch, "question", lambda text: kb.ask(text, **options).as_json())
            return
        assert question is not None
        if stream:
            answer = _ask_streaming(kb, question, options, as_json)
        else:
            answer = kb.ask(question, **options)
            if as_json:
                output.print_json(answer.as_json())
    if not as_json:
        output.print_answer(answer)


def chat(
    context: typer.Context,
    collection: Collection = "main",
    expert: Expert = "auto",
    as_user: AsUser = None,
    as_json: Json = False,
) -> None:
    """A conversation in the terminal, citations as footnotes; an empty line or Ctrl-D ends it.

    Example: ckllm chat --collection main
    """
    from ckllm.contracts import Message

    history: list[Message] = []
    with session(context).reading(collection) as kb:
        typer.echo("Ask about your documents. An empty line ends the conversation.", err=True)
        while (question := _next_question()) is not None:
            try:
                answer = kb.ask(question, expert=expert, user=as_user, history=tuple(history))
            except StoreError:
                raise
            except CkllmError as error:
                typer.echo(str(error), err=True)  # the conversation is still there: the same can be asked again, or another thing
                continue
            if as_json:
                output.print_json(answer.as_json())
            else:
                output.print_answer(answer)
            history += [Message("user", question), Message("assistant", answer.answer)]


def _next_question() -> str | None:
    """None at the end; stdout stays free of prompts where it is no terminal."""
    typer.echo(err=True)
    try:
        if sys.stdin.isatty() and sys.stdout.isatty():
            return input("> ").strip() or None
        typer.echo("> ", nl=False, err=True)
        return sys.stdin.readline().strip() or None
    except (EOFError, KeyboardInterrupt):
        return None


def _ask_streaming(kb: KnowledgeBase | RemoteBase, question: str, options: AskOptions, as_json: bool) -> Answer:
    """The draft goes to stderr as it is written; with `--json`, every event is a line on stdout and the answer the last."""
    from ckllm.contracts import Done, Retrieved, Routed, Token

    done = None
    for event in kb.stream(question, **options):
        if isinstance(event, Done):
            done = event.answer
        elif isinstance(event, Token):
            if as_json:
                output.print_json({"event": "token", "text": event.text})
            else:
                sys.stderr.write(event.text)
                sys.stderr.flush()
        elif as_json and isinstance(event, Retrieved):
            output.print_json({"event": "retrieved", "evidence": [e.as_json() for e in event.evidence]})
        elif as_json and isinstance(event, Routed):
            output.print_json({"event": "routed", "route": event.route.as_json()})
    assert done is not None, "a stream ends with Done"
    if as_json:
        output.print_json({"event": "done", **done.as_json()})
    else:
        sys.stderr.write("\n\n")
    return done


def _exactly_one(text: str | None, batch: Path | None, name: str) -> None:
    if (text is None) == (batch is None):
        raise UsageError(f"give either {name} or --batch FILE")
