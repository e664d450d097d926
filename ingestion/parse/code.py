"""Source code: the file's own text, cut where top-level definitions begin; comments above a definition belong to it."""

from __future__ import annotations

import re
from pathlib import Path

from ckllm.contracts import Document, ElementKind, Source
from ingestion.parse.decode import decode
from ingestion.parse.text import TextBuilder, source_name

_WORDS = {
    "python": r"(?:async\s+def|def|class)\b",
    "js": r"(?:export\s+)?(?:default\s+)?(?:async\s+)?(?:function|class)\b|"
    r"(?:export\s+)?(?:const|let|var)\s+\w+\s*=\s*(?:async\s*)?(?:\(|function)",
    "ts": r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?"
    r"(?:function|class|interface|enum|type|namespace)\b|(?:export\s+)?const\s+\w+",
    "go": r"(?:func|type|var|const)\b",
    "rust": r"(?:pub(?:\([^)]*\))?\s+)?(?:async\s+|unsafe\s+|const\s+)*"
    r"(?:fn|struct|enum|trait|impl|mod|macro_rules!|type|union)\b",
    "ruby": r"(?:def|class|module)\b",
    "php": r"(?:abstract\s+|final\s+)?(?:function|class|interface|trait|enum)\b",
    "sql": r"(?:create|alter|insert|select|with|update|delete|drop)\b",
    "shell": r"(?:function\s+[\w-]+|[\w-]+\s*\(\)\s*\{?)",
    "lua": r"(?:local\s+)?function\b",
    "perl": r"(?:sub|package)\b",
    "elixir": r"(?:defmodule|defprotocol|defimpl)\b",
    "scala": r"(?:[a-z]+\s+)*(?:class|object|trait|def)\b",
    "kotlin": r"(?:[a-z]+\s+)*(?:class|object|interface|fun|enum)\b",
    "swift": r"(?:[a-z]+\s+)*(?:class|struct|enum|protocol|func|extension)\b",
    "proto": r"(?:message|service|enum)\b",
    "terraform": r"(?:resource|module|variable|output|provider|data|locals)\b",
    "css": r"[^\s@}][^{}]*\{|@\w+",
}
# C and its relatives: a line that starts in the first column with a name and ends in no semicolon
_BRACES = (
    r"(?:[A-Za-z_][\w:<>,*&\[\]\s~]*?(?:\([^;]*|\{)\s*$|"
    r"(?:[a-z]+\s+)*(?:class|struct|enum|interface|namespace|union|typedef|record)\b)"
)
_COMMENT = re.compile(r"^(?:\s*(?:#(?!!)|//|/\*|\*|--|;|%|\"\"\")|@\w)")
_LONGEST_LINE = 300
_IGNORE_CASE = frozenset({"sql"})


def parse(source: Source, media_type: str, _folder: Path) -> Document:
    builder = TextBuilder.over(decode(source.path.read_bytes())[0], media_type)
    language = media_type.removeprefix("text/x-")
    starts = definition_starts(builder.raw, language)
    for start, end in zip([0, *starts], [*starts, len(builder.raw)], strict=True):
        builder.mark(ElementKind.CODE, start, end)
    return builder.build(source_name(source), source, "")


def definition_starts(text: str, language: str) -> list[int]:
    """Where the file's top-level definitions begin (offsets), with the comments and decorators right above them."""
    flags = re.I if language in _IGNORE_CASE else 0
    begins = re.compile(_WORDS.get(language, _BRACES), flags)
    starts: list[int] = []
    position = above = 0
    attached = False
    for line in text.split("\n"):
        if begins.match(line[:_LONGEST_LINE]):
            starts.append(above if attached else position)
            attached = False
        elif _COMMENT.match(line) and not line[:1].isspace():
            above = above if attached else position
            attached = True
        else:
            attached = attached and line.strip() != "" and line[:1].isspace()
        position += len(line) + 1
    return [start for start in starts if start > 0]
