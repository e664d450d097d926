"""What engines that compute here share: rendering, the context check, token ids to text, end tokens."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckllm.contracts import digest
from ckllm.errors import DataError, UsageError
from ckllm.file_hash import file_sha256
from ckllm.llm.base import BaseLLM, GenerationRequest, Piece, Running
from ckllm.llm.peft_folder import CONFIG, WEIGHTS
from ckllm.llm.tokenisation import TextTokenizer, read_json
from ckllm.prompting.render import render
from ckllm.prompting.templates import Profile, profile, profile_of


@dataclass(frozen=True, slots=True)
class LocalModel:
    """What a model's folder says of it."""

    folder: Path
    tokenizer: TextTokenizer
    profile: Profile
    context_length: int
    end_ids: tuple[int, ...]
    """Tokens that end an answer."""

    @classmethod
    def read(cls, folder: Path, profile_name: str = "") -> LocalModel:
        """Read config, tokenizer and template. Raises DataError for a broken folder, UsageError for an unknown template."""
        tokenizer = TextTokenizer.from_folder(folder)
        config = read_json(folder / "config.json")
        if not config:
            raise DataError(f"{folder} has no config.json: it is not a model's folder")
        template = profile(profile_name) if profile_name else profile_of(tokenizer.special.chat_template)
        given = read_json(folder / "generation_config.json").get("eos_token_id", config.get("eos_token_id"))
        ends = [given] if isinstance(given, int) else list(given or ())
        ends += [number for text in (*template.end, tokenizer.special.eos) if (number := tokenizer.id_of(text)) is not None]
        text_config = config.get("text_config", config)
        length = text_config.get("max_position_embeddings") or text_config.get("max_seq_len") or 2048
        return cls(folder, tokenizer, template, int(length), tuple(dict.fromkeys(ends)))


class LocalLLM(BaseLLM):
    """An engine that is given token ids and yields token ids."""

    def __init__(self, model_id: str, model: LocalModel, **parameters: Any) -> None:
        super().__init__(model_id, **parameters)
        self.model = model

    @abstractmethod
    def _tokens(
        self, ids: list[int], request: GenerationRequest, ends: tuple[int, ...], cancel: threading.Event
    ) -> Iterator[int]:
        """New token ids as they are made, the end token (one of `ends`) included, at most `max_tokens`.

        Ends early once `cancel` is set. Closing the iterator frees the model.
        """

    @property
    def context_length(self) -> int:
        return self.model.context_length

    @property
    def profile(self) -> Profile:
        return self.model.profile

    def _num_tokens(self, text: str) -> int:
        return len(self.model.tokenizer.encode(text))

    def _count(self, request: GenerationRequest) -> int:
        return len(self._prompt_ids(request))

    def _prompt_ids(self, request: GenerationRequest) -> list[int]:
        tokenizer, template = self.model.tokenizer, self.model.profile
        if request.prompt is not None:
            ids = tokenizer.encode(request.prompt, add_bos=True)
            bos_set = self.bos_token_id is not None and ids[:1] != [self.bos_token_id]
        else:
            segments = render(request.messages, template, tokenizer.special.bos, tokenizer.special.eos)
            ids = tokenizer.encode_segments(segments, template.markers)
            bos_set = self.bos_token_id is not None and ids[:1] != [self.bos_token_id]
        ids = [self.bos_token_id, *ids] if bos_set and self.bos_token_id is not None else ids
        if not ids:
            raise UsageError("the prompt is empty: give some text")
        return ids

    def _ends(self, request: GenerationRequest) -> tuple[int, ...]:
        own = self.model.end_ids if self.eos_token_id is None else (self.eos_token_id,)
        return (*own, *request.stop_token_ids)

    def _generate(self, request: GenerationRequest, cancel: threading.Event) -> Running:
        ids = self._prompt_ids(request)
        self._check_context(len(ids), request.max_tokens)
        return Running(len(ids), self._pieces(ids, request, cancel))

    def _pieces(self, ids: list[int], request: GenerationRequest, cancel: threading.Event) -> Iterator[Piece]:
        ends = self._ends(request)
        decoder = self.model.tokenizer.decoder()
        made = 0
        tokens = self._tokens(ids, request, ends, cancel)
        try:
            for token in tokens:
                made += 1
                if token in ends:
                    yield Piece(decoder.flush(), 1, "stop")
                    return
                yield Piece(decoder.feed(token), 1)
        finally:
            close = getattr(tokens, "close", None)
            if close is not None:
                close()
        if cancel.is_set():
            yield Piece("", 0, "cancelled")
            return
        yield Piece(decoder.flush(), 0, "length" if made >= request.max_tokens else "stop")

    def _adapter_identity(self, name: str) -> str:
        return adapter_digest(Path(name))


def adapter_digest(folder: Path) -> str:
    """Identity of the adapter in a PEFT folder: of its weights, and of the configuration that says how they are scaled.

    Raises DataError where it is not one.
    """
    if not (folder / WEIGHTS).is_file():
        raise DataError(f"{folder} is no adapter: it has no {WEIGHTS}")
    return digest(file_sha256(folder / WEIGHTS), file_sha256(folder / CONFIG))
