"""How fast each format is parsed, and how much of what was expected is in the text.

    python -m benchmarks.parsing FOLDER [--workers 2] [--json]

Reads every file of FOLDER in isolated worker processes, as ingestion does. Where the folder has an `expected.jsonl` with rows
`{"file", "format"?, "must_contain": […], "reference_text_file"?}` (relative paths), only those files are read, and the share of
expected strings (compared after NFKC, white space to one space) and the word recall of the references are reported.
Seconds are those that a worker spent on a format's files, one after the other; loading its libraries is in the first of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ckllm.contracts import Source
from ckllm.errors import DataError
from ingestion.parse.detect import detect
from ingestion.parse.worker import ParserPool

MAX_BYTES = 100_000_000


@dataclass(slots=True)
class Row:
    """Figures of one format."""

    format: str
    files: int = 0
    rejected: int = 0
    megabytes: float = 0.0
    characters: int = 0
    seconds: float = 0.0
    strings: int = 0
    found: int = 0
    words: int = 0
    recalled: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON object a format on standard output")
    arguments = parser.parse_args()
    rows: dict[str, Row] = {}
    start = time.perf_counter()
    files = expected_files(arguments.folder)
    with tempfile.TemporaryDirectory() as scratch, ParserPool(arguments.workers, 120, 4096, Path(scratch), MAX_BYTES) as pool:
        by_format: dict[str, list[dict[str, object]]] = {}
        for file in files:
            by_format.setdefault(str(file["format"]), []).append(file)
        for name, group in sorted(by_format.items()):
            rows[name] = measure(name, group, pool)
    show(list(rows.values()), time.perf_counter() - start, arguments.json)
    return 0


def expected_files(folder: Path) -> list[dict[str, object]]:
    """Rows of expected.jsonl, else every file of the folder; `path` and `format` are filled in."""
    listed = folder / "expected.jsonl"
    if listed.is_file():
        rows = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        rows = [{"file": str(path.relative_to(folder))} for path in sorted(folder.rglob("*")) if path.is_file()]
    for row in rows:
        row["path"] = folder / row["file"]
        row.setdefault("format", row["path"].suffix.lstrip(".").lower() or "none")
        if row.get("reference_text_file"):
            row["reference"] = (folder / row["reference_text_file"]).read_text(encoding="utf-8")
    return rows


def measure(name: str, files: list[dict[str, object]], pool: ParserPool) -> Row:
    row = Row(name)
    for file in files:
        source = source_of(Path(str(file["path"])))
        row.files += 1
        row.megabytes += source.size / 1e6
        start = time.perf_counter()
        try:
            text = pool.submit(source, detect(source, MAX_BYTES)).result().text
        except DataError as error:
            text = ""
            row.rejected += 1
            sys.stderr.write(f"{file['file']}: {error}\n")
        row.seconds += time.perf_counter() - start
        row.characters += len(text)
        judge(row, file, text)
    return row


def judge(row: Row, file: dict[str, object], text: str) -> None:
    strings = file.get("must_contain") or []
    assert isinstance(strings, list)
    squeezed = squeeze(text)
    row.strings += len(strings)
    row.found += sum(squeeze(one) in squeezed for one in strings)
    if "reference" in file:
        wanted, have = Counter(words_of(str(file["reference"]))), Counter(words_of(text))
        row.words += wanted.total()
        row.recalled += (wanted & have).total()


def squeeze(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def source_of(path: Path) -> Source:
    data = path.read_bytes()
    return Source(str(path), path, len(data), hashlib.sha256(data).hexdigest())


def show(rows: list[Row], seconds: float, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(json.dumps(asdict(row)))
        return
    table = Table(title=f"{sum(row.files for row in rows)} files in {seconds:.1f} s", box=None)
    for column in ("format", "files", "rejected", "MB", "files/s", "MB/s", "strings found", "word recall"):
        table.add_column(column, justify="left" if column == "format" else "right")
    for row in rows:
        pace = max(row.seconds, 1e-9)
        table.add_row(
            row.format, str(row.files), str(row.rejected),
            f"{row.megabytes:.2f}", f"{row.files / pace:.1f}", f"{row.megabytes / pace:.2f}",
            f"{row.found}/{row.strings}" if row.strings else "–", f"{row.recalled / row.words:.3f}" if row.words else "–",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
