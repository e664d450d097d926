from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.serving import Served, served

ROPEWAY = "The ropeway at Gansett was built in 1931 by Odile Ferrand. It was closed in 1960.\n"
CANAL = "The canal of Brenn is twelve kilometres long. It was dug by hand in 1802.\n"


@pytest.fixture(scope="module")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Without keys: whoever reaches it is the owner."""
    with served(tmp_path_factory.mktemp("home")) as service:
        docs: Path = tmp_path_factory.mktemp("docs")
        service.add(docs, "ropeway.txt", ROPEWAY)
        service.add(docs, "canal.txt", CANAL)
        yield service
