"""Base models ready for LoRA (Hu et al. 2021), and adapter folders in PEFT's form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ckllm.errors import UsageError
from ckllm.experts.training.loop import TrainingOptions
from ckllm.llm.peft_folder import WEIGHTS

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Every linear layer of a Llama block."""


def with_adapter(base: Path, options: TrainingOptions, device: str = "cpu") -> Any:
    """The base model in `base` with a fresh LoRA adapter on every linear layer; only the adapter requires gradients.

    With quantisation 4bit the base is loaded in NF4 (QLoRA, Dettmers et al. 2023); raises UsageError where there is no GPU.
    """
    import torch
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    extras: dict[str, Any] = {}
    if options.quantisation == "4bit":
        if not torch.cuda.is_available():
            raise UsageError("quantisation = 4bit needs a CUDA device: train with quantisation none here")
        extras["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    torch.manual_seed(options.seed)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, local_files_only=True, trust_remote_code=False, **extras).to(
        device
    )
    if extras:
        model = prepare_model_for_kbit_training(model)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=list(LAYERS),
        layers_to_transform=list(range(options.first_layer, model.config.num_hidden_layers)) if options.first_layer else None,
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def save_adapter(model: Any, folder: Path) -> None:
    """`adapter_model.safetensors` in half precision and `adapter_config.json`, with no path of this machine in it."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().to("cpu", torch.float16).contiguous() for name, value in get_peft_model_state_dict(model).items()
    }
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    config = next(iter(model.peft_config.values()))
    before, config.base_model_name_or_path, config.inference_mode = config.base_model_name_or_path, None, True
    config.save_pretrained(str(folder))
    config.base_model_name_or_path, config.inference_mode = before, False
