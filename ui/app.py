"""The page: who is there, where one can go, and what is shown. Streamlit runs this file at every click."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import streamlit as st

from ckllm.client import RefusedError
from ui import chat, components, documents, experts, quality
from ui.connection import guarded
from ui.session import State
from ui.sidebar import sidebar
from ui.signin import Front, admitted
from ui.talk import resume

_LOGO = Path(__file__).parent / "assets" / "logo.svg"


def main() -> None:
    st.set_page_config(page_title="ckllm", page_icon=str(_LOGO), layout="wide", initial_sidebar_state="auto")
    st.html(f"<style>{components.asset('app.css')}</style>")
    st.logo(str(_LOGO), size="large")
    now = _state()
    now.away = False
    now.forget_closed()
    if not admitted(now):
        st.navigation([st.Page(_nothing, title="ckllm")], position="hidden")
        return
    pages = {
        "chat": st.Page(chat.view, title="Chat", icon=":material/forum:", default=True),
        "documents": st.Page(documents.view, title="Documents", icon=":material/folder_open:", url_path="documents"),
        "experts": st.Page(experts.view, title="Experts", icon=":material/school:", url_path="experts"),
        "quality": st.Page(quality.view, title="Quality", icon=":material/verified:", url_path="quality"),
    }
    st.session_state["pages"] = pages
    page = st.navigation(list(pages.values()))
    _remembered(now)
    sidebar(now)
    page.run()


def _state() -> State:
    """This tab's state; what stands before the page comes from the command line that started Streamlit."""
    if "state" not in st.session_state:
        parser = argparse.ArgumentParser()
        parser.add_argument("--service", default="http://127.0.0.1:8000")
        parser.add_argument("--user-header", default="")
        parser.add_argument("--trusted", action="append", default=[])
        given = parser.parse_known_args(sys.argv[1:])[0]
        front = Front(given.service, given.user_header, tuple(given.trusted))
        st.session_state["state"] = State(front.client(st.context.headers, st.context.ip_address))
    found = st.session_state["state"]
    assert isinstance(found, State)
    return found


def _remembered(now: State) -> None:
    """The conversation stays in the page's address, so that it is there again after the page is loaded anew."""
    asked_for = st.query_params.get("conversation", "")
    if asked_for and not now.looked:
        with guarded(now):
            try:
                resume(now, asked_for)
            except RefusedError as error:
                if error.code != "unknown_conversation":  # deleted meanwhile, or another user's
                    raise
            now.looked = True
        if not now.looked:
            return  # the address stays, to be looked at again
    now.looked = True
    if now.conversation:
        st.query_params["conversation"] = now.conversation
    else:
        st.query_params.clear()


def _nothing() -> None:
    """The page behind the sign-in form."""


main()
