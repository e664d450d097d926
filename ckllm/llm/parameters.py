"""The parameters of a language model: names, ranges, aliases, and setters that validate.

`Parameterised` holds one value a parameter; assignment, `set_…` and keyword arguments go through the same check.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ckllm.errors import UsageError

ALIASES = {"repition_penalty": "repetition_penalty", "freq_penalty": "frequency_penalty", "beam_width": "num_beams"}
"""Other names of the same parameter, as attribute and as keyword."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a parameter accepts."""

    default: Any
    kinds: tuple[type, ...]
    low: float = -math.inf
    high: float = math.inf
    optional: bool = False
    choices: tuple[str, ...] = ()
    open_low: bool = False
    """True where `low` itself is not allowed."""

    def check(self, name: str, value: Any) -> Any:
        """The value, an int made a float where a float is wanted. Raises UsageError naming what is accepted."""
        if value is None and self.optional:
            return None
        right_kind = isinstance(value, self.kinds) and (bool in self.kinds or not isinstance(value, bool))
        if not right_kind:
            raise UsageError(f"{name} = {value!r}: expected {self.words}")
        if self.choices and value not in self.choices:
            raise UsageError(f"{name} = {value!r}: expected {self.words}")
        if isinstance(value, int | float) and bool not in self.kinds:
            below = value <= self.low if self.open_low else value < self.low
            if below or value > self.high or math.isnan(value):
                raise UsageError(f"{name} = {value!r}: expected {self.words}")
            return float(value) if float in self.kinds else value
        return value

    @property
    def words(self) -> str:
        """In words, for an error message."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = {int: "a whole number", bool: "True or False", str: "text"}.get(self.kinds[0], "a number")
        if self.low > -math.inf and self.high < math.inf:
            kind += f" from {self.low:g} to {self.high:g}"
        elif self.low > -math.inf:
            kind += f" above {self.low:g}" if self.open_low else f" of at least {self.low:g}"
        return kind + (" or None" if self.optional else "")


_NUMBER = (float, int)
_TOKEN = Rule(None, (int,), 0, optional=True)

RULES: dict[str, Rule] = {
    "model_name": Rule("", (str,)),
    "max_tokens": Rule(256, (int,), 1),
    "max_length": Rule(None, (int,), 2, optional=True),
    "temperature": Rule(0.0, _NUMBER, 0, 2),
    "top_k": Rule(0, (int,), 0),
    "top_p": Rule(1.0, _NUMBER, 0, 1, open_low=True),
    "system_prompt": Rule("", (str,)),
    "num_beams": Rule(1, (int,), 1, 64),
    "num_return_sequences": Rule(1, (int,), 1, 64),
    "seed": Rule(None, (int,), 0, 2**63 - 1, optional=True),
    "frequency_penalty": Rule(0.0, _NUMBER, -2, 2),
    "presence_penalty": Rule(0.0, _NUMBER, -2, 2),
    "repetition_penalty": Rule(1.0, _NUMBER, 0, 10, open_low=True),
    "length_penalty": Rule(1.0, _NUMBER, -10, 10),
    "stop_token": Rule(None, (str,), optional=True),
    "stop_token_id": _TOKEN,
    "role": Rule("user", (str,), choices=("system", "user", "assistant")),
    "do_sample": Rule(None, (bool,), optional=True),
    "early_stopping": Rule(False, (bool,)),
    "pad_token_id": _TOKEN,
    "eos_token_id": _TOKEN,
    "bos_token_id": _TOKEN,
    "device": Rule("auto", (str,)),
}
"""Every parameter by its own name (not its aliases)."""


def canonical(name: str) -> str:
    """The parameter's own name. Raises UsageError naming the nearest for one that does not exist."""
    name = ALIASES.get(name, name)
    if name not in RULES:
        known = [*RULES, *ALIASES]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise UsageError(f"unknown parameter {name!r}: did you mean {near!r}?")
    return name


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under their own names, each validated. A parameter given twice, by name and alias, is an error."""
    result: dict[str, Any] = {}
    for given, value in values.items():
        name = canonical(given)
        if name in result:
            raise UsageError(f"parameter {name!r} was given twice, once under another name")
        result[name] = RULES[name].check(given, value)
    return result


class Parameterised:
    """Attributes that validate what is assigned to them. `num_return_sequences` is how many `sequences` makes; `max_length`
    bounds prompt and answer together; `do_sample` None follows the temperature (above 0 means sampling)."""

    model_name: str
    max_tokens: int
    max_length: int | None
    temperature: float
    top_k: int
    top_p: float
    system_prompt: str
    num_beams: int
    beam_width: int
    num_return_sequences: int
    seed: int | None
    frequency_penalty: float
    freq_penalty: float
    presence_penalty: float
    repetition_penalty: float
    repition_penalty: float
    length_penalty: float
    stop_token: str | None
    stop_token_id: int | None
    role: str
    do_sample: bool | None
    early_stopping: bool
    pad_token_id: int | None
    eos_token_id: int | None
    bos_token_id: int | None
    device: str

    def __init__(self, **values: Any) -> None:
        given = checked(values)
        object.__setattr__(self, "_values", {name: rule.default for name, rule in RULES.items()} | given)

    def __getattr__(self, name: str) -> Any:
        values: dict[str, Any] = object.__getattribute__(self, "__dict__").get("_values", {})
        own = ALIASES.get(name, name)
        if own in values:
            return values[own]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        own = ALIASES.get(name, name)
        if own not in RULES:
            object.__setattr__(self, name, value)
            return
        value = RULES[own].check(name, value)
        before = self._values[own]
        self._values[own] = value
        try:
            self._changed(own)
        except Exception:
            self._values[own] = before
            raise

    def _changed(self, name: str) -> None:
        """Called after a parameter was set; an engine that cannot take the value raises, and the old one comes back."""

    @property
    def parameters(self) -> dict[str, Any]:
        """A copy of every parameter's value, by its own name."""
        return dict(self._values)

    # The setters of the interface; each validates and raises UsageError like assignment does.

    def set_temperature(self, value: float) -> None:
        self.temperature = value

    def set_max_tokens(self, value: int) -> None:
        self.max_tokens = value

    def set_max_length(self, value: int | None) -> None:
        self.max_length = value

    def set_model_name(self, value: str) -> None:
        self.model_name = value

    def set_frequency_penalty(self, value: float) -> None:
        self.frequency_penalty = value

    def set_presence_penalty(self, value: float) -> None:
        self.presence_penalty = value

    def set_stop_token(self, value: str | None) -> None:
        self.stop_token = value

    def set_length_penalty(self, value: float) -> None:
        self.length_penalty = value

    def set_role(self, value: str) -> None:
        self.role = value

    def set_top_k(self, value: int) -> None:
        self.top_k = value

    def set_top_p(self, value: float) -> None:
        self.top_p = value

    def set_num_beams(self, value: int) -> None:
        self.num_beams = value

    def set_do_sample(self, value: bool | None) -> None:
        self.do_sample = value

    def set_early_stopping(self, value: bool) -> None:
        self.early_stopping = value

    def set_seed(self, value: int | None) -> None:
        self.seed = value

    def set_device(self, value: str) -> None:
        self.device = value
