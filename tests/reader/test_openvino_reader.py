"""The reader that ships, on the real model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ckllm.contracts import Hit
from ckllm.embedding.bundled import WEIGHTS, bundled_model
from ckllm.embedding.openvino_runtime import open_tokenizer
from ckllm.embedding.prepared import prepare as prepare_base
from ckllm.embedding.tokens import load_tokenizer, tokens
from ckllm.errors import DataError, UpstreamError
from ckllm.made_folder import DESCRIPTION
from ckllm.reader.adapter import BASE, GRAPH, SHIPPED, prepare
from ckllm.reader.openvino_reader import OpenVinoReader
from ckllm.reader.pairs import pair

QUESTION = "How many steps does the lighthouse have?"
TEXT = (
    "The ferry to the island leaves at nine. The lighthouse was built by Ada Berg and has 312 steps. "
    "Its keeper lived there with two dogs until the lamp was made electric."
)


@pytest.fixture(scope="module")
def reader(models_folder: Path) -> OpenVinoReader:
    return OpenVinoReader(models_folder)


def hit(text: str, title: str = "The island") -> Hit:
    return Hit(
        rank=1, score=0.0, text=text, source="/a", title=title, page=None, section="", start=0, end=len(text), document_id="d",
        chunk_id="c", found_by=(),
    )  # fmt: skip


def answer(reader: OpenVinoReader, question: str, text: str) -> str:
    _, start, end = reader.read(question, [hit(text)])[0].answer()
    return text[start:end]


def test_it_finds_the_words_that_answer(reader: OpenVinoReader) -> None:
    assert answer(reader, QUESTION, TEXT).startswith("312")
    assert "Ada Berg" in answer(reader, "Who built the lighthouse?", TEXT)


def test_it_finds_them_in_other_languages_too(reader: OpenVinoReader) -> None:
    text = "La biblioteca abre a las ocho. El puente fue construido en 1894 por Rosa Ibarra."
    assert "1894" in answer(reader, "¿En qué año se construyó el puente?", text)
    assert "1894" in answer(reader, "When was the bridge built?", text)


def test_a_passage_that_answers_has_the_greater_margin_and_its_sentence_bears_more(reader: OpenVinoReader) -> None:
    other = "Bread is baked in the village every morning. The bakers come from the mainland."
    right, wrong = reader.read(QUESTION, [hit(TEXT), hit(other)])
    assert right.answer()[0] > wrong.answer()[0] + 2
    at = TEXT.index("The lighthouse")
    assert right.bearing(at, TEXT.index(" Its")) > right.bearing(0, at)


def test_a_reading_does_not_depend_on_its_neighbours_and_is_remembered(reader: OpenVinoReader) -> None:
    alone = reader.read(QUESTION, [hit(TEXT)])[0]
    assert reader.read(QUESTION, [hit(TEXT)])[0] is alone
    fresh = reader._read([(QUESTION, "The island", TEXT), (QUESTION, "", TEXT * 2)])[0]
    np.testing.assert_allclose(fresh.starts, alone.starts, atol=1e-3)
    others = [(QUESTION, TEXT, "Another title"), (QUESTION, f"{TEXT} ", "The island"), (f"{QUESTION} ", TEXT, "The island")]
    assert all(reader.read(question, [hit(text, title)])[0] is not alone for question, text, title in others)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "1", "𠮷野家 👩‍👩‍👧", "a\ud800b", "x" * 5_000, "पुल १८९४ में बना।"])
def test_odd_text_is_read_without_an_error(reader: OpenVinoReader, text: str) -> None:
    _, start, end = reader.read("wer?", [hit(text, text[:50])])[0].answer()
    assert 0 <= start <= end <= len(text)


def test_the_graph_computes_what_transformers_computes(reader: OpenVinoReader, models_folder: Path) -> None:
    torch = pytest.importorskip("torch")
    from peft import LoraConfig, get_peft_model
    from safetensors import safe_open
    from transformers import BertModel

    base = models_folder / BASE
    encoder = BertModel.from_pretrained(base, add_pooling_layer=False, local_files_only=True, dtype=torch.float32).eval()
    with safe_open(SHIPPED, "pt") as stored:
        factors = {name: stored.get_tensor(name).float() for name in stored.keys()}  # noqa: SIM118 - no mapping
        scale = float(stored.metadata()["scale"])
    rank = next(value.shape[0] for name, value in factors.items() if name.endswith("lora_A"))
    targets = [name.removesuffix(".lora_A") for name in factors if name.endswith("lora_A")]
    adapted = get_peft_model(encoder, LoraConfig(r=rank, lora_alpha=int(scale * rank), target_modules=targets)).eval()
    state = {f"base_model.model.{name}.default.weight": value for name, value in factors.items() if "lora_" in name}
    assert not adapted.load_state_dict(state, strict=False).unexpected_keys

    given = tokens(load_tokenizer(base / "tokenizer.json"), [QUESTION, "The island", TEXT])
    ids = torch.tensor([pair(*given).ids])
    with torch.no_grad():
        hidden = adapted(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
    expected = (hidden @ factors["head.weight"].T + factors["head.bias"]).numpy()
    found = reader.read(QUESTION, [hit(TEXT)])[0]
    first = pair(*given).first
    np.testing.assert_allclose(found.starts, expected[first:-1, 0], atol=2e-3)
    np.testing.assert_allclose(found.ends, expected[first:-1, 1], atol=2e-3)
    np.testing.assert_allclose(found.relevance, expected[first:-1, 2], atol=2e-3)


def test_places_of_tokens_are_those_of_the_full_tokenizer(models_folder: Path) -> None:
    base = prepare_base(bundled_model(BASE), models_folder)
    texts = [TEXT, "पुल १८९४ में बना।", "大桥建于1894年。", "a  b\n\nc\td"]
    assert open_tokenizer(base).tokens(texts) == tokens(load_tokenizer(base / "tokenizer.json"), texts)


def test_a_damaged_graph_is_said_and_made_anew(tmp_path: Path, models_folder: Path) -> None:
    base = tmp_path / BASE
    base.symlink_to(prepare_base(bundled_model(BASE), models_folder))
    folder = prepare(SHIPPED, base, tmp_path)
    graph = folder / GRAPH
    whole = graph.stat().st_size
    graph.write_text("<net" + " " * (whole - 4), encoding="utf-8")
    with pytest.raises(UpstreamError, match="damaged"):
        OpenVinoReader(tmp_path)
    assert not (folder / DESCRIPTION).exists()
    OpenVinoReader(tmp_path)
    assert graph.read_text(encoding="utf-8").startswith("<?xml")
    assert sum(file.stat().st_size for file in folder.glob("reader.*")) > 80_000_000
    assert (base / WEIGHTS).exists()


def test_an_adapter_of_another_model_is_named(tmp_path: Path, models_folder: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"strange.lora_A": np.zeros((1, 2), np.float32)}, other, metadata={"scale": "1"})
    with pytest.raises(DataError, match=r"could not be put together.*strange\.weight, which multilingual-e5-small does not have"):
        prepare(other, models_folder / BASE, tmp_path)
    assert not any(found.is_dir() for found in tmp_path.iterdir())  # what was begun is not left behind
