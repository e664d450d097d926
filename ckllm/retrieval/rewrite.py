"""Follow-up questions: what is searched for when the question alone does not say it.

The rule is simple and costs nothing: a question that is short, or that points back with a pronoun, is searched for together
with the user's question before it. The model still gets the question as it was asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import regex

from ckllm.contracts import Message

SHORT = 4
"""Words up to which a question with a history counts as a follow-up ("And in 1990?")."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = regex.compile(r"[\p{L}\p{M}\p{N}'’]+")
_POINTING = _set(
    "it its he him his she her hers they them their theirs this that these those there then one ones former latter "
    "same such er ihn ihm sein sie ihr ihre es dies diese dieser dort il elle lui leur eux ça cela ceci ces là él "
    "ella ellos ellas su sus eso esto esos estas यह वह ये वे इस उस इसका उसका इसके उसके इसकी उसकी उनका उनके उनकी "
    "इनके वहाँ यहाँ 它 他 她 他们 它们 这 那 这个 那个 هو هي هم هذا هذه ذلك تلك"
)


def standalone_query(question: str, history: Sequence[Message]) -> str:
    """The text to search for: the question, after the user's last one where it is a follow-up of it."""
    earlier = next((turn.content for turn in reversed(history) if turn.role == "user" and turn.content.strip()), "")
    return f"{earlier.strip()} {question}" if earlier and _is_follow_up(question) else question


def _is_follow_up(question: str) -> bool:
    words = [word.casefold() for word in _WORD.findall(question)]
    return len(words) <= SHORT or any(word in _POINTING for word in words)
