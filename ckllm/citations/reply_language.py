"""Is a reply in the language of the question? Says no only where it is sure.

The script decides where question and reply are written in different ones. Within one script py3langid does (after langid.py, Lui
and Baldwin 2012), asked for one comparison only: the question must be clearly nearer to its language than to the reply's, and the
reply the other way round. Names, numbers and replies of a few words are of no language, so they are never called wrong.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

import regex

from ckllm.citations.refusal import script as script_of


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French", "gu": "Gujarati",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese",
    "kn": "Kannada",
    "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "ml": "Malayalam", "mr": "Marathi", "ne": "Nepali", "nl": "Dutch",
    "no": "Norwegian", "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak",
    "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
_OF_SCRIPT = {
    "DEVANAGARI": "an Indian language", "CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean",
    "CYRILLIC": "a language in Cyrillic letters", "ARABIC": "a language in Arabic letters",
    "LATIN": "a language in Latin letters",
}  # fmt: skip
_COMMON: Mapping[str, frozenset[str]] = {
    "en": _set("the of in is was were are who what when where which how did does many much a an to and by for with from that it"),
    "de": _set(
        "der die das den dem des ein eine und in ist war wurde wurden wer was wann wo welche welcher wie warum von mit auf"
    ),
    "fr": _set("le la les des du de et est était qui que quoi quand où quel quelle comment pourquoi une en dans par pour"),
    "es": _set("el la los las de del y es fue era quién qué cuándo dónde cuál cómo por un una en para con que se su"),
}
"""What tells the commonest languages apart without opening the model."""
_ALIKE = (
    {"da", "no", "sv"},
    {"hr", "sr", "sl"},
    {"cs", "sk"},
    {"es", "pt"},
    {"id", "ms"},
    {"hi", "mr", "ne"},
    {"ru", "uk", "bg"},
)
"""Languages that a sentence does not tell apart safely."""
_UNSPACED = frozenset({"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"})
_JAPANESE = frozenset({"CJK", "HIRAGANA", "KATAKANA"})
_WORD = regex.compile(r"[\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)*")
_LEAST_WORDS = 5
"""Words that are no names, below which a reply is of no language."""
_LEAST_LETTERS = 12
"""The same for scripts without spaces."""
_MIXED = 0.15
"""Share of the letters in the other's script from which two texts count as mixed, and nothing is said."""
_SURE_OF_REPLY = 12.0
_SURE_OF_QUESTION = 4.0
"""Nats by which the one language must be likelier than the other."""
_LOADING = threading.Lock()


def other_language(question: str, reply: str) -> str:
    """What is said of a reply that is in another language than the question, "" where it is in the same or nobody can tell."""
    asked, told = script_of(question), script_of(reply)
    if not asked or not told or not _has_language(reply, told):
        return ""
    if asked != told:
        mixed = {asked, told} <= _JAPANESE or _share(question, told) > _MIXED or _share(reply, asked) > _MIXED
        return "" if mixed else _said(_named(reply, told), _named(question, asked))
    if told in _UNSPACED or _share(question, asked) < 1 - _MIXED or _commonest(question) & _commonest(reply):
        return ""
    ours, theirs = _ranked(question), _ranked(reply)
    mine, other = max(ours, key=ours.__getitem__), max(theirs, key=theirs.__getitem__)
    if mine == other or any({mine, other} <= group for group in _ALIKE):
        return ""
    if ours[mine] - ours[other] < _SURE_OF_QUESTION or theirs[other] - theirs[mine] < _SURE_OF_REPLY:
        return ""
    return _said(_NAMES[other], _NAMES[mine])


def _said(told: str, asked: str) -> str:
    return f"the model answered in {told}, the question is in {asked}"


def _share(text: str, script: str) -> float:
    """How much of the letters of a text is written in a script."""
    letters = Counter(script_of(character) for character in text if character.isalpha())
    return letters[script] / max(1, letters.total())


def _commonest(text: str) -> set[str]:
    """Languages of which a text has most function words, at least two."""
    words = {word.lower() for word in _WORD.findall(text)}
    counts = {language: len(words & common) for language, common in _COMMON.items()}
    most = max(counts.values())
    return {language for language, count in counts.items() if count == most} if most > 1 else set()


def _has_language(text: str, script: str) -> bool:
    """Whether there is enough in a text that is neither name nor number."""
    if script in _UNSPACED:
        return sum(1 for character in text if script_of(character) in _UNSPACED) >= _LEAST_LETTERS
    words = [word for word in _WORD.findall(text) if script_of(word) == script]
    cased = any(word != word.lower() or word != word.upper() for word in words)
    return sum(1 for word in words if not cased or word == word.lower()) >= _LEAST_WORDS


def _named(text: str, script: str) -> str:
    """The language where it can be told, else what its script tells."""
    if script not in _UNSPACED and len(_WORD.findall(text)) >= _LEAST_WORDS and (ranked := _ranked(text)):
        return _NAMES[max(ranked, key=ranked.__getitem__)]
    return _OF_SCRIPT.get(script, f"{script.capitalize()} letters")


@lru_cache(maxsize=256)
def _ranked(text: str) -> dict[str, float]:
    """Known languages with their log-likelihoods."""
    import py3langid

    with _LOADING:  # the model is read at the first call
        return {str(code): float(score) for code, score in py3langid.rank(text) if code in _NAMES}
