"""A page of a PDF as PNG. Run as a process of its own, with limits: a broken PDF may crash its reader, or eat the memory.

``python -m ckllm.service.page_image FILE PAGE SCALE`` writes the picture to stdout; exit 3 where there is no such page.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ckllm.errors import DataError
from ckllm.file_hash import file_sha256
from ckllm.service.errors import HttpError

if TYPE_CHECKING:
    from ckllm.service.lookup import Known

NO_PAGE = 3
SECONDS, MEMORY_MB = 20, 2048
PIXELS = 25_000_000
"""Of one picture; larger ones are made smaller."""
PDF = "application/pdf"


def page_image(known: Known, page: int, scale: float) -> bytes:
    """PNG of a page as it was when the document was ingested. HttpError 404 where there is none."""
    source = Path(known.row.source)
    if known.media_type != PDF or not source.is_absolute():
        raise HttpError(404, "no_page", "there are pictures of the pages of PDF files only")
    try:
        if file_sha256(source) != known.sha256:
            raise HttpError(404, "no_page", "the file has changed since it was ingested")
    except DataError:
        raise HttpError(404, "no_page", "the file is not there any more") from None
    return _rendered(str(source), known.sha256, page, scale)


@functools.lru_cache(maxsize=64)
def _rendered(path: str, _sha256: str, page: int, scale: float) -> bytes:
    command = [sys.executable, "-m", "ckllm.service.page_image", path, str(page), str(scale)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise HttpError(422, "broken_page", f"the page could not be drawn within {SECONDS} s") from None
    if done.returncode == NO_PAGE:
        raise HttpError(404, "no_page", f"the document has no page {page}", "page")
    if done.returncode or not done.stdout.startswith(b"\x89PNG"):
        raise HttpError(422, "broken_page", "the page could not be drawn")
    return done.stdout


def _draw(path: str, page: int, scale: float) -> bytes:
    import io

    import pypdfium2

    document = pypdfium2.PdfDocument(path)
    if not 1 <= page <= len(document):
        sys.exit(NO_PAGE)
    drawn = document[page - 1]
    width, height = drawn.get_size()
    fitting = min(scale, (PIXELS / max(1.0, width * height)) ** 0.5)
    picture = io.BytesIO()
    drawn.render(scale=fitting).to_pil().save(picture, "PNG")
    return picture.getvalue()


def _limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB << 20, MEMORY_MB << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


if __name__ == "__main__":
    _limit()
    sys.stdout.buffer.write(_draw(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
