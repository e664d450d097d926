"""`ckllm doctor`."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from ckllm.cli import output
from ckllm.cli.session import Json, session

SIGNS = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


def doctor(
    context: typer.Context,
    service: Annotated[bool, typer.Option("--service", help="Look at the running service instead.")] = False,
    as_json: Json = False,
) -> None:
    """Look at the installation: versions, models, engine, store, disk; each line ok, warn or fail with the mend.

    Example: ckllm doctor
    """
    from rich.markup import escape

    from ckllm.doctor import examine
    from ckllm.service.checkup import examine_service

    settings = session(context).settings()
    out = output.console()
    findings = []
    for finding in (examine_service if service else examine)(settings):
        findings.append(finding)
        if not as_json:
            mend = f" → {escape(finding.mend)}" if finding.mend else ""
            out.print(f"{SIGNS[finding.verdict]} {escape(finding.name)}: {escape(finding.detail)}{mend}")
    counts = Counter(finding.verdict for finding in findings)
    if as_json:
        output.print_json({"ok": not counts["fail"], "findings": [finding.as_json() for finding in findings]})
    else:
        out.print(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failing")
    if counts["fail"]:
        raise typer.Exit(1)
