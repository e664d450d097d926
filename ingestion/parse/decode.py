"""Bytes to text: byte-order marks, UTF-8/16/32 with and without them, what the document declares, else statistics."""

from __future__ import annotations

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 64 * 1024
_SPARSE = 0.12
_POLISH = (b"\x8c\x8f\x9c\x9f\xa5\xb9", b"\xa1\xa6\xac\xb1\xb6\xbc")
"""ą, ś and ź in cp1250, and in ISO 8859-2."""
_CANDIDATES = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256",
    "cp1257", "koi8_r", "koi8_u", "shift_jis", "cp932", "euc_jp",
    "gb18030", "big5", "euc_kr", "cp949", "iso8859_2", "iso8859_5", "iso8859_7", "iso2022_jp", "cp437", "cp850", "mac_roman",
]  # fmt: skip
_NOT_DECLARED = frozenset(
    [
        "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-7", "idna", "punycode", "undefined", "unicode-escape",
        "raw-unicode-escape",
    ]
)  # fmt: skip
_EAST_ASIAN = {
    "gb18030": (range(0xB0, 0xD8), 0xA1, False),
    "euc_jp": (range(0xB0, 0xD0), 0xA1, True),
    "cp949": (range(0xB0, 0xC9), 0xA1, False),
    "cp932": (range(0x88, 0x98), 0x40, True),
    "big5": (range(0xA4, 0xC7), 0x40, False),
}
"""First bytes of the common characters, their least second byte, and whether kana are common. The first of equals wins."""
_HANGUL = frozenset("이다는의에을가하고은지기로서사한대도리자어나시인수일해정부전")
"""The most frequent syllables."""
_WESTERN = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜßàáâãäåæçèéêëìíîïñòóôõöøùúûüÿŒœ’‘“”„–—…€£°§©®™«»·•¿¡ºª±µ½¼²³\xa0")


def decode(data: bytes, declared: str = "") -> tuple[str, str]:
    """Text and the encoding it was read with. Bytes that do not fit become U+FFFD; never raises.

    `declared` is the document's own word (an XML declaration, a `charset`); it is believed where the bytes agree.
    """
    for bom, name in _BOMS:
        if data.startswith(bom):
            return data.decode(name, "replace").lstrip("\ufeff"), name
    wide = wide_encoding(data)
    if wide:
        return data.decode(wide, "replace").lstrip("\ufeff"), wide
    if not re.search(rb"\x1b[$(]", data[:_SAMPLE]):  # ISO-2022 is pure ASCII bytes, and would pass for UTF-8
        try:
            return data.decode("utf-8"), "utf-8"
        except UnicodeDecodeError as error:
            if _cut_or_rare(data, error):
                return data.decode("utf-8", "replace"), "utf-8"
    for name in (_known(declared), guess(data)):
        if name:
            try:
                return data.decode(name), name
            except UnicodeDecodeError:
                continue
    best = guess(data) or "cp1252"
    return data.decode(best, "replace"), best


def _cut_or_rare(data: bytes, error: UnicodeDecodeError) -> bool:
    """UTF-8 that is cut off at its end, or has a few broken bytes in much that is right."""
    if error.start >= len(data) - 4 and error.start > 16:
        return True
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    right = sum(1 for character in text if character > "\x7f") - broken
    return right >= 2 * broken  # of bytes in another encoding, hardly any pair is a character of UTF-8 by chance


def _known(name: str) -> str:
    """Python's name of an encoding of text; "" for any other codec, and for what no document is written in."""
    try:
        found = codecs.lookup(name.strip().strip("\"'")).name if name.strip() else ""
        "".encode(found or "ascii")  # LookupError for codecs that are none of text, such as zlib
    except (LookupError, ValueError):
        return ""
    if found in ("iso8859-1", "ascii"):  # as browsers read it (WHATWG Encoding Standard)
        return "cp1252"
    return "" if found in _NOT_DECLARED else found


def wide_encoding(data: bytes) -> str:
    """UTF-16 or UTF-32 without a byte-order mark, told by where the zero bytes are; "" for anything else."""
    sample = data[:4096]
    sample = sample[: len(sample) // 4 * 4]
    if len(sample) < 4:
        return ""
    quarter = len(sample) // 4
    zeros = [sample[place::4].count(0) / quarter for place in range(4)]
    if min(zeros[2:]) > 0.95 and zeros[0] < 0.2:
        return _if_text(data, "utf-32-le")
    if min(zeros[:2]) > 0.95 and zeros[3] < 0.2:
        return _if_text(data, "utf-32-be")
    even, odd = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
    if odd > 0.3 and even < 0.05:
        return _if_text(data, "utf-16-le")
    if even > 0.3 and odd < 0.05:
        return _if_text(data, "utf-16-be")
    return ""


def _if_text(data: bytes, encoding: str) -> str:
    text = data[:4096].decode(encoding, "replace")
    good = sum(character.isprintable() or character.isspace() for character in text)
    return encoding if good >= 0.95 * len(text) else ""


def guess(data: bytes) -> str:
    """The likeliest single- or multi-byte encoding of bytes that are not UTF-8."""
    sample = _sample(data)
    high = sum(byte > 0x7F for byte in sample)
    letters = sum(chr(byte).isalpha() for byte in sample if byte < 0x80) + high
    if central := _central_european(sample, high):
        return central
    western = _reads_as_western(sample)
    runs = len(re.findall(rb"[\x80-\xff]+", sample))
    if western and ((high < _SPARSE * max(1, letters) and high < 20) or (len(sample) < 64 and high < 2 * runs)):
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=_CANDIDATES, enable_fallback=False).best()
    found = str(best.encoding) if best else ""
    if found in _EAST_ASIAN or found in ("shift_jis", "euc_kr"):
        return max(_EAST_ASIAN, key=lambda name: _common_characters(sample, name))
    if (
        western
        and (not found or found.startswith(("cp125", "iso8859", "mac", "cp4", "cp8")))
        and high < _SPARSE * max(1, letters)
    ):
        return found if found in ("cp1250", "cp1254", "cp1257", "iso8859_2") else "cp1252"
    return found


def _central_european(sample: bytes, high: int) -> str:
    """cp1250 or ISO 8859-2 where signs of cp1252 stand inside words: "£ód", "g³os". "" where they do not."""
    letters = sum(chr(byte).isalpha() for byte in sample if byte < 0x80) + high
    inside = len(re.findall(rb"[\xa3\xa5\xa6][a-z\x80-\xff]{3}|[A-Za-z][\xb1\xb3\xb6\xb9\xbc](?=[A-Za-z])", sample))
    if high > 0.4 * letters or 10 * inside < max(1, high):
        return ""
    windows, standard = (len(re.findall(rb"[A-Za-z][%s]|[%s][A-Za-z]" % (signs, signs), sample)) for signs in _POLISH)
    return "iso8859_2" if standard > windows else "cp1250"


def _common_characters(sample: bytes, encoding: str) -> float:
    """Share of the double bytes that stand for common characters, if this is the encoding; -1 where it cannot be.

    The common ones have the first bytes that each standard gives its first level of characters.
    """
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return -1.0
    firsts, seconds, kana = _EAST_ASIAN[encoding]
    common, counted = 0.0, 0
    for character in text:
        code = character.encode(encoding) if character > "\x7f" else b""
        if len(code) == 2 and not _is_sign(character):
            counted += 1
            is_kana = "\u3040" <= character <= "\u30ff"
            common += kana if is_kana else code[0] in firsts and code[1] >= seconds
    if encoding == "cp949" and not _HANGUL.isdisjoint(text):
        common += 0.01  # short texts in the other two may consist of bytes that are syllables as well
    return common / counted if counted else -0.5


def _is_sign(character: str) -> bool:
    return "\u3000" <= character <= "\u303f" or "\uff00" <= character <= "\uff65" or "\u2000" <= character <= "\u2bff"


def _reads_as_western(sample: bytes) -> bool:
    high = [character for character in sample.decode("cp1252", "replace") if character > "\x7f"]
    return bool(high) and sum(character in _WESTERN for character in high) >= 0.95 * len(high)


def _sample(data: bytes) -> bytes:
    """Lines that have bytes above 127: the others tell nothing."""
    if len(data) <= _SAMPLE:
        return data
    telling, size = [], 0
    for line in re.finditer(rb"[^\n]*[\x80-\xff][^\n]*\n?", data):
        telling.append(line[0][:4096])
        size += len(telling[-1])
        if size > _SAMPLE:
            break
    return b"".join(telling) or data[:_SAMPLE]
