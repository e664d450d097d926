"""Routers: what they choose, when they abstain, what they say, and that they look at nothing but the conversation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from ckllm.contracts import Message
from ckllm.embedding.base import Purpose, Vectors
from ckllm.embedding.hashing import HashingEmbedder
from ckllm.errors import DataError, UsageError
from ckllm.experts.base import BASE, RouteRequest
from ckllm.experts.routers import measures, nearest, perceptron
from ckllm.experts.routers.base_only import BaseOnlyRouter
from ckllm.experts.routers.calibration import FALSE_ABSTENTION, decide, fit_temperature, fit_threshold
from ckllm.experts.routers.centroid import CentroidScorer, RawMeanScorer, k_means
from ckllm.experts.routers.explicit import ExplicitRouter
from ckllm.experts.routers.features import BUCKETS, QuestionFeatures
from ckllm.experts.routers.folder import load_router
from ckllm.experts.routers.head import HeadScorer
from ckllm.experts.routers.held_out import Examples, held_out, parts_held_out, stratified_folds
from ckllm.experts.routers.nearest import NearestScorer
from ckllm.experts.routers.perceptron import Perceptron
from ckllm.experts.routers.rewording import MEASURED, REWORDINGS, key_words, with_typing_errors, without_signs
from ckllm.experts.routers.rule import RuleRouter
from ckllm.experts.routers.scoring import ScoredRouter, routing_text
from ckllm.experts.routers.style import STYLES, style
from ckllm.experts.routers.training import RouterRow, read_router_rows, train_router

EMBEDDER = HashingEmbedder()


@pytest.fixture(scope="module")
def trained(router_rows: list[RouterRow], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("router")
    return folder, train_router(router_rows, EMBEDDER, folder, data_sha256="d" * 64)


def head_of(folder: Path) -> HeadScorer:
    scorer = load_router(folder).scorer
    assert isinstance(scorer, HeadScorer)
    return scorer


def opened(folder: Path) -> ScoredRouter:
    saved = load_router(folder)
    return ScoredRouter(saved.scorer, saved.threshold, lambda: EMBEDDER)


def test_trained_router_chooses_and_abstains(trained: tuple[Path, dict[str, Any]]) -> None:
    router = opened(trained[0])
    garden, bread, star = router.route(
        [
            RouteRequest(q)
            for q in ("when to prune the rose hedge", "why does the dough crust crack", "how far is the comet from the moon")
        ]
    )
    assert (garden.expert, bread.expert, star.expert) == ("gardens", "baking", BASE)
    assert garden.weights == {"gardens": 1.0}
    assert star.weights == {BASE: 1.0}
    assert star.confidence < garden.confidence
    assert set(garden.scores) == {"gardens", "sailing", "baking", BASE}
    assert sum(garden.scores.values()) == pytest.approx(1, abs=1e-4)


def test_reasons_say_what_decided_and_what_would_have_been_needed(trained: tuple[Path, dict[str, Any]]) -> None:
    threshold = f"{trained[1]['threshold']:.2f}"
    sure, unsure = opened(trained[0]).route(
        [RouteRequest("prune the rose hedge with a spade"), RouteRequest("telescope lens for the galaxy")]
    )
    assert "gardens" in sure.reason
    assert threshold in sure.reason
    assert f"below {threshold}" in unsure.reason


def test_report_holds_held_out_figures(trained: tuple[Path, dict[str, Any]], router_rows: list[RouterRow]) -> None:
    report = trained[1]
    assert report["held_out_rows"] == report["rows"] == len(router_rows)
    assert report["macro_f1"] > 0.9
    assert report["out_of_scope_auroc"] > 0.9
    assert 0 <= report["calibration_error"] < 0.3
    counts = np.array(report["confusion"]["counts"])
    assert counts.sum() == len(router_rows)
    assert set(report["beside"]) == {"raw-mean", "centroid", "nearest"}
    above = 100 * (report["macro_f1"] - report["beside"]["raw-mean"]["macro_f1"])
    assert report["points_above_raw_means"] == pytest.approx(above)
    for router in (report, *report["beside"].values()):
        assert set(router["unchanged_when_reworded"]) == set(MEASURED)
        assert router["unchanged_when_reworded"]["no punctuation"] == 1, "these questions have no signs"
    assert 0 < report["beyond_embedding_ms"]["p50"] <= report["beyond_embedding_ms"]["p95"]
    assert json.loads((trained[0] / "confusion.json").read_text(encoding="utf-8")) == report["confusion"]


@pytest.mark.parametrize("strategy", ["centroid", "nearest"])
def test_simpler_routers_are_trained_saved_and_opened(router_rows: list[RouterRow], tmp_path: Path, strategy: str) -> None:
    report = train_router(router_rows, EMBEDDER, tmp_path, strategy=strategy)
    assert report["macro_f1"] > 0.9
    assert strategy not in report["beside"]
    (route,) = opened(tmp_path).route([RouteRequest("when to prune the rose hedge")])
    assert (route.expert, route.strategy) == ("gardens", strategy)
    with pytest.raises(UsageError, match="head, centroid, nearest"):
        train_router(router_rows, EMBEDDER, tmp_path, strategy="oracle")


@pytest.mark.parametrize("inside", [3, 2])
def test_a_perceptron_is_trained_saved_and_opened(router_rows: list[RouterRow], tmp_path: Path, inside: int) -> None:
    rows = router_rows if inside == 3 else [row for row in router_rows if row.label in ("gardens", "baking")]
    report = train_router(rows, EMBEDDER, tmp_path, head="mlp", seed=1)
    assert (report["strategy"], report["head"]) == ("head", "mlp")
    assert report["macro_f1"] > 0.9
    (route,) = opened(tmp_path).route([RouteRequest("when to prune the rose hedge")])
    assert (route.expert, route.strategy) == ("gardens", "head")
    texts, gold = [row.prompt for row in rows], [row.label for row in rows]
    vectors = EMBEDDER.embed(texts, "query")
    fitted, loaded = HeadScorer.fit(texts, vectors, gold, "mlp", seed=1), head_of(tmp_path)
    assert isinstance(loaded.model, Perceptron)
    np.testing.assert_allclose(loaded.logits(texts, vectors), fitted.logits(texts, vectors), atol=0.05)
    np.testing.assert_allclose(loaded.model.out, fitted.model.out, atol=1e-6)  # type: ignore[union-attr]
    assert (tmp_path / "router.npz").stat().st_size < 4_000_000


@pytest.mark.parametrize("labels", [2, 3])
def test_a_perceptron_says_what_scikit_learn_does(router_rows: list[RouterRow], labels: int) -> None:
    names = ["gardens", "baking", "sailing"][:labels]
    rows = [row for row in router_rows if row.label in names]
    texts, classes = [row.prompt for row in rows], np.array([names.index(row.label) for row in rows])
    vectors = EMBEDDER.embed(texts, "query")
    features = QuestionFeatures.fit(vectors, texts)
    dense, ngrams = features.dense(vectors, texts), features.ngrams(texts)
    one, again, other = (
        perceptron.fit(dense, ngrams, classes, labels, BUCKETS, seed).logits(dense, ngrams) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other), "another seed is another network"
    assert (one.argmax(axis=1) == classes).mean() > 0.9

    hashed = np.zeros((len(rows), BUCKETS), np.float32)
    hashed[ngrams.row_numbers, ngrams.columns] = ngrams.values
    inputs = np.hstack([dense, hashed[:, np.unique(ngrams.columns)]])
    settings = {"alpha": perceptron.PENALTY, "learning_rate_init": perceptron.RATE, "max_iter": perceptron.EPOCHS}
    reference = MLPClassifier((perceptron.HIDDEN,), random_state=0, **settings)
    with pytest.warns(ConvergenceWarning):
        reference.fit(inputs, classes)
    np.testing.assert_allclose(measures.softmax(one), reference.predict_proba(inputs), atol=1e-3)


def test_auto_takes_the_better_head(router_rows: list[RouterRow], tmp_path: Path) -> None:
    report = train_router(router_rows, EMBEDDER, tmp_path, head="auto")
    (other,) = {"logistic", "mlp"} - {report["head"]}
    assert report["macro_f1"] >= report["beside"][other]["macro_f1"]
    assert isinstance(head_of(tmp_path).model, Perceptron) == (report["head"] == "mlp")
    for strategy, head in (("head", "oracle"), ("centroid", "mlp")):
        with pytest.raises(UsageError, match="logistic, mlp, auto"):
            train_router(router_rows, EMBEDDER, tmp_path, strategy=strategy, head=head)
    with pytest.raises(UsageError, match="logistic, mlp"):
        HeadScorer.fit([], np.zeros((0, 4), np.float32), [], "oracle")


def test_many_labels(tmp_path: Path) -> None:
    rows = [RouterRow(f"word{label} and other{label} number {n}", f"intent {label}") for label in range(60) for n in range(6)]
    report = train_router([*rows, *(RouterRow(f"quite elsewhere {n}", BASE) for n in range(10))], EMBEDDER, tmp_path)
    assert report["macro_f1"] > 0.9
    assert len(report["confusion"]["labels"]) == 61
    assert not (tmp_path / "confusion.png").exists(), "such a table cannot be read as a picture"
    assert (tmp_path / "router.json").stat().st_size < 40_000


def test_a_question_is_never_judged_by_a_router_that_saw_it() -> None:
    texts = [f"text {n}" for n in range(20)]
    gold = ["a", "b"] * 10
    examples = Examples(texts, EMBEDDER.embed(texts, "query"), gold)

    class Remembers:
        """Says `a` for what it was trained on, `b` for everything else."""

        labels = ("a", "b")

        def __init__(self, seen: Sequence[str]) -> None:
            self.seen = set(seen)

        def logits(self, texts: Sequence[str], vectors: Vectors) -> Any:
            return np.array([[1.0, 0.0] if text in self.seen else [0.0, 1.0] for text in texts])

    found = held_out(lambda texts, vectors, gold: Remembers(texts), examples, parts_held_out(gold, 0))
    assert found.rows.tolist() == list(range(20))
    np.testing.assert_array_equal(found.logits.argmax(axis=1), 1)


def test_neighbours_in_blocks_are_the_same(router_rows: list[RouterRow], monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [row.prompt for row in router_rows]
    vectors = EMBEDDER.embed(texts, "query")
    scorer = NearestScorer.fit(texts, vectors, [row.label for row in router_rows])
    whole = scorer.logits(texts, vectors)
    alone = [scorer.logits([text], vectors[n : n + 1])[0] for n, text in enumerate(texts)]
    np.testing.assert_allclose(alone, whole, atol=1e-5)
    monkeypatch.setattr(nearest, "BLOCK", 7)
    np.testing.assert_allclose(scorer.logits(texts, vectors), whole, atol=1e-5)
    assert scorer.logits([], vectors[:0]).shape == (0, len(scorer.labels))


def test_raw_means_are_compared_by_euclidean_distance(router_rows: list[RouterRow]) -> None:
    texts = [row.prompt for row in router_rows]
    vectors = EMBEDDER.embed(texts, "query")
    scorer = RawMeanScorer.fit(texts, vectors, [row.label for row in router_rows])
    apart = np.linalg.norm(vectors[:9, None] - scorer.means[None], axis=2)
    np.testing.assert_allclose(scorer.logits(texts[:9], vectors[:9]), -apart / 0.05, atol=1e-3)


def test_saved_router_scores_as_the_fitted_one(router_rows: list[RouterRow], trained: tuple[Path, dict[str, Any]]) -> None:
    texts = [row.prompt for row in router_rows]
    vectors = EMBEDDER.embed(texts, "query")
    fitted = HeadScorer.fit(texts, vectors, [row.label for row in router_rows])
    loaded = head_of(trained[0])
    np.testing.assert_allclose(loaded.logits(texts, vectors), fitted.logits(texts, vectors), atol=0.02)


def test_training_twice_gives_the_same_router(router_rows: list[RouterRow], tmp_path: Path) -> None:
    train_router(router_rows, EMBEDDER, tmp_path / "a")
    train_router(router_rows, EMBEDDER, tmp_path / "b")
    one, other = load_router(tmp_path / "a"), load_router(tmp_path / "b")
    assert one.threshold == pytest.approx(other.threshold, abs=1e-6)
    np.testing.assert_allclose(head_of(tmp_path / "a").model.dense, head_of(tmp_path / "b").model.dense, atol=1e-5)


def test_a_changed_router_is_refused(router_rows: list[RouterRow], tmp_path: Path) -> None:
    train_router(router_rows, EMBEDDER, tmp_path)
    weights = bytearray((tmp_path / "router.npz").read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / "router.npz").write_bytes(weights)
    with pytest.raises(DataError, match="changed"):
        load_router(tmp_path)


def test_pickled_arrays_are_never_loaded(router_rows: list[RouterRow], tmp_path: Path) -> None:
    import hashlib

    train_router(router_rows, EMBEDDER, tmp_path)
    np.savez(tmp_path / "router.npz", mean=np.array([{}], object))
    card = json.loads((tmp_path / "router.json").read_text(encoding="utf-8"))
    card["weights_sha256"] = hashlib.sha256((tmp_path / "router.npz").read_bytes()).hexdigest()
    (tmp_path / "router.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(DataError, match="damaged"):
        load_router(tmp_path)


def test_a_router_needs_two_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 2"):
        train_router([RouterRow("a b", "x"), RouterRow("c d", BASE)], EMBEDDER, tmp_path)


def test_router_without_out_of_scope_rows(router_rows: list[RouterRow], tmp_path: Path) -> None:
    report = train_router([row for row in router_rows if row.label != BASE], EMBEDDER, tmp_path)
    assert report["out_of_scope_auroc"] is None
    assert report["false_abstention"] <= FALSE_ABSTENTION + 0.02
    (route,) = opened(tmp_path).route([RouteRequest("kneading dough with yeast and flour")])
    assert route.expert == "baking"
    assert route.scores[BASE] == 0


@pytest.mark.parametrize("scorer", [HeadScorer, CentroidScorer, NearestScorer, RawMeanScorer])
def test_every_scorer_tells_the_subjects_apart(router_rows: list[RouterRow], scorer: Any) -> None:
    rows = [row for row in router_rows if row.label != BASE]
    train, test = rows[::2], rows[1::2]
    fitted = scorer.fit([r.prompt for r in train], EMBEDDER.embed([r.prompt for r in train], "query"), [r.label for r in train])
    table = fitted.probabilities([r.prompt for r in test], EMBEDDER.embed([r.prompt for r in test], "query"))
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-9)
    right = [fitted.labels[n] == r.label for n, r in zip(table.argmax(axis=1), test, strict=True)]
    assert np.mean(right) > 0.9


def test_style_says_how_a_question_is_written() -> None:
    texts = ["Which of the following is true?", "play my song", "", "x" * 10_000, "ఏది \ud800"]
    rows = style(texts)
    assert rows.shape == (5, STYLES)
    assert np.isfinite(rows).all()
    assert not np.array_equal(rows[0], rows[1])
    assert np.array_equal(style(["what is a rose?"]), style(["what is a leaf?"])), "the subject is no style"
    assert style([]).shape == (0, STYLES)


def test_rewordings_keep_the_words() -> None:
    assert without_signs("Who, me?") == "Who  me "
    assert key_words("What is the name of the rose") == "What name rose"
    assert key_words("is the") == "is the"
    assert with_typing_errors("The garden of the oldest gardeners, gardens") == "The gadren of the oledst gadreners, gardens"
    assert all(change("a rose").strip() for change in (*REWORDINGS, *MEASURED.values()))


def test_a_reworded_question_keeps_its_route(trained: tuple[Path, dict[str, Any]], router_rows: list[RouterRow]) -> None:
    router = opened(trained[0])
    asked = [row.prompt for row in router_rows if row.label != BASE][:30]
    before = [route.expert for route in router.route([RouteRequest(text) for text in asked])]
    after = [route.expert for route in router.route([RouteRequest(text.upper().lower()) for text in asked])]
    assert np.mean([one == other for one, other in zip(before, after, strict=True)]) >= 0.9


def test_k_means_is_seeded() -> None:
    points = EMBEDDER.embed([f"word{n} and word{n % 4}" for n in range(40)], "query")
    np.testing.assert_array_equal(k_means(points, 4, 1), k_means(points, 4, 1))
    assert k_means(points, 4, 1).shape == (4, 256)


class Recording:
    """Notes what it is given."""

    name, dimension, max_tokens = EMBEDDER.name, EMBEDDER.dimension, 512

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        self.seen += texts
        return EMBEDDER.embed(texts, purpose)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return EMBEDDER.count_tokens(texts)


def test_only_the_users_words_are_seen(trained: tuple[Path, dict[str, Any]]) -> None:
    saved, recording = load_router(trained[0]), Recording()
    history = (Message("user", "tell me about the sail and the keel"), Message("assistant", "SECRET from a document"))
    router = ScoredRouter(saved.scorer, saved.threshold, lambda: recording)
    (route,) = router.route([RouteRequest("and in winter?", history)])
    assert recording.seen == ["tell me about the sail and the keel and in winter?"]
    assert route.expert == "sailing"
    for whole in ("what do I do with the flour now", "What is flour?", "谁在河上建造了第一座桥？"):
        assert routing_text(RouteRequest(whole, history)) == whole


# -- rules, names, defaults


def test_the_first_rule_that_is_found_decides() -> None:
    router = RuleRouter([(r"\bflour|dough\b", "baking"), (r"\bsail", "sailing")])
    routes = router.route([RouteRequest("Sailing with FLOUR"), RouteRequest("a sail"), RouteRequest("nothing")])
    assert [r.expert for r in routes] == ["baking", "sailing", BASE]
    assert "flour" in routes[0].reason
    with pytest.raises(UsageError, match="regular expression"):
        RuleRouter([("(", "baking")])


def test_an_endless_rule_is_stopped() -> None:
    with pytest.raises(UsageError, match="too long"):
        RuleRouter([(r"^(\w|\d|_|a)+$", "x")]).route([RouteRequest("a" * 60 + "!")])


def test_names_go_before_every_router() -> None:
    router = ExplicitRouter(("qa", "code"), RuleRouter([("dough", "qa")]))
    automatic, base, both, weighted = router.route(
        [
            RouteRequest("dough"),
            RouteRequest("dough", expert="base"),
            RouteRequest("x", expert="qa,code"),
            RouteRequest("x", expert="qa:3, code:1"),
        ]
    )
    assert automatic.strategy == "rule"
    assert (base.expert, base.weights) == (BASE, {BASE: 1.0})
    assert both.weights == {"qa": 0.5, "code": 0.5}
    assert (weighted.expert, weighted.weights) == ("qa", {"qa": 0.75, "code": 0.25})


@pytest.mark.parametrize("expert", ["nobody", "qa,", "qa,qa", "qa:x", "qa:0", "base,qa"])
def test_bad_names_are_refused(expert: str) -> None:
    with pytest.raises(UsageError):
        ExplicitRouter(("qa",), BaseOnlyRouter()).route([RouteRequest("x", expert=expert)])


# -- figures


def test_figures_against_known_values() -> None:
    assert measures.macro_f1(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]) == pytest.approx(2 / 3)
    assert measures.auroc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == pytest.approx(0.875)
    assert measures.auroc(np.array([]), np.array([1.0])) is None
    assert measures.calibration_error(np.array([0.95, 0.95]), np.array([True, False])) == pytest.approx(0.45)
    assert measures.confusion(["a", "b"], ["b", "b"], ["a", "b"]) == [[0, 1], [0, 1]]


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(4000, 3)) * 1.5
    classes = np.array([rng.choice(3, p=row) for row in measures.softmax(honest)])
    assert fit_temperature(honest * 4, classes) == pytest.approx(4, rel=0.15)


def test_threshold_costs_what_it_says() -> None:
    confidence = np.linspace(0, 1, 1001)
    threshold = fit_threshold(confidence, [*["a"] * 1000, BASE])
    assert threshold == pytest.approx(FALSE_ABSTENTION, abs=1e-3)
    assert fit_threshold(np.full(9, 0.9), ["a"] * 9) == 0.5
    assert decide(np.array([0.01, 0.9]), ["a", "a"], threshold) == [BASE, "a"]


def test_folds_spread_every_label() -> None:
    gold = ["a"] * 10 + ["b"] * 5
    folds = stratified_folds(gold, 5, 0)
    assert [np.bincount(folds[:10]).tolist(), np.bincount(folds[10:]).tolist()] == [[2] * 5, [1] * 5]


def test_router_rows_are_read_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "p", "label": "out_of_scope"}\n\n{"prompt": "q", "label": "x", "lang": "hi"}\n', encoding="utf-8")
    rows, _ = read_router_rows(file)
    assert rows == [RouterRow("p", BASE), RouterRow("q", "x", "hi")]
    file.write_text('{"prompt": "p"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl:1"):
        read_router_rows(file)
