from __future__ import annotations

from dataclasses import replace

from ckllm.service.nouns import FileState, JobFile, JobState
from tests.ui.fake import READER, FakeClient
from tests.ui.pages import clean, html, mounted, state, view, words
from ui.jobs import again
from ui.session import State


def test_uploads_go_to_the_service_with_collection_and_groups() -> None:
    client = FakeClient()
    test = view("documents", client)
    test.text_area(key="urls-0").set_value("https://example.org/a.html\n\nhttps://example.org/b.html")
    clean(test.run())
    clean(test.button(key="add").click().run())
    assert client.called("ingest_urls") == [(("https://example.org/a.html", "https://example.org/b.html"), "main", ())]
    assert client.running[0].state is JobState.QUEUED
    assert test.text_area(key="urls-1").value == "", "the fields are empty again"


def test_a_finished_job_tells_what_was_rejected_and_why() -> None:
    client = FakeClient()
    client.upload([("a.pdf", b"x")])
    rejected = [{"source": "/up/1/a.pdf", "name": "<a>.pdf", "stage": "parse", "reason": "needs a <password>"}]
    report = {"added": 1, "updated": 0, "unchanged": 0, "rejected": rejected}
    client.running[0] = replace(client.running[0], state=JobState.DONE, report=report)
    test = view("documents", client)
    assert "1 added, 1 rejected" in html(test)
    assert "&lt;a&gt;.pdf</strong> needs a &lt;password&gt;" in html(test)
    clean(test.button(key="retry-j0").click().run())
    assert client.called("retry_job") == [("j0",)]
    assert "1 rejected" not in html(test), "the old job is put away"


def test_failed_documents_are_tried_again_by_their_job_or_address() -> None:
    client = FakeClient()
    client.upload([("a.pdf", b"x")])
    report = {"rejected": [{"source": "/up/a.pdf", "stage": "parse", "reason": "broken"}]}
    client.running[0] = replace(client.running[0], state=JobState.DONE, report=report)
    failed = [replace(client.rows[1], source=source) for source in ("/up/a.pdf", "https://example.org/b.pdf", "/docs/c.pdf")]
    left = again(State(client), failed)
    assert [row.source for row in left] == ["/docs/c.pdf"]
    assert client.called("retry_job") == [("j0",)]
    assert client.called("ingest_urls") == [(("https://example.org/b.pdf",), "main", ())]


def test_a_running_job_shows_how_far_it_is() -> None:
    client = FakeClient()
    client.upload([("a.pdf", b"x"), ("b.pdf", b"x")])
    client.running[0] = replace(client.running[0], state=JobState.RUNNING, found=4, done=1, current="/up/1/b_1.pdf")
    test = view("documents", client)
    bars = [one.proto for one in test.get("progress")]
    assert [bar.value for bar in bars] == [25]
    assert "1 of 4" in bars[0].text.replace("\\", "")
    assert "b_1.pdf" in bars[0].text.replace("\\", "")


def test_a_running_job_shows_each_file_and_why_one_was_rejected() -> None:
    client = FakeClient()
    client.upload([("a.pdf", b"x")])
    files = (
        JobFile("a.pdf", FileState.ADDED), JobFile("<b>.pdf", FileState.EMBEDDING, done=3, of=40),
        JobFile("c.pdf", FileState.REJECTED, "needs a <password>"), JobFile("d.pdf", FileState.WAITING),
    )  # fmt: skip
    client.running[0] = replace(client.running[0], state=JobState.RUNNING, found=4, done=2, files=files)
    text = html(view("documents", client))
    assert "a.pdf</strong> ready" in text
    assert "&lt;b&gt;.pdf</strong> 3 of 40 passages" in text
    assert "c.pdf</strong> needs a &lt;password&gt;" in text
    assert "d.pdf</strong> waiting" in text
    many = tuple(JobFile(f"{n}.txt", FileState.ADDED if n < 30 else FileState.WAITING) for n in range(200))
    client.running[0] = replace(client.running[0], files=(*files, *many))
    text = html(view("documents", client))
    assert "c.pdf</strong> needs a" in text
    assert "<li>171 waiting, 31 ready</li>" in text
    assert "100.txt" not in text


def test_the_list_can_be_narrowed() -> None:
    test = view("documents", FakeClient())
    assert len(test.dataframe[0].value) == 2
    clean(test.text_input(key="find-document").set_value("mill").run())
    assert list(test.dataframe[0].value["Title"]) == ["The <i>mill</i>"]
    clean(test.text_input(key="find-document").set_value("").run())
    clean(test.toggle(key="only-failed").set_value(True).run())
    assert list(test.dataframe[0].value["Trouble"]) == ["needs a <password>"]


def test_a_reader_sees_documents_and_cannot_change_them() -> None:
    test = view("documents", FakeClient(READER))
    assert len(test.dataframe[0].value) == 2
    assert not [button for button in test.button if button.key in ("add", "remove")]


def test_an_empty_collection_says_so() -> None:
    client = FakeClient()
    client.rows = []
    assert "no documents in this collection" in html(view("documents", client))


def test_a_document_that_has_gone_says_so() -> None:
    from ui.place import Place

    test = view("documents", FakeClient())
    state(test).previewed = Place("d9", "Gone", "/docs/gone.txt", "", None, 0, 0)
    clean(test.run())
    assert "no longer there" in words(test)


def test_experts_are_shown_with_their_held_out_figures() -> None:
    text = html(view("experts", FakeClient()))
    assert "answers &lt;b&gt;questions&lt;/b&gt;" in text
    assert "200 questions held out of training" in text
    assert "<td>79%</td><td>12%</td>" in text
    assert "between +0.60 and +0.74" in text


def test_two_experts_answer_side_by_side_once() -> None:
    client = FakeClient()
    test = view("experts", client)
    test.text_input(key="trial-question").set_value("When was the mill built?")
    test.selectbox(key="trial-other").set_value("qa")
    clean(next(one for one in test.button if one.label == "Ask both").click().run())
    assert len(mounted(test, "ckllm_answer")) == 2
    clean(test.run())
    assert sorted(call[1] for call in client.called("stream")) == ["ckllm", "qa"]
    assert all(call[2] is None for call in client.called("stream")), "a trial is not kept as a conversation"


def test_the_router_shows_its_figures_and_its_confusion() -> None:
    client = FakeClient()
    assert "No router is trained" in html(view("experts", client))
    confusion = {"labels": ["<b>law</b>", "base"], "counts": [[9, 1], [0, 5]]}
    client.trained = {"macro_f1": 0.9, "out_of_scope_auroc": 0.95, "held_out_rows": 15, "confusion": confusion}
    text = html(view("experts", client))
    assert "15 questions held out of training" in text
    assert "<td>0.900</td>" in text
    assert '&lt;b&gt;law&lt;/b&gt;</th><td style="--share:90%">9</td><td style="--share:10%">1</td>' in text
    client.trained["confusion"] = {"labels": [str(n) for n in range(150)], "counts": [[0] * 150] * 150}
    assert "ck-confusion" not in html(view("experts", client)), "150 columns are no table for a page"


def test_a_training_is_started_followed_and_stopped() -> None:
    client = FakeClient()
    test = view("experts", client)
    assert test.button(key="train").disabled
    test.text_input(key="train-name").set_value("contracts")
    clean(test.run())
    clean(test.button(key="train").click().run())
    assert client.called("train") == [("contracts", "main", None, "")]
    assert client.run is not None
    client.run = replace(client.run, step=30, steps=120, seconds_left=90.0, curve=((10, 2.0, 2.2), (20, 1.5, None)))
    clean(test.run())
    assert "step 30 of 120" in test.get("progress")[0].proto.text.replace("\\", "")
    assert not [button for button in test.button if button.key == "train"], "one at a time"
    clean(test.button(key="stop-training").click().run())
    assert "<strong>Stopped</strong>" in html(test)
    client.run = replace(client.run, state=JobState.FAILED, error="the rows <b>come</b> from 1 source(s)")
    assert "&lt;b&gt;come&lt;/b&gt;" in html(clean(test.run()))


def test_training_is_for_administrators() -> None:
    assert "Train an expert" not in html(view("experts", FakeClient(READER)))


def test_quality_shows_counts_feedback_and_evaluations() -> None:
    test = view("quality", FakeClient())
    metrics = {metric.label: metric.value for metric in test.metric}
    assert (metrics["Written and supported"], metrics["Refused"], metrics["Bad"]) == ("75%", "25%", "1")
    text = html(test)
    assert "When was it &lt;u&gt;built&lt;/u&gt;?" in text
    assert "&lt;i&gt;wrong&lt;/i&gt;" in text
    assert "1.5 s" in text
    assert list(test.dataframe[0].value["Answer F1"]) == [0.61]


def test_quality_is_for_administrators() -> None:
    test = view("quality", FakeClient(READER))
    assert "administrators" in html(test)
    assert not test.metric
