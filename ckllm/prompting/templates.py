"""Chat template profiles, read from `profiles.toml`."""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, Literal

from ckllm.errors import UsageError


@dataclass(frozen=True, slots=True)
class Profile:
    """How a conversation becomes one text; the keys are explained at the head of `profiles.toml`."""

    name: str
    user: str
    assistant: str
    generation: str
    begin: str = ""
    system: str = ""
    """"" where the system turn goes into the first user turn, as `first_user` says."""
    first_user: str = ""
    end: tuple[str, ...] = ()
    trim: bool = False
    trim_system: bool = True
    """Whether `trim` holds for the system turn too."""
    trim_first_user: Literal["both", "right"] = "both"
    """Which ends of the user's text are trimmed in `first_user`."""
    default_system: str = ""
    markers: tuple[str, ...] = ()
    detect: tuple[str, ...] = ()


def profile(name: str) -> Profile:
    """The profile of that name. Raises UsageError naming the nearest."""
    known = profiles()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise UsageError(f"unknown chat template profile {name!r}: did you mean {near!r}? There are {', '.join(known)}")
    return known[name]


def profile_of(chat_template: str | None) -> Profile:
    """The profile that matches a model's own Jinja template; `plain` for a model without one.

    Raises UsageError where none matches: guessing would silently break the model's turns.
    """
    if not chat_template:
        return profile("plain")
    for candidate in profiles().values():
        if candidate.detect and all(mark in chat_template for mark in candidate.detect):
            return candidate
    raise UsageError(f"no profile matches the model's chat template: set llm.profile to one of {', '.join(profiles())}")


@functools.cache
def every_marker() -> tuple[str, ...]:
    """The markup of all profiles: for text that goes to a template that is not known."""
    return tuple(sorted({marker for one in profiles().values() for marker in one.markers}))


@functools.cache
def profiles() -> Mapping[str, Profile]:
    """Every profile, in the file's order."""
    text = resources.files("ckllm.prompting").joinpath("profiles.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)
    known = {field.name for field in fields(Profile)}
    result: dict[str, Profile] = {}
    for name, row in rows.items():
        values: dict[str, Any] = (rows[row["extends"]] if "extends" in row else {}) | {
            key: value for key, value in row.items() if key != "extends"
        }
        unknown = set(values) - known
        if unknown:
            raise UsageError(f"profiles.toml: [{name}] has the unknown key {min(unknown)!r}")
        frozen: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        result[name] = Profile(name=name, **frozen)
    return result
