"""Statements that a passage supports, and statements that it does not, made by rule: what a verifier is trained and judged on.

Supported: a question and its answer as a statement, a sentence that loses an aside. Not supported: a sentence with one thing
changed, namely a number, a name, the order of two of them, a negation, a quantifier, a unit, a month or a word.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import regex

from ckllm.citations.terms import content_keys
from ckllm.citations.verification import names, numbers

_BE = "is|are|was|were|can|could|will|would|has|have|had|may|must|should"
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_QUANTIFIERS = {
    "all": "some", "every": "no", "most": "few", "only": "also", "first": "last", "last": "first", "largest": "smallest",
    "smallest": "largest", "more": "less", "less": "more", "always": "never", "both": "neither",
    "before": "after", "after": "before",
    "increased": "decreased", "higher": "lower", "north": "south", "east": "west", "many": "few",
}  # fmt: skip
_UNITS = {
    "percent": "million", "km": "miles", "miles": "km", "metres": "feet", "feet": "metres", "million": "billion",
    "billion": "million",
    "years": "days", "days": "years", "months": "years", "hours": "days", "%": " million",
}  # fmt: skip
_PARTICIPLE = (
    r"(?:\p{Ll}+ed|born|built|held|made|found|won|sent|written|taken|given|known|shown|seen|begun|fought|brought|bought|sold|led"
    r"|lost|driven|chosen|broken|laid|paid|spent|drawn|grown|called|put|set|cut)"
)
_OPEN_END = regex.compile(r"\b(?:do|does|did)\b|\b(?:in|on|at|of|to|for|from|by|with|as|about|into|under|over)$")
"""What the rest of a question has where its answer does not come first."""
_AUXILIARY = regex.compile(r"\b(?:is|are|was|were|can|could|will|would|has|have|had|did|does)\b")
_NEGATION = {
    "de": ("ist", "ist nicht"), "es": ("es", "no es"), "hi": ("है", "नहीं है"), "ru": ("был", "не был"), "zh": ("是", "不是"),
    "ar": ("كان", "ما كان"),
}  # fmt: skip


def stated(question: str, answer: str) -> str:
    """A question with its answer as a statement; "" where the rules do not reach. A few of them are poor sentences."""
    text = regex.sub(r"\s+", " ", question).strip().rstrip("?").strip()
    answer = answer.strip().rstrip(".")
    if _OPEN_END.search(text):
        return ""
    who_did = r"Who (?!did|do|does|is|are|was|were)(?=\w+(?:s|t|e|d|n) )"
    active = rf"{who_did}|What (?=\p{{Ll}}+ed )|Wh(?:at|ich) (?!(?:{_BE}) )\w+ (?=\p{{Ll}}+ed )"
    who = regex.match(rf"(?:{active})(.+)$", text)
    if who:
        return _sentence(f"{answer} {who[1]}")
    passive = regex.match(rf"(?:Who|What) ({_BE}) ({_PARTICIPLE}\b.*)$", text)
    if passive:
        return _sentence(f"{answer} {passive[1]} {passive[2]}")
    by = regex.match(
        rf"(?:By|From|To|In|On|At|With|For) (?:who|whom|what|which \w+|what \w+) (is|are|was|were) (.+) ({_PARTICIPLE})$", text
    )
    if by:
        return _sentence(f"{by[2]} {by[1]} {by[3]} {text.split()[0].lower()} {answer}")
    when = regex.match(rf"(?:When|In (?:what|which) year) (is|was|were|are) (.+?) ({_PARTICIPLE})( .*)?$", text)
    if when:
        return _sentence(f"{when[2]} {when[1]} {when[3]}{when[4] or ''} in {answer}")
    many = regex.match(r"How (?:many|much) (.+?) ((?:are|is|was|were|has|have|had|died|live|lived)\b.*)$", text)
    if many:
        return _sentence(f"{answer} {many[1]} {many[2]}")
    what = regex.match(r"(?:What|Who) (is|was|are|were) (the .+|\p{Lu}.+)$", text)
    if what:
        return _sentence(f"{what[2]} {what[1]} {answer}")
    return ""


def without_aside(text: str, lang: str) -> str:
    """The sentence without a parenthesis, or without a short beginning before its first comma."""
    plain = regex.sub(r"\s*[(（][^()（）]*[)）]", "", text)
    if plain == text and lang in ("en", "de", "es"):
        begin = regex.match(
            r"(?:In|On|At|By|During|After|However|Also|Im|Am|En|A|Por|Sin embargo)\b[^,]{0,40}, (\p{L}.{30,})$", text
        )
        plain = begin[1][0].upper() + begin[1][1:] if begin else text
    if plain == text and lang == "en":
        plain = regex.sub(r",? (?:which|who|where|although|while|whereas)\b[^,.]*\.$", ".", text)
    return plain if plain != text and len(content_keys(plain)) >= 4 else ""


def changes(text: str, passage: str, lang: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """The sentence with one thing changed, as (kind, text); each kind at most once."""
    own = sorted(numbers(text))
    if own:
        old = rng.choice(own)
        elsewhere = sorted(numbers(passage) - set(own))
        new = rng.choice(elsewhere) if elsewhere else str(int(regex.sub(r"\D", "", old)) + rng.randint(1, 9))
        yield "number", text.replace(old, new, 1)
        if len(own) > 1:
            one, two = rng.sample(own, 2)
            yield "numbers swapped", _swapped(text, one, two)
    found = list(dict.fromkeys(name for name in names(text) if len(name) > 2))
    if found:
        strangers = sorted({name for name in names(passage) if name not in text and len(name) > 2})
        if strangers:
            yield "name", text.replace(rng.choice(found), rng.choice(strangers), 1)
        if len(found) > 1:
            yield "names swapped", _swapped(text, *rng.sample(found, 2))
    yield from _words_changed(text, passage, lang, rng)


def _words_changed(text: str, passage: str, lang: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    if lang == "en" and (verb := _AUXILIARY.search(text)):
        yield "negation", f"{text[: verb.end()]} not{text[verb.end() :]}"
    elif lang in _NEGATION:
        old, new = _NEGATION[lang]
        if lang == "zh" and old in text:
            yield "negation", text.replace(old, new, 1)
        elif f" {old} " in text or text.endswith(f" {old}।"):
            yield "negation", text.replace(f" {old}", f" {new}", 1)
    for kind, table in (
        ("quantifier", _QUANTIFIERS),
        ("unit", _UNITS),
        ("month", dict(zip(_MONTHS, _MONTHS[3:] + _MONTHS[:3], strict=True))),
    ):
        for old, new in table.items():
            pattern = regex.compile(rf"(?<!\p{{L}}){regex.escape(old)}(?!\p{{L}})")
            if pattern.search(text) and (kind != "month" or _NUMBERED.search(text)):
                yield kind, pattern.sub(new, text, count=1)
                break
    words = [word for word in regex.findall(r"(?<=\s)\p{Ll}[\p{Ll}\p{M}]{4,}(?=[\s,.])", text) if content_keys(word)]
    strangers = sorted(set(regex.findall(r"(?<=\s)\p{Ll}[\p{Ll}\p{M}]{4,}(?=[\s,.])", passage)) - set(words))
    if words and strangers:
        yield "word", text.replace(f" {rng.choice(words)}", f" {rng.choice(strangers)}", 1)


_NUMBERED = regex.compile(r"\d")


def _swapped(text: str, one: str, two: str) -> str:
    return text.replace(one, "\0").replace(two, one).replace("\0", two)


def same_words(one: str, other: str) -> bool:
    return content_keys(one) == content_keys(other) and len(regex.findall(r"\w+", one)) == len(regex.findall(r"\w+", other))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
