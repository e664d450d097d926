"""API keys: hashes only, rights that include each other, groups of a user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckllm.contracts import Access
from ckllm.errors import UsageError
from ckllm.store.keys import KeyRing


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.db"


@pytest.fixture
def ring(file: Path) -> Iterator[KeyRing]:
    opened = KeyRing(f"sqlite:///{file}")
    yield opened
    opened.close()


def test_a_key_opens_what_it_was_made_for(ring: KeyRing) -> None:
    key, secret = ring.create("ana", ["lab", "press", "lab"], "write")
    assert (key.user, key.groups, key.rights) == ("ana", ("lab", "press"), ("read", "write"))
    assert ring.find(secret) == key
    assert ring.find(secret + "x") is None
    assert ring.find("") is None


def test_the_key_itself_is_stored_nowhere(ring: KeyRing, file: Path) -> None:
    _, secret = ring.create("ana", [], "read")
    written = b"".join(part.read_bytes() for part in file.parent.iterdir())
    assert secret.encode() not in written
    assert secret.removeprefix("ckllm_").encode() not in written


def test_a_revoked_key_opens_nothing_and_gives_no_groups(ring: KeyRing) -> None:
    key, secret = ring.create("ana", ["lab"], "admin")
    ring.create("ana", ["press"], "read")
    assert ring.access("ana") == Access("ana", ("lab", "press"))
    ring.revoke(key.id)
    ring.revoke(key.id)
    assert ring.find(secret) is None
    assert ring.access("ana") == Access("ana", ("press",))
    assert [known.revoked for known in ring.issued()] == [True, False]


def test_an_unknown_user_has_no_groups(ring: KeyRing) -> None:
    assert ring.access("nobody") == Access("nobody", ())


@pytest.mark.parametrize(
    ("user", "groups", "right", "named"),
    [(" ", [], "read", "user"), ("ana", [""], "read", "group"), ("ana", [], "root", "root")],
)
def test_bad_input_is_named(ring: KeyRing, user: str, groups: list[str], right: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        ring.create(user, groups, right)
    assert ring.issued() == []


def test_revoking_an_unknown_key_names_it(ring: KeyRing) -> None:
    with pytest.raises(UsageError, match="no-such-key"):
        ring.revoke("no-such-key")
