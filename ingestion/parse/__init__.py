"""From bytes to documents: `detect.py` tells what a source is, `formats.py` names the parser, one file a format family;
`worker.py` runs the parsers in processes of their own, and `archive.py` opens archives."""

from __future__ import annotations

PARSER_VERSION = "5"
"""Part of every version id: raise it when a parser's output changes, and documents are parsed anew."""
