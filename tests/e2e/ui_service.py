"""`python -m tests.e2e.ui_service HOME PORT`: a service whose slow model copies its evidence, until it is killed."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from ckllm.llm.scripted import Fault
from tests.service.serving import served

TRAINABLE = "tiny"
"""Folder in the home of a model that can be trained, where a test has made one; nothing else loads it."""

if __name__ == "__main__":
    home = Path(sys.argv[1])
    made = {"llm__model": str(home / TRAINABLE), "llm__device": "cpu", "answer__max_tokens": 400}
    with served(home, fault=Fault(delay_s=0.1), at_port=int(sys.argv[2]), **made):
        threading.Event().wait()
