"""The process of a command ends with its code and with all that was said."""

from __future__ import annotations

import subprocess
import sys


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ckllm", *arguments], capture_output=True, text=True, check=False, timeout=120)


def test_codes_and_words_arrive() -> None:
    version = command("--version")
    assert (version.returncode, version.stdout.split()[0]) == (0, "ckllm")
    wrong = command("search")
    assert wrong.returncode == 2 and "--batch" in wrong.stderr


def test_libraries_say_goodbye_before() -> None:
    code = (
        "import atexit, sys; sys.argv = ['ckllm', '--version']; from ckllm.cli import app;"
        "real = app._run; app._run = lambda given: (atexit.register(print, 'closed'), real(given)); app.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0 and done.stdout.splitlines()[1:] == ["closed"], done
