"""What every embedder promises: one suite over all of them."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from ckllm.embedding.base import Embedder, Purpose
from ckllm.errors import DataError

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
TEXTS = [
    "The ferry leaves at seven in the morning.",
    "a",
    "Der Ofen wird auf zweihundert Grad vorgeheizt, bevor der Teig hineinkommt.",
    "किराये की रसीद तीन दिन में मिलती है।",
    "渡轮早上七点出发。",
    "word " * 60,
]
ODD = [
    "",
    " ",
    "\n\t",
    "\x00",
    "a\x00b",
    "\ud800",
    "x\udfff y",
    "🤷🏽‍♀️",
    "e\u0301",
    "\ufeff",
    "<s></s>",
    "[CLS]",
    "ﷺ" * 3,
    "\u202eabc",
]


@pytest.mark.parametrize("purpose", PURPOSES)
def test_vectors_have_shape_type_and_unit_length(embedder: Embedder, purpose: Purpose) -> None:
    vectors = embedder.embed(TEXTS, purpose)
    assert vectors.shape == (len(TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_no_texts_give_no_vectors(embedder: Embedder, purpose: Purpose) -> None:
    assert embedder.embed([], purpose).shape == (0, embedder.dimension)
    assert embedder.count_tokens([]) == []


def test_order_and_neighbours_do_not_matter(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS, "passage")
    alone = np.concatenate([embedder.embed([text], "passage") for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-4)
    np.testing.assert_allclose(embedder.embed(TEXTS[::-1], "passage")[::-1], together, atol=2e-4)
    distances = 1 - together @ together.T + np.eye(len(TEXTS))
    assert distances.min() > 1e-3, "different texts have different vectors, so a wrong order would have been seen"


def test_the_same_text_gives_the_same_vector_again(embedder: Embedder) -> None:
    first, second = (embedder.embed(TEXTS[:1], "query") for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_odd_text_is_embedded(embedder: Embedder) -> None:
    for purpose in PURPOSES:
        vectors = embedder.embed(ODD, purpose)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert all(count >= 0 for count in embedder.count_tokens(ODD))


def test_tokens_are_counted_by_text(embedder: Embedder) -> None:
    counts = embedder.count_tokens(["", "one", "one two three four five six", TEXTS[-1]])
    assert counts[0] == 0
    assert 1 <= counts[1] < counts[2] < counts[3]
    assert embedder.count_tokens([TEXTS[0]] * 3) == embedder.count_tokens([TEXTS[0]]) * 3


def test_a_passage_at_the_limit_is_taken_and_one_above_is_refused(embedder: Embedder) -> None:
    longest = "yes " * embedder.max_tokens
    (count,) = embedder.count_tokens([longest])
    assert count >= embedder.max_tokens
    fitting = longest[: len(longest) * embedder.max_tokens // count // 4 * 4]
    assert embedder.count_tokens([fitting])[0] <= embedder.max_tokens
    assert embedder.embed([fitting], "passage").shape == (1, embedder.dimension)
    with pytest.raises(DataError, match=r"passage 1 has \d+ tokens, .+ takes \d+"):
        embedder.embed(["short", longest * 2], "passage")


def test_a_long_question_is_cut(embedder: Embedder) -> None:
    beginning = "when does the ferry leave " * embedder.max_tokens
    vectors = embedder.embed([beginning, beginning + "unless there is fog " * 500], "query")
    np.testing.assert_allclose(vectors[0], vectors[1], atol=2e-4)


def test_texts_of_one_meaning_are_nearest(embedder: Embedder) -> None:
    passages = ["The ferry leaves at seven in the morning.", "Olive oil is pressed in autumn.", "Windows are cleaned on Mondays."]
    query = embedder.embed(["When does the ferry leave in the morning?"], "query")
    assert int((query @ embedder.embed(passages, "passage").T).argmax()) == 0


def test_the_name_is_a_line_and_the_limit_is_usable(embedder: Embedder) -> None:
    assert embedder.name.strip() == embedder.name != ""
    assert "\n" not in embedder.name
    assert embedder.max_tokens >= 64
