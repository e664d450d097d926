"""The main language of a text, as ISO 639-1 code.

The script decides where it names the language (Hangul, Thai, Greek …): statistical identification is weak on short or mixed
text. The rest goes to py3langid (after langid.py, Lui and Baldwin 2012), restricted to the languages of the script.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import Counter

_SAMPLE = 4000
_MIN_LETTERS = 20
_MIN_IDEOGRAPHS = 6
_OF_SCRIPT = {
    "HANGUL": "ko", "THAI": "th", "GREEK": "el", "HEBREW": "he", "ARMENIAN": "hy",
    "GEORGIAN": "ka", "BENGALI": "bn", "TAMIL": "ta",
    "TELUGU": "te", "KANNADA": "kn", "MALAYALAM": "ml", "GUJARATI": "gu", "GURMUKHI": "pa", "ORIYA": "or", "SINHALA": "si",
    "KHMER": "km", "LAO": "lo", "MYANMAR": "my", "ETHIOPIC": "am", "TIBETAN": "bo",
}  # fmt: skip
_AMONG = {
    "ARABIC": ("ar", "fa", "ur", "ps", "ug"),
    "CYRILLIC": ("ru", "uk", "bg", "sr", "mk", "be", "kk", "ky", "mn"),
    "DEVANAGARI": ("hi", "mr", "ne"),
}
_LOADING = threading.Lock()
_NOISE = re.compile(r"https?://\S+|\S+@\S+|[\d_|#*=<>/\\{}\[\]().,:;-]+")


def detect_language(text: str, declared: str = "") -> str:
    """ISO 639-1 code of the main language, "" where the text is too short to tell.

    `declared` is what the document says of itself (`lang="de"`); it is believed only where the text is too short.
    """
    sample = _NOISE.sub(" ", _spread(text))
    scripts = _scripts(sample)
    letters = sum(scripts.values())
    stated = declared.strip().lower().replace("_", "-").split("-")[0]
    fallback = stated if len(stated) == 2 and stated.isalpha() else ""
    if not letters:
        return fallback
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    ideographs = scripts["CJK"] + kana
    script, count = ("CJK", ideographs) if ideographs * 2 >= letters else scripts.most_common(1)[0]
    if script == "CJK":
        return ("ja" if kana * 10 > ideographs else "zh") if ideographs >= _MIN_IDEOGRAPHS else fallback
    if script in _OF_SCRIPT and count >= _MIN_IDEOGRAPHS:
        return _OF_SCRIPT[script]
    if letters < _MIN_LETTERS or script not in ("LATIN", *_AMONG):
        return fallback
    return _statistical(sample, _AMONG.get(script))


def _spread(text: str) -> str:
    """Up to three windows of the text: its start may be a table of contents or a title page in another language."""
    if len(text) <= _SAMPLE:
        return text
    third = _SAMPLE // 3
    middle = len(text) // 2
    return f"{text[:third]} {text[middle : middle + third]} {text[-third:]}"


def _scripts(sample: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for character, count in Counter(sample).items():
        if character.isalpha():
            name = unicodedata.name(character, "").split(" ")[0]
            counts["CJK" if name.startswith(("CJK", "IDEOGRAPHIC")) else name] += count
    return counts


def preload() -> None:
    """Load the statistical model (about a second, mostly outside the interpreter's lock); harmless to call twice."""
    import py3langid

    with _LOADING:
        py3langid.classify("")


def _statistical(sample: str, among: tuple[str, ...] | None) -> str:
    import py3langid

    preload()
    for code, _ in py3langid.rank(sample):
        language = str(code)
        if language in among if among else len(language) == 2:
            return language
    return ""
