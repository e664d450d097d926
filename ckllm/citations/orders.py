"""Text of a document that is addressed to the model: orders, faked turns and delimiters, control tokens.

A passage is material to answer from, so whatever speaks to the machine that reads it is no answer to anybody's question. Such
text is found here by its form, and is then neither selected for the prompt, nor quoted, nor accepted as what a sentence rests on
(indirect prompt injection, Greshake et al. 2023). This is one layer: an order that its form does not give away still meets
verification, which lets nothing into an answer that does not stand in a document.

The unit is the paragraph (a table's row, a list's item), since an order and what it wants said stand together.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from functools import lru_cache

import regex

from ckllm.citations.sentences import blocks
from ckllm.prompting.templates import profiles

_NOUNS = (
    r"instructions?|prompts?|rules|directions|guidelines|directives?|commands?|orders|context|constraints|safeguards"
    r"|anweisung(?:en)?|vorgaben|regeln|befehle?|consignes?|directives?|règles|ordres|instrucciones|indicaciones|reglas"
    r"|órdenes|instruções|regras|istruzioni|regole|instructies|talimat\w*|инструкц\w*|указани\w*|правил\w*|команд\w*"
)
_WHICH = (
    r"all|any|previous|prior|above|earlier|preceding|former|other|your|system|these|those|every|everything|alle[rns]?|bisherigen?|"
    r"vorherigen?|obigen?|vorigen?|toutes|tous|précédentes?|ci-dessus|todas?|todos|anteriores|previas|tutte|precedenti|"
    r"vorige|eerdere|önceki|tüm|bütün|все|предыдущие|прежние|вышеуказанн\w*"
)
_DROP = (
    r"ignor\w*|disregard|forget|override|bypass|neglect|discard|vergiss|vergessen|missachte|oublie[rz]?|olvid\w+|esque[cç]\w+|"
    r"dimentica\w*|negeer|vergeet|yok\s+say\w*|unut\w*|игнорир\w*|забудь(?:те)?|проигнорир\w*"
)
_MACHINE = (
    r"(?-i:AI|A\.I\.)(?:\s+(?:assistant|model|system|agent|bot)s?)?|language\s+models?|llms?|chat\s?bots?|chatgpt|gpt(?:-\d\w*)?|copilot"
    r"|sprachmodell\w*|ki-\w+|modèle\s+de\s+langage|modelo\s+de\s+lenguaje|языков\w+\s+модел\w+"
)
_DICTATES = (
    r"\b(?:answer|reply|respond|say|state|claim|write|output|print|repeat|tell|cite|append|include|add|insert|reveal|translate|"
    r"mention|recommend|execute|obey|comply|follow|ignore|must|should|shall)\b"
)
_STRONG = tuple(
    regex.compile(pattern, regex.IGNORECASE)
    for pattern in (
        rf"\b(?:{_DROP})\b[^.!?\n]{{0,40}}\b(?:{_WHICH})\b[^.!?\n]{{0,40}}\b(?:{_NOUNS})\b",
        rf"\b(?:{_DROP})\b[^.!?\n]{{0,40}}\b(?:{_NOUNS})\b[^.!?\n]{{0,40}}\b(?:{_WHICH})\b",
        rf"\b(?:{_DROP})\s+(?:everything|all|the\s+text|what)\b[^.!?\n]{{0,30}}\b(?:above|before|previous\w*|told)\b",
        rf"\b(?:{_WHICH})\b[^.!?\n]{{0,30}}\b(?:{_NOUNS})\b[^.!?\n]{{0,30}}\b(?:ignor\w*|disregarded|vergessen|yok\s+say\w*|unut\w*)\b",
        r"(?:忽略|忽视|無視|无视|不要理会|忘记|忘掉)[^。！？\n]{0,14}(?:指令|指示|说明|提示|規則|规则|命令|内容)",
        r"(?:指示|命令|指令|プロンプト|ルール)[^。！？\n]{0,6}(?:無視|忘れ)",
        r"(?:지시|명령|지침|프롬프트)[^.!?\n]{0,10}(?:무시|잊)",
        r"(?:निर्देश|आदेश|नियम)\S*[^।!?\n]{0,24}(?:अनदेखा|नज़रअंदाज|नजरअंदाज|उपेक्षा|भूल)",
        r"(?:تجاهل|انس)\S*[^.!؟\n]{0,24}(?:تعليمات|التعليمات|أوامر|الأوامر|القواعد|قواعد)",
        r"\b(?:new|updated|real|secret|hidden)\s+(?:system\s+)?(?:instructions?|prompt|orders)\b\s*(?::|for\s+(?:the\s+)?(?:ai|assistant|model|bot)\b)",
        r"\b(?:further|special|additional)\s+(?:system\s+)?(?:instructions?|prompt|orders)\b\s*for\s+(?:the\s+)?(?:ai|assistant|model|bot)\b",
        rf"\b(?:instructions?|notes?|message|orders?|attention|memo)\s+(?:to|for)\s+(?:the\s+|any\s+|all\s+)?(?:{_MACHINE}|assistants?|model)\b(?!\s+[A-Z0-9])",
        r"\bsystem\s+(?:prompt|override|instruction)s?\b\s*(?::|says|is\b|has\b|must|you)",
        r"\bsystem\s+messages?\b\s*(?:says|:[^.!?\n]{0,40}\b(?:ignore|answer|reply|respond|you)\b)",
        r"\b(?:reveal|print|repeat|show|output|leak)\b[^.!?\n]{0,30}\b(?:system\s+prompt|your\s+(?:instructions|prompt))",
        r"\byou\s+are\s+(?:now|no\s+longer)\b[^.!?\n]{0,60}\b(?:assistant|ai|model|bot|dan|mode|bound|restricted|pirate)\b",
        r"\bfrom\s+now\s+on,?\s+(?:(?:you\s+)?(?:must|shall|should|will|always)?\s*)"
        r"(?:answer|reply|respond|ignore|act|obey|say)\b",
        r"\b(?:when|if|once|whenever)\b[^.!?\n]{0,40}\b(?:someone|anyone|the\s+user|a\s+user|users)\b[^.!?\n]{0,15}\b(?:asked|asks?)\b"
        r"[^.!?\n]{0,120}\b(?:answer|reply|respond|say|state|claim)\b",
        r"\b(?:when|before|while|in)\s+(?:answering|summari[sz]ing)\b[^.!?\n]{0,60}\b(?:question|document|passage|text|page|user)s?\b"
        r"[^.!?\n]{0,80}\b(?:say|write|always|must|include|add|append|mention|cite|claim|state|use)\b",
        r"\b(?:begin|end|start|finish|close|prefix)\s+(?:each|every|all|your|the|any)\s+(?:\w+\s+)?(?:answer|reply|response|output|message)s?\b",
        r"\b(?:answer|reply|respond)\s+(?:to\s+)?(?:(?:every|all|any|each)\s+)?(?:question|query|querie|request)s?\s+(?:only\s+)?with\b",
        r"\b(?:answer|reply|respond)\s+(?:only|exactly|exclusively|simply|just)\s+(?:with\b(?!\s+(?:the\s+)?enclosed)|by\s+(?:saying|writing|repeating|quoting))",
        r"\b(?:render|embed|display|insert|include|append|add|put|show)\b[^.!?\n]{0,50}\b(?:markdown|image|link|picture|html|url)s?\b"
        r"[^.!?\n]{0,40}\b(?:answer|reply|response|output)s?\b",
        r"\b(?:cite|mark|quote)\s+(?:it|this|that|them|yourself)?\s*(?:only\s+)?as\s+(?:source\s+)?\[?\d",
        r"</?\s*passage\b|(?:^|\n)\s*#{2,}\s*(?:system|instruction|response|assistant)s?\s*:?\s*(?:\n|$)|<\s*/?\s*(?:system|assistant|instructions?)\s*>",
        r"\bBEGIN\s+(?:SYSTEM|NEW)\s+\w+|\bEND\s+OF\s+(?:PASSAGE|CONTEXT|DOCUMENT|PROMPT|INSTRUCTION)S?\b",
    )
)
_ADDRESSED = regex.compile(rf"\b(?:{_MACHINE})\b", regex.IGNORECASE)
_DICTATED = regex.compile(_DICTATES, regex.IGNORECASE)
_ROLE = regex.compile(r"(?:^|\n|[.!?]\s)\W{0,4}(?:system|assistant|developer)\W{0,4}:", regex.IGNORECASE)
_TO_SAY = regex.compile(
    rf"{_DICTATES}[^.!?\n]{{0,40}}\b(?:that|only|exactly|with|the\s+following|as\s+follows|always|instead)\b", regex.IGNORECASE
)
_ENCODED = regex.compile(r"[A-Za-z0-9+/]{24,4000}={0,2}")
_BLANK = regex.compile(r"\p{Cf}+")
_NEAR = 160
"""Characters around a word for the model in which it is told what to say."""
_LONG = 1000
"""Characters of a paragraph from which its lines are taken one by one."""
_SHORTEST = 5
"""Characters of a template's marker that gives a text away; `<s>` is also a tag of HTML."""
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕһԁԛԝвкмнтАВЕКМНОРСТХУІЈЅαονρτικΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aeopcyxijshdqwbkmhtABEKMHOPCTXYIJSaovptikABEZHIKMNOPTYX"
)
"""Cyrillic and Greek letters that look like Latin ones (after the confusables of Unicode's UTS 39)."""


def order_spans(text: str) -> list[tuple[int, int]]:
    """Paragraphs of `text` that speak to a model, as (start, end) in order; after one that ends in a colon, also the next."""
    found: list[tuple[int, int]] = []
    announced = False
    for start, piece in _units(text):
        if announced or is_order(piece):
            found.append((start, start + len(piece)))
            announced = not announced and piece.rstrip().endswith(":")
    return found


@lru_cache(maxsize=8192)
def is_order(text: str) -> bool:
    """Whether one paragraph (or title) speaks to a model."""
    plain = unicodedata.normalize("NFKC", _BLANK.sub("", text))
    return any(_orders(form) for form in dict.fromkeys((plain, plain.translate(_LOOKALIKES)))) or any(
        _orders(hidden) for hidden in _decoded(plain)
    )


def _orders(text: str) -> bool:
    if any(marker in text for marker in _markers()) or any(pattern.search(text) for pattern in _STRONG):
        return True
    return any(
        bool(_TO_SAY.search(near)) and len(_DICTATED.findall(near)) >= least
        for least, pattern in ((2, _ADDRESSED), (1, _ROLE))
        for match in pattern.finditer(text)
        for near in (text[max(0, match.start() - _NEAR) : match.end() + _NEAR],)
    )


def _decoded(text: str) -> list[str]:
    """What stands in base64 in the text, where that is text."""
    found = []
    for match in _ENCODED.finditer(text):
        raw = match.group().rstrip("=")
        try:
            found.append(base64.b64decode(raw + "=" * (-len(raw) % 4), validate=True).decode("utf-8"))
        except (binascii.Error, UnicodeDecodeError):
            continue
    return found


@lru_cache(maxsize=1)
def _markers() -> tuple[str, ...]:
    found = {marker for profile in profiles().values() for marker in profile.markers}
    return tuple(sorted(marker for marker in found if len(marker) >= _SHORTEST))


def _units(text: str) -> list[tuple[int, str]]:
    """Paragraphs, list items and table rows with their offsets."""
    found = []
    for begin, block in blocks(text):
        if " | " not in block and len(block) <= _LONG:
            found.append((begin, block))
            continue
        at = begin
        for line in block.split("\n"):
            found.append((at, line))
            at += len(line) + 1
    return [(start, piece) for start, piece in found if piece.strip()]
