"""The characters of RTF as Unicode escapes without stand-ins for older programs.

pandoc knows the bytes of Western code pages only, and loses the character behind a stand-in. A byte means what the character set
of its font says (\\fcharset), else the document's code page (\\ansicpg); see the RTF specification 1.9.1, "Character Set" and
"Unicode RTF".
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace

_TOKEN = re.compile(rb"\\'([0-9a-fA-F]{2})|\\([a-zA-Z]+)(-?\d{1,9})? ?|\\[^a-zA-Z']|[{}]|[\x80-\xff]|[^\\{}\x80-\xff]+|\\", re.S)
_CHARACTER_SETS = {
    77: "mac_roman", 128: "cp932", 129: "cp949", 134: "gb18030", 136: "big5", 161: "cp1253", 162: "cp1254", 163: "cp1258",
    177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250", 255: "cp437",
}  # fmt: skip
_CODE_PAGES = {936: "gb18030", 950: "big5", 10000: "mac_roman", 65001: "utf-8"}
_WESTERN = "cp1252"


@dataclass(frozen=True, slots=True)
class _State:
    """What a group inherits: its font, and how many characters stand for a Unicode one in older programs."""

    font: int = 0
    fallback: int = 1


def with_escapes(data: bytes) -> tuple[bytes, dict[int, str]]:
    """The same document with an escape in the place of every character that is not ASCII.

    pandoc reads no characters beyond U+FFFF: private ones stand for these, and the table (of str.translate) gives them back.
    """
    writer = _Writer(_code_page(data))
    return b"".join(writer.pieces(data)), {ord(private): character for character, private in writer.private.items()}


def _code_page(data: bytes) -> str:
    found = re.search(rb"\\ansicpg(\d{1,5})", data[:4096])
    if not found:
        return "mac_roman" if re.match(rb"\s*\{\\rtf1?\s*\\mac\b", data) else _WESTERN
    number = int(found[1])
    try:
        return codecs.lookup(_CODE_PAGES.get(number, f"cp{number}")).name
    except LookupError:
        return _WESTERN


class _Writer:
    def __init__(self, page: str) -> None:
        self._page = page
        self._fonts: dict[int, str] = {}
        self._state = _State()
        self._groups: list[_State] = []
        self._bytes = bytearray()
        self._text = ""
        self._skip = 0
        self.private: dict[str, str] = {}

    def pieces(self, data: bytes) -> list[bytes]:
        made: list[bytes] = []
        position = 0
        while found := _TOKEN.match(data, position):
            token, position = found[0], found.end()
            word, number = found[2], int(found[3] or 0)
            byte = int(found[1], 16) if found[1] else token[0] if token[0] > 0x7F else None
            if byte is not None and self._skip:
                self._skip -= 1
            elif byte is not None:
                self._bytes.append(byte)
            elif word == b"u":
                self._decode()
                self._text += chr(number % 0x10000)
                self._skip = self._state.fallback
            else:
                if word == b"bin":
                    token, position = data[position - len(token) : position + number], position + number
                token = self._without_stand_ins(token) if token[:1] not in b"\\{}" else token
                if token:
                    made.append(self._written())
                    made.append(token)
                    self._follow(token, word, number)
        made.append(self._written())
        return made

    def _without_stand_ins(self, text: bytes) -> bytes:
        """Plain text without what only stands for the Unicode character before it, or is a character's second byte."""
        text = text.lstrip(b"\r\n") if self._skip or self._bytes else text
        cut = min(self._skip, len(text))
        self._skip -= cut
        if not cut and self._bytes and self._lacks_a_byte():
            self._bytes += text[:1]
            cut = 1
        return text[cut:]

    def _follow(self, token: bytes, word: bytes | None, number: int) -> None:
        if token[:1] in b"\\{}":
            self._skip = 0
        if token == b"{":
            self._groups.append(self._state)
        elif token == b"}":
            self._state = self._groups.pop() if self._groups else _State()
        elif word == b"f":
            self._state = replace(self._state, font=number)
        elif word == b"fcharset":
            self._fonts[self._state.font] = _CHARACTER_SETS.get(number, "")
        elif word == b"uc":
            self._state = replace(self._state, fallback=number)

    def _encoding(self) -> str:
        return self._fonts.get(self._state.font) or self._page

    def _lacks_a_byte(self) -> bool:
        decoder = codecs.getincrementaldecoder(self._encoding())("replace")
        decoder.decode(bytes(self._bytes))
        return bool(decoder.getstate()[0])

    def _decode(self) -> None:
        self._text += bytes(self._bytes).decode(self._encoding(), "replace")
        self._bytes.clear()

    def _written(self) -> bytes:
        """The characters that have come together, in a group of their own."""
        self._decode()
        text = self._text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        self._text = ""
        for character in filter(lambda one: one > "\uffff", text):
            self.private.setdefault(character, chr(0xE000 + len(self.private) % 6400))
        escapes = b"".join(b"\\u%d " % _signed(ord(self.private.get(character, character))) for character in text)
        return b"{\\uc0%s}" % escapes if escapes else b""


def _signed(code: int) -> int:
    return code - 0x10000 if code > 0x7FFF else code
