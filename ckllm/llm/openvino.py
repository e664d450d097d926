"""The fast engine for processors: OpenVINO GenAI over a graph that is converted once and cached. Never imports torch."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckllm import light_imports
from ckllm.errors import DataError, UsageError
from ckllm.llm.base import GenerationRequest, Likelihood
from ckllm.llm.continuous_batch import ContinuousBatch
from ckllm.llm.local import LocalLLM, LocalModel
from ckllm.llm.openvino_mixtures import Mixtures

MODEL = "openvino_model.xml"
_BLOCK = 32
"""Tokens in a block of the KV cache on a processor."""
_SPARE_BLOCKS = 16
"""The cache holds one full context and this much more, shared by all requests; memory is taken as it is used."""


class OpenVinoLLM(LocalLLM):
    """A converted folder (see `openvino_graph`), or any folder with an OpenVINO language model and its tokenizer.json.

    Requests run together (continuous batching); a prompt's beginning that was read before is not read again. PEFT's LoRA adapters
    are served in any mixture, see `openvino_mixtures`.
    """

    engine = "openvino"

    def __init__(self, folder: Path, *, model_id: str = "", profile: str = "", threads: int = 0, **parameters: Any) -> None:
        if not (folder / MODEL).is_file():
            raise DataError(f"{folder} has no {MODEL}: it is no OpenVINO model")
        super().__init__(model_id or str(folder), LocalModel.read(folder, profile), **parameters)
        self._folder, self._cores = folder, threads
        self._check_device(self.device)
        self._mixtures = Mixtures(folder / MODEL, self._open)
        self._scorer: Any = None
        self._scoring = threading.Lock()

    @property
    def active(self) -> int:
        """Generations under way."""
        return self._mixtures.active

    def prepare(self, adapters: Mapping[str, float]) -> None:
        with self._mixtures.lent(adapters):
            pass

    def _open(self, adapters: Any) -> ContinuousBatch:
        light_imports.openvino()
        import openvino_genai

        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = True
        # Without a fixed size, it would grow only for requests under way, and the next other prompt would take a prefix's place.
        scheduler.num_kv_blocks = -(-self.context_length // _BLOCK) + _SPARE_BLOCKS
        try:
            # Texts are tokenised by us: a tokenizer of its own would take 20 MB and half a second.
            with tempfile.TemporaryDirectory(prefix="ckllm-no-tokenizer-") as nothing:
                tokenizer = openvino_genai.Tokenizer(nothing)
            properties = self._properties() | ({} if adapters is None else {"adapters": adapters})
            pipeline = openvino_genai.ContinuousBatchingPipeline(self._folder, tokenizer, scheduler, "CPU", **properties)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise DataError(f"OpenVINO cannot load {self._folder} ({reason}): delete the folder, it is made again") from error
        return ContinuousBatch(pipeline)

    def _properties(self) -> dict[str, Any]:
        threads = {"INFERENCE_NUM_THREADS": self._cores} if self._cores else {}
        # Activations rounded to int8 (OpenVINO's default) cost accuracy and, without VNNI instructions, time.
        return {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0, "KV_CACHE_PRECISION": "f16", **threads}

    def _tokens(
        self, ids: list[int], request: GenerationRequest, ends: tuple[int, ...], cancel: threading.Event
    ) -> Iterator[int]:
        seeded = request.temperature > 0 and request.seed_is_wish and request.seed is not None
        with self._mixtures.lent(request.adapters) as batch:
            yield from batch.tokens(ids, self._config(request, ends), cancel, seeded)

    def _config(self, request: GenerationRequest, ends: tuple[int, ...]) -> Any:
        import openvino_genai

        config = openvino_genai.GenerationConfig(
            max_new_tokens=request.max_tokens,
            repetition_penalty=request.repetition_penalty,
            frequency_penalty=request.frequency_penalty,
            presence_penalty=request.presence_penalty,
        )
        config.stop_token_ids = set(ends)
        if request.num_beams > 1:
            config.num_beams, config.length_penalty = request.num_beams, request.length_penalty
            criteria = openvino_genai.StopCriteria
            config.stop_criteria = criteria.EARLY if request.early_stopping else criteria.HEURISTIC
        elif request.temperature > 0:
            config.do_sample, config.temperature, config.top_p = True, request.temperature, request.top_p
            config.top_k = request.top_k or 2**31 - 1
            config.rng_seed = request.seed or 0
        return config

    def _loglikelihood(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        start = self.model.tokenizer.encode(prompt, add_bos=True)
        return [self._likelihood(start, self.model.tokenizer.encode(text)) for text in continuations]

    def _likelihood(self, start: list[int], more: list[int]) -> Likelihood:
        if not start or not more:
            raise UsageError("a likelihood needs a prompt and a continuation, neither empty")
        self._check_context(len(start) + len(more), 0)
        logits = self._logits([*start, *more])[len(start) - 1 : -1].astype(np.float64)
        peak = logits.max(axis=-1, keepdims=True)
        normal = np.log(np.exp(logits - peak).sum(axis=-1)) + peak[:, 0]
        return Likelihood(float((logits[np.arange(len(more)), more] - normal).sum()), len(more))

    def _logits(self, ids: list[int]) -> NDArray[np.float32]:
        """Shape (tokens, vocabulary). The graph is compiled a second time for this, on first use."""
        ov = light_imports.openvino()
        with self._scoring:
            if self._scorer is None:
                core = ov.Core()
                self._scorer = core.compile_model(self._folder / MODEL, "CPU", self._properties()).create_infer_request()
            self._scorer.reset_state()
            inputs = {
                "input_ids": np.asarray([ids], dtype=np.int64),
                "attention_mask": np.ones((1, len(ids)), dtype=np.int64),
                "position_ids": np.arange(len(ids), dtype=np.int64)[None],
                "beam_idx": np.zeros(1, dtype=np.int32),
            }
            return np.array(self._scorer.infer(inputs)["logits"][0], dtype=np.float32)

    def _changed(self, name: str) -> None:
        if name == "device":
            self._check_device(self.device)

    def _check_device(self, device: str) -> None:
        if device not in ("auto", "cpu"):
            raise UsageError(
                f"device = {device!r}: the engine openvino computes on the cpu; use engine = transformers for {device}"
            )

    def _close(self) -> None:
        self._mixtures.close()
        self._scorer = None
