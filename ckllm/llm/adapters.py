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
        self.model = model
        """To compute with; PEFT puts its layers into it."""
        self._peft: Any = None
        self._names: dict[str, str] = {}
        self._scales: dict[tuple[int, str], float] = {}
        self._active: dict[str, float] = {}

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
        from peft import PeftConfig, PeftModel

        try:
            if self._peft is None:
                self._peft = PeftModel(self.model, PeftConfig.from_pretrained(folder), name)
            strange = self._peft.load_adapter(folder, adapter_name=name).unexpected_keys
            if strange:
                raise ValueError(f"{strange[0]} has no place in it")
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            self._forget(name)
            reason = str(error).strip().splitlines()[0]
            raise DataError(f"the adapter {folder} does not fit this model: {reason}") from error
        self._peft.eval()
        for layer in self._layers():
            if name in layer.scaling:
                self._scales[id(layer), name] = layer.scaling[name]
        self._switch_off()

    def _forget(self, name: str) -> None:
        """Take out what was loaded of an adapter before an error: other requests would compute with it."""
        if self._peft is not None:
            if name in self._peft.peft_config:
                self._peft.delete_adapter(name)
            self._switch_off()

    def _switch_off(self) -> None:
        self._peft.base_model.disable_adapter_layers()
        self._active = {}

    def _layers(self) -> list[Any]:
        return [module for module in self._peft.modules() if hasattr(module, "scaling") and hasattr(module, "lora_A")]
