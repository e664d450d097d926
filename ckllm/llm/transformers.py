"""The reference engine: any causal language model that transformers loads, on a processor or a GPU."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ckllm.contracts import Usage
from ckllm.errors import DataError, UsageError
from ckllm.llm.base import Completion, GenerationRequest, Likelihood
from ckllm.llm.batch import completed
from ckllm.llm.local import LocalLLM, LocalModel
from ckllm.llm.stopping import StopFilter
from ckllm.llm.tokenisation import SpecialTokens, StreamDecoder, TextTokenizer
from ckllm.prompting.templates import profile as profile_named
from ckllm.prompting.templates import profile_of

BATCH_ROWS = 8
BATCH_TOKENS = 8192
"""The most rows, and padded prompt tokens, computed together."""


class TransformersLLM(LocalLLM):
    """A folder or hub id. Several generations may run at once: they take turns token by token, each with its own cache."""

    engine = "transformers"

    def __init__(
        self,
        model: str,
        *,
        model_id: str = "",
        profile: str = "",
        quantisation: str = "none",
        threads: int = 0,
        **parameters: Any,
    ) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        self._lock = threading.RLock()
        self._quantised = quantisation != "none"
        config, described = _described(model, profile)
        super().__init__(model_id or model, described, **parameters)
        self._target = _device(self.device)
        from ckllm.llm.adapters import AdapterMixer

        self._mixer = AdapterMixer(_load(model, config, quantisation, self._target))
        self.active = 0

    # ------------------------------------------------------------------------------------------ generating

    def _tokens(
        self, ids: list[int], request: GenerationRequest, ends: tuple[int, ...], cancel: threading.Event
    ) -> Iterator[int]:
        from ckllm.llm.torch_decoding import Row, decode

        with self._counted():
            if request.num_beams > 1:
                yield from self._beams(ids, request, ends)
                return
            row = Row(ids, request, self._model.device)
            steps = decode(self._model, [row], self._pad_id(ends), lambda: self._turn(request.adapters), cancel)
            for made, (token,) in enumerate(steps, 1):
                row.done = token in ends or made >= request.max_tokens
                yield token

    def _beams(self, ids: list[int], request: GenerationRequest, ends: tuple[int, ...]) -> list[int]:
        import torch

        prompt = torch.tensor([ids], device=self._model.device)
        with self._turn(request.adapters), torch.inference_mode():
            out = self._model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=request.max_tokens,
                num_beams=request.num_beams,
                do_sample=False,
                length_penalty=request.length_penalty,
                early_stopping=request.early_stopping,
                repetition_penalty=request.repetition_penalty,
                eos_token_id=list(ends),
                pad_token_id=self._pad_id(ends),
            )
        return [int(token) for token in out[0, len(ids) :]]

    def _generate_many(self, requests: Sequence[GenerationRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        """Batches of like length; beams, which fill a batch by themselves, go alone."""
        rows: list[tuple[int, list[int]]] = []
        for index, request in enumerate(requests):
            try:
                ids = self._prompt_ids(request)
                self._check_context(len(ids), request.max_tokens)
            except UsageError as error:
                yield index, error
                continue
            if request.num_beams > 1:
                yield index, self._alone(request)
            else:
                rows.append((index, ids))
        for batch in _buckets(rows, requests):
            yield from self._batch(batch, requests)

    def _alone(self, request: GenerationRequest) -> Completion | Exception:
        try:
            return completed(self.generate_stream(request))
        except (RuntimeError, DataError) as error:
            return error

    def _batch(
        self, batch: Sequence[tuple[int, list[int]]], requests: Sequence[GenerationRequest]
    ) -> Iterator[tuple[int, Completion | Exception]]:
        from ckllm.llm.torch_decoding import Row, decode

        adapters = requests[batch[0][0]].adapters
        rows = [Row(ids, requests[index], self._model.device) for index, ids in batch]
        texts = [_RowText(self.model.tokenizer.decoder(), row.request, self._ends(row.request)) for row in rows]
        pad = self._pad_id(self.model.end_ids)
        try:
            with self._counted():
                for tokens in decode(self._model, rows, pad, lambda: self._turn(adapters), threading.Event()):
                    for (index, ids), row, text, token in zip(batch, rows, texts, tokens, strict=True):
                        if not row.done and text.ends_with(token):
                            row.done = True
                            yield index, Completion(text.text, Usage(len(ids), text.made), text.finish_reason)
        except (RuntimeError, DataError) as error:
            for (index, _ids), row in zip(batch, rows, strict=True):
                if not row.done:
                    yield index, error

    def _loglikelihood(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        import torch

        start = self.model.tokenizer.encode(prompt, add_bos=True)
        result: list[Likelihood] = []
        for text in continuations:
            more = self.model.tokenizer.encode(text)
            if not start or not more:
                raise UsageError("a likelihood needs a prompt and a continuation, neither empty")
            self._check_context(len(start) + len(more), 0)
            ids = torch.tensor([[*start, *more]], device=self._model.device)
            with self._turn(self.adapters), torch.inference_mode():
                logits = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, len(start) - 1 : -1]
            chances = torch.log_softmax(logits.float(), dim=-1)
            total = float(chances[torch.arange(len(more)), ids[0, len(start) :]].sum())
            result.append(Likelihood(total, len(more)))
        return result

    # ------------------------------------------------------------------------------------------ inside

    @property
    def _model(self) -> Any:
        return self._mixer.model

    @contextmanager
    def _turn(self, adapters: Mapping[str, float]) -> Iterator[None]:
        """The model, with this mixture of adapters, for one computation."""
        with self._lock:
            self._mixer.use(adapters)
            yield

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._guard:
            self.active += 1
        try:
            yield
        finally:
            with self._guard:
                self.active -= 1

    def _pad_id(self, ends: Sequence[int]) -> int:
        """Any token will do: what it stands for is masked."""
        return self.pad_token_id if self.pad_token_id is not None else (ends[0] if ends else 0)

    def _changed(self, name: str) -> None:
        if name != "device":
            return
        target = _device(self.device)
        if self._quantised:
            raise UsageError("a quantised model cannot move to another device: open it there")
        with self._lock:
            self._model.to(target)
        self._target = target

    def _close(self) -> None:
        from ckllm.llm.adapters import AdapterMixer

        with self._lock:
            self._mixer = AdapterMixer(None)


class _RowText:
    """What one row of a batch has said."""

    def __init__(self, decoder: StreamDecoder, request: GenerationRequest, ends: tuple[int, ...]) -> None:
        self._decoder, self._request, self._ends = decoder, request, ends
        self._filter = StopFilter(request.stop)
        self.text = ""
        self.made = 0
        self.finish_reason: Any = None

    def ends_with(self, token: int) -> bool:
        """Take the token in; whether it was the last."""
        self.made += 1
        ended = token in self._ends
        full = self.made >= self._request.max_tokens
        piece = "" if ended else self._decoder.feed(token)
        self.text += self._filter.feed(piece + (self._decoder.flush() if ended or full else ""))
        if self._filter.found or ended:
            self.finish_reason = "stop"
        elif full:
            self.finish_reason = "length"
        if self.finish_reason and not self._filter.found:
            self.text += self._filter.flush()
        return self.finish_reason is not None


def _buckets(rows: list[tuple[int, list[int]]], requests: Sequence[GenerationRequest]) -> Iterator[list[tuple[int, list[int]]]]:
    """Rows of the same adapters, sorted by length, cut where a batch would have too many rows or tokens."""
    kinds: dict[tuple[tuple[str, float], ...], list[tuple[int, list[int]]]] = {}
    for row in sorted(rows, key=lambda row: len(row[1])):
        kinds.setdefault(tuple(sorted(requests[row[0]].adapters.items())), []).append(row)
    for kind in kinds.values():
        batch: list[tuple[int, list[int]]] = []
        for row in kind:
            if batch and (len(batch) == BATCH_ROWS or (len(batch) + 1) * len(row[1]) > BATCH_TOKENS):
                yield batch
                batch = []
            batch.append(row)
        yield batch


def _described(model: str, profile: str) -> tuple[Any, LocalModel]:
    """Config and tokenizer. Raises DataError where the model cannot be found or read."""
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(model)
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"cannot load the model {model!r}: {reason}") from error
    folder = Path(model)
    if (folder / "tokenizer.json").is_file():
        return config, LocalModel.read(folder, profile)
    if not getattr(tokenizer, "is_fast", False):
        raise DataError(f"the model {model!r} has no fast tokenizer (tokenizer.json)")
    bos, eos = tokenizer.bos_token or "", tokenizer.eos_token or ""
    adds = bool(bos) and tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    text = TextTokenizer(tokenizer.backend_tokenizer, SpecialTokens(bos, eos, adds, tokenizer.chat_template))
    chosen = profile_named(profile) if profile else profile_of(tokenizer.chat_template)
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id, tokenizer.eos_token_id]
    ends += [text.id_of(mark) for mark in chosen.end]
    length = int(getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None) or 2048)
    return config, LocalModel(folder, text, chosen, length, tuple(dict.fromkeys(end for end in ends if end is not None)))


def _load(model: str, config: Any, quantisation: str, device: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    options: dict[str, Any] = {"dtype": torch.float32 if device == "cpu" else "auto"}
    if quantisation != "none":
        options |= {"quantization_config": _quantisation(quantisation), "device_map": {"": device}}
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        loaded = AutoModelForCausalLM.from_pretrained(model, config=config, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"cannot load the model {model!r}: {reason}") from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise DataError(
            f"the weights of {model!r} are damaged ({error}): fetch them again, or delete the converted folder"
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()
    loaded.eval()
    return loaded if quantisation != "none" else loaded.to(device)


def _quantisation(kind: str) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(f"quantisation = {kind} needs bitsandbytes: pip install 'ckllm[quantised]'")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_8bit=kind == "8bit", load_in_4bit=kind == "4bit")


def _device(name: str) -> str:
    """A device that torch has. Raises UsageError naming those."""
    import torch

    cuda = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if cuda else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device = {name!r}: expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (not cuda or (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"device = {name!r}: torch sees no such GPU here")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"device = {name!r}: expected auto, cpu, cuda or cuda:N")
    return name
