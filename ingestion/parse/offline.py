"""Makes unstructured work without network, spaCy and torch.

Its element classifier asks `unstructured.nlp.tokenize` for sentences, words and parts of speech, and that module downloads an
English spaCy model when first used (and importing spaCy imports torch, which costs seconds and hundreds of MB in every parser
process). What it is asked for only tells titles from prose where the format itself does not say: this replacement, put in
its place before anything imports it, answers with rules that need no model and know no particular language.
"""

from __future__ import annotations

import os
import re
import sys
import types

_MODULE = "unstructured.nlp.tokenize"
_SENTENCE_END = re.compile(r"(?<=[.!?。！？؟।])\s+")


def use_offline() -> None:
    """Replace the tokeniser module and switch off notices and analytics; harmless to call twice.

    Raises RuntimeError where the original was imported before.
    """
    loaded = sys.modules.get(_MODULE)
    if loaded is not None:
        if not getattr(loaded, "without_models", False):
            raise RuntimeError("unstructured was imported before it was made to work offline")
        return
    os.environ |= {"SCARF_NO_ANALYTICS": "true", "DO_NOT_TRACK": "true", "UNSTRUCTURED_DISABLE_NOTICE": "1"}
    module = types.ModuleType(_MODULE, __doc__)
    vars(module).update(
        without_models=True,
        sent_tokenize=sentences,
        word_tokenize=words,
        pos_tag=parts_of_speech,
    )
    sys.modules[_MODULE] = module


def sentences(text: str) -> list[str]:
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def parts_of_speech(text: str) -> list[tuple[str, str]]:
    """Words with their tags: long sentences are taken to hold a verb, which is all that the classifier asks."""
    found = words(text)
    return [(word, "VB" if place == 1 and len(found) > 8 else "NN") for place, word in enumerate(found)]
