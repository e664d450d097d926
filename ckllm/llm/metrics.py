"""What a call cost: tokens, times on a monotonic clock, memory."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from ckllm.llm.generation import GenerationStream

_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CallMetrics:
    """One finished call. Times in seconds."""

    prompt_tokens: int
    completion_tokens: int
    time_to_first_token_s: float | None
    """None where no token was made."""
    generation_s: float
    """From the call to its last token."""
    finish_reason: str | None
    rss_mb: float
    """Resident memory of this process when the call ended."""

    @property
    def tokens_per_second(self) -> float:
        """New tokens a second over the whole call, the reading of the prompt included; 0 where none was made."""
        return self.completion_tokens / self.generation_s if self.generation_s > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "tokens_per_second": self.tokens_per_second}


def measure(stream: GenerationStream) -> CallMetrics:
    """The metrics of a stream that has ended."""
    ended = stream.started if stream.ended is None else stream.ended
    first = None if stream.first_token is None else stream.first_token - stream.started
    return CallMetrics(
        prompt_tokens=stream.usage.prompt_tokens,
        completion_tokens=stream.usage.completion_tokens,
        time_to_first_token_s=first,
        generation_s=ended - stream.started,
        finish_reason=stream.finish_reason,
        rss_mb=psutil.Process().memory_info().rss / _MB,
    )


class ResourceTracker:
    """Memory and processor use of this process. CPU % is since the previous reading (the first: since the tracker was made);
    100 is one core fully used."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent(None)

    def read(self) -> dict[str, float | None]:
        """`rss_mb`, `cpu_percent`, and `gpu_memory_mb` (None where torch is not loaded or sees no GPU)."""
        return {
            "rss_mb": self._process.memory_info().rss / _MB,
            "cpu_percent": self._process.cpu_percent(None),
            "gpu_memory_mb": _gpu_memory_mb(),
        }


def _gpu_memory_mb() -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return float(sum(torch.cuda.memory_allocated(index) for index in range(torch.cuda.device_count()))) / _MB
