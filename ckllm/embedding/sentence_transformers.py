"""Any embedding model that sentence-transformers loads: a hub id or a folder.

Prefixes come from the model's own configuration (its prompts named `query`, and `passage`, `document` or `corpus`), unless
they are set. No code from a model's repository is run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ckllm.contracts import digest
from ckllm.embedding.base import Purpose, Vectors
from ckllm.embedding.limits import identity, refuse_long_passages
from ckllm.embedding.tokens import encodable
from ckllm.errors import UpstreamError

_PASSAGE_PROMPTS = ("passage", "document", "corpus")
_BATCH_TEXTS = 16
_SPARE_TOKENS = 2
_MOST_TOKENS = 8192
"""For models that state no limit."""
_SMALL_FILE = 1 << 16


class SentenceTransformerEmbedder:
    """A passage above `max_tokens` is refused with DataError; a longer query is cut by the model's own tokenizer."""

    def __init__(
        self,
        model: str,
        name: str = "",
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        threads: int = 0,
    ) -> None:
        """`model`: hub id or folder; `name`: the identity to use in place of the id or the folder's own."""
        self._model = _load(model, threads)
        self._name = identity(name or _own_name(model), passage_prefix)
        prompts: Mapping[str, str] = self._model.prompts or {}
        default = prompts.get(self._model.default_prompt_name or "", "")
        own_passage = next((prompts[key] for key in _PASSAGE_PROMPTS if prompts.get(key)), default)
        self._prefixes = {
            "query": (prompts.get("query") or default) if query_prefix is None else query_prefix,
            "passage": own_passage if passage_prefix is None else passage_prefix,
        }
        self._limit = min(self._model.max_seq_length or _MOST_TOKENS, _MOST_TOKENS)
        self._dimension = int(self._model.get_embedding_dimension())
        fixed = max(self._count_all(list(self._prefixes.values())))
        self._max_tokens = max(self._limit - fixed - _SPARE_TOKENS, 1)

    @property
    def name(self) -> str:
        return self._name

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._count([encodable(text) for text in texts], special=False)

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        if not texts:
            return np.zeros((0, self._dimension), np.float32)
        prefix = self._prefixes[purpose]
        clean = [encodable(text) for text in texts]
        if purpose == "passage":
            refuse_long_passages(self._count_all([prefix + text for text in clean]), self._limit, self.name)
        # The two methods differ for models with separate towers for questions and passages.
        encode = self._model.encode_query if purpose == "query" else self._model.encode_document
        vectors = encode(clean, prompt=prefix, batch_size=_BATCH_TEXTS, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    def _count_all(self, texts: list[str]) -> list[int]:
        return self._count(texts, special=True)

    def _count(self, texts: list[str], special: bool) -> list[int]:
        if not texts:
            return []
        tokenizer = self._model.tokenizer
        if not callable(tokenizer):  # static models carry the tokenizers library's own class
            return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=special)]
        ids = tokenizer(texts, add_special_tokens=special, truncation=False, padding=False, verbose=False)["input_ids"]
        return [len(row) for row in ids]


def _load(model: str, threads: int) -> Any:
    import sentence_transformers
    import torch
    from transformers.utils import logging

    # Its progress bars would stand between ours, and in the output of commands.
    logging.disable_progress_bar()
    if threads:
        torch.set_num_threads(threads)
    folder = Path(model).expanduser()
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    try:
        return sentence_transformers.SentenceTransformer(
            str(folder) if folder.is_dir() else model, trust_remote_code=False, local_files_only=offline or folder.is_dir()
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        if folder.is_dir():
            raise UpstreamError(f"the folder {folder} holds no embedding model that can be loaded: {reason}") from None
        where = "is not on this machine, and HF_HUB_OFFLINE is set" if offline else f"cannot be loaded ({reason})"
        raise UpstreamError(
            f"embedding model {model!r} {where}: download it where there is a network (hf download {model}), "
            "or set embedding.model to multilingual-e5-small, to another id, or to a folder"
        ) from None


def _own_name(model: str) -> str:
    """A hub id as it is; a folder's name with a digest of its contents, so that it can move and others can share its name."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return model
    parts: list[str] = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in {".json", ".safetensors", ".bin"}):
        with file.open("rb") as stream:
            beginning = stream.read(_SMALL_FILE)
        parts += [str(file.relative_to(folder)), str(file.stat().st_size), beginning.hex()]
    return f"{folder.resolve().name}@{digest(*parts, size=6)}"
