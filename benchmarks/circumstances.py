"""When, where and of which state of the code a run was: every benchmark says it in the same words."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any


def circumstances() -> dict[str, Any]:
    """For JSON."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"), "machine": _processor(), "cores": os.cpu_count(), "system": platform.system(),
        "load": round(os.getloadavg()[0], 1), "python": platform.python_version(), "commit": commit,
    }  # fmt: skip


def told() -> str:
    """In one line."""
    now = circumstances()
    return (
        f"{now['date']}, {now['cores']} cores of {now['machine']}, {now['system']}, Python {now['python']}, load {now['load']}, "
        f"commit {now['commit'] or 'unknown'}"
    )


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
