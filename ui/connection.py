"""What the page says when the service refuses or is not there, and how it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from ckllm.client import RefusedError, UnavailableError
from ckllm.errors import CkllmError
from ui.markup import plain
from ui.session import State

_AGAIN_S = 2.0
_SIGN_IN = 401


@contextmanager
def guarded(now: State) -> Iterator[None]:
    """Failures of the service as words on the page; what was drawn before them stays."""
    try:
        yield
    except UnavailableError as error:
        if error.status == 0:
            _away(now)
        else:
            st.error(plain(error), icon=":material/error:")
    except RefusedError as error:
        if error.status == _SIGN_IN:
            now.forget()
            st.rerun()
        st.warning(plain(error), icon=":material/block:")
    except CkllmError as error:
        st.error(plain(error), icon=":material/error:")


def _away(now: State) -> None:
    if now.away:
        return
    now.away = True
    told = (
        f"**The service is away.** Nothing answers at `{now.client.base_url}`. This page goes on by itself as soon as it is back."
    )
    st.warning(told, icon=":material/cloud_off:")
    _watch(now)


@st.fragment(run_every=_AGAIN_S)
def _watch(now: State) -> None:
    """Looks whether the service is back."""
    try:
        now.client.health()
    except CkllmError:
        return
    st.rerun()
