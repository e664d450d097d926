"""Views of the application under Streamlit's own test runner, with a fake client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

import ui
from tests.ui.fake import FakeClient
from ui.session import State

APP = Path(ui.__file__).parent / "app.py"
_SECONDS = 60


def _documents() -> None:
    from ui import documents

    documents.view()


def _experts() -> None:
    from ui import experts

    experts.view()


def _quality() -> None:
    from ui import quality

    quality.view()


_VIEWS = {"documents": _documents, "experts": _experts, "quality": _quality}


def app(client: FakeClient, **address: str) -> AppTest:
    """The whole application, run once; `address`: what stands in the page's address."""
    test = AppTest.from_file(APP, default_timeout=_SECONDS)
    for name, value in address.items():
        test.query_params[name] = value
    test.session_state["state"] = State(client)
    return clean(test.run())


def view(name: str, client: FakeClient) -> AppTest:
    """One view for somebody who has been let in, run once."""
    test = AppTest.from_function(_VIEWS[name], default_timeout=_SECONDS)
    test.session_state["state"] = State(client, me=client.me())
    return clean(test.run())


def clean(test: AppTest) -> AppTest:
    """The test itself; fails where the page raised."""
    assert not test.exception, [one.message for one in test.exception]
    return test


def state(test: AppTest) -> State:
    found = test.session_state["state"]
    assert isinstance(found, State)
    return found


def ask(test: AppTest, question: str) -> AppTest:
    return clean(test.chat_input[0].set_value(question).run())


def html(test: AppTest) -> str:
    """All HTML that the page gave to the browser, its own style sheet apart."""
    parts = [element.proto.body for element in test.get("html")]
    return "\n".join(part for part in parts if not part.startswith("<style>"))


def mounted(test: AppTest, name: str) -> list[dict[str, Any]]:
    """The data of every mounted component of that name."""
    return [json.loads(one.proto.json) for one in test.get("bidi_component") if one.proto.component_name == name]


def words(test: AppTest) -> str:
    """Everything that the page says through Streamlit's own elements."""
    kinds = (test.markdown, test.caption, test.warning, test.error, test.info)
    return "\n".join(str(element.value) for kind in kinds for element in kind)
