"""Memory of mapped files that is given back."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from ckllm.mapped import release

SIZE = 8 << 20


def resident(file: Path) -> int:
    """Bytes of the file in this process's memory."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name = line.split(maxsplit=5)
        if not name[0].endswith(":"):
            inside = name[-1] == str(file)
        elif inside and name[0] == "Rss:":
            found += int(name[1]) * 1024
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is told by Linux")
def test_pages_of_a_folder_s_files_are_given_back_and_read_again(tmp_path: Path) -> None:
    content = bytes(range(256)) * (SIZE // 256)
    (tmp_path / "models").mkdir()
    files = [tmp_path / "models" / "weights of a model.bin", tmp_path / "other.bin"]
    for file in files:
        file.write_bytes(content)
    with files[0].open("rb") as inside, files[1].open("rb") as outside:
        maps = [mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) for stream in (inside, outside)]
        assert [one[:] == content for one in maps] == [True, True]
        assert [resident(file) for file in files] == [SIZE, SIZE]
        assert release(tmp_path / "models") == SIZE
        assert [resident(file) for file in files] == [0, SIZE]
        assert maps[0][:] == content
        (tmp_path / "by another name").symlink_to(tmp_path / "models")
        assert release(tmp_path / "by another name") == SIZE
        for one in maps:
            one.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is told by Linux")
def test_what_was_written_to_a_mapping_stays(tmp_path: Path) -> None:
    file = tmp_path / "table.bin"
    file.write_bytes(bytes(SIZE))
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY) as own:
        own[:4] = b"kept"
        assert release(tmp_path) == 0
        assert own[:4] == b"kept"
