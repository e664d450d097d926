"""Negative log-likelihood of the answer tokens, and of nothing else.

The output at token i predicts token i + 1: `PackTensors.predictors` already points one token back, so nothing is shifted
here. The head is applied to those outputs only: with a vocabulary of 49,152 it would cost a fifth of a 135M model's time on
every prompt token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckllm.experts.training.packing import Pack, tensors

if TYPE_CHECKING:
    import torch


def answer_losses(model: Any, pack: Pack, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-likelihood in nats of each answer token of the pack, and its weight; both (answer tokens,)."""
    import torch
    from torch.nn import functional

    batch = tensors(pack, device)
    decoder = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = decoder.model(
        input_ids=batch.tokens,
        position_ids=batch.positions,
        attention_mask=_additive(batch.visible, next(decoder.parameters()).dtype),
        use_cache=False,
    ).last_hidden_state
    logits = decoder.lm_head(hidden[0, batch.predictors]).float()
    assert isinstance(logits, torch.Tensor)
    return functional.cross_entropy(logits, batch.targets, reduction="none"), batch.weights


def _additive(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where a token may look, the dtype's minimum where it may not: the form that every attention implementation adds."""
    import torch

    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill(~visible, torch.finfo(dtype).min)
