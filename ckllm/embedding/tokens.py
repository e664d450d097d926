"""Token ids from a `tokenizer.json`, without torch or transformers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ckllm.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SURROGATE = re.compile("[\ud800-\udfff]")


def encodable(text: str) -> str:
    """`text` with lone surrogates, which no tokenizer takes, replaced by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def load_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer in `file`, without its own truncation and padding. Raises DataError where it cannot be read."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for every fault
        raise DataError(f"cannot read the tokenizer {file}: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], special: bool) -> list[list[int]]:
    """Ids of each text; `special` adds the model's first and last token."""
    encodings = tokenizer.encode_batch([encodable(text) for text in texts], add_special_tokens=special)
    return [encoding.ids for encoding in encodings]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text's tokens without special ones: their ids, and the characters of the text that each stands for."""

    ids: list[int]
    offsets: list[tuple[int, int]]


def tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """Each text's tokens with their places in it."""
    encodings = tokenizer.encode_batch([encodable(text) for text in texts], add_special_tokens=False)
    return [Tokens(encoding.ids, encoding.offsets) for encoding in encodings]


class FullTokenizer:
    """A tokenizer that is loaded at once, for vocabularies that are small enough."""

    def __init__(self, file: Path) -> None:
        self._tokenizer = load_tokenizer(file)

    def token_ids(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        return token_ids(self._tokenizer, texts, special)

    def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        return tokens(self._tokenizer, texts)
