"""The confusion table as JSON and, where matplotlib is installed, as a picture."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

MOST_LABELS = 40
"""Above it a picture cannot be read; the JSON has everything."""


def write_confusion(folder: Path, confusion: dict[str, Any]) -> bool:
    """Write confusion.json, and confusion.png where that is possible. True if the picture was made."""
    (folder / "confusion.json").write_text(json.dumps(confusion, ensure_ascii=False), encoding="utf-8")
    picture = folder / "confusion.png"
    picture.unlink(missing_ok=True)
    labels = confusion["labels"]
    if importlib.util.find_spec("matplotlib") is None or len(labels) > MOST_LABELS:
        return False
    import matplotlib.figure
    import numpy as np

    counts = np.array(confusion["counts"], float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.5 + 0.42 * len(labels)
    figure = matplotlib.figure.Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="said", ylabel="meant", title="Questions by expert, held out")
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            if count:
                axes.text(
                    column, row, f"{count:.0f}", ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black"
                )
    figure.savefig(picture, dpi=110)
    return True
