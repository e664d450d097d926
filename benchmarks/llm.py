"""The fast engine beside the plain `transformers.generate` loop, on the bundled model, in one run.

    python -m benchmarks.llm --prompts 5 --agreement 50

Prompts of about 600 tokens are made here: invented passages and a question whose answer quotes one. Each engine lives in a
process of its own; the two take turns prompt by prompt, so that a busy machine is busy for both. CPU seconds (of all threads)
stand beside wall-clock seconds: on a shared machine they are the steadier ratio.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.circumstances import told

NEW_TOKENS = 60
ANSWER_TOKENS = 48
CONTEXT_SENTENCES = 22
NEVER = 0
"""`<|endoftext|>`, which the model never writes in a chat: as end token, it lets every answer have its full length."""
_SUBJECTS = (
    "bridge",
    "lighthouse",
    "observatory",
    "canal",
    "theatre",
    "tramway",
    "market hall",
    "reservoir",
    "windmill",
    "library",
)
_TOWNS = ("Marrow", "Velmora", "Tansley", "Oakhaven", "Brindle", "Castry", "Dunmere", "Elsworth", "Farrow", "Glenside")
_FACTS = (
    "The {subject} of {town} was finished in {year} by the engineer {name} and cost {cost} crowns.",
    "In {year} the {subject} of {town} was repaired under {name}, who used {cost} loads of grey stone.",
    "{name} described the {subject} of {town} in {year} as the most useful work within {cost} miles.",
)
_NAMES = ("Ada Wren", "Tomas Hale", "Ines Carr", "Ravi Menon", "Lena Voss", "Omar Said", "Greta Lund", "Paul Ito")


@dataclass(frozen=True, slots=True)
class Sample:
    """One generation. Seconds."""

    first_s: float
    first_cpu_s: float
    total_s: float
    total_cpu_s: float
    text: str
    prompt_tokens: int

    @property
    def tokens_per_second(self) -> float:
        return (NEW_TOKENS - 1) / (self.total_s - self.first_s)

    @property
    def tokens_per_cpu_second(self) -> float:
        return (NEW_TOKENS - 1) / (self.total_cpu_s - self.first_cpu_s)


def prompt(number: int, question: int = 0) -> list[tuple[str, str]]:
    """Context `number` with one of its questions, as (role, content)."""
    chosen = random.Random(number)
    facts = []
    for _ in range(CONTEXT_SENTENCES):
        subject, town, name = chosen.choice(_SUBJECTS), chosen.choice(_TOWNS), chosen.choice(_NAMES)
        sentence = chosen.choice(_FACTS).format(
            subject=subject, town=town, name=name, year=chosen.randint(1700, 1950), cost=chosen.randint(20, 900)
        )
        facts.append((subject, town, sentence))
    subject, town, _sentence = facts[(number * 7 + question * 5) % len(facts)]
    context = " ".join(f"[{place + 1}] {sentence}" for place, (_s, _t, sentence) in enumerate(facts))
    ask = f"{context}\n\nQuote the sentence about the {subject} of {town}."
    return [("system", "Answer only from the passages, in their own words."), ("user", ask)]


# ---------------------------------------------------------------------------------------------------- the two contestants


class FastEngine:
    """`open_llm` with the engine openvino."""

    def __init__(self, models_folder: Path) -> None:
        from ckllm.config import LlmSettings
        from ckllm.llm.openvino import OpenVinoLLM
        from ckllm.llm.table import open_llm

        opened = open_llm(LlmSettings(engine="openvino"), models_folder)
        assert isinstance(opened, OpenVinoLLM)
        self._llm = opened

    def sample(self, conversation: list[tuple[str, str]]) -> Sample:
        self._llm.eos_token_id = NEVER
        return self._run(conversation, NEW_TOKENS)

    def answer_ids(self, conversation: list[tuple[str, str]]) -> tuple[list[int], str]:
        """The greedy answer as token ids, its end token included, and as text."""
        from ckllm.contracts import Message

        self._llm.eos_token_id = None
        request = self._llm.request([Message(role, content) for role, content in conversation], max_tokens=ANSWER_TOKENS)  # type: ignore[arg-type]
        prompt_ids, ends = self._llm._prompt_ids(request), self._llm._ends(request)
        ids = list(self._llm._tokens(prompt_ids, request, ends, threading.Event()))
        return ids, self._llm.model.tokenizer.decode(ids)

    def together(self, conversations: list[list[tuple[str, str]]]) -> float:
        """Seconds until all of them are answered, asked at once."""
        self._llm.eos_token_id = NEVER
        began = time.perf_counter()
        with ThreadPoolExecutor(len(conversations)) as pool:
            list(pool.map(self.sample, conversations))
        return time.perf_counter() - began

    def _run(self, conversation: list[tuple[str, str]], limit: int) -> Sample:
        from ckllm.contracts import Message

        messages = [Message(role, content) for role, content in conversation]  # type: ignore[arg-type]
        began, cpu = time.perf_counter(), time.process_time()
        stream = self._llm.stream(messages, max_tokens=limit)
        text = next(stream, "")
        first, first_cpu = time.perf_counter() - began, time.process_time() - cpu
        text += stream.text()
        total, total_cpu = time.perf_counter() - began, time.process_time() - cpu
        return Sample(first, first_cpu, total, total_cpu, text, stream.usage.prompt_tokens)


class PlainLoop:
    """`AutoModelForCausalLM.generate`, float32, as its documentation shows it."""

    def __init__(self, models_folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from ckllm.llm.table import huggingface_folder

        folder = huggingface_folder(models_folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def sample(self, conversation: list[tuple[str, str]]) -> Sample:
        return self._run(conversation, NEW_TOKENS, NEW_TOKENS)

    def answer(self, conversation: list[tuple[str, str]]) -> str:
        return self._run(conversation, ANSWER_TOKENS, 0).text

    def confirms(self, conversation: list[tuple[str, str]], ids: list[int]) -> bool:
        """Whether greedy decoding makes these tokens."""
        import torch

        rows = [{"role": role, "content": content} for role, content in conversation]
        start = self._tokenizer.apply_chat_template(rows, add_generation_prompt=True, return_dict=True)["input_ids"]
        with torch.inference_mode():
            logits = self._model(torch.tensor([[*start, *ids]]), logits_to_keep=len(ids) + 1).logits[0, :-1]
        return bool(logits.argmax(dim=-1).tolist() == ids)

    def together(self, conversations: list[list[tuple[str, str]]]) -> float:
        """One after the other: `generate` is not made for several threads."""
        began = time.perf_counter()
        for conversation in conversations:
            self.sample(conversation)
        return time.perf_counter() - began

    def _run(self, conversation: list[tuple[str, str]], limit: int, least: int) -> Sample:
        import torch

        rows = [{"role": role, "content": content} for role, content in conversation]
        began, cpu = time.perf_counter(), time.process_time()
        first: list[float] = []

        class Watch:
            calls = 0

            def put(self, _value: object) -> None:
                self.calls += 1
                if self.calls == 2:  # the first call hands over the prompt
                    first.extend((time.perf_counter() - began, time.process_time() - cpu))

            def end(self) -> None: ...

        inputs = self._tokenizer.apply_chat_template(rows, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            out = self._model.generate(
                **inputs, max_new_tokens=limit, min_new_tokens=least or None, do_sample=False, streamer=Watch()
            )
        length = int(inputs["input_ids"].shape[1])
        text = self._tokenizer.decode(out[0, length:], skip_special_tokens=True)
        return Sample(first[0], first[1], time.perf_counter() - began, time.process_time() - cpu, text, length)


CONTESTANTS: dict[str, Callable[[Path], Any]] = {"fast": FastEngine, "plain": PlainLoop}


# ---------------------------------------------------------------------------------------------------- processes


class Contestant:
    """A contestant in its own process; calls go through a pipe."""

    def __init__(self, name: str, models_folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, models_folder, other), daemon=True)
        self._process.start()
        self.load_s, self.load_cpu_s = self._pipe.recv()

    def call(self, method: str, *arguments: Any) -> Any:
        self._pipe.send((method, arguments))
        return self._pipe.recv()

    def close(self) -> int:
        """Ends it; resident memory at its highest, in MB."""
        self._pipe.send(None)
        peak: int = self._pipe.recv()
        self._process.join()
        return peak


def _serve(name: str, models_folder: Path, pipe: Connection) -> None:
    import resource

    began, cpu = time.perf_counter(), time.process_time()
    engine = CONTESTANTS[name](models_folder)
    pipe.send((time.perf_counter() - began, time.process_time() - cpu))
    while (call := pipe.recv()) is not None:
        method, arguments = call
        pipe.send(getattr(engine, method)(*arguments))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


# ---------------------------------------------------------------------------------------------------- the run


def run(prompts: int, agreement: int, models_folder: Path) -> str:
    """Measure, and say it in Markdown. No `prompts`: agreement alone."""
    from ckllm.llm.table import huggingface_folder, openvino_folder

    huggingface_folder(models_folder)
    openvino_folder(models_folder)  # so that loading is measured, not converting
    fast, plain = Contestant("fast", models_folder), Contestant("plain", models_folder)
    for contestant in (fast, plain):
        contestant.call("sample", prompt(9_999))
    fresh: dict[str, list[Sample]] = {"fast": [], "plain": []}
    repeated: list[Sample] = []
    for number in range(prompts):
        fresh["plain"].append(plain.call("sample", prompt(number)))
        fresh["fast"].append(fast.call("sample", prompt(number)))
        repeated.append(fast.call("sample", prompt(number, 1)))
    four = [fast.call("together", [prompt(1_000 + 4 * turn + place) for place in range(4)]) for turn in range(2)]
    one = [fast.call("sample", prompt(2_000 + turn)).total_s for turn in range(2)]
    peaks = fast.close(), plain.close()
    rows = _table(fresh, repeated, (four, one), (fast, plain), peaks)
    same, f1 = _agreement(agreement, models_folder) if agreement else (0, 0.0)
    length = round(statistics.mean(sample.prompt_tokens for sample in fresh["fast"]))
    lines = [
        f"{told()}; {prompts} prompts of {length} tokens, {NEW_TOKENS} new tokens",
        "",
        "| measure | fast engine | plain loop | ratio (wall) | ratio (CPU) | target |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    if agreement:
        lines.append(f"| equal greedy answers of {agreement} | {same / agreement:.0%} (word F1 {f1:.3f}) | 1 | | | ≥ 95 % |")
    return "\n".join(lines)


def _table(
    fresh: dict[str, list[Sample]],
    repeated: list[Sample],
    concurrent: tuple[list[float], list[float]],
    contestants: tuple[Contestant, Contestant],
    peaks: tuple[int, int],
) -> list[str]:
    def median(samples: list[Sample], name: str) -> float:
        return statistics.median(float(getattr(sample, name)) for sample in samples)

    ours, theirs = fresh["fast"], fresh["plain"]
    rows = []
    for label, samples, target in (("first token, fresh", ours, "≤ 0.8"), ("first token, context repeated", repeated, "≤ 0.2")):
        wall = median(samples, "first_s") / median(theirs, "first_s")
        cpu = median(samples, "first_cpu_s") / median(theirs, "first_cpu_s")
        seconds = f"{median(samples, 'first_s'):.2f} s | {median(theirs, 'first_s'):.2f} s"
        rows.append(f"| {label} | {seconds} | {wall:.2f} | {cpu:.2f} | {target} |")
    wall, cpu = (median(ours, name) / median(theirs, name) for name in ("tokens_per_second", "tokens_per_cpu_second"))
    speeds = median(ours, "tokens_per_second"), median(theirs, "tokens_per_second")
    rows.append(f"| new tokens/s | {speeds[0]:.1f} | {speeds[1]:.1f} | {wall:.2f} | {cpu:.2f} | ≥ 2.5 |")
    fast, plain = contestants
    loads = fast.load_s / plain.load_s, fast.load_cpu_s / plain.load_cpu_s
    rows.append(
        f"| cold load, wall (CPU) | {fast.load_s:.1f} s ({fast.load_cpu_s:.1f}) | {plain.load_s:.1f} s ({plain.load_cpu_s:.1f}) "
        f"| {loads[0]:.2f} | {loads[1]:.2f} | ≤ 3 s |"
    )
    rows.append(f"| peak memory | {peaks[0]} MB | {peaks[1]} MB | {peaks[0] / peaks[1]:.2f} | | ≤ 900 MB |")
    four, one = (statistics.mean(values) for values in concurrent)
    rows.append(f"| four at once beside one | {four:.1f} s / {one:.1f} s | | {four / one:.2f} | | < 3 |")
    return rows


def _agreement(count: int, models_folder: Path) -> tuple[int, float]:
    """How many greedy answers are equal, and the mean F1 of their words.

    An answer is the reference's greedy answer exactly where each of its tokens is the reference's likeliest after the tokens
    before it: one pass over prompt and answer tells, and only the others are generated twice.
    """
    from ckllm.evaluation.metrics import best_f1 as f1

    fast, plain = Contestant("fast", models_folder), Contestant("plain", models_folder)
    same, overlap = 0, 0.0
    for number in range(count):
        conversation = prompt(5_000 + number)
        ids, text = fast.call("answer_ids", conversation)
        if plain.call("confirms", conversation, ids):
            same += 1
            overlap += 1
        else:
            overlap += f1(text, [plain.call("answer", conversation)])
    fast.close()
    plain.close()
    return same, overlap / count


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=5)
    parser.add_argument("--agreement", type=int, default=50)
    parser.add_argument("--models", type=Path, default=Path.home() / ".cache" / "ckllm-tests")
    options = parser.parse_args()
    print(run(options.prompts, options.agreement, options.models))


if __name__ == "__main__":
    main()
