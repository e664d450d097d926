"""LoRA adapters of a torch model (PEFT): exactly the weighted mixture that a request names, and nothing left behind.

Every adapter is applied by itself with its own scale: W x + the sum of weight_i * scale_i * B_i A_i x. That is
the exact weighted sum; merging factors (PEFT's "linear" combination) is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckllm.errors import DataError
from ckllm.llm.local import adapter_digest


class AdapterMixer:
    """Owns the adapters of one model. Not thread-safe: the caller holds the model's lock from `use` to the computation."""

    def __init__(self, model: Any) -> None:
        self._base = model
        self._peft: Any = None
        self._names: dict[str, str] = {}
        self._scales: dict[tuple[int, str], float] = {}
        self._active: dict[str, float] = {}

    @property
    def model(self) -> Any:
        """The model to compute with."""
        return self._base if self._peft is None else self._peft

    def use(self, adapters: Mapping[str, float]) -> None:
        """Apply this mixture, loading what is new. Raises DataError for an adapter that is none or does not fit the model."""
        wanted = {self._loaded(folder): weight for folder, weight in adapters.items() if weight}
        if self._peft is None or wanted == self._active:
            return
        if wanted:
            self._peft.base_model.enable_adapter_layers()
            self._peft.base_model.set_adapter(list(wanted))
            for layer in self._layers():
                for name in set(wanted) & set(layer.scaling):
                    layer.scaling[name] = self._scales.setdefault((id(layer), name), layer.scaling[name]) * wanted[name]
        else:
            self._peft.base_model.disable_adapter_layers()
        self._active = wanted

    def _loaded(self, folder: str) -> str:
        """The adapter's name inside PEFT; one that changed on disk is another adapter."""
        key = f"{folder}:{adapter_digest(Path(folder))}"
        if key not in self._names:
            self._load(folder, f"adapter{len(self._names)}")
            self._names[key] = f"adapter{len(self._names)}"
        return self._names[key]

    def _load(self, folder: str, name: str) -> None:
        from peft import PeftModel

        try:
            if self._peft is None:
                self._peft = PeftModel.from_pretrained(self._base, folder, adapter_name=name)
            else:
                self._peft.load_adapter(folder, adapter_name=name)
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise DataError(f"the adapter {folder} does not fit this model: {reason}") from error
        self._peft.eval()
        for layer in self._layers():
            if name in layer.scaling:
                self._scales[id(layer), name] = layer.scaling[name]
        self._peft.base_model.disable_adapter_layers()
        self._active = {}

    def _layers(self) -> list[Any]:
        return [module for module in self._peft.modules() if hasattr(module, "scaling") and hasattr(module, "lora_A")]
