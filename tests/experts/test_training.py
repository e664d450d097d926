"""What is learned, from which tokens, split how, and that a run that was killed ends where an undisturbed one does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ckllm.contracts import Message
from ckllm.errors import DataError, UsageError
from ckllm.experts.training.loop import Progress, Trainer, TrainingOptions
from ckllm.experts.training.lora import save_adapter, with_adapter
from ckllm.experts.training.loss import answer_losses
from ckllm.experts.training.packing import Example, Pack, pack, tensors
from ckllm.experts.training.rows import Row, examples, read_rows, split_by_source
from tests.experts.conftest import CharacterTokenizer

OPTIONS = TrainingOptions(
    rank=4, alpha=8, learning_rate=2e-2, epochs=6, pack_tokens=48, evaluate_every=4, checkpoint_every=2, patience=50
)


def example(*tokens: int, answer: int, weight: float = 1.0) -> Example:
    return Example(tokens, len(tokens) - answer, weight)


SHARED = (
    example(5, 6, 7, 8, 20, 21, 1, answer=2),
    example(5, 6, 7, 9, 9, 30, 1, answer=2),
    example(5, 6, 7, 8, 40, 41, 42, 1, answer=3),
)


def plain_loss(model: Any, one: Example) -> torch.Tensor:
    """By hand: the whole sequence alone, output i scored against token i + 1, the prompt left out."""
    logits = model(input_ids=torch.tensor([one.tokens])).logits[0].log_softmax(-1)
    return torch.stack([-logits[at - 1, one.tokens[at]] for at in range(one.answer_start, len(one.tokens))])


@pytest.fixture
def model(tiny_llama: Path) -> Any:
    return with_adapter(tiny_llama, OPTIONS)


def test_loss_equals_the_one_computed_by_hand(model: Any) -> None:
    """Not shifted twice, nothing of the prompt in it, branches blind to each other, positions as if alone."""
    losses, weights = answer_losses(model, Pack(SHARED, 3))
    expected = torch.cat([plain_loss(model, one) for one in SHARED])
    torch.testing.assert_close(losses, expected, atol=1e-5, rtol=1e-5)
    assert len(losses) == sum(len(one.tokens) - one.answer_start for one in SHARED) == weights.sum()


def test_loss_is_the_same_however_examples_are_packed(model: Any) -> None:
    alone = torch.cat([answer_losses(model, Pack((one,), 0))[0] for one in SHARED])
    for prefix in (0, 1, 3):
        torch.testing.assert_close(answer_losses(model, Pack(SHARED, prefix))[0], alone, atol=1e-5, rtol=1e-5)


def test_gradient_comes_from_answer_tokens_alone(model: Any) -> None:
    """Another last prompt word changes nothing that the loss counts as a target."""
    targets = [tensors(Pack((one,), 0)).targets.tolist() for one in SHARED]
    assert targets == [list(one.tokens[one.answer_start :]) for one in SHARED]


def test_weights_scale_examples(model: Any) -> None:
    light = (replace(SHARED[0], weight=0.25), SHARED[1])
    one = Pack(light, 3)
    assert tensors(one).weights.tolist() == [0.25] * 2 + [1.0] * 2
    assert one.weight == 2.5


def test_packs_share_beginnings_and_lose_no_example() -> None:
    many = [example(*([1, 2, 3, 4, 5, 6, 7, 8] if n % 2 else [9, 8, 7, 6, 5, 4, 3, 2]), n, 50, answer=1) for n in range(10, 30)]
    packs = pack(many, 24)
    assert sorted(e.tokens for p in packs for e in p.examples) == sorted(e.tokens for e in many)
    assert all(p.size <= 24 for p in packs)
    assert sum(p.size for p in packs) < sum(len(e.tokens) for e in many) / 2
    assert all(p.prefix <= e.answer_start for p in packs for e in p.examples)


def test_equal_prompts_with_different_answers_can_share_the_whole_prompt(model: Any) -> None:
    twins = (example(5, 6, 7, 20, 1, answer=2), example(5, 6, 7, 30, 1, answer=2))
    (one,) = pack(twins, 100)
    assert one.prefix == 3
    expected = torch.cat([plain_loss(model, e) for e in one.examples])
    torch.testing.assert_close(answer_losses(model, one)[0], expected, atol=1e-5, rtol=1e-5)


def corpus() -> list[Example]:
    return [example(3, 4 + n % 3, 10 + n, 20 + n % 5, 1, answer=2) for n in range(24)]


def run(tiny_llama: Path, folder: Path, options: TrainingOptions = OPTIONS, stop_after: int = 0) -> tuple[Any, Any]:
    model = with_adapter(tiny_llama, options)

    def say(at: Progress) -> None:
        if at.step == stop_after:
            raise KeyboardInterrupt

    try:
        outcome = Trainer(model, folder, options).run(corpus()[:18], corpus()[18:], say)
    except KeyboardInterrupt:
        return model, None
    return model, outcome


def test_a_killed_run_resumes_to_the_same_weights(tiny_llama: Path, tmp_path: Path) -> None:
    straight, _ = run(tiny_llama, tmp_path / "straight")
    _, cut = run(tiny_llama, tmp_path / "cut", stop_after=7)
    assert cut is None
    resumed, outcome = run(tiny_llama, tmp_path / "cut")
    assert outcome.steps > 7
    save_adapter(straight, tmp_path / "a")
    save_adapter(resumed, tmp_path / "b")
    one, other = load_file(tmp_path / "a/adapter_model.safetensors"), load_file(tmp_path / "b/adapter_model.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_training_lowers_the_loss_and_changes_the_adapter_only(tiny_llama: Path, tmp_path: Path) -> None:
    before = {name: p.clone() for name, p in with_adapter(tiny_llama, OPTIONS).named_parameters() if "lora" not in name}
    model, outcome = run(tiny_llama, tmp_path, replace(OPTIONS, epochs=20))
    assert outcome.curve[-1][1] < outcome.curve[0][1] * 0.9
    assert outcome.tokens < outcome.unpacked_tokens
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters() if "lora" not in name)


def test_training_stops_early_and_keeps_the_best(tiny_llama: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, learning_rate=0.5, epochs=40, patience=2, evaluate_every=2)
    _, outcome = run(tiny_llama, tmp_path, options)
    assert outcome.best_validation_loss == min(valid for _, _, valid in outcome.curve)
    assert outcome.steps == outcome.best_step + 2 * 2


def test_another_runs_checkpoint_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    run(tiny_llama, tmp_path, stop_after=5)
    with pytest.raises(DataError, match="other data or settings"):
        run(tiny_llama, tmp_path, replace(OPTIONS, seed=5))
    with pytest.raises(DataError, match="other data or settings"):  # the same data under another base model of this form
        Trainer(with_adapter(tiny_llama, OPTIONS), tmp_path, OPTIONS, base="other").run(corpus()[:18], corpus()[18:])


def test_adapter_is_small_portable_and_loads_again(tiny_llama: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model, _ = run(tiny_llama, tmp_path / "run")
    save_adapter(model, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] is None
    assert str(tmp_path) not in json.dumps(config)
    loaded = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32), tmp_path / "adapter"
    )
    torch.testing.assert_close(plain_loss(loaded, SHARED[0]), plain_loss(model, SHARED[0]), atol=1e-2, rtol=1e-2)


def test_four_bit_needs_a_gpu(tiny_llama: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UsageError, match="CUDA"):
        with_adapter(tiny_llama, replace(OPTIONS, quantisation="4bit"))


# -- rows


def write(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


def test_rows_of_both_forms(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "source": "s", "weight": 0.5}
    rows, sha256 = read_rows(write(tmp_path, chat, {"prompt": "p", "completion": "c"}))
    assert rows[0] == Row((Message("user", "q"),), "a", "s", 0.5)
    assert (rows[1].messages, rows[1].response, len(sha256)) == ((Message("user", "p"),), "c", 64)
    assert rows[1].source


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"prompt": "p"}, '"response"'),
        ({"messages": [{"role": "user", "content": "q"}]}, "assistant"),
        ({"messages": [{"role": "robot", "content": "q"}]}, "role"),
        ({"prompt": "p", "response": " "}, "empty"),
        ({"prompt": "p", "response": "r", "weight": -1}, "weight"),
        ([1], "object"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: object, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as raised:
        read_rows(write(tmp_path, {"prompt": "p", "response": "r"}, row))
    assert "rows.jsonl:2" in str(raised.value)


def test_split_keeps_sources_whole() -> None:
    rows = [Row((Message("user", f"{n}"),), "r", f"doc{n % 12}") for n in range(60)]
    parts = split_by_source(rows, 0.2, 0.2, seed=1)
    sources = [{row.source for row in part} for part in parts]
    assert sum(map(len, parts)) == 60
    assert not (sources[0] & sources[1] or sources[0] & sources[2] or sources[1] & sources[2])
    assert [len(s) for s in sources] == [8, 2, 2]
    with pytest.raises(DataError, match="source"):
        split_by_source(rows[:2])


def test_examples_are_what_serving_renders(tokenizer: CharacterTokenizer) -> None:
    row = Row((Message("system", "s"), Message("user", "q")), "yes", "d")
    (one,) = examples([row], tokenizer, 100)
    rendered = tokenizer.encode("s:s;u:q;a:")
    assert list(one.tokens) == rendered + tokenizer.encode("yes\x01")
    assert one.answer_start == len(rendered)
    assert list(examples([row], tokenizer, 5)) == []
