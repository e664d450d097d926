"""Embedding servers that speak OpenAI's `/v1/embeddings`: vLLM, llama.cpp, Ollama, text-embeddings-inference, and others."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from ckllm.embedding.base import Purpose, Vectors
from ckllm.embedding.limits import cut_to_limit, identity, refuse_long_passages
from ckllm.embedding.tokens import encodable, load_tokenizer, token_ids
from ckllm.errors import UpstreamError, UsageError

TIMEOUT = httpx.Timeout(60.0, connect=5.0)
DEFAULT_MAX_TOKENS = 512
"""Where nothing says more: what most encoders take."""
BATCH_TEXTS = 64
BATCH_TOKENS = 16_384
_ATTEMPTS = 4
_LONGEST_WAIT_S = 20.0
_PIECE = re.compile(r"[A-Za-z]+|\s+|.", re.DOTALL)
_LETTERS_A_TOKEN = 3


def estimate_tokens(text: str) -> int:
    """A cautious count for servers whose tokenizer is not known: three ASCII letters a token, every other ASCII sign one,
    two bytes of UTF-8 a token beyond ASCII. Vocabularies of 30,000 pieces and more need fewer for ordinary text."""
    total = 0
    for piece in _PIECE.findall(text):
        if piece.isspace():
            continue
        if piece.isascii():
            total += -(-len(piece) // _LETTERS_A_TOKEN)
        else:
            total += -(-len(piece.encode("utf-8", "replace")) // 2)
    return total


class OpenAiCompatibleEmbedder:
    """A passage above `max_tokens` is refused with DataError; a longer query is cut. Whatever the server does wrong (no
    answer after several attempts, an error, vectors that are missing, of another length or not finite) is an UpstreamError.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str = "",
        prefixes: tuple[str | None, str | None] = (None, None),
        max_tokens: int = 0,
        tokenizer: str = "",
    ) -> None:
        """`base_url` with or without `/v1`; `prefixes` for (query, passage); `tokenizer` a tokenizer.json or its folder."""
        self._url = _endpoint(base_url)
        self._model = model
        self._prefixes = {"query": prefixes[0] or "", "passage": prefixes[1] or ""}
        self._name = identity(f"server:{model}", prefixes[1])
        self._max_tokens = max_tokens or DEFAULT_MAX_TOKENS
        self._count_many = _counter(tokenizer)
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT)

    @property
    def name(self) -> str:
        return self._name

    @cached_property
    def dimension(self) -> int:
        """Asked of the server once, by embedding one word."""
        return int(self._request(["dimension"]).shape[1])

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """By the tokenizer that is set, else by `estimate_tokens`."""
        return self._count_many(texts)

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        clean = [encodable(text) for text in texts]
        counts = self.count_tokens(clean)
        if purpose == "passage":
            refuse_long_passages(counts, self._max_tokens, self.name)
        else:
            clean = [cut_to_limit(text, self._max_tokens, lambda part: self.count_tokens([part])[0]) for text in clean]
        vectors = np.zeros((len(clean), self.dimension), np.float32)
        for batch in _batches(counts):
            vectors[batch] = self._checked([self._prefixes[purpose] + clean[index] for index in batch])
        return vectors

    def _checked(self, texts: list[str]) -> Vectors:
        vectors = self._request(texts)
        if vectors.shape[1] != self.dimension:
            raise UpstreamError(
                f"{self._url} sent vectors of {vectors.shape[1]} numbers, before of {self.dimension}: is it still {self._model}?"
            )
        return vectors

    def _request(self, texts: list[str]) -> Vectors:
        # An empty string is an error to many servers; a space means the same to a model.
        body = {"model": self._model, "input": [text or " " for text in texts], "encoding_format": "float"}
        retrying = Retrying(stop=stop_after_attempt(_ATTEMPTS), wait=_wait, retry=retry_if_exception(_is_passing), reraise=True)
        try:
            content = retrying(self._post, body)
        except httpx.HTTPStatusError as error:
            said = " ".join(error.response.text.split())[:200]
            raise UpstreamError(
                f"the embedding server {self._url} answered {error.response.status_code} ({said}): "
                f"check embedding.base_url, embedding.model = {self._model!r} and embedding.api_key"
            ) from None
        except httpx.HTTPError as error:
            raise UpstreamError(
                f"the embedding server {self._url} cannot be reached ({error or type(error).__name__}): is it running?"
            ) from None
        return _vectors(content, len(texts), self._url)

    def _post(self, body: dict[str, Any]) -> Any:
        response = self._client.post(self._url, json=body)
        response.raise_for_status()
        try:
            return response.json()
        except ValueError:
            raise UpstreamError(f"{self._url} did not answer with JSON: is embedding.base_url an embedding server?") from None


def _endpoint(base_url: str) -> str:
    url = base_url.rstrip("/")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"embedding.base_url = {base_url!r}: expected http://… or https://…")
    if url.endswith("/embeddings"):
        return url
    return f"{url}/embeddings" if parsed.path.strip("/") else f"{url}/v1/embeddings"


def _counter(tokenizer: str) -> Callable[[Sequence[str]], list[int]]:
    if not tokenizer:
        return lambda texts: [estimate_tokens(text) for text in texts]
    path = Path(tokenizer).expanduser()
    loaded = load_tokenizer(path / "tokenizer.json" if path.is_dir() else path)
    return lambda texts: [len(ids) for ids in token_ids(loaded, texts, special=False)]


def _batches(counts: Sequence[int]) -> list[list[int]]:
    """Indices in order, at most BATCH_TEXTS texts and BATCH_TOKENS tokens (or one text) together."""
    groups: list[list[int]] = []
    tokens = 0
    for index, count in enumerate(counts):
        if not groups or len(groups[-1]) == BATCH_TEXTS or tokens + count > BATCH_TOKENS:
            groups.append([])
            tokens = 0
        groups[-1].append(index)
        tokens += count
    return groups


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == httpx.codes.TOO_MANY_REQUESTS or error.response.is_server_error
    return isinstance(error, httpx.TransportError)


def _wait(state: RetryCallState) -> float:
    """As long as the server asks for, else 0.25 s and twice as long each time; never above 20 s."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.response.headers.get("Retry-After", "") if isinstance(error, httpx.HTTPStatusError) else ""
    if asked.isdigit():
        return min(float(asked), _LONGEST_WAIT_S)
    return min(wait_exponential_jitter(multiplier=0.25, max=_LONGEST_WAIT_S, jitter=0.1)(state), _LONGEST_WAIT_S)


def _vectors(content: Any, expected: int, url: str) -> Vectors:
    """The rows in the order of their `index`, each of unit length."""
    try:
        rows = {int(row["index"]): row["embedding"] for row in content["data"]}
        if sorted(rows) != list(range(expected)) or len(content["data"]) != expected:
            raise UpstreamError(f"{url} sent {len(content['data'])} vectors for {expected} texts, or with wrong indices")
        vectors: NDArray[np.float64] = np.asarray([rows[index] for index in range(expected)], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UpstreamError(f"{url} sent no valid list of embeddings: is embedding.base_url an embedding server?") from None
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if vectors.ndim != 2 or vectors.shape[1] == 0 or not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise UpstreamError(f"{url} sent vectors that are empty, zero or not finite: the model behind it is not usable")
    return np.asarray(vectors / lengths, np.float32)
