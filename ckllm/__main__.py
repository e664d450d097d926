"""`python -m ckllm` is the `ckllm` command."""

from __future__ import annotations

from ckllm.cli import main

if __name__ == "__main__":
    main()
