"""`python -m ingestion` is `ckllm ingest`."""

from __future__ import annotations

import sys

from ckllm.cli import main

if __name__ == "__main__":
    main(["ingest", *sys.argv[1:]])
