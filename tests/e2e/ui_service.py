"""`python -m tests.e2e.ui_service HOME PORT`: a service whose slow model copies its evidence, until it is killed."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from ckllm.llm.scripted import Fault
from tests.service.serving import served

if __name__ == "__main__":
    with served(Path(sys.argv[1]), fault=Fault(delay_s=0.03), at_port=int(sys.argv[2])):
        threading.Event().wait()
