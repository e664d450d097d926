"""WebVTT and SubRip: what is said, one line a cue, with the speaker where he is named."""

from __future__ import annotations

import html
import re
from pathlib import Path

from ckllm.contracts import Document, ElementKind, Source
from ingestion.parse.decode import decode
from ingestion.parse.text import TextBuilder, one_line

_TIMING = re.compile(r"^\s*(?:\d+:)?\d{1,2}:\d{2}[.,]\d{3}\s*-->")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)*\s+([^>]+)>")
_TAG = re.compile(r"</?[^>\n]*>")
_CUES_PER_PARAGRAPH = 12


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    builder = TextBuilder(media_type)
    text = decode(source.path.read_bytes())[0].replace("\r\n", "\n").replace("\r", "\n")
    title = re.match(r"WEBVTT[ \t]+(?:-[ \t]*)?([^\n]+)", text)
    said: list[str] = []
    for block in re.split(r"\n[ \t]*\n", text):
        lines = block.split("\n")
        timing = next((place for place, line in enumerate(lines) if _TIMING.match(line)), None)
        if timing is not None:
            _add_cue(said, "\n".join(lines[timing + 1 :]))
    for start in range(0, len(said), _CUES_PER_PARAGRAPH):
        builder.append(ElementKind.PARAGRAPH, "\n".join(said[start : start + _CUES_PER_PARAGRAPH]))
    return builder.build(title[1] if title else "", source)


def _add_cue(said: list[str], cue: str) -> None:
    """One line for each voice in the cue; a line repeated by the next cue (rolling captions) stands once."""
    for part in re.split(r"(?=<v[\s.])", cue):
        voice = _VOICE.match(part)
        words = one_line(html.unescape(_TAG.sub("", part)))
        if words:
            line = f"{one_line(html.unescape(voice[1]))}: {words}" if voice else words
            if not said or said[-1] != line:
                said.append(line)
