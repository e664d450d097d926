from __future__ import annotations

from dataclasses import replace

import pytest

from ckllm.client import RefusedError, UnavailableError
from ckllm.errors import CkllmError, UpstreamError
from ckllm.service.nouns import ConversationTurn
from tests.ui.fake import QUOTE, READER, FakeClient, answer
from tests.ui.pages import app, ask, clean, html, mounted, state, words
from ui.place import Place


def test_an_empty_conversation_suggests_questions_about_headings() -> None:
    test = app(FakeClient())
    labels = [button.label for button in test.button]
    assert any("History" in label for label in labels)
    assert "1 document" in html(test)


def test_a_question_is_answered_once_whatever_the_page_does() -> None:
    client = FakeClient()
    test = ask(app(client), "When was the mill built?")
    drawn = mounted(test, "ckllm_answer")
    assert len(drawn) == 1
    assert drawn[0]["segments"][0]["parts"][1] == {"text": "1802", "strong": True}
    assert drawn[0]["segments"][1] == {"kind": "marker", "n": 1}
    for _ in range(3):
        clean(test.run())
    assert client.called("stream") == [("When was the mill built?", "ckllm", "k0")]


def test_what_people_and_documents_write_never_becomes_html() -> None:
    test = ask(app(FakeClient()), "What about <img src=x onerror=alert(1)>?")
    assert "<img" not in html(test)
    assert "&lt;img src=x" in html(test)
    assert "<i>" not in html(test)


def test_a_citation_opens_its_page_with_boxes_and_a_second_click_closes_it() -> None:
    client = FakeClient()
    test = ask(app(client), "When was the mill built?")
    turn = state(test).turns[0]
    assert turn.answer is not None
    state(test).opened = Place.among(turn.answer, 1, turn.key, None)
    clean(test.run())
    shown = mounted(test, "ckllm_source")[0]
    assert shown["view"] == "page"
    assert shown["boxes"] == [{"left": 10.0, "top": 12.5, "width": 40.0, "height": 2.5}]
    assert mounted(test, "ckllm_answer")[0]["open"] == 1
    control = next(one for one in test.button_group if str(one.key).startswith("view-d1"))
    clean(control.set_value("Text").run())
    shown = mounted(test, "ckllm_source")[0]
    assert (shown["before"], shown["words"]) == ("", QUOTE)
    assert Place.among(turn.answer, 1, turn.key, state(test).opened) is None
    clean(test.button(key="icon-close").click().run())
    assert not mounted(test, "ckllm_source")
    assert client.called("document_page") == [("d1", 2)], "a page is fetched once"


def test_a_document_that_is_opened_again_is_fetched_again() -> None:
    client = FakeClient()
    test = ask(app(client), "When was the mill built?")
    turn = state(test).turns[0]
    assert turn.answer is not None
    for opened in (1, 2):
        state(test).opened = Place.among(turn.answer, 1, turn.key, None)
        clean(clean(test.run()).run())
        assert mounted(test, "ckllm_source")
        assert len(client.called("document_text")) == len(client.called("document_page")) == opened
        state(test).opened = None
        clean(test.run())
        assert not state(test).fetched


def test_suggestions_and_models_are_those_of_the_moment() -> None:
    client = FakeClient()
    test = app(client)
    searched = len(client.called("search"))
    clean(test.run())
    assert len(client.called("search")) == searched > 0
    client.rows[0] = replace(client.rows[0], title="The <i>weir</i>")
    clean(test.run())
    assert len(client.called("search")) > searched
    ask(test, "When was the mill built?")
    assert "poems" not in test.radio[0].options
    client.names.append("poems")
    clean(test.run())
    assert "poems" in test.radio[0].options


def test_a_refusal_shows_its_reason_and_the_nearest_passages() -> None:
    drawn = mounted(ask(app(FakeClient()), "Something unknown"), "ckllm_answer")[0]
    assert drawn["refused"]
    assert drawn["reason"] == "the documents found speak of other things"
    assert [row["where"] for row in drawn["nearest"]] == ["page 2 · History"]


def test_stopping_keeps_the_question_and_shows_no_unchecked_words() -> None:
    client = FakeClient()
    test = app(client)
    client.hold.clear()
    state(test).conversation = client.create_conversation().id
    from ui.talk import ask as begin

    begin(state(test), "When was the mill built?")
    pending = state(test).turns[0].pending
    assert pending is not None
    pending.stop()
    clean(test.run())
    client.hold.set()
    assert "Stopped before the answer was checked" in html(test)
    assert "script" not in html(test)
    assert not mounted(test, "ckllm_answer")


def test_another_expert_replaces_the_answer_and_what_came_after_it() -> None:
    client = FakeClient()
    test = ask(ask(app(client), "When was the mill built?"), "And the bridge?")
    first = state(test).turns[0].key
    clean(test.radio(key=f"with-{first}").set_value("qa").run())
    clean(test.button(key=f"again-{first}").click().run())
    assert client.called("shorten") == [("k0", 0)]
    assert client.called("stream")[-1] == ("When was the mill built?", "qa", "k0")
    assert [turn.model for turn in state(test).turns] == ["qa"]
    assert len(client.kept["k0"]) == 1


def test_a_retry_that_the_service_does_not_take_loses_nothing() -> None:
    client = FakeClient()
    test = ask(ask(app(client), "When was the mill built?"), "And the bridge?")
    client.gone = True
    clean(test.button(key=f"again-{state(test).turns[0].key}").click().run())
    assert [turn.question for turn in state(test).turns] == ["When was the mill built?", "And the bridge?"]
    assert "The service is away" in words(test)


def test_an_edited_question_is_asked_in_its_place() -> None:
    client = FakeClient()
    test = ask(app(client), "When was the mill built?")
    key = state(test).turns[0].key
    test.text_area(key=f"edited-{key}").set_value("Who built it?")
    button = next(one for one in test.button if one.label == "Ask this instead")
    clean(button.click().run())
    assert [turn.question for turn in state(test).turns] == ["Who built it?"]
    assert client.called("shorten") == [("k0", 0)]


def test_thumbs_land_in_the_service() -> None:
    client = FakeClient()
    test = ask(app(client), "When was the mill built?")
    key = state(test).turns[0].key
    clean(test.feedback(key=f"thumbs-{key}").set_value(0).run())
    assert client.called("feedback") == [("When was the mill built?", -1)]
    clean(test.run())
    assert len(client.called("feedback")) == 1


def test_a_failing_model_leaves_the_question_to_be_asked_again() -> None:
    client = FakeClient()
    client.failure = UpstreamError("the model has no <memory> left")
    test = ask(app(client), "When was the mill built?")
    assert "the model has no &lt;memory&gt; left" in html(test)
    client.failure = None
    clean(test.button(key=f"again-{state(test).turns[0].key}").click().run())
    assert mounted(test, "ckllm_answer")


def test_conversations_are_kept_renamed_and_deleted() -> None:
    client = FakeClient()
    test = ask(app(client), "When was the mill built?")
    clean(test.button(key="new").click().run())
    assert state(test).turns == []
    clean(test.button(key="open-k0").click().run())
    assert [turn.question for turn in state(test).turns] == ["When was the mill built?"]
    assert mounted(test, "ckllm_answer")
    assert len(client.called("stream")) == 1, "a kept answer is not computed again"
    test.text_input(key="title-k0").set_value("The mill")
    clean(next(one for one in test.button if one.label == "Rename").click().run())
    assert client.called("rename") == [("k0", "The mill")]
    clean(test.button(key="delete-k0").click().run())
    assert client.called("delete") == [("k0",)]
    assert state(test).conversation == ""


@pytest.mark.parametrize("failure", [UnavailableError("it is busy", 503), RefusedError("too many requests", 429, "too_many")])
def test_the_address_leads_to_its_conversation_once_the_service_tells_it(failure: CkllmError) -> None:
    client = FakeClient()
    client.kept["k0"] = [ConversationTurn("When was the mill built?", answer("When was the mill built?"), 1.0)]
    client.failure = failure
    test = app(client, conversation="k0")
    assert str(failure) in words(test).replace("\\", "")
    assert test.query_params["conversation"] == "k0"
    client.failure = None
    clean(test.run())
    assert [turn.question for turn in state(test).turns] == ["When was the mill built?"]


def test_a_conversation_that_is_gone_leaves_the_address() -> None:
    test = app(FakeClient(), conversation="k7")
    assert state(test).turns == []
    assert "conversation" not in test.query_params


def test_a_service_that_is_away_is_said_once_and_comes_back() -> None:
    client = FakeClient()
    test = app(client)
    client.gone = True
    clean(test.run())
    assert words(test).count("The service is away") == 1
    client.gone = False
    clean(test.run())
    assert "The service is away" not in words(test)


def test_a_withheld_answer_says_so() -> None:
    client = FakeClient()
    test = ask(app(client), "When was the mill built?")
    client.kept["k0"][0] = type(client.kept["k0"][0])("When was the mill built?", None, 1.0)
    clean(test.button(key="new").click().run())
    clean(test.button(key="open-k0").click().run())
    assert "no longer see" in html(test)


def test_a_reader_is_not_offered_to_add_documents() -> None:
    client = FakeClient(READER)
    client.rows = []
    test = app(client)
    assert "no documents here yet" in html(test)
    assert not [button for button in test.button if button.label == "Add documents"]


def test_why_shows_scores_ledger_and_time() -> None:
    text = html(ask(app(FakeClient()), "When was the mill built?"))
    assert "the scores decide" in text
    assert "2 retrieved, 1 given to the model, 1 cited" in text
    assert "300 tokens read, 12 written" in text
    assert answer("x").route.expert == "qa"
