"""What a language model remembers and tells of itself: measurements, logging, creative mode, checkpoints."""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ckllm.contracts import Message
from ckllm.errors import DataError, UsageError
from ckllm.llm import checkpoint
from ckllm.llm.metrics import CallMetrics, ResourceTracker

if TYPE_CHECKING:
    from ckllm.llm.generation import GenerationStream

CREATIVE: Mapping[str, Any] = {"do_sample": True, "temperature": 0.9, "top_p": 0.95, "top_k": 50, "repetition_penalty": 1.1}
"""What creative mode sets; switching it off gives back the values from before."""

_numbers = itertools.count(1)


class Stateful:
    """Mixed into BaseLLM, whose attributes it uses."""

    engine: ClassVar[str]
    model_id: str
    history: list[Message]
    adapters: Mapping[str, float]
    last_call: CallMetrics | None
    _random: random.Random

    if TYPE_CHECKING:

        @property
        def parameters(self) -> dict[str, Any]: ...
        def run(self, task: str, **extras: Any) -> str: ...
        def stream(self, task: str, **extras: Any) -> GenerationStream: ...
        def batch_run(self, tasks: Sequence[str], **extras: Any) -> list[str | Exception]: ...
        def _num_tokens(self, text: str) -> int: ...

    def __init__(self) -> None:
        self.logger = logging.getLogger(f"ckllm.llm.{self.engine or type(self).__name__}.{next(_numbers)}")
        """This instance's own logger; silent until `enable_logging`, unless the program configures logging itself."""
        self._plain: dict[str, Any] | None = None
        self._resources = ResourceTracker()

    # ------------------------------------------------------------------------------------------ measurements

    def metrics(self) -> dict[str, Any]:
        """Tokens, times, tokens/s and memory of the last finished call. Raises UsageError before the first."""
        return self._last().as_json()

    def get_generation_time(self) -> float:
        """Seconds that the last finished call took."""
        return self._last().generation_s

    def _tokens_per_second(self) -> float:
        """New tokens a second of the last finished call."""
        return self._last().tokens_per_second

    def _time_for_generation(self, task: str, **extras: Any) -> float:
        """Run the task; seconds that it took."""
        with self.stream(task, **extras) as stream:
            stream.text()
        return (stream.ended or stream.started) - stream.started

    def generation_latency(self, prompt: str, **extras: Any) -> float:
        """Seconds from the call to the last token, for this prompt."""
        return self._time_for_generation(prompt, **extras)

    def time_to_first_token(self, prompt: str, **extras: Any) -> float:
        """Seconds from the call to the first token, for this prompt; the rest is not generated."""
        with self.stream(prompt, **extras) as stream:
            next(stream, None)
        if stream.first_token is None:
            raise UsageError("the model made no token for this prompt")
        return stream.first_token - stream.started

    def throughput(self, prompts: Sequence[str], **extras: Any) -> float:
        """New tokens a second over all prompts, run as one batch. Raises the first error where a prompt failed."""
        started = time.perf_counter()
        texts = self.batch_run(prompts, **extras)
        seconds = time.perf_counter() - started
        tokens = 0
        for text in texts:
            if isinstance(text, Exception):
                raise text
            tokens += self._num_tokens(text)
        return tokens / seconds

    def track_resource_utilization(self) -> dict[str, float | None]:
        """`rss_mb`, `cpu_percent` (since the last reading; 100 is one core) and `gpu_memory_mb` (None without a GPU)."""
        return self._resources.read()

    # ------------------------------------------------------------------------------------------ logging

    def enable_logging(self, log_file: str | Path | None = None, level: int = logging.INFO) -> None:
        """Log this instance's calls (sizes and times, never text) to a file, or to stderr. Replaces an earlier target."""
        try:
            handler = logging.StreamHandler() if log_file is None else logging.FileHandler(log_file, encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot write the log file {log_file}: {error.strerror}") from error
        for old in list(self.logger.handlers):
            self.logger.removeHandler(old)
            old.close()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        self.logger.addHandler(handler)
        self.logger.setLevel(level)
        self.logger.propagate = False

    def log_event(self, event: str, level: int = logging.INFO) -> None:
        """Write a line to this instance's log."""
        self.logger.log(level, event)

    def _log_call(self, call: CallMetrics) -> None:
        self.logger.info(
            "prompt_tokens=%d completion_tokens=%d seconds=%.3f finish=%s",
            call.prompt_tokens, call.completion_tokens, call.generation_s, call.finish_reason,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ creative mode, checkpoints

    def toggle_creative_mode(self, enable: bool | None = None) -> bool:
        """Switch creative mode (`CREATIVE`) on or off, or over with None. Returns the new state."""
        wanted = self._plain is None if enable is None else enable
        if wanted and self._plain is None:
            self._plain = {name: self.parameters[name] for name in CREATIVE}
            self._assign(CREATIVE)
        elif not wanted and self._plain is not None:
            plain, self._plain = self._plain, None
            self._assign(plain)
        return wanted

    def save_checkpoint(self, path: str | Path) -> None:
        """Write parameters, history, random state and the identity of model and adapters as one JSON file, atomically."""
        adapters = {name: checkpoint.Adapter(weight, self._adapter_identity(name)) for name, weight in self.adapters.items()}
        state = checkpoint.Checkpoint(
            self.engine, self.model_id, self.parameters, tuple(self.history), self._random.getstate(), adapters, self._plain
        )
        checkpoint.save(state, Path(path))

    def load_checkpoint(self, path: str | Path) -> None:
        """Take over a saved state. Raises DataError, and changes nothing, for a foreign file, another model, other adapters."""
        state = checkpoint.load(Path(path))
        if state.model_id != self.model_id:
            raise DataError(f"{path} is a checkpoint of the model {state.model_id!r}, this is {self.model_id!r}")
        for name, adapter in state.adapters.items():
            if adapter.identity != self._adapter_identity(name):
                raise DataError(f"{path} was saved with another version of the adapter {name}")
        generator = random.Random()  # noqa: S311 - sampling, not secrets
        try:
            generator.setstate(state.random_state)
        except (TypeError, ValueError) as error:
            raise DataError(f"the checkpoint {path} is damaged: {error}") from None
        self._assign({name: value for name, value in state.parameters.items() if self.parameters[name] != value})
        self._random = generator
        self.history = list(state.history)
        self.adapters = {name: adapter.weight for name, adapter in state.adapters.items()}
        self._plain = None if state.plain_parameters is None else dict(state.plain_parameters)

    def _adapter_identity(self, name: str) -> str:  # noqa: ARG002 - a default
        """What the adapter's files hash to; "" for an engine that does not see them."""
        return ""

    def _assign(self, values: Mapping[str, Any]) -> None:
        before = {name: self.parameters[name] for name in values}
        try:
            for name, value in values.items():
                setattr(self, name, value)
        except Exception:
            for name, value in before.items():
                setattr(self, name, value)
            raise

    def _last(self) -> CallMetrics:
        if self.last_call is None:
            raise UsageError("no call has finished yet: run the model first")
        return self.last_call
