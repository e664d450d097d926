"""The thread that steps the pipeline outlives what goes wrong in it: without it every request would wait for ever."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from ckllm.errors import UpstreamError
from ckllm.llm.continuous_batch import ContinuousBatch


class Handle:
    def __init__(self, broken: Exception | None) -> None:
        self._broken, self._left = broken, [[7], [8]]

    def can_read(self) -> bool:
        if self._broken:
            raise self._broken
        return bool(self._left)

    def read(self) -> dict[int, Any]:
        return {0: Output(self._left.pop(0))}

    def get_status(self) -> Any:
        import openvino_genai

        return openvino_genai.GenerationStatus.FINISHED

    def cancel(self) -> None:
        return


class Output:
    score = 0.0

    def __init__(self, generated_ids: list[int]) -> None:
        self.generated_ids = generated_ids


class Pipeline:
    """Fails as it is told, then serves."""

    def __init__(self, *faults: Exception | None) -> None:
        self._faults = list(faults)

    def add_request(self, _number: int, ids: Any, _config: Any) -> Handle:
        if ids.get_size() > 2:
            raise RuntimeError("too long")
        return Handle(self._faults.pop(0) if self._faults else None)

    def step(self) -> None:
        return


class Config:
    do_sample = False


@pytest.mark.parametrize("fault", [RuntimeError("no memory"), ValueError(), KeyError("unknown")])
def test_a_request_that_breaks_a_step_is_told_and_the_next_one_is_served(fault: Exception) -> None:
    batch = ContinuousBatch(Pipeline(fault))  # type: ignore[arg-type]
    try:
        with pytest.raises(UpstreamError, match="OpenVINO stopped"):
            list(batch.tokens([1, 2], Config(), threading.Event()))
        assert list(batch.tokens([1, 2], Config(), threading.Event())) == [7, 8]
    finally:
        batch.close()


def test_any_number_of_refused_requests_in_a_row_does_no_harm() -> None:
    batch = ContinuousBatch(Pipeline())  # type: ignore[arg-type]
    try:
        for _ in range(sys.getrecursionlimit() + 10):
            with pytest.raises(UpstreamError, match="too long"):
                list(batch.tokens([1, 2, 3], Config(), threading.Event()))
        assert list(batch.tokens([1, 2], Config(), threading.Event())) == [7, 8]
    finally:
        batch.close()
