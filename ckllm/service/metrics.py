"""What Prometheus reads. Labels are routes, stages and outcomes, never users, collections or documents."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from ckllm.contracts import Answer, to_json
from ckllm.errors import CkllmError
from ckllm.service.errors import HttpError

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    def __init__(
        self,
        waiting: Callable[[], int],
        under_way: Callable[[], int],
        waiting_searches: Callable[[], int],
        jobs: Callable[[], int],
    ) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Counter("ckllm_requests", "Requests answered", ("method", "route", "status"), registry=self._registry)
        self._seconds = Histogram(
            "ckllm_request_seconds", "Time to the end of the answer", ("route",), buckets=_BUCKETS, registry=self._registry
        )
        self._stages = Histogram(
            "ckllm_stage_seconds", "Time of a stage of an answer", ("stage",), buckets=_BUCKETS, registry=self._registry
        )
        self._tokens = Counter("ckllm_tokens", "Tokens read and written by the model", ("kind",), registry=self._registry)
        self._answers = Counter(
            "ckllm_answers", "Questions: generated, quoted (no draft held), refused, failed; sent_away by the queue",
            ("outcome",), registry=self._registry,
        )  # fmt: skip
        self._sentences = Counter("ckllm_sentences", "Sentences of answers", ("supported",), registry=self._registry)
        for name, text, count in (
            ("ckllm_waiting_questions", "Questions that wait for their turn", waiting),
            ("ckllm_answers_under_way", "Answers that are being written", under_way),
            ("ckllm_waiting_searches", "Searches that wait for their turn", waiting_searches),
            ("ckllm_jobs_open", "Ingestion jobs that wait or run", jobs),
        ):
            Gauge(name, text, registry=self._registry).set_function(count)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, answer: Answer) -> None:
        outcome = "refused" if answer.refused else "quoted" if answer.quoted else "generated"
        self._answers.labels(outcome).inc()
        self._tokens.labels("prompt").inc(answer.usage.prompt_tokens)
        self._tokens.labels("completion").inc(answer.usage.completion_tokens)
        for sentence in answer.sentences:
            self._sentences.labels("yes" if sentence.supported else "no").inc()
        for stage, seconds in to_json(answer.timings).items():
            self._stages.labels(stage.removesuffix("_s")).observe(seconds)

    def failed(self, error: CkllmError) -> None:
        """A question without an answer; one that the queue sent away says that the service is busy, not that it is broken."""
        self._answers.labels("sent_away" if isinstance(error, HttpError) and error.status in (429, 503) else "failed").inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)
