"""Trains the same rows with this project's loop, with transformers' Trainer and with TRL's SFTTrainer, one thread each.

    python -m benchmarks.trainers speed  --base MODEL_DIR --data FILE --held FILE [--rows N] [--rows-a-step N] [--loops NAME …]
    python -m benchmarks.trainers resume --base MODEL_DIR --data FILE --held FILE [--rows N] [--rows-a-step N] [--loops NAME …]

Same base, fresh adapter, learning rate, rows, number of rows a step, and one pass; every run is a process of its own, and its
times are of the processor. `alone` is this project's loop without shared prefixes. `speed` prints seconds of import and of
training, largest memory, and the loss on the first rows of `--held`; `resume` compares the adapter of a run with that of one
that was killed between two checkpoints and started again. `trl` needs TRL, which this project does not install.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckllm.experts.training.checkpoint import trainable
from ckllm.experts.training.loop import Progress, Trainer, TrainingOptions, mean_loss, schedule
from ckllm.experts.training.packing import Example, pack

MODULES = {
    "own": ("torch", "peft", "transformers.models.llama.modeling_llama"),
    "alone": ("torch", "peft", "transformers.models.llama.modeling_llama"),
    "trainer": ("torch", "peft", "transformers.models.llama.modeling_llama", "transformers.trainer"),
    "trl": ("torch", "peft", "transformers.models.llama.modeling_llama", "transformers.trainer", "trl.trainer.sft_trainer"),
}
PACK_TOKENS, AT_ONCE, HELD = 960, 2, 16
"""Tokens of a pack; rows that Trainer computes together; rows of the held-out loss."""
OPTIONS = TrainingOptions(rank=8, alpha=16, first_layer=12, learning_rate=6e-4, epochs=1, max_tokens=1000, evaluate_every=10**6)
SAVED, KILLED = 2, 3
"""With `resume`: steps between checkpoints, and the step after which the run is killed."""


def own(model: Any, training: list[Example], folder: Path, args: argparse.Namespace, pack_tokens: int = PACK_TOKENS) -> None:
    packs = max(1, round(len(pack(training, pack_tokens)) * args.rows_a_step / len(training)))
    options = replace(OPTIONS, pack_tokens=pack_tokens, packs_per_step=packs, checkpoint_every=SAVED)

    def say(at: Progress) -> None:
        if at.step == args.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    Trainer(model, folder, options).run(training, training[:1], say)


def trainer(model: Any, training: list[Example], folder: Path, args: argparse.Namespace) -> None:
    from transformers import AutoTokenizer, DataCollatorForSeq2Seq, TrainingArguments
    from transformers import Trainer as Theirs

    tokenizer = AutoTokenizer.from_pretrained(args.base, local_files_only=True)
    rows = [
        {"input_ids": [*one.tokens], "labels": [-100] * one.answer_start + [*one.tokens[one.answer_start :]]} for one in training
    ]
    arguments = TrainingArguments(**_arguments(folder, args))
    given = {"processing_class": tokenizer, "optimizers": _optimizers(model, len(rows), args)}
    _train(Theirs(model, arguments, train_dataset=rows, data_collator=DataCollatorForSeq2Seq(tokenizer), **given), args)


def trl(model: Any, training: list[Example], folder: Path, args: argparse.Namespace) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(args.base, local_files_only=True)
    rows = [
        {"input_ids": [*one.tokens], "completion_mask": [int(n >= one.answer_start) for n in range(len(one.tokens))]}
        for one in training
    ]
    arguments = SFTConfig(**_arguments(folder, args), completion_only_loss=True, max_length=None)
    given = {"processing_class": tokenizer, "optimizers": _optimizers(model, len(rows), args)}
    _train(SFTTrainer(model, arguments, train_dataset=Dataset.from_list(rows), **given), args)


def _optimizers(model: Any, rows: int, args: argparse.Namespace) -> tuple[Any, Any]:
    """The optimiser and schedule of this project's loop."""
    import torch

    optimizer = torch.optim.AdamW(list(trainable(model).values()), lr=OPTIONS.learning_rate, weight_decay=0.0)
    steps = math.ceil(rows / args.rows_a_step)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, steps, OPTIONS.warm_up))


def _arguments(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What both take: the sizes of this project's loop."""
    at_once = min(AT_ONCE, args.rows_a_step)
    return {
        "output_dir": str(folder), "per_device_train_batch_size": at_once, "num_train_epochs": 1, "use_cpu": True, "bf16": False,
        "gradient_accumulation_steps": args.rows_a_step // at_once, "max_grad_norm": OPTIONS.max_gradient_norm,
        "save_strategy": "steps" if args.task == "resume" else "no", "save_steps": SAVED, "report_to": "none",
        "disable_tqdm": True, "seed": OPTIONS.seed, "gradient_checkpointing": False, "dataloader_pin_memory": False,
        "train_sampling_strategy": "group_by_length",
    }  # fmt: skip


def _train(theirs: Any, args: argparse.Namespace) -> None:
    from transformers import TrainerCallback

    class Kill(TrainerCallback):
        def on_step_begin(self, _arguments: Any, state: Any, _control: Any, **_more: Any) -> None:
            if state.global_step == args.kill_after:
                os.kill(os.getpid(), signal.SIGKILL)

    theirs.add_callback(Kill())
    theirs.train(resume_from_checkpoint=args.again or None)


def alone(model: Any, training: list[Example], folder: Path, args: argparse.Namespace) -> None:
    own(model, training, folder, args, pack_tokens=1)


LOOPS: dict[str, Callable[..., None]] = {"own": own, "alone": alone, "trainer": trainer, "trl": trl}


def work(args: argparse.Namespace) -> None:
    """One run, in this process; its figures as a line of JSON."""
    began = time.process_time()
    for module in MODULES[args.loop]:
        importlib.import_module(module)
    imported = time.process_time() - began
    import torch
    from transformers import AutoTokenizer

    from ckllm.experts.training.lora import save_adapter, with_adapter
    from ckllm.experts.training.rows import examples, read_rows

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.base, local_files_only=True)
    training, held = (list(examples(read_rows(f)[0], tokenizer, OPTIONS.max_tokens)) for f in (args.data, args.held))
    training, held = training[: args.rows], held[: HELD if args.task == "speed" else 1]
    model = with_adapter(args.base, OPTIONS)
    began = time.process_time()
    LOOPS[args.loop](model, training, args.folder, args)
    took = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    model.eval()
    save_adapter(model, args.folder / "adapter")
    print(json.dumps({
        "loop": args.loop, "rows": len(training), "tokens": sum(len(one.tokens) for one in training),
        "answer_tokens": sum(len(one.tokens) - one.answer_start for one in training), "import_s": round(imported, 1),
        "train_s": round(took, 1), "peak_mb": peak, "held_out_loss": round(mean_loss(model, pack(held, PACK_TOKENS)), 4),
    }))  # fmt: skip


def run(args: argparse.Namespace, loop: str, folder: Path, *more: str) -> str:
    """What a run in a process of its own printed last; "" where it was killed."""
    command = [sys.executable, "-m", "benchmarks.trainers", args.task, "--loop", loop, "--folder", str(folder)]
    command += ["--base", str(args.base), "--data", str(args.data), "--held", str(args.held), "--rows", str(args.rows)]
    command += ["--rows-a-step", str(args.rows_a_step)]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    if done.returncode not in (0, -signal.SIGKILL):
        sys.exit(done.stderr)
    return done.stdout.strip().rpartition("\n")[2] if done.returncode == 0 else ""


def speed(args: argparse.Namespace) -> None:
    for loop in args.loops:
        with tempfile.TemporaryDirectory() as place:
            print(run(args, loop, Path(place)), flush=True)


def resume(args: argparse.Namespace) -> None:
    from safetensors.numpy import load_file

    for loop in args.loops:
        with tempfile.TemporaryDirectory() as place:
            straight, cut = Path(place) / "straight", Path(place) / "cut"
            run(args, loop, straight)
            assert not run(args, loop, cut, "--kill-after", str(KILLED))
            run(args, loop, cut, "--again")
            one, other = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (straight, cut))
            apart = max(float(abs(one[name].astype(float) - other[name].astype(float)).max()) for name in one)
            print(json.dumps({"loop": loop, "rows": args.rows, "largest_difference_of_a_weight": apart}), flush=True)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("speed", "resume"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--held", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rows-a-step", type=int, default=8)
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=list(LOOPS))
    for name, kind in (("--loop", str), ("--folder", Path)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--kill-after", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(given)
    if args.loop:
        work(args)
    else:
        {"speed": speed, "resume": resume}[args.task](args)


if __name__ == "__main__":
    main()
