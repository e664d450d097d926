"""Lexical analysis of our own, for BM25 over any script in any Milvus.

Milvus Lite knows one analyser, `\\w+` in lower case: it cuts Indic words at their vowel signs and takes a Chinese sentence for
one word. So the text is analysed here, and what is stored is a line of terms, `[a-z0-9]+` separated by spaces, that Lite's
analyser and the `standard` one of a Milvus server both pass through unchanged.

- Words are runs of letters, marks and digits after NFKC and case folding, stemmed with Snowball (Porter, "Snowball: a language
  for stemming algorithms", 2001) where it knows the language.
- Where it does not, a word of more than five characters also gives its first five (McNamee and Mayfield, "Character n-gram
  tokenization for European language text retrieval", 2004): much of inflection is suffixes.
- Han, Kana, Thai, Lao, Khmer and Burmese, written without spaces, give single characters and overlapping pairs.
- Numbers keep their structure: `1,000` is `1000`; `3.5` is `3p5`, and its parts.
- A term that is not ASCII is encoded: base 32 of its UTF-8, a digest where that gets long.

Documents and questions go through the same analysis; a question, whose language is often not known, under several languages.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import unicodedata
from collections.abc import Callable, Iterator, Sequence

import regex

_SNOWBALL = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "eo": "esperanto", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish", "fr": "french",
    "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian",
    "ne": "nepali", "nl": "dutch", "nb": "norwegian", "nn": "norwegian", "no": "norwegian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""ISO 639-1 → Snowball's name; a language that is not here, or that the installed Snowball lacks, is not stemmed."""

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_PIECE = regex.compile(
    rf"(?P<number>\d+(?:[.,٫٬'’]\d+)*)"
    rf"|(?P<unspaced>[{_UNSPACED}][{_UNSPACED}\p{{M}}]*)"
    rf"|(?P<word>(?:(?![{_UNSPACED}])[\p{{L}}\p{{M}}])(?:(?![{_UNSPACED}])[\p{{L}}\p{{M}}\p{{N}}])*)"
    rf"|(?P<sign>\p{{N}}+)"
)
_GRAPHEME = regex.compile(r"\X")
_SPACED_THOUSANDS = regex.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_POSSESSIVE = regex.compile(r"['’]s(?![\p{L}\p{M}\p{N}])", regex.IGNORECASE)
_THOUSANDS = regex.compile(r"(?<=^\d{1,3}|[.,٬'’]\d{3})[.,٬'’](?=\d{3}(?!\d))")
_PREFIX = 5
_LONGEST = 24
"""Characters of an encoded term; a longer one becomes a digest of 16."""


def terms(text: str, lang: str) -> str:
    """The text's terms in order, separated by single spaces, each `[a-z0-9]+`; "" for a text without letters and digits."""
    return " ".join(_terms(text, lang))


def query_terms(text: str, langs: Sequence[str]) -> str:
    """A question's terms under each of the languages, each distinct analysis of a word once.

    What a text is found by: `query_terms(text, [lang])` names only terms of `terms(text, lang)`.
    """
    analyses = [list(_terms(text, lang)) for lang in dict.fromkeys(langs)] or [list(_terms(text, ""))]
    first = analyses[0]
    known = set(first)
    added = dict.fromkeys(term for analysis in analyses[1:] for term in analysis if term not in known)
    return " ".join([*first, *added])


def _terms(text: str, lang: str) -> Iterator[str]:
    stem = _stemmer(lang)
    joined = _POSSESSIVE.sub("", _SPACED_THOUSANDS.sub("", text))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", joined).casefold())
    for match in _PIECE.finditer(folded):
        piece = match.group()
        if match.lastgroup == "word":
            if stem is None:
                yield _encode(piece)
                if len(piece) > _PREFIX:
                    yield _encode(piece[:_PREFIX]) + "0"  # no word: those do not end so
            else:
                yield _encode(stem(piece) or piece)
        elif match.lastgroup == "number":
            yield from _number(piece)
        elif match.lastgroup == "unspaced":
            yield from map(_encode, _characters_and_pairs(piece))
        else:
            yield _encode(piece)


def _number(piece: str) -> Iterator[str]:
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in piece)
    parts = regex.split(r"[.,٫٬'’]", _THOUSANDS.sub("", digits))
    if len(parts) > 1:
        yield _encode("p".join(parts))
    yield from map(_encode, parts)


def _characters_and_pairs(piece: str) -> Iterator[str]:
    characters = _GRAPHEME.findall(piece)
    yield from characters
    yield from map("".join, itertools.pairwise(characters))


def _encode(term: str) -> str:
    """An ASCII term as it is; any other one, or a very long one, as `[a-z2-7]+` of at most 26 characters."""
    if term.isascii() and len(term) <= _LONGEST:
        return term
    data = term.encode("utf-8", "surrogatepass")
    encoded = base64.b32encode(data).decode().rstrip("=").lower()
    if len(encoded) > _LONGEST:
        encoded = base64.b32encode(hashlib.blake2b(data, digest_size=10).digest()).decode().lower()
    return "zz" + encoded


@functools.lru_cache(maxsize=64)
def _stemmer(lang: str) -> Callable[[str], str] | None:
    import Stemmer

    name = _SNOWBALL.get(lang)
    if name is None or name not in Stemmer.algorithms():
        return None
    stem: Callable[[str], str] = Stemmer.Stemmer(name).stemWord
    return stem
