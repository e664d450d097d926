"""Any server that speaks OpenAI's protocol: vLLM, llama.cpp, Ollama. Adapters are named as the server knows them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from ckllm.contracts import Usage
from ckllm.errors import UpstreamError, UsageError
from ckllm.llm.base import BaseLLM, FinishReason, GenerationRequest, Likelihood, Piece, Running
from ckllm.llm.server_adapters import ServerAdapters
from ckllm.prompting.render import break_markers
from ckllm.prompting.templates import every_marker

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_REASONS: dict[str, FinishReason] = {"stop": "stop", "eos": "stop", "length": "length", "max_tokens": "length"}
_CHARACTERS_A_TOKEN = 4


class _TryAgainError(Exception):
    """A failure before the first token that may pass."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class OpenAiCompatibleLLM(BaseLLM):
    """A model on a server. `base_url` ends in `/v1`, as the server's documentation gives it.

    A request is repeated, with growing pauses, only while nothing of its answer has come. `timeout_s` bounds every wait for the
    server's next bytes, the first and the later ones.
    """

    engine = "openai"
    default_concurrency = 8

    def __init__(
        self, base_url: str, model: str, *, api_key: str = "", timeout_s: float = 120.0, attempts: int = 4, **parameters: Any
    ) -> None:
        super().__init__(model, **parameters)
        if not _is_address(base_url):
            raise UsageError(f"base_url = {base_url!r}: expected http://… or https://…")
        self._url = base_url.rstrip("/")
        self._attempts = attempts
        self._check_device()
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(timeout_s, connect=min(10.0, timeout_s))
        self._client = httpx.Client(headers=headers, timeout=timeout, limits=httpx.Limits(max_connections=64))
        self._adapters = ServerAdapters(self._client, self._url)
        self._timeout_s = timeout_s
        self.active = 0

    @property
    def context_length(self) -> int:
        """0: the server knows, and refuses what does not fit."""
        return 0

    def _num_tokens(self, text: str) -> int:
        """An estimate, four characters a token: the protocol has no way to count."""
        return -(-len(text) // _CHARACTERS_A_TOKEN)

    def _count(self, request: GenerationRequest) -> int:
        texts = [request.prompt or "", *(message.content for message in request.messages)]
        return sum(self._num_tokens(text) + 4 for text in texts if text)

    def models(self) -> list[str]:
        """Names of the models, and adapters, that the server offers."""
        try:
            answer = self._client.get(f"{self._url}/models")
            answer.raise_for_status()
            return [str(row["id"]) for row in answer.json()["data"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise UpstreamError(f"{self._url}/models did not answer as expected: {error}") from error

    # ------------------------------------------------------------------------------------------ generating

    def _generate(self, request: GenerationRequest, cancel: threading.Event) -> Running:
        return Running(self._count(request), self._pieces(self._path(request), self._body(request), cancel))

    def _path(self, request: GenerationRequest) -> str:
        return f"{self._url}/completions" if request.prompt is not None else f"{self._url}/chat/completions"

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        if request.num_beams > 1:
            raise UsageError("num_beams above 1: the protocol has no beam search")
        body: dict[str, Any] = {
            **self._adapters.fields(self.model_name, request.adapters),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "frequency_penalty": request.frequency_penalty,
            "presence_penalty": request.presence_penalty,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.prompt is not None:
            body["prompt"] = request.prompt
        else:
            # the server renders its own template, and may read what looks like its markup in the result as such
            body["messages"] = [
                {"role": message.role, "content": break_markers(message.content, every_marker())} for message in request.messages
            ]
        # Only what differs from the default: servers of other makers refuse fields that they do not know.
        optional = {
            "stop": list(request.stop),
            "seed": request.seed,
            "top_k": request.top_k or None,
            "repetition_penalty": None if request.repetition_penalty == 1 else request.repetition_penalty,
            "stop_token_ids": list(request.stop_token_ids),
        }
        return body | {key: value for key, value in optional.items() if value not in (None, [])}

    def _pieces(self, path: str, body: dict[str, Any], cancel: threading.Event) -> Iterator[Piece]:
        with self._guard:
            self.active += 1
        response: httpx.Response | None = None
        try:
            response = self._opened(path, body, cancel)
            if response is not None:
                yield from self._read(response, cancel)
        finally:
            if response is not None:
                response.close()
            with self._guard:
                self.active -= 1

    def _opened(self, path: str, body: dict[str, Any], cancel: threading.Event) -> httpx.Response | None:
        """The response once its head is good; None where the caller cancelled."""

        def sleep(seconds: float) -> None:
            cancel.wait(seconds)

        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgainError),
            stop=stop_after_attempt(self._attempts),
            wait=_pause,
            sleep=sleep,
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    return None if cancel.is_set() else self._send(path, body)
        except _TryAgainError as error:
            raise UpstreamError(f"{path} did not serve after {self._attempts} attempts: {error}") from error
        return None

    def _send(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            response = self._client.send(self._client.build_request("POST", path, json=body), stream=True)
        except httpx.TimeoutException as error:
            raise UpstreamError(f"{path} did not answer within {self._timeout_s:g} s") from error
        except httpx.TransportError as error:
            raise _TryAgainError(f"{error or type(error).__name__}; is the server running?") from error
        if response.status_code == 200:
            return response
        try:
            self._refuse(path, response)
        finally:
            response.close()
        raise AssertionError("unreachable")

    def _refuse(self, path: str, response: httpx.Response) -> None:
        reason = _error_of(response)
        if response.status_code in _RETRIED:
            raise _TryAgainError(f"HTTP {response.status_code}: {reason}", _retry_after(response))
        if response.status_code in (400, 404, 422):
            raise UsageError(f"{path} refused the request (HTTP {response.status_code}): {reason}")
        raise UpstreamError(f"{path} answered HTTP {response.status_code}: {reason}")

    def _read(self, response: httpx.Response, cancel: threading.Event) -> Iterator[Piece]:
        url = str(response.url)
        finish: FinishReason | None = None
        usage: Usage | None = None
        try:
            for event in _events(response.iter_lines()):
                if cancel.is_set():
                    yield Piece("", 0, "cancelled")
                    return
                if event == "[DONE]":
                    break
                chunk = _chunk(event, url)
                usage = _usage(chunk) or usage
                text, reason = _choice(chunk)
                finish = reason or finish
                if text:
                    yield Piece(text, 1)
        except httpx.TimeoutException as error:
            raise UpstreamError(f"{url} stopped in the middle of its answer for more than {self._timeout_s:g} s") from error
        except httpx.RequestError as error:
            raise UpstreamError(f"{url} broke off in the middle of its answer: {error or type(error).__name__}") from error
        if finish is None:
            raise UpstreamError(f"{url} ended in the middle of its answer, without saying that it was finished")
        if usage is not None:
            yield Piece("", 0, finish, usage)
        else:
            yield Piece("", 0, finish)

    # ------------------------------------------------------------------------------------------ the rest

    def _loglikelihood(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        """From the prompt's own log-probabilities (`echo`), which vLLM gives."""
        return [self._scored(prompt, text) for text in continuations]

    def _scored(self, prompt: str, text: str) -> Likelihood:
        body = {"model": self.model_name, "prompt": prompt + text, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}
        try:
            answer = self._client.post(f"{self._url}/completions", json=body)
            answer.raise_for_status()
            found = answer.json()["choices"][0]["logprobs"]
            rows = list(zip(found["text_offset"], found["token_logprobs"], strict=True))
        except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
            raise UpstreamError(f"{self._url} gives no likelihoods of a prompt (echo with logprobs): {error}") from error
        end = len(prompt) + len(text)
        kept = [float(value) for offset, value in rows if value is not None and len(prompt) <= offset < end]
        if not kept:
            raise UpstreamError(f"{self._url} gives no likelihoods of a prompt: use engine = openvino or transformers")
        return Likelihood(sum(kept), len(kept))

    def _changed(self, name: str) -> None:
        if name == "device":
            self._check_device()

    def _check_device(self) -> None:
        if self.device != "auto":
            raise UsageError(f"device = {self.device!r}: the server chooses where it computes; leave it at auto")

    def _close(self) -> None:
        self._client.close()


def _is_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host) and (parsed.port or 0) < 1 << 16


def _pause(state: RetryCallState) -> float:
    """What the server asked for, else 0.25, 0.5, 1, … seconds with some chance in it; at most 10."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, _TryAgainError) and error.wait_s is not None:
        return min(error.wait_s, 10.0)
    return float(wait_exponential_jitter(multiplier=0.25, max=10.0, jitter=0.1)(state))


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.replace(".", "", 1).isdigit() else None


def _error_of(response: httpx.Response) -> str:
    """The server's own words, one line."""
    try:
        content = json.loads(response.read())
    except (ValueError, httpx.HTTPError):
        return response.reason_phrase or "no reason given"
    found = content.get("error", content) if isinstance(content, dict) else content
    message = found.get("message", found) if isinstance(found, dict) else found
    return " ".join(str(message).split())[:300]


def _events(lines: Iterator[str]) -> Iterator[str]:
    """The data of server-sent events (WHATWG HTML, 9.2); comments and other fields are left out."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
        elif line and not line.startswith((":", "event:", "id:", "retry:")):
            yield line  # no event stream at all: let the reader say so
    if data:
        yield "\n".join(data)


def _chunk(event: str, url: str) -> dict[str, Any]:
    try:
        chunk = json.loads(event)
    except ValueError:
        raise UpstreamError(f"{url} sent what is no JSON: {event[:80]!r}") from None
    if not isinstance(chunk, dict):
        raise UpstreamError(f"{url} sent what is no chunk of an answer: {event[:80]!r}")
    if chunk.get("error"):
        error = chunk["error"]
        message = error.get("message", error) if isinstance(error, dict) else error
        raise UpstreamError(f"{url} failed in the middle of its answer: {str(message)[:300]}")
    if not isinstance(chunk.get("choices"), list):
        raise UpstreamError(f"{url} sent what is no chunk of an answer: {event[:80]!r}")
    return chunk


def _choice(chunk: dict[str, Any]) -> tuple[str, FinishReason | None]:
    choices = chunk["choices"]
    if not choices or not isinstance(choices[0], dict):
        return "", None
    delta = choices[0].get("delta")
    text = delta.get("content") if isinstance(delta, dict) else choices[0].get("text")
    reason = choices[0].get("finish_reason")
    return (text if isinstance(text, str) else ""), (_REASONS.get(reason, "stop") if isinstance(reason, str) else None)


def _usage(chunk: dict[str, Any]) -> Usage | None:
    found = chunk.get("usage")
    if not isinstance(found, dict):
        return None
    prompt, made = found.get("prompt_tokens"), found.get("completion_tokens")
    return Usage(prompt, made) if isinstance(prompt, int) and isinstance(made, int) else None
