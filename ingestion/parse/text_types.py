"""Telling text formats apart: by what the text says of itself first, by the file's suffix where formats look alike."""

from __future__ import annotations

import re

SUFFIXES = {
    ".txt": "text/plain", ".text": "text/plain", ".log": "text/plain",
    ".md": "text/markdown", ".markdown": "text/markdown", ".mdx": "text/markdown",
    ".qmd": "text/markdown", ".rmd": "text/markdown",
    ".adoc": "text/asciidoc", ".asciidoc": "text/asciidoc", ".asc": "text/asciidoc",
    ".rst": "text/x-rst", ".rest": "text/x-rst", ".org": "text/x-org",
    ".html": "text/html", ".htm": "text/html", ".xhtml": "text/html", ".mhtml": "message/rfc822", ".mht": "message/rfc822",
    ".csv": "text/csv", ".tsv": "text/tab-separated-values", ".tab": "text/tab-separated-values",
    ".json": "application/json", ".geojson": "application/json", ".webmanifest": "application/json",
    ".jsonl": "application/jsonl", ".ndjson": "application/jsonl", ".ipynb": "application/x-ipynb+json",
    ".xml": "application/xml", ".nxml": "application/xml", ".svg": "application/xml",
    ".rss": "application/xml", ".atom": "application/xml",
    ".vtt": "text/vtt", ".srt": "application/x-subrip",
    ".eml": "message/rfc822",
}  # fmt: skip

CODE_SUFFIXES = {
    ".py": "python", ".pyi": "python", ".js": "js", ".mjs": "js", ".cjs": "js",
    ".jsx": "js", ".ts": "ts", ".tsx": "ts", ".java": "java",
    ".kt": "kotlin", ".kts": "kotlin", ".scala": "scala", ".swift": "swift", ".go": "go", ".rs": "rust", ".c": "c", ".h": "c",
    ".cc": "cpp", ".cpp": "cpp", ".cxx": "cpp", ".hpp": "cpp", ".hh": "cpp", ".cs": "csharp", ".php": "php", ".rb": "ruby",
    ".lua": "lua", ".pl": "perl", ".pm": "perl", ".r": "r", ".jl": "julia", ".hs": "haskell", ".ml": "ocaml", ".ex": "elixir",
    ".exs": "elixir", ".erl": "erlang", ".clj": "clojure", ".sh": "shell",
    ".bash": "shell", ".zsh": "shell", ".ps1": "powershell",
    ".sql": "sql", ".sol": "sol", ".proto": "proto", ".m": "matlab", ".dart": "dart", ".groovy": "groovy", ".cob": "cobol",
    ".f90": "fortran", ".f": "fortran", ".pas": "pascal", ".v": "verilog", ".vhd": "vhdl", ".css": "css", ".scss": "css",
    ".tf": "terraform", ".vue": "js", ".svelte": "js", ".zig": "zig", ".nim": "nim",
}  # fmt: skip

TYPES_WITH_BLOBS = frozenset({"text/html", "application/xml", "message/rfc822", "application/mbox", "application/x-ipynb+json"})
"""Formats that carry pictures as text without white space, which is left out of the document anyway."""

_HTML = re.compile(r"<(?:!doctype\s+html|html|head|body)\b", re.I)
_MAIL_HEADER = re.compile(r"^([A-Za-z][A-Za-z0-9-]{1,40}):(?:[ \t]|$)", re.M)
_ENVELOPE = re.compile(r"^From \S+.*\d:\d\d.*\b\d{4}\b.*$(?=\r?\n[A-Za-z-]+:)", re.M)
_PARTS = re.compile(r"^content-type:\s*multipart/", re.I | re.M)
_MAIL_NAMES = frozenset(
    [
        "from",
        "to",
        "cc",
        "date",
        "subject",
        "message-id",
        "mime-version",
        "received",
        "return-path",
        "delivered-to",
        "reply-to",
        "content-type",
        "x-mailer",
        "sender",
    ]
)


def text_type(text: str, suffix: str, claimed: str, name: str) -> str:
    """The media type of a text that starts with `text`.

    `suffix` is lower case with its dot; `claimed` is the sender's media type ("" where none).
    """
    own = _by_content(text, suffix)
    if own:
        return own
    if suffix in CODE_SUFFIXES:
        return f"text/x-{CODE_SUFFIXES[suffix]}"
    hinted = SUFFIXES.get(suffix) or (claimed if claimed in _CLAIMED else "")
    if hinted in ("text/html", "application/xml") and "<" not in text:
        return "text/plain"
    if hinted == "message/rfc822" and not _MAIL_HEADER.match(text.lstrip()):
        return "text/plain"
    if hinted:
        return hinted
    if name.lower() in ("makefile", "dockerfile", "jenkinsfile"):
        return "text/x-shell"
    return "application/json" if _looks_like_json(text) and not suffix else "text/plain"


_CLAIMED = frozenset(SUFFIXES.values())


def _by_content(text: str, suffix: str) -> str:
    start = text.lstrip("\ufeff \t\r\n\f")[:4096]
    if start.startswith("WEBVTT"):
        return "text/vtt"
    if start.startswith("<?xml") or (start[:1] == "<" and suffix in (".xml", ".nxml", ".svg", ".xhtml")):
        return "text/html" if _root_is_html(start) else "application/xml"
    if start[:1] == "<" and _HTML.match(_without_comments(start)):
        return "text/html"
    if _is_mbox(text, suffix):
        return "application/mbox"
    if _is_mail(start, suffix):
        return "message/rfc822"
    if start[:1] == "{" and '"nbformat"' in text and suffix in (".ipynb", ".json", ""):
        return "application/x-ipynb+json"
    return ""


def _root_is_html(start: str) -> bool:
    body = _without_comments(re.sub(r"^\s*<\?.*?\?>", "", start, flags=re.S))
    return bool(_HTML.match(body))


def _without_comments(start: str) -> str:
    return re.sub(r"^(?:\s*<!--.*?-->)+", "", start, flags=re.S).lstrip()


def _is_mbox(text: str, suffix: str) -> bool:
    """Messages one behind the other, each under a line "From SENDER DATE" (RFC 4155)."""
    return bool(_ENVELOPE.match(text)) and (suffix in (".mbox", ".mbx") or len(_ENVELOPE.findall(text)) > 1)


def _is_mail(start: str, suffix: str) -> bool:
    """A header block of at least three known fields (one for `.eml`) from the first line on, with a sender or a date.

    Or one of a message that begins with what MIME says of its parts, as saved pages and signed mails do.
    """
    block = re.split(r"\r?\n[ \t]*\r?\n", start, maxsplit=1)[0]
    lines = block.replace("\r\n", "\n").split("\n")
    if lines and lines[0].startswith("From "):
        lines = lines[1:]
    names = {match[1].lower() for line in lines if (match := _MAIL_HEADER.match(line))}
    stray = [line for line in lines if line[:1] not in (" ", "\t") and not _MAIL_HEADER.match(line)]
    known = names & _MAIL_NAMES
    if suffix == ".eml":
        return len(known) >= 1 and len(stray) <= 1
    if {"mime-version", "content-type"} <= names and not stray and _PARTS.search(block):
        return True
    strong = names & {"message-id", "mime-version", "received", "return-path", "delivered-to"}
    return len(known) >= 3 and bool(strong) and bool(known & {"from", "date"}) and not stray


def _looks_like_json(text: str) -> bool:
    start = text.lstrip()
    return start[:1] in ("{", "[") and bool(re.match(r'\{\s*(?:"|\})|\[\s*(?:[\[{"\d-]|\]|true|false|null)', start))
