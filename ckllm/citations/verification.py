"""Is a sentence supported by the words that it cites? Fails closed.

Similarity is not support, so hard rules come first, and one broken rule is enough: every number with its unit, every name,
every negation and every quantifier of the sentence must stand in its quotes. What passes is scored by how many of its content
words the quotes hold and how well their order is kept (longest common subsequence, as in ROUGE-L, Lin 2004).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import regex

from ckllm.citations.support import SupportModel, shipped
from ckllm.citations.terms import content_keys, terms
from ckllm.contracts import Quote


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NUMBER = regex.compile(r"(?:(?<![\p{L}\p{N}]|\p{N}\s)[-−–])?\p{Nd}+(?:[.,٫٬:]\p{Nd}+)*")
"""With its minus, which a range ("5–10") has not; a time of day is one number."""
_THOUSANDS = regex.compile(r"[,٬](?=\d{3}(?!\d))")
_WORD = regex.compile(r"[\p{L}\p{M}][\p{L}\p{M}\p{N}_'’.-]*")
_BEFORE_NUMBER = regex.compile(r"([$€£¥₹])\s?$")
_AFTER_NUMBER = regex.compile(r"\s?-?(\p{L}[\p{L}\p{M}]*|[%‰°$€£¥₹])")
_CLAUSE_REST = regex.compile(r"(?:\s*[\p{L}\p{M}'’]++){1,3}(?=\s*(?:[.;,:!?。।؟)]|$))")
"""The few words that end a clause."""
_LEAD = 4
"""Words before a claim in which its negation may stand ("it is not true that …")."""
_COMMON = _set(
    "i a an the in on at of to and or but for from by with as it its he she they we you his her their our this that "
    "these those is are was were be been no not if when while where who what which why how yes according however "
    "also there"
)
_NEGATIONS = _set(
    "not no never none neither nor cannot without nobody nothing nicht kein keine keinen keiner keinem nie niemals "
    "ohne ne pas jamais aucun aucune sans nunca jamás sin ningún ninguna ninguno não nem sem non mai senza не нет "
    "ни без никогда नहीं न मत बिना 不 没 沒 無 无 非 未 لا لم لن ليس ليست غير بدون değil yok không δεν μην χωρίς nu "
    "fără niet geen zonder nooit inte ej ingen inga utan aldrig ikke aldri uten uden tidak bukan tanpa belum nincs není nejsou "
    "nebyl nebyla nebylo nelze ei eivät ilman לא אין אינו אינה אינם בלי ללא نیست نہیں নয় নেই নাহি नाही இல்லை కాదు లేదు નથી ਨਹੀਂ"
)
_NEGATION_WITHIN = regex.compile("ない|ません|なかった|ไม่|않|없|아니")
"""What denies inside a word, or where no space sets words apart."""
_QUANTIFIERS = _set(
    "all every always only most exactly entirely completely each both half twice double least more less fewer "
    "largest smallest first last tous toutes toujours seulement alle immer nur jeder todos siempre sólo सभी हमेशा "
    "केवल"
)
_ORDER = _set("before after vor nach avant après antes después")
"""They say little by themselves, and exchanged they turn a statement round."""
_SCALES = _set("hundred thousand million billion trillion dozen lakh crore")
"""Behind which the unit still follows: "5 million dollars"."""
_UNITS = _SCALES | _set(
    "percent % ‰ ° $ € £ ¥ ₹ km m cm mm mi mile foot feet inch yard "
    "kg g mg t ton tonne lb pound oz l ml litre liter gallon s ms min minute hour h day week month year decade "
    "century degree c f k v kv w kw mw gw kwh mwh hz khz mhz ghz b kb mb gb tb bar pa kpa mpa psi ppm usd eur gbp "
    "inr rupee dollar euro yen am pm ad bc bce ce"
)
_SAME_UNIT = {
    "$": "dollar", "usd": "dollar", "€": "euro", "eur": "euro", "£": "pound", "gbp": "pound", "¥": "yen", "₹": "rupee",
    "inr": "rupee", "%": "percent", "liter": "litre",
}  # fmt: skip

_ASIDE = regex.compile(r"\s*[(（][^()（）]*[)）]")
_CLAUSES = regex.compile(
    r"[;；]|,?\s+(?:while|whereas|but|während|aber|mientras|pero|tandis\s+que|mais)\s+"
    r"|,\s+(?:and|und|y|et)\s+|\s+and\s+(?=(?:the|an?)\s|\p{Lu})"
)
"""Where one statement ends and another begins within a sentence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`support` is 0 to 1; `broken` names the hard rule that failed, with what was missing, "" where none did."""

    supported: bool
    support: float
    broken: str = ""


class Verifier(Protocol):
    def verify(self, sentences: Sequence[str], quotes: Sequence[Sequence[Quote]]) -> list[Verdict]:
        """One verdict a sentence on the quotes that it cites, in order."""


class _VetoVerifier:
    """Hard rules as vetoes, then a score against `threshold` (both 0 to 1)."""

    def __init__(self, threshold: float, score: Callable[[str, str], float]) -> None:
        self._threshold = threshold
        self._score = score

    def verify(self, sentences: Sequence[str], quotes: Sequence[Sequence[Quote]]) -> list[Verdict]:
        return [self._one(sentence, [quote.text for quote in cited]) for sentence, cited in zip(sentences, quotes, strict=True)]

    def _one(self, sentence: str, cited: Sequence[str]) -> Verdict:
        if not cited:
            return Verdict(False, 0.0, "nothing in the evidence resembles it")
        if any(_squeezed(sentence) == _squeezed(text) for text in cited):
            return Verdict(True, 1.0)
        evidence = "\n".join(cited)
        score = self._score(sentence, evidence)
        if broken := broken_rule(sentence, evidence):
            return Verdict(False, round(min(score, self._threshold) / 2, 4), broken)
        return Verdict(score >= self._threshold, round(score, 4))


class RuleVerifier(_VetoVerifier):
    """Scores by coverage and order of words."""

    def __init__(self, threshold: float) -> None:
        super().__init__(threshold, overlap)


class TrainedVerifier(_VetoVerifier):
    """Scores by the probability of a trained model (:mod:`ckllm.citations.support`)."""

    def __init__(self, model: SupportModel | None = None) -> None:
        model = model or shipped()
        super().__init__(model.threshold, model.probability)


def overlap(sentence: str, evidence: str) -> float:
    """Mean of the share of the sentence's content words that the evidence holds, and of the share held in the same order."""
    said, there = content_keys(sentence), content_keys(evidence)
    if not said:
        return 0.0
    known = set(there)
    held = sum(key in known for key in said) / len(said)
    return (held + _common_subsequence(said, there) / len(said)) / 2


def broken_rule(sentence: str, evidence: str) -> str:
    """The first hard rule that `sentence` breaks against `evidence`, in words; "" where it keeps them all."""
    if missing := numbers(sentence) - numbers(evidence):
        return f"number {sorted(missing)[0]} is not in the quote"
    if unmeasured := _measured(sentence) - _measured(evidence):
        return f"{' '.join(sorted(unmeasured)[0])} is not in the quote"
    folded = unicodedata.normalize("NFKC", evidence).casefold()
    for name in names(sentence):
        if unicodedata.normalize("NFKC", name).casefold() not in folded:
            return f"name {name} is not in the quote"
    said, there = _words(sentence), _words(evidence)
    stated = _without_asides(sentence, evidence)
    if bool(said & _NEGATIONS) != bool(_words(_aligned(sentence, stated)) & _NEGATIONS):
        return "negation differs from the quote"
    if missing := (said & (_QUANTIFIERS | _ORDER)) - there:
        return f"{sorted(missing)[0]!r} is not in the quote"
    if _crosses(sentence, stated):
        return "it joins parts of two statements of the quote"
    return ""


def _crosses(sentence: str, evidence: str) -> bool:
    """Whether it takes some words of one statement and some of another, and leaves some of both: "adults take one tablet", from
    "adults take two tablets; children take one tablet". What each statement has of its own tells.
    """
    said = frozenset(content_keys(sentence))
    clauses = [frozenset(content_keys(part)) for part in _CLAUSES.split(evidence) if part]
    torn = 0
    for at, clause in enumerate(clauses):
        own = clause - frozenset().union(*clauses[:at], *clauses[at + 1 :])
        torn += bool(own & said) and bool(own - said)
    return torn > 1


def _without_asides(sentence: str, evidence: str) -> str:
    """`evidence` without the parentheses that `sentence` takes no content word from: what they deny or add is not said of it.
    One that only denies, "(not)", stays."""
    said = set(content_keys(sentence))

    def kept(aside: str) -> str:
        words = set(content_keys(aside)) - _NEGATIONS
        return " " if words and not words & said else aside

    return _ASIDE.sub(lambda match: kept(match.group()), evidence)


def numbers(text: str) -> frozenset[str]:
    """Numbers in any script's digits, without thousands separators: 1,000 = 1000 = १०००."""
    return frozenset(_plain(match.group()) for match in _NUMBER.finditer(text))


def names(sentence: str) -> list[str]:
    """Capitalised words, apart from a first word that is capitalised only because it comes first."""
    found = []
    for place, match in enumerate(_WORD.finditer(sentence)):
        bare = regex.sub(r"['’]s$", "", match.group().strip(".'’-"))
        if bare[:1].isupper() and (place or not _ordinary(bare)) and bare.lower() not in _COMMON:
            found.append(bare)
    return found


def _ordinary(word: str) -> bool:
    """Whether a capital at the beginning says nothing: one capital, the rest small."""
    return word[1:] == word[1:].lower()


def _plain(number: str) -> str:
    signs = {"٫": ".", "٬": ",", "−": "-", "–": "-"}
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else signs.get(c, c) for c in number)
    return _THOUSANDS.sub("", digits)


def _measured(text: str) -> frozenset[tuple[str, str]]:
    """Numbers with the currency before them, and the units that follow."""
    pairs = set()
    for match in _NUMBER.finditer(text):
        before = _BEFORE_NUMBER.search(text, max(0, match.start() - 2), match.start())
        units = [before[1]] if before else []
        place = match.end()
        while after := _AFTER_NUMBER.match(text, place):
            word = after[1].casefold()
            unit = word if word in _UNITS else word.removesuffix("s")
            place = after.end() if unit in _SCALES else len(text)
            units += [unit] if unit in _UNITS else []
        pairs |= {(_plain(match.group()), _SAME_UNIT.get(unit, unit)) for unit in units}
    return frozenset(pairs)


def _words(text: str) -> frozenset[str]:
    words = {term.key for term in terms(text)} | {match.group().casefold().strip(".-") for match in _WORD.finditer(text)}
    return frozenset(words | {"not" for word in words if word.endswith(("n't", "n’t")) or _NEGATION_WITHIN.search(word)})


def _aligned(sentence: str, evidence: str) -> str:
    """The stretch of the evidence from the first to the last content word that it shares with the sentence, a few words
    before it, and what is behind it where nothing but a negation ends the clause ("gilt für Kinder nicht")."""
    said, words = set(content_keys(sentence)) - _NEGATIONS, terms(evidence)
    shared = [place for place, term in enumerate(words) if term.key in said]
    if not shared:
        return ""
    end = words[shared[-1]].end
    rest = _CLAUSE_REST.match(evidence, end)
    if rest and (set(content_keys(rest.group())) <= _NEGATIONS or _NEGATION_WITHIN.match(rest.group())):
        end = rest.end()
    return evidence[words[max(0, shared[0] - _LEAD)].start : end]


def _squeezed(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(" .!?।。")


def _common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence, O(len(left) · len(right))."""
    row = [0] * (len(right) + 1)
    for key in left:
        diagonal = 0
        for at, other in enumerate(right, start=1):
            above = row[at]
            row[at] = diagonal + 1 if key == other else max(above, row[at - 1])
            diagonal = above
    return row[-1]
