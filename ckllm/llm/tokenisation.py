"""Text to token ids and back, without transformers, and with control tokens that only markup can make."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckllm.errors import DataError
from ckllm.prompting.render import Segment, break_markers

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_INCOMPLETE = "\ufffd"
_WINDOW = 6
"""Tokens decoded again with each new one: joining rules (white space, characters of several tokens) reach no further back."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The tokens with a role, as text; "" where the model has none."""

    bos: str = ""
    eos: str = ""
    add_bos: bool = False
    """Whether a plain text begins with `bos`."""
    chat_template: str | None = None


class TextTokenizer:
    """A model's `tokenizer.json`. Safe to use from several threads."""

    def __init__(self, tokenizer: Tokenizer, special: SpecialTokens) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.special = special
        added = tokenizer.get_added_tokens_decoder().items()
        self._control = {token.content: number for number, token in added if _is_control(token.content, token.special)}
        texts = sorted(self._control, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(text) for text in texts)) if texts else None

    @classmethod
    def from_folder(cls, folder: Path) -> TextTokenizer:
        """Read `tokenizer.json` and `tokenizer_config.json`. Raises DataError where one is missing or broken."""
        from tokenizers import Tokenizer

        file = folder / "tokenizer.json"
        if not file.is_file():
            raise DataError(f"{folder} has no tokenizer.json: save the model's fast tokenizer there")
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:
            raise DataError(f"{file} is not a readable tokenizer: {error}") from error
        return cls(tokenizer, special_tokens(folder, tokenizer))

    @property
    def control_tokens(self) -> dict[str, int]:
        """Every token that only markup can make, with its id."""
        return dict(self._control)

    def id_of(self, text: str) -> int | None:
        """The id of a text that is one token of its own, None otherwise."""
        number = self._tokenizer.token_to_id(text)
        return None if number is None else int(number)

    def encode(self, text: str, add_bos: bool = False) -> list[int]:
        """Ids of a text as content: no control token, whatever the text says."""
        ids: list[int] = []
        for part in self._inert_parts(text):
            ids += self._tokenizer.encode(part, add_special_tokens=False).ids
        bos = self.id_of(self.special.bos) if add_bos and self.special.add_bos else None
        return ids if bos is None else [bos, *ids]

    def encode_segments(self, segments: Sequence[Segment], markers: Iterable[str] = ()) -> list[int]:
        """Ids of a rendered conversation. Control tokens come from markup only; `markers` that are no control tokens of this
        tokenizer are broken up in content. Where content holds neither, the ids equal those of the joined text."""
        loose = [marker for marker in markers if marker not in self._control]
        clean = [s if s.is_control else Segment(break_markers(s.text, loose), False) for s in segments]
        if not any(self._holds_control(s.text) for s in clean if not s.is_control):
            joined = "".join(s.text for s in clean)
            if self._count_control(joined) == sum(self._count_control(s.text) for s in clean if s.is_control):
                return list(self._tokenizer.encode(joined, add_special_tokens=False).ids)
        return self._encode_apart(clean)

    def decode(self, ids: Sequence[int], skip_control: bool = True) -> str:
        """The text of the ids."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_control))

    def decoder(self) -> StreamDecoder:
        """A new decoder of one stream of ids."""
        return StreamDecoder(self)

    def _encode_apart(self, segments: Iterable[Segment]) -> list[int]:
        """Control tokens as ids, the text between two of them, markup and content alike, encoded as content."""
        ids: list[int] = []
        waiting = ""
        for segment in segments:
            if not segment.is_control or self._pattern is None:
                waiting += segment.text
                continue
            place = 0
            for match in self._pattern.finditer(segment.text):
                ids += self.encode(waiting + segment.text[place : match.start()])
                ids.append(self._control[match.group()])
                waiting, place = "", match.end()
            waiting += segment.text[place:]
        return ids + self.encode(waiting)

    def _inert_parts(self, text: str) -> list[str]:
        """The text cut inside every control token's name, so that no part holds one."""
        if not self._holds_control(text):
            return [text] if text else []
        parts: list[str] = []
        while (match := self._pattern.search(text) if self._pattern else None) is not None:
            cut = match.start() + 1
            parts.append(text[:cut])
            text = text[cut:]
        return [*parts, text] if text else parts

    def _holds_control(self, text: str) -> bool:
        return self._pattern is not None and self._pattern.search(text) is not None

    def _count_control(self, text: str) -> int:
        return 0 if self._pattern is None else sum(1 for _ in self._pattern.finditer(text))


class StreamDecoder:
    """Ids in, whole characters out."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0
        """Ids whose text was given out."""

    def feed(self, token: int) -> str:
        """The text that the token completes, "" while its last character is incomplete."""
        self._ids.append(token)
        return self._next(final=False)

    def flush(self) -> str:
        """What is left at the end, an incomplete character as U+FFFD."""
        return self._next(final=True) if self._shown < len(self._ids) else ""

    def _next(self, final: bool) -> str:
        begin = max(0, self._shown - _WINDOW)
        before = self._tokenizer.decode(self._ids[begin : self._shown])
        now = self._tokenizer.decode(self._ids[begin:])
        if now.endswith(_INCOMPLETE) and not final:
            return ""
        self._shown = len(self._ids)
        return now[len(before) :]


def special_tokens(folder: Path, tokenizer: Tokenizer | None = None) -> SpecialTokens:
    """The tokens with a role, from `tokenizer_config.json` (and the chat template, which may stand in its own file)."""
    config = read_json(folder / "tokenizer_config.json")
    template = config.get("chat_template")
    own_file = folder / "chat_template.jinja"
    if template is None and own_file.is_file():
        template = own_file.read_text(encoding="utf-8")
    if isinstance(template, list):
        template = next((entry["template"] for entry in template if entry.get("name") == "default"), None)
    bos = _text(config.get("bos_token"))
    add_bos = bool(config.get("add_bos_token", False))
    if not add_bos and bos and tokenizer is not None:
        add_bos = tokenizer.encode("", add_special_tokens=True).ids[:1] == [tokenizer.token_to_id(bos)]
    return SpecialTokens(bos, _text(config.get("eos_token")), add_bos, template)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object, {} where the file is missing. Raises DataError where it is broken."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} holds no JSON object")
    return content


def _text(token: Any) -> str:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _is_control(text: str, special: bool) -> bool:
    """Control tokens by their flag, or, where a model's files forgot it, by their form."""
    return special or bool(re.fullmatch(r"<\|.+\|>|<[/a-z_]+>|\[/?[A-Z_]+\]", text))
