"""How long commands take from a cold process, and how much memory they need: the median of several runs.

    python -m benchmarks.cold_start [--runs 5] [--documents examples/documents]

A home with the documents is made first; models are converted in it before anything is timed. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.circumstances import told

QUESTION = "When is a domestic meter replaced?"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import ckllm": [sys.executable, "-c", "import ckllm"],
    "ckllm --help": [sys.executable, "-m", "ckllm", "--help"],
    "ckllm search": [sys.executable, "-m", "ckllm", "search", QUESTION, "--json"],
    "ckllm ask": [sys.executable, "-m", "ckllm", "ask", QUESTION, "--json"],
    "ckllm ingest, nothing new": [sys.executable, "-m", "ckllm", "ingest", "{documents}", "--json"],
}


def run(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds by the clock, and the process's peak resident memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{' '.join(command)} failed: run it by hand to see why")
    return seconds, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--documents", type=Path, default=Path("examples/documents"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"CKLLM_HOME": home, "HF_HUB_OFFLINE": "1"}
        documents = str(arguments.documents.absolute())
        commands = {name: [part.replace("{documents}", documents) for part in command] for name, command in COMMANDS.items()}
        for name in ("ckllm ingest, nothing new", "ckllm ask"):
            run(commands[name], environment)
        print(f"{told()}\n")
        print("| command | seconds, median | least | most | peak MB |\n| --- | --- | --- | --- | --- |")
        for name, command in commands.items():
            runs = [run(command, environment) for _ in range(arguments.runs)]
            seconds = [one[0] for one in runs]
            peak = max(one[1] for one in runs)
            print(f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
