"""Follow-up questions: what is searched for, and routed, when the question alone does not say it.

The rules are simple and cost nothing: a question that is a part of one ("And the bridge?", "Since when?") or that points back
with a pronoun is searched for together with the user's last question that stands alone. Where it is not clear it is searched for
by itself: with another question before it, that one would be answered again. The model still gets the question as it was asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import regex

from ckllm.contracts import Message

SHORT, SHORT_HAN = 12, 5
"""Letters up to which a question is a follow-up where it is not whole ("Since when?"); the second of Chinese and Japanese."""
FEW = 4
"""Words up to which one is that begins with a preposition ("For how many people?"), and what may follow an "and"."""

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}'’]+")
_LETTER = regex.compile(r"\p{L}")
_HAN = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
_PREPOSITION = regex.compile(
    r"\W*(?:for|in|at|on|since|until|with|to|from|by|für|seit|bis|mit|von|auf|bei|pour|depuis|avec|à|dans|para|por|desde|con|en)\s",
    regex.IGNORECASE,
)
_GOES_ON = regex.compile(
    r"\W*(?:(?:and|but|or|(?:what|how)\s+about|und|oder|aber|et|mais|y|pero|और|а|и|но)(?![\p{L}\p{M}])|那么|でも|では)",
    regex.IGNORECASE,
)
_COMPLETE = regex.compile(
    r"\W*(?:(?:what|who|where|when|why|how|which)\s+(?:is|are|was|were|do|does|did|can|has|have)"
    r"|(?:was|wer|wo|wann|warum|wie)\s+(?:ist|sind|war|waren|hat|haben|wird|werden|kann|bedeutet|heißt)"
    r"|(?:qué|quién|quiénes|dónde|cuándo|cómo|cuál|cuáles)\s+(?:es|son|está|están|era|eran|fue|fueron|significa)"
    r"|(?:qui|où|quand|comment|que|quel(?:le)?s?)\s+(?:est|sont|était|étaient|signifie))\s+\p{L}"
    r"|\W*(?:what|who|where|when|why|how|which|was|wer|wo|wann|warum|wie|welche[rsmn]?|qué|quién|quiénes|dónde|cuándo|cómo|cuál"
    r"|cuáles|cuánt[oa]s?|qui|où|quand|comment|combien|que|quel(?:le)?s?|кто|что|где|когда|почему|как|сколько)(?:\s+[\p{L}\p{M}]+){3}",
    regex.IGNORECASE,
)
"""The beginning of a question that is whole, however short: "What is a weir?", "how long is the weir"."""
_POINTS = regex.compile(
    r"""
    (?<![\p{L}\p{M}])(?:
        (?:it|this|these|those|same|er|ihn|ihm|dies|diese[rsmn]?|dort|elle|ça|cela|ceci|celui|celle|eso|esto|esos
          |estas|यह|वह|ये|वे|इस|उस|इन|उन|इसका|उसका|इसके|उसके|इसकी|उसकी|هذا|هذه|ذلك|تلك|это|этот|эта|эти|этого)
      | (?<=(?:is|are|was|were|do|does|did|has|had|will|would|can|could|about|after|before|of|in|for|with|from|at|on|to|than|like
          |by)\s)that
      | that(?=\W*$)
      | (?<!(?:is|are|was|were|be)\s)there(?!\s+(?:is|are|was|were|be))
      | (?:which|this|that|there|other|another)\s+ones?(?!\s+of)
    )(?![\p{L}\p{M}])
    | 它|(?<!其)[他她]|这个|这些|那个|那些
    """,
    regex.IGNORECASE | regex.VERBOSE,
)
_PERSON = regex.compile(
    r"(?<![\p{L}\p{M}])(?:he|she|him|his|hers?|they|them|theirs?|its|sie|ihr|ihre[rnms]?|sein|seine[rnms]?|il|ils|elles|leurs?|ellas?"
    r"|ellos|sus?|उनका|उनके|उनकी|इनके|он|она|они|его|её|их)(?![\p{L}\p{M}])",
    regex.IGNORECASE,
)
"""Pronouns that may also stand for a name that the question says before them."""
_NAME = regex.compile(r"(?<=[\p{L}\p{M}\p{N}'’]\W{1,3})\p{Lu}")


def standalone_query(question: str, history: Sequence[Message]) -> str:
    """The text to search for: the question, after the user's last one that stands alone where it is a follow-up, and after those
    between that name something.
    """
    earlier = [turn.content.strip() for turn in history if turn.role == "user" and turn.content.strip()]
    parts = [question]
    needs = _is_follow_up(question)
    while needs and earlier:
        turn = earlier.pop()
        needs = _is_follow_up(turn)
        if not needs or not earlier or _NAME.search(turn):
            parts.insert(0, turn)
    return " ".join(parts)


def _is_follow_up(question: str) -> bool:
    if _POINTS.search(question) or ((begun := _GOES_ON.match(question)) and _is_part(question[begun.end() :])):
        return True
    pronoun, name = _PERSON.search(question), _NAME.search(question)
    if pronoun and not (name and name.start() < pronoun.start()):
        return True
    return _is_short(question) and not _COMPLETE.match(question)


def _is_part(rest: str) -> bool:
    """Whether what follows an "and" is a part of a question: "And the approach roads?"."""
    return len(_WORD.findall(rest)) <= FEW and not _COMPLETE.match(rest)


def _is_short(question: str) -> bool:
    if len(_LETTER.findall(question)) <= (SHORT_HAN if _HAN.search(question) else SHORT):
        return True
    return len(_WORD.findall(question)) <= FEW and _PREPOSITION.match(question) is not None
