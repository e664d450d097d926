"""A conversation as segments of text, each markup or content. Content stays content: it is never read as markup.

Only a tokenizer knows which markup is a token of its own; `ckllm.llm.tokenisation` makes token ids of the segments so that
such a token comes from markup alone. Markup that consists of ordinary tokens (`[INST]` in Llama-2) can only be kept apart in
the text: `break_markers` puts a space into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ckllm.contracts import Message
from ckllm.errors import UsageError
from ckllm.prompting.templates import Profile

_HOLE = re.compile(r"(\{(?:content|system|bos|eos)\})")


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of text that is either markup (`is_control`) or content."""

    text: str
    is_control: bool


def render(messages: Sequence[Message], profile: Profile, bos: str = "", eos: str = "") -> tuple[Segment, ...]:
    """The conversation with the invitation to answer at its end. Raises UsageError for an empty one or an unknown role."""
    system, turns = _split(messages, profile)
    filler = _Filler(profile, bos, eos)
    result = filler.fill(profile.begin)
    if system is not None and profile.system:
        result += filler.fill(profile.system, content=_trimmed(system, profile.trim and profile.trim_system))
        system = None
    for turn in turns:
        content = turn.content
        if turn.role == "user" and system is not None:
            result += filler.fill(profile.first_user, content=content, system=system)
            system = None
        else:
            result += filler.fill(_template(profile, turn.role), content=content)
    if system is not None:
        raise UsageError(f"the profile {profile.name!r} says the system turn in the first user turn, and there is no user turn")
    return tuple(_joined([*result, *filler.fill(profile.generation)]))


def break_markers(text: str, markers: Iterable[str]) -> str:
    """The text with a space after the first character of every marker in it."""
    for marker in sorted((m for m in markers if m), key=len, reverse=True):
        broken = marker[0] + " " + marker[1:]
        while marker in text:
            text = text.replace(marker, broken)
    return text


def _split(messages: Sequence[Message], profile: Profile) -> tuple[str | None, Sequence[Message]]:
    """The system turn, if any, and the others; a later system turn counts as a user turn where the profile has none."""
    if not messages:
        raise UsageError("the conversation is empty: give at least one message")
    if messages[0].role == "system":
        return messages[0].content, messages[1:]
    return (profile.default_system or None), messages


def _template(profile: Profile, role: str) -> str:
    if role == "system":
        return profile.system or profile.user
    if role not in ("user", "assistant"):
        raise UsageError(f"unknown role {role!r}: expected system, user or assistant")
    return profile.user if role == "user" else profile.assistant


def _trimmed(text: str, trim: bool) -> str:
    return text.strip() if trim else text


@dataclass(frozen=True, slots=True)
class _Filler:
    profile: Profile
    bos: str
    eos: str

    def fill(self, template: str, content: str = "", system: str = "") -> list[Segment]:
        profile = self.profile
        right_only = "{system}" in template and profile.trim_first_user == "right"
        body = content.rstrip() if right_only and profile.trim else _trimmed(content, profile.trim)
        if right_only and profile.trim and not body:
            template = re.sub(r"\s+\{content\}", "{content}", template)  # nothing follows that markup: it is trimmed too
        filled = {
            "{content}": Segment(body, False),
            "{system}": Segment(_trimmed(system, profile.trim and profile.trim_system), False),
            "{bos}": Segment(self.bos, True),
            "{eos}": Segment(self.eos, True),
        }
        return [filled.get(part, Segment(part, True)) for part in _HOLE.split(template)]


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    """Neighbours of one kind made one, empty ones left out."""
    result: list[Segment] = []
    for segment in segments:
        if not segment.text:
            continue
        if result and result[-1].is_control == segment.is_control:
            result[-1] = Segment(result[-1].text + segment.text, segment.is_control)
        else:
            result.append(segment)
    return result
