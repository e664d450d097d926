"""Token by token with a torch model: one prompt or a left-padded batch, every row with its own sampling.

Padding goes to the left, so that the last position of every row is its newest token; the attention mask hides it and positions
count from each row's own first token. So a row's numbers do not depend on its neighbours beyond rounding.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from ckllm.llm.generation import GenerationRequest


class Row:
    """One request in a batch. `done` rows stay in it, masked by their owner's indifference, until the batch ends."""

    def __init__(self, ids: list[int], request: GenerationRequest, device: torch.device) -> None:
        self.ids = list(ids)
        self.prompt_length = len(ids)
        self.request = request
        self.done = False
        self._generator = torch.Generator(device=device)
        self._generator.manual_seed(request.seed or 0)

    def pick(self, logits: torch.Tensor) -> int:
        """The next token from its logits, shape (vocabulary,), float32."""
        request = self.request
        logits = self._penalised(logits)
        if request.temperature == 0:
            return int(logits.argmax())
        chances = torch.softmax(_kept(logits / request.temperature, request.top_k, request.top_p), dim=-1)
        return int(torch.multinomial(chances, 1, generator=self._generator))

    def _penalised(self, logits: torch.Tensor) -> torch.Tensor:
        """Repetition penalty over prompt and answer (Keskar et al. 2019, CTRL); frequency and presence over the answer."""
        request = self.request
        if request.repetition_penalty != 1:
            seen = torch.tensor(sorted(set(self.ids)), device=logits.device)
            old = logits[seen]
            penalty = request.repetition_penalty
            logits = logits.index_put((seen,), torch.where(old > 0, old / penalty, old * penalty))
        made = self.ids[self.prompt_length :]
        if made and (request.frequency_penalty or request.presence_penalty):
            tokens, counts = torch.tensor(made, device=logits.device).unique(return_counts=True)
            logits = logits.index_put((tokens,), logits[tokens] - request.frequency_penalty * counts - request.presence_penalty)
        return logits


def _kept(logits: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Logits outside the `top_k` best, and outside the smallest set that holds `top_p` of the chance, at minus infinity."""
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    if top_p < 1:
        ordered, places = logits.sort(descending=True)
        before = torch.softmax(ordered, dim=-1).cumsum(-1) - torch.softmax(ordered, dim=-1)
        logits = logits.index_fill(0, places[before >= top_p], -torch.inf)
    return logits


def decode(
    model: Any, rows: Sequence[Row], pad_id: int, turn: Callable[[], AbstractContextManager[None]], cancel: threading.Event
) -> Iterator[list[int]]:
    """The rows' next tokens, again and again, until every row is `done` or `cancel` is set.

    `turn` guards each computation: other generations may run between two tokens.
    """
    width = max(len(row.ids) for row in rows)
    device = next(model.parameters()).device
    ids = torch.tensor([[pad_id] * (width - len(row.ids)) + row.ids for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in rows], device=device)
    past: Any = None
    accepts = inspect.signature(model.forward).parameters
    while not cancel.is_set() and not all(row.done for row in rows):
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "past_key_values": past, "use_cache": True}
        if "position_ids" in accepts:
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        if "logits_to_keep" in accepts:
            inputs["logits_to_keep"] = 1
        with turn(), torch.inference_mode():
            out = model(**inputs)
        past = out.past_key_values
        tokens = [pad_id if row.done else row.pick(out.logits[at, -1].float()) for at, row in enumerate(rows)]
        for row, token in zip(rows, tokens, strict=True):
            row.ids.append(token)
        yield tokens
        ids = torch.tensor(tokens, device=device)[:, None]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
