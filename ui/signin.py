"""Signing in with an API key. The key stays in this process's memory, for as long as the tab is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from ckllm.client import Client, RefusedError
from ckllm.service.nouns import Me
from ui.connection import guarded
from ui.markup import plain
from ui.session import State

_REFUSED = (401, 403)


@dataclass(frozen=True, slots=True)
class Front:
    """What stands before the page: the service's address, and the header of a proxy that signs users in; "" for none."""

    service: str
    user_header: str = ""
    trusted: tuple[str, ...] = ()
    """Addresses that the header is believed from, besides this machine."""

    def client(self, headers: Mapping[str, str], address: str | None) -> Client:
        """A new tab's client. `address`: whom the page talks to; None for this machine."""
        user = headers.get(self.user_header, "") if self.user_header else ""
        if user and (address is None or address in self.trusted):
            return Client(self.service, more_headers={self.user_header: user})
        return Client(self.service)


def admitted(now: State) -> bool:
    """Whether the page may be shown; asks for a key where the service wants one."""
    if now.signed_in:
        return True
    with guarded(now):
        me = _opened(now.client)
        if me is not None:
            now.me = me
            return True
        _form(now)
    return False


def _opened(client: Client) -> Me | None:
    """Who is let in; None for nobody."""
    try:
        return client.me()
    except RefusedError as error:
        if error.status in _REFUSED:
            return None
        raise


def _form(now: State) -> None:
    with st.container(key="signin", width=420), st.form("sign-in", border=False):
        st.html('<h1 class="ck-hello">Sign in</h1>')
        st.html('<p class="ck-lead">This service asks for an API key. It is kept in this tab only.</p>')
        key = st.text_input("API key", type="password", autocomplete="current-password", key="api-key")
        if not st.form_submit_button("Sign in", type="primary"):
            return
        client = Client(now.client.base_url, key.strip() or None)
        me = _opened(client) if key.strip() else None
        if me is None:
            st.error(plain("This key opens nothing: check it, or have another one made with `ckllm keys create`."))
            return
        now.client, now.key, now.me = client, key.strip(), me
        st.rerun()
