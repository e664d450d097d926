"""From a GGUF file to an OpenVINO graph that answers like the model and takes PEFT adapters.

OpenVINO GenAI builds the graph out of the GGUF file. Two things about it are mended. It rounds the zero points of 4-bit blocks
to whole numbers, which changes the weights by up to half a step, so every projection gets the file's own weights again, in
8 bits. And adapters find their layers by name, so every projection gets the name that PyTorch's tracing would give it. Which
node is which projection is not guessed from the order: the node's weights are compared with the file's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ckllm.apart import answer, called_apart
from ckllm.errors import DataError
from ckllm.llm.gguf import GgufFile, write_tokenizer

if TYPE_CHECKING:
    import openvino as ov

VERSION = 3
MODEL = "openvino_model.xml"
_PROBE = "The river rises in the hills, passes the old mill and the market town, and reaches the sea at"
_BLOCK = 32
LARGEST_DISTANCE = 0.3
LEAST_COSINE = 0.99
"""Of the graph's and the reference's next-token logits; a graph with swapped or permuted weights stays below 0.6."""


def convert_apart(source: Path, folder: Path) -> Mapping[str, Any]:
    """`convert` in a process of its own: it takes 1.5 GB and imports torch, which the serving process never does."""
    try:
        return called_apart("ckllm.llm.openvino_graph", source, folder)
    except DataError as error:
        raise DataError(f"{source} could not be converted for OpenVINO: {error}") from None


def convert(source: Path, folder: Path) -> Mapping[str, Any]:
    """Fill `folder` with graph, tokenizer and configuration. Returns what was checked.

    Raises DataError where the file is damaged or the graph does not compute what the model should.
    """
    file = GgufFile(source)
    if not file.supported:
        raise DataError(
            f"{source}: only Llama models with a byte-level BPE vocabulary run in OpenVINO; use engine = transformers"
        )
    write_tokenizer(file, folder)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        built = _built_by_genai(source, Path(name))
        checks = dict(_own_projections(built / MODEL, folder / MODEL, file))
    if importlib.util.find_spec("torch") is not None and importlib.util.find_spec("transformers") is not None:
        checks |= _compared_with_reference(folder, file)
    return checks


def _built_by_genai(source: Path, work: Path) -> Path:
    """GenAI writes its graph beside the GGUF file, so it is given a link to it in a folder of ours."""
    import openvino_genai

    link = work / "model.gguf"
    try:
        link.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, link)
    try:
        pipeline = openvino_genai.LLMPipeline(str(link), "CPU", enable_save_ov_model=True)
    except RuntimeError as error:
        raise DataError(f"OpenVINO cannot read {source}: {str(error).splitlines()[0]}") from error
    del pipeline
    if not (work / MODEL).is_file():
        raise DataError(f"OpenVINO made no {MODEL} of {source}: this version of openvino-genai is not supported")
    return work


def _own_projections(source: Path, target: Path, file: GgufFile) -> Mapping[str, Any]:
    """Write the graph with PyTorch's names and the file's own weights. DataError where a projection is missing."""
    import openvino as ov

    model = ov.Core().read_model(source)
    unfound = {name for name in file.tensors if file.is_projection(name)}
    worst, layer = 0.0, 0
    for node in sorted(_weight_multiplications(model), key=_number):
        rows = [name for name in unfound if name.startswith(f"blk.{layer}.")]
        name = _match(node, rows, file)
        if name is None:
            continue  # the head, which has no adapters and keeps the weights that it shares with the embedding
        weights = file.tensor(name)
        held = int8_weights(weights)
        worst = max(worst, _distance(folded(held), weights))
        node.input(1).replace_source_output(held.output(0))
        node.set_friendly_name(f"__module.{str(file.huggingface_name(name)).removesuffix('.weight')}/aten::linear/MatMul")
        unfound.remove(name)
        layer += len(rows) == 1
    if unfound:
        raise DataError(
            f"the graph of {file.path} has no node with the weights {min(unfound)}: this openvino-genai is not supported"
        )
    ov.save_model(model, target, compress_to_fp16=False)
    return {"projections": sum(map(file.is_projection, file.tensors)), "worst_weight_error": round(worst, 7)}


def int8_weights(weights: NDArray[np.float32]) -> Any:
    """A constant as 256 even steps for each 32 columns: a graph node of shape (rows, columns), float32.

    GGUF's own blocks are 32 wide, and those of 4 bits span 15 even steps (255 = 15 * 17), so they keep their values exactly.
    That needs a zero point that is not rounded; OpenVINO multiplies with such weights as fast as with rounded ones.
    """
    from openvino import opset13 as ops

    rows, columns = weights.shape
    blocks = weights.reshape(rows, -1, _BLOCK if columns % _BLOCK == 0 else columns)
    low, high = blocks.min(axis=-1, keepdims=True), blocks.max(axis=-1, keepdims=True)
    scales = np.where(high > low, (high - low) / 255, 1).astype(np.float32)
    steps = np.clip(np.rint((blocks - low) / scales), 0, 255).astype(np.uint8)
    shifted = ops.subtract(ops.convert(ops.constant(steps), "f32"), ops.constant((-low / scales).astype(np.float32)))
    return ops.reshape(ops.multiply(shifted, ops.constant(scales)), ops.constant(np.array([rows, columns])), False)


def _weight_multiplications(model: ov.Model) -> Iterator[Any]:
    for node in model.get_ordered_ops():
        shape = node.input(1).get_partial_shape() if node.get_type_name() == "MatMul" else None
        if shape is not None and shape.is_static and len(shape) == 2:
            yield node


def _number(node: Any) -> int:
    digits = node.get_friendly_name().rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0


def _match(node: Any, names: list[str], file: GgufFile) -> str | None:
    """The tensor whose weights the node multiplies with: equal shape and, up to GenAI's rounding, equal numbers."""
    shape = [int(size) for size in node.input(1).get_shape()]
    alike = [name for name in names if [int(size) for size in reversed(file.tensors[name].shape)] == shape]
    if not alike:
        return None
    held = folded(node.input(1).get_source_output().get_node())
    distance, name = min((_distance(held, file.tensor(name)), name) for name in alike)
    return name if distance < LARGEST_DISTANCE else None


def _distance(held: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """Relative to the weights, in the Frobenius norm; of unrelated matrices about 1.4."""
    return float(np.linalg.norm(held - weights) / max(float(np.linalg.norm(weights)), 1e-12))


def folded(node: Any) -> NDArray[np.float32]:
    """The value of a constant part of the graph, as de-quantisation builds it."""
    kind = node.get_type_name()
    if kind == "Constant":
        return _constant(node)
    inputs = [folded(node.input_value(index).get_node()) for index in range(node.get_input_size())]
    match kind:
        case "Convert":
            return inputs[0]
        case "Subtract":
            return np.subtract(inputs[0], inputs[1])
        case "Multiply":
            return np.multiply(inputs[0], inputs[1])
        case "Reshape":
            return inputs[0].reshape([int(size) for size in node.get_output_shape(0)])
        case _:
            raise DataError(f"unknown operation {kind} in the graph's weights: this openvino-genai is not supported")


def _constant(node: Any) -> NDArray[np.float32]:
    if node.get_element_type().get_type_name() == "u4":
        packed = np.asarray(node.data, dtype=np.uint8).reshape(-1)
        low_first = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)
        shape = [int(size) for size in node.get_output_shape(0)]
        return low_first[: int(np.prod(shape))].reshape(shape).astype(np.float32)
    return np.asarray(node.data, dtype=np.float32)


def _compared_with_reference(folder: Path, file: GgufFile) -> Mapping[str, Any]:
    """Next-token logits of the graph and of transformers on one text. Raises DataError where they disagree."""
    from ckllm.llm.tokenisation import TextTokenizer

    ids = np.asarray([TextTokenizer.from_folder(folder).encode(_PROBE)], dtype=np.int64)
    ours, reference = _graph_logits(folder, ids), _reference_logits(folder, file, ids)
    cosine = float(np.dot(ours, reference) / np.linalg.norm(ours) / np.linalg.norm(reference))
    if not cosine >= LEAST_COSINE:
        raise DataError(
            f"the graph of {file.path} does not compute what the model should (cosine {cosine:.3f}): use engine = transformers"
        )
    return {"logit_cosine": round(cosine, 5), "same_first_token": bool(ours.argmax() == reference.argmax())}


def _graph_logits(folder: Path, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    import openvino as ov

    request = ov.Core().compile_model(folder / MODEL, "CPU").create_infer_request()
    length = ids.shape[1]
    inputs = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.arange(length, dtype=np.int64)[None],
        "beam_idx": np.zeros(1, dtype=np.int32),
    }
    return np.array(request.infer(inputs)["logits"][0, -1], dtype=np.float32)


def _reference_logits(folder: Path, file: GgufFile, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from ckllm.llm.gguf import weights

    with _quiet():
        config = AutoConfig.from_pretrained(folder)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        state = {name: torch.tensor(value) for name, value in weights(file)}
        missing, unexpected = model.load_state_dict(state, strict=False)
        model.tie_weights()
        odd = [name for name in (*missing, *unexpected) if name != "lm_head.weight"]
        if odd:
            raise DataError(f"{file.path}: transformers has no place for the weights {odd[0]}")
        with torch.inference_mode():
            return np.array(model(torch.from_numpy(ids)).logits[0, -1].numpy(), dtype=np.float32)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


if __name__ == "__main__":
    answer(lambda: convert(Path(sys.argv[1]), Path(sys.argv[2])))
