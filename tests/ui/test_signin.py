from __future__ import annotations

import httpx
import pytest

from ckllm.client import Client
from ckllm.errors import UsageError
from tests.ui.fake import FakeClient
from tests.ui.pages import app, ask, clean, html, state
from ui.signin import Front


def sent(client: Client) -> httpx.Headers:
    return client._http.headers


@pytest.mark.parametrize(("address", "believed"), [(None, True), ("10.0.0.7", True), ("10.0.0.8", False)])
def test_a_proxys_header_is_handed_on_where_the_proxy_is_trusted(address: str | None, believed: bool) -> None:
    front = Front("http://127.0.0.1:1", "X-User", ("10.0.0.7",))
    assert ("x-user" in sent(front.client({"X-User": "ana"}, address))) is believed


def test_without_the_setting_no_header_is_believed() -> None:
    assert "x-user" not in sent(Front("http://127.0.0.1:1").client({"X-User": "ana"}, None))


def test_nothing_is_shown_before_somebody_is_let_in() -> None:
    client = FakeClient(me=None)
    test = app(client)
    assert "Sign in" in html(test)
    assert not test.chat_input
    assert not client.calls


def test_a_key_that_is_revoked_meanwhile_takes_everything_off_the_page() -> None:
    client = FakeClient()
    test = ask(app(client), "When was the mill built?")
    client.locked = True
    clean(test.run())
    assert "mill" not in html(test)
    assert not test.chat_input
    assert state(test).turns == []


@pytest.mark.parametrize("key", ["ключ", "“ckllm_x”", "ckllm_x\nX-Other: 1"])
def test_what_can_be_no_key_is_said_to_be_none(key: str) -> None:
    with pytest.raises(UsageError, match="no API key"):
        Client("http://127.0.0.1:1", key)
