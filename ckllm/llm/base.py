"""The interface of every language model engine.

An engine implements `_generate`, `_num_tokens`, `_count` and `context_length` (and `_loglikelihood`, `_close` where it
can); everything that callers use derives from these: `run` and its asynchronous and batched forms, `chat`, streams, metrics,
checkpoints. The read path uses `generate_stream`, `count_tokens` and `context_length` only.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, ClassVar, Self, TypeAlias

from ckllm.contracts import Message, Role
from ckllm.errors import UsageError
from ckllm.llm.batch import Completion, completed, each_alone
from ckllm.llm.generation import FinishReason, GenerationRequest, GenerationStream, Piece, Running
from ckllm.llm.metrics import CallMetrics, measure
from ckllm.llm.parameters import Parameterised, checked
from ckllm.llm.state import Stateful

__all__ = [
    "BaseLLM", "CallMetrics", "Completion", "FinishReason", "GenerationRequest", "GenerationStream",
    "Likelihood", "Piece", "Running", "Task",
]  # fmt: skip

Task: TypeAlias = str | Sequence[Message]
"""A text, said in the `role` parameter after the `system_prompt`; or a whole conversation, taken as it is."""

_OF_THE_MODEL = {
    "device",
    "model_name",
    "num_return_sequences",
    "role",
    "system_prompt",
    "pad_token_id",
    "eos_token_id",
    "bos_token_id",
}
"""Parameters that one call cannot change."""
_SUMMARY = "Summarise the following text in a few sentences. Write only the summary.\n\n"


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a continuation is after its prompt."""

    logprob: float
    """Natural logarithm, summed over its tokens."""
    tokens: int


class BaseLLM(Stateful, Parameterised, ABC):
    """A language model. Parameters are attributes (`llm.temperature = 0.7`), keywords of the constructor, or keywords of
    one call; an unknown one or a value out of range raises UsageError. Safe to use from several threads."""

    engine: ClassVar[str] = ""
    default_concurrency: ClassVar[int] = 4

    def __init__(self, model_id: str, *, max_concurrency: int | None = None, **parameters: Any) -> None:
        Parameterised.__init__(self, **({"model_name": model_id} | parameters))
        Stateful.__init__(self)
        self.model_id = model_id
        self.history: list[Message] = []
        self.adapters: Mapping[str, float] = {}
        """Adapters of every request that names none of its own."""
        self.start_time: float | None = None
        """When the last finished call began; seconds on a monotonic clock."""
        self.end_time: float | None = None
        self.last_call: CallMetrics | None = None
        self._workers = self.default_concurrency if max_concurrency is None else max_concurrency
        if self._workers < 1:
            raise UsageError(f"max_concurrency = {max_concurrency!r}: expected at least 1")
        self._pool: ThreadPoolExecutor | None = None
        self._guard = threading.Lock()
        self._chatting = threading.Lock()
        self._random = random.Random()  # noqa: S311 - sampling, not secrets
        self._closed = False

    # ------------------------------------------------------------------------------------------ what an engine implements

    @abstractmethod
    def _generate(self, request: GenerationRequest, cancel: threading.Event) -> Running:
        """Render, count and check the prompt (UsageError where it does not fit), then begin.

        The pieces end after `max_tokens` tokens, at an end token or soon after `cancel` is set; closing them frees the model.
        """

    @abstractmethod
    def _count(self, request: GenerationRequest) -> int:
        """Tokens of the rendered prompt, chat template included."""

    @abstractmethod
    def _num_tokens(self, text: str) -> int:
        """Tokens of a text by itself, no special tokens added."""

    @property
    @abstractmethod
    def context_length(self) -> int:
        """The most tokens of prompt and answer together; 0 where a server does not say."""

    def _loglikelihood(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:  # noqa: ARG002 - a default
        """Likelihood of each continuation after the plain text `prompt`, in order."""
        raise UsageError(f"the engine {self.engine!r} gives no likelihoods: choose openvino or transformers")

    def _generate_many(self, requests: Sequence[GenerationRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        """(index, result) of each request as it finishes; engines that truly batch do it here."""
        return each_alone(self._threads(), self.generate_stream, requests)

    def prepare(self, adapters: Mapping[str, float]) -> None:
        """Load what requests with these adapters need, so that the first of them does not wait for it."""

    def _close(self) -> None:
        """Free the model."""

    # ------------------------------------------------------------------------------------------ requests and streams

    def generate_stream(self, request: GenerationRequest, cancel: threading.Event | None = None) -> GenerationStream:
        """Begin a generation. Errors of the prompt are raised here, those of the engine while reading."""
        if self._closed:
            raise UsageError(f"the model {self.model_id!r} was closed: open it again")
        started = time.perf_counter()
        event = threading.Event() if cancel is None else cancel
        running = self._generate(request, event)
        return GenerationStream(running, request.stop, event, self._note, started)

    def generate_many(self, requests: Sequence[GenerationRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        """(index, completion or error) of each request as it finishes."""
        if self._closed:
            raise UsageError(f"the model {self.model_id!r} was closed: open it again")
        return self._generate_many(requests)

    def request(self, task: Task | None = None, *, prompt: str | None = None, **extras: Any) -> GenerationRequest:
        """The request that `run(task, **extras)` makes. `extras` are parameters, `stop` (text or texts) and `adapters`."""
        stop = _stops(extras.pop("stop", ()))
        adapters = dict(extras.pop("adapters", self.adapters))
        given = checked(extras)
        for name in given:
            if name in _OF_THE_MODEL:
                raise UsageError(f"{name} cannot change for one call: set it on the model")
        values = self.parameters | given
        greedy = values["do_sample"] is False or values["temperature"] == 0
        if values["do_sample"] and values["temperature"] == 0:
            raise UsageError("do_sample is True but temperature is 0: set a temperature above 0")
        if values["num_beams"] > 1 and not (greedy and values["frequency_penalty"] == values["presence_penalty"] == 0):
            raise UsageError("num_beams above 1 does not go with a temperature, frequency_penalty or presence_penalty")
        stop_token, stop_id = values["stop_token"], values["stop_token_id"]
        request = GenerationRequest(
            messages=() if prompt is not None else self._messages(task),
            prompt=prompt,
            temperature=0.0 if greedy else values["temperature"],
            stop=(*((stop_token,) if stop_token else ()), *stop),
            seed=self._next_seed(values["seed"], greedy),
            seed_is_wish=values["seed"] is not None,
            adapters=adapters,
            stop_token_ids=() if stop_id is None else (stop_id,),
            max_tokens=values["max_tokens"],
            **{name: values[name] for name in ("top_p", "top_k", "repetition_penalty", "frequency_penalty", "presence_penalty")},
            **{name: values[name] for name in ("num_beams", "length_penalty", "early_stopping")},
        )
        return self._within_max_length(request, values["max_length"])

    def stream(self, task: Task, **extras: Any) -> GenerationStream:
        """`run`, as a stream."""
        return self.generate_stream(self.request(task, **extras))

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered conversation, template and generation prompt included."""
        return self._count(GenerationRequest(messages=tuple(messages)))

    def loglikelihood(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        """Likelihood of each continuation after the plain text `prompt`, in order."""
        return self._loglikelihood(prompt, continuations)

    # ------------------------------------------------------------------------------------------ running

    def run(self, task: Task, **extras: Any) -> str:
        """The answer to one task."""
        return completed(self.stream(task, **extras)).text

    def __call__(self, task: Task, **extras: Any) -> str:
        return self.run(task, **extras)

    async def arun(self, task: Task, **extras: Any) -> str:
        """`run` in a worker thread; cancelling the awaiting task cancels the generation."""
        request, cancel = self.request(task, **extras), threading.Event()
        future = self._threads().submit(lambda: completed(self.generate_stream(request, cancel)).text)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            cancel.set()
            raise

    def batch_run(self, tasks: Sequence[Task], **extras: Any) -> list[str | Exception]:
        """The answers in the order of the tasks; in the place of one that failed stands its error."""
        if isinstance(tasks, str):
            raise UsageError("a batch is a list of tasks, and this is one text: give [text], or call run")
        results: list[str | Exception] = [""] * len(tasks)
        requests: dict[int, GenerationRequest] = {}
        for index, task in enumerate(tasks):
            try:
                requests[index] = self.request(task, **extras)
            except UsageError as error:
                results[index] = error
        places = list(requests)
        for place, result in self.generate_many(list(requests.values())):
            results[places[place]] = result if isinstance(result, Exception) else result.text
        return results

    async def abatch_run(self, tasks: Sequence[Task], **extras: Any) -> list[str | Exception]:
        """`batch_run` without blocking the event loop."""
        return await asyncio.to_thread(self.batch_run, tasks, **extras)

    def sequences(self, task: Task, **extras: Any) -> list[str]:
        """`num_return_sequences` answers to one task, sampled with the seeds seed, seed + 1, …"""
        first = self.request(task, **extras)
        count = self.num_return_sequences
        if count > 1 and first.seed is None:
            raise UsageError("num_return_sequences above 1 needs sampling: set a temperature above 0")
        seeds = [first.seed] if first.seed is None else [first.seed + n for n in range(count)]
        return [self.run(task, **(extras | {"seed": seed})) for seed in seeds]

    def chat(self, message: str, **extras: Any) -> str:
        """The reply to one more turn. The history, oldest first, goes before it; both turns are added when the reply is there."""
        with self._chatting:
            system = [Message("system", self.system_prompt)] if self.system_prompt else []
            turn = Message("user", message)
            reply = self.run([*system, *self.history, turn], **extras)
            self.history += [turn, Message("assistant", reply)]
            return reply

    def clear_history(self) -> None:
        with self._chatting:
            self.history.clear()

    def complete(self, prompt: str, **extras: Any) -> str:
        """Plain text that continues `prompt`, no chat template."""
        return completed(self.generate_stream(self.request(prompt=prompt, **extras))).text

    def generate_summary(self, text: str, **extras: Any) -> str:
        """A short summary; a text longer than the context is summarised in parts, then the parts' summaries."""
        request = self.request(_SUMMARY + text, **extras)
        room = self.context_length - request.max_tokens
        used = self._count(request) if self.context_length else 0
        if used <= room or not self.context_length:
            return completed(self.generate_stream(request)).text
        words = text.split()
        half = len(words) // 2
        if not half or room < 2 * request.max_tokens:
            raise UsageError(f"the text cannot be cut to fit {room} tokens: lower max_tokens")
        parts = [self.generate_summary(" ".join(part), **extras) for part in (words[:half], words[half:])]
        return self.generate_summary("\n".join(parts), **extras)

    # ------------------------------------------------------------------------------------------ life

    def close(self) -> None:
        """Free the model. A closed model refuses further calls."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------ inside

    def _messages(self, task: Task | None) -> tuple[Message, ...]:
        if not isinstance(task, str):
            given: Any = task  # whatever a caller without types gives
            turns: tuple[Message, ...] = tuple(given) if isinstance(given, Sequence) else ()
            if not turns or not all(isinstance(turn, Message) for turn in turns):
                raise UsageError(f"a task is a text, or a list of Message with at least one of them; this is {str(task)[:80]!r}")
            return turns
        role: Role = self.role  # type: ignore[assignment]  # checked by its rule
        system = (Message("system", self.system_prompt),) if self.system_prompt else ()
        return (*system, Message(role, task))

    def _next_seed(self, seed: int | None, greedy: bool) -> int | None:
        """Where none is set, one is drawn from the instance's own generator, whose state a checkpoint keeps."""
        return seed if seed is not None or greedy else self._random.getrandbits(31)

    def _within_max_length(self, request: GenerationRequest, max_length: int | None) -> GenerationRequest:
        if max_length is None:
            return request
        used = self._count(request)
        if used >= max_length:
            raise UsageError(f"the prompt has {used} tokens, {used - max_length + 1} too many for max_length = {max_length}")
        return replace(request, max_tokens=min(request.max_tokens, max_length - used))

    def _check_context(self, prompt_tokens: int, max_tokens: int) -> None:
        """Raises UsageError where prompt and answer exceed the context, saying by how much."""
        over = prompt_tokens + max_tokens - self.context_length
        if over > 0:
            raise UsageError(
                f"the prompt of {prompt_tokens} tokens and max_tokens = {max_tokens} exceed the context of "
                f"{self.context_length} tokens by {over}: shorten the prompt or lower max_tokens"
            )

    def _threads(self) -> ThreadPoolExecutor:
        with self._guard:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix=f"llm-{self.engine}")
            return self._pool

    def _note(self, stream: GenerationStream) -> None:
        """Keep the metrics of a call that ended."""
        call = measure(stream)
        with self._guard:
            self.start_time, self.end_time, self.last_call = stream.started, stream.ended, call
        self._log_call(call)


def _stops(given: str | Sequence[str]) -> tuple[str, ...]:
    stops = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(stop, str) and stop for stop in stops):
        raise UsageError(f"stop = {given!r}: expected text, or several texts, none empty")
    return stops
