"""The command line. Results go to stdout, progress and messages to stderr, so that `--json` can always be piped.

Exit codes: 0 done · 1 unexpected failure · 2 wrong usage, settings or input · 3 done, but some sources were rejected ·
4 the knowledge base cannot be used (locked, made with another embedder, unreachable).

Command modules import only Typer at the top: what a command needs is imported when it runs, so that `--help` stays quick.
"""

from __future__ import annotations

from ckllm.cli.app import main

__all__ = ["main"]
