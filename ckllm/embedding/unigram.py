"""A large unigram tokenizer that is ready at once, and small.

Building a tokenizer of 250,000 pieces takes about a second, most of a cold search, and 270 MB. But only pieces that occur in a
text can take part in its segmentation (Kudo 2018), so a tokenizer of just those gives the same tokens. The vocabulary lies in a
sorted table that is mapped from its file; what pieces occur in a word is remembered.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ckllm.embedding.tokens import Tokens, encodable, token_ids, tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

T = TypeVar("T")
WORDS, LONGEST_WORD = 20_000, 32
"""Words whose pieces are remembered, some 10 MB, and the characters of the longest."""
_PIECES, _SCORES, _IDS, _FRAME = "pieces.npy", "scores.npy", "ids.npy", "frame.json"


def write_table(tokenizer: Path, folder: Path) -> None:
    """Write the vocabulary of the unigram `tokenizer` (a tokenizer.json) as sorted tables into `folder`, with its frame:
    the same tokenizer with no pieces but the special ones and the least likely one, which sets the score of unknown signs."""
    content = json.loads(tokenizer.read_text(encoding="utf-8"))
    vocabulary: list[tuple[str, float]] = content["model"]["vocab"]
    special = [entry["id"] for entry in content["added_tokens"]]
    pieces = np.array([piece.encode() for piece, _score in vocabulary])
    scores = np.array([score for _piece, score in vocabulary], np.float64)
    order = np.argsort(pieces)
    order = order[~np.isin(order, special)]
    np.save(folder / _PIECES, pieces[order])
    np.save(folder / _SCORES, scores[order])
    np.save(folder / _IDS, order.astype(np.int32))
    least = int(scores.argmin())
    content["model"]["vocab"] = [vocabulary[index] for index in [*special, least]]
    frame_ids = [*special, least]
    for entry in content["added_tokens"]:
        entry["id"] = frame_ids.index(entry["id"])
    content["frame_ids"] = frame_ids
    (folder / _FRAME).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def has_table(folder: Path) -> bool:
    return (folder / _FRAME).is_file()


class QuickUnigram:
    """Token ids, equal to those of the full tokenizer, from the tables that `write_table` made of it. Can be used by several
    threads."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._pieces: NDArray[np.bytes_] = np.load(folder / _PIECES, mmap_mode="r")
        self._scores: NDArray[np.float64] = np.load(folder / _SCORES, mmap_mode="r")
        self._ids: NDArray[np.int32] = np.load(folder / _IDS, mmap_mode="r")
        content: dict[str, Any] = json.loads((folder / _FRAME).read_text(encoding="utf-8"))
        self._frame_ids: list[int] = content.pop("frame_ids")
        self._frame_pieces = [(piece, score) for piece, score in content["model"]["vocab"]]
        self._unknown: int = content["model"]["unk_id"]
        self._special = re.compile("|".join(re.escape(entry["content"]) for entry in content["added_tokens"]) or r"(?!)")
        self._frame = Tokenizer.from_str(json.dumps(content))
        self._small = Tokenizer.from_str(json.dumps(content))
        """With the model of the texts at hand: a tokenizer for each call would read the normaliser's table each time."""
        self._taking_turns = threading.Lock()
        self._longest = self._pieces.dtype.itemsize
        self._known: dict[str, tuple[int, ...]] = {}
        """Word → the rows of the table whose pieces occur in it."""

    def token_ids(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        found, ids = self._encoded(texts, lambda tokenizer: token_ids(tokenizer, texts, special))
        return [[ids[index] for index in one] for one in found]

    def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        found, ids = self._encoded(texts, lambda tokenizer: tokens(tokenizer, texts))
        return [Tokens([ids[index] for index in one.ids], one.offsets) for one in found]

    def _encoded(self, texts: Sequence[str], encode: Callable[[Tokenizer], T]) -> tuple[T, list[int]]:
        """What a tokenizer for these texts gives, and the real id of each of its ids."""
        model, ids = self._small_model(texts)
        with self._taking_turns:
            self._small.model = model
            return encode(self._small), ids

    def _small_model(self, texts: Sequence[str]) -> tuple[Any, list[int]]:
        """A model of the pieces that occur in `texts`, and the real id of each of its ids."""
        from tokenizers.models import Unigram

        rows = np.array(sorted(self._rows({word for text in texts for word in self._words(encodable(text))})), np.intp)
        pieces = [piece.decode() for piece in self._pieces[rows].tolist()]
        known = zip(pieces, self._scores[rows].tolist(), strict=True)
        return Unigram([*self._frame_pieces, *known], self._unknown, False), [*self._frame_ids, *self._ids[rows].tolist()]

    def _words(self, text: str) -> Iterator[str]:
        """What the tokenizer looks for pieces in; a special token stands between two texts of their own."""
        for part in self._special.split(text):
            for word, _span in self._frame.pre_tokenizer.pre_tokenize_str(self._frame.normalizer.normalize_str(part)):
                yield word

    def _rows(self, words: set[str]) -> set[int]:
        known = {word: rows for word in words if (rows := self._known.get(word)) is not None}
        new = {word: self._parts(word) for word in words if word not in known}
        if new:
            wanted = np.array(sorted(set().union(*new.values())) or [b""], dtype=self._pieces.dtype)
            places = np.minimum(np.searchsorted(self._pieces, wanted), len(self._pieces) - 1)
            found = np.flatnonzero(self._pieces[places] == wanted)
            row_of = dict(zip(wanted[found].tolist(), places[found].tolist(), strict=True))
            fresh = {word: tuple(row_of[part] for part in parts if part in row_of) for word, parts in new.items()}
            known |= fresh
            self._remember(fresh)
        return set().union(*known.values())

    def _remember(self, words: dict[str, tuple[int, ...]]) -> None:
        kept = dict(islice(((word, rows) for word, rows in words.items() if len(word) <= LONGEST_WORD), WORDS))
        self._known = kept if len(self._known) + len(kept) > WORDS else self._known | kept

    def _parts(self, word: str) -> set[bytes]:
        """Every substring short enough to be a piece."""
        found: set[bytes] = set()
        for start in range(len(word)):
            for end in range(start + 1, min(start + self._longest, len(word)) + 1):
                part = word[start:end].encode()
                if len(part) > self._longest:
                    break
                found.add(part)
        return found
