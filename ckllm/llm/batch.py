"""Many prompts at once: a bounded number of threads, order kept, one failure one row."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from ckllm.contracts import Usage
from ckllm.llm.generation import FinishReason, GenerationRequest, GenerationStream


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished generation."""

    text: str
    usage: Usage
    finish_reason: FinishReason | None


def completed(stream: GenerationStream) -> Completion:
    """Drain a stream."""
    with stream:
        text = stream.text()
        return Completion(text, stream.usage, stream.finish_reason)


def each_alone(
    pool: ThreadPoolExecutor,
    open_stream: Callable[[GenerationRequest, threading.Event], GenerationStream],
    requests: Sequence[GenerationRequest],
) -> Iterator[tuple[int, Completion | Exception]]:
    """Run every request by itself in the pool; yields (index, result or error) as they finish.

    Closing the iterator cancels what has not finished.
    """
    events = [threading.Event() for _ in requests]

    def work(index: int) -> Completion:
        return completed(open_stream(requests[index], events[index]))

    futures: dict[Future[Completion], int] = {pool.submit(work, index): index for index in range(len(requests))}
    try:
        for future in as_completed(futures):
            error = future.exception()
            if isinstance(error, Exception):
                yield futures[future], error
            elif error is not None:
                raise error
            else:
                yield futures[future], future.result()
    finally:
        for future, index in futures.items():
            future.cancel()
            events[index].set()
