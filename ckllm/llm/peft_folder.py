"""A LoRA adapter as PEFT saves it: `adapter_config.json` beside `adapter_model.safetensors`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ckllm.errors import DataError

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_UNUSUAL = ("use_dora", "alpha_pattern", "rank_pattern", "modules_to_save")


def adapter_config(folder: Path) -> dict[str, Any]:
    """Raises DataError where it cannot be read."""
    try:
        value = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is no adapter: its {CONFIG} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise DataError(f"{folder / CONFIG} is not a JSON object")
    return value


def scaling(folder: Path) -> float:
    """What PEFT multiplies B · A with: alpha / r, or alpha / √r with rank stabilisation (Kalajdzievski 2023).

    Raises DataError for an adapter of another kind, or one that changes more than that.
    """
    config = adapter_config(folder)
    unusual = [key for key in _UNUSUAL if config.get(key)]
    if config.get("peft_type") != "LORA" or unusual:
        raise DataError(
            f"{folder} is not a plain LoRA adapter ({', '.join(unusual) or config.get('peft_type')}): use transformers"
        )
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise DataError(f"{folder / CONFIG} gives no usable r and lora_alpha") from None
