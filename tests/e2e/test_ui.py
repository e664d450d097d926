"""The web application in a real browser, in front of a real service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ckllm.contracts import Answer
from ckllm.service.nouns import Conversation, JobState
from tests.e2e import browsing
from tests.e2e.browsing import ask, opened, shown, unharmed
from tests.e2e.ui_service import TRAINABLE
from tests.experts.models import whole_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(browsing.CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

COLOURS = "".join(
    json.dumps({"prompt": f"colour {n}?", "response": ("red", "green", "blue")[n % 3], "source": f"doc{n % 12}"}) + "\n"
    for n in range(36)
)
IN_SHARES = """sheet => {
  const whole = sheet.getBoundingClientRect();
  return [...sheet.querySelectorAll(".box")].map((box) => {
    const part = box.getBoundingClientRect();
    return [(part.left - whole.left) / whole.width, (part.top - whole.top) / whole.height, part.width / whole.width];
  });
}"""
"""Left, top and width of each box, in shares of its page; measured at one moment, since the page may still be scrolled."""
FERRY = "In winter the last ferry leaves\nTarn at 18:40. Bicycles travel free."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.browser() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browsing.Site]:
    """Without keys: whoever opens the page is the owner."""
    with browsing.site(tmp_path_factory.mktemp("home")) as made:
        made.add(
            [
                ("ropeway.txt", browsing.ROPEWAY.encode()), ("parade.txt", browsing.ATTACK.encode()),
                ("bridge.txt", browsing.ARABIC.encode()), ("ferry.pdf", browsing.pdf("", FERRY)),
                ("litany.txt", browsing.LITANY.encode()),
            ]
        )  # fmt: skip
        yield made


@pytest.fixture(scope="module")
def tab(browser: Browser, site: browsing.Site) -> Iterator[Page]:
    page = opened(browser, site.url)
    yield page
    page.context.close()


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """An empty conversation of the owner's."""
    tab.get_by_role("button", name="New conversation").first.click()
    tab.get_by_text("Ask your documents").wait_for()
    yield tab
    unharmed(tab)


def last_answer(site: browsing.Site) -> Answer:
    """What the service has kept as the latest answer."""
    answer = last_conversation(site).turns[-1].answer
    assert answer is not None
    return answer


def last_conversation(site: browsing.Site) -> Conversation:
    with site.client() as client:
        return client.conversation(client.conversations()[0].id)


def test_a_citation_shows_exactly_the_words_that_it_quotes(page: Page, site: browsing.Site) -> None:
    ask(page, "Who built the ropeway at Gansett?")
    page.locator(".ck-draft").wait_for()
    shown(page, ".answer")
    assert page.locator(".ck-draft").count() == 0
    citation = last_answer(site).citations[0]
    page.locator(".answer .marker").first.click()
    mark = page.locator(".scroller mark")
    mark.wait_for()
    assert mark.text_content() == citation.quote
    with site.client() as client:
        assert client.document_text(citation.document_id).text[citation.start : citation.end] == mark.text_content()
    assert mark.evaluate("node => node.getBoundingClientRect().top < innerHeight")
    page.get_by_role("button", name="Close").click()
    mark.wait_for(state="detached")
    page.get_by_role("button", name="Copy the answer").click()
    page.get_by_text("Copied").wait_for()
    copied = str(page.evaluate("() => navigator.clipboard.readText()"))
    assert f"[1] {citation.title}: “{' '.join(citation.quote.split())}” ({citation.source})" in copied


def test_a_pdf_shows_its_page_with_boxes_on_the_words(page: Page, site: browsing.Site) -> None:
    ask(page, "When does the last ferry leave Tarn in winter?")
    shown(page, ".answer")
    page.locator(".answer .marker").first.click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('*')].some(n => n.shadowRoot?.querySelector('.sheet img')?.naturalWidth > 0)"
    )
    citation = next(one for one in last_answer(site).citations if one.page)
    assert citation.page == 2
    drawn = page.locator(".sheet").evaluate(IN_SHARES)
    assert len(drawn) == len(citation.boxes) > 0
    for found, meant in zip(drawn, citation.boxes, strict=True):
        assert found == pytest.approx([meant.x0 / 400, meant.y0 / 600, (meant.x1 - meant.x0) / 400], abs=0.005)
    page.get_by_role("button", name="Text", exact=True).or_(page.get_by_role("radio", name="Text")).first.click()
    page.locator(".scroller mark").wait_for()
    assert page.locator(".scroller mark").text_content() == citation.quote


def test_documents_that_attack_the_page_are_shown_as_they_are(page: Page) -> None:
    ask(page, "Who leads the parade of Ostrell?")
    shown(page, ".answer, .refusal")
    page.locator(".marker, .nearest .place").first.click()
    page.locator(".scroller").wait_for()
    assert "<script>window.hacked=1</script>" in page.locator(".scroller").inner_text()
    page.get_by_role("link", name="Documents").click()
    page.get_by_test_id("stDataFrame").wait_for()


def test_arabic_runs_from_right_to_left(page: Page) -> None:
    ask(page, "جسر قرطان عام 1931 سلمى الحداد؟")
    shown(page, ".answer")
    assert page.locator(".answer").evaluate("node => getComputedStyle(node).direction") == "rtl"
    assert page.locator(".ck-question").evaluate("node => getComputedStyle(node).direction") == "rtl"


def test_a_refusal_offers_the_nearest_passages(page: Page) -> None:
    ask(page, "Zebra quantum xylophone?")
    shown(page, ".refusal")
    assert len(page.locator(".refusal .reason").inner_text()) > 10


def test_stopping_shows_no_unchecked_word(page: Page) -> None:
    ask(page, "Which Veldish litany?")
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped before the answer was checked").wait_for()
    assert page.locator(".ck-draft").count() == 0


def test_another_expert_answers_in_the_same_place(page: Page, site: browsing.Site) -> None:
    ask(page, "Who built the ropeway at Gansett?")
    shown(page, ".answer")
    [before] = last_conversation(site).turns
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("radiogroup").get_by_text("base", exact=True).click()
    page.get_by_role("button", name="Ask again").click()
    browsing.until(lambda: [turn.created for turn in last_conversation(site).turns] not in ([], [before.created]), "a new answer")
    [after] = last_conversation(site).turns
    assert after.answer is not None
    assert after.answer.route.expert == "base"
    shown(page, ".answer")


def test_uploads_are_ingested_and_rejections_told(page: Page, tmp_path: Path) -> None:
    page.get_by_role("link", name="Documents").click()
    page.get_by_text("Add documents").click()
    good, empty = tmp_path / "lighthouse.txt", tmp_path / "empty.txt"
    good.write_text("The lighthouse of Orlund was lit by Marta Vint.\n", encoding="utf-8")
    empty.touch()
    page.locator("input[type=file]").set_input_files([good, empty])
    page.locator(".st-key-add button", has_text="Add 2").click()
    page.get_by_text("1 added, 1 rejected").wait_for()
    page.get_by_text("empty file").first.wait_for()
    page.get_by_role("link", name="Chat").click()
    ask(page, "Who lit the lighthouse of Orlund?")
    shown(page, ".answer")
    assert "Marta Vint" in page.locator(".answer").inner_text()


@pytest.mark.timeout(900)  # how long the training takes is the machine's business
def test_an_expert_is_trained_from_the_page(page: Page, site: browsing.Site, tmp_path: Path) -> None:
    whole_model(site.home / TRAINABLE, "chatml", 5, spread=0.1)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(COLOURS, encoding="utf-8")
    page.get_by_role("link", name="Experts").click()
    page.get_by_text("New expert").click()
    shown(page, ".st-key-train button:disabled")
    page.locator(".st-key-train-name input").fill("colours")
    page.keyboard.press("Tab")
    page.get_by_role("tab", name="From rows").click()
    page.locator(".st-key-train-rows input[type=file]").set_input_files(rows)
    shown(page, ".st-key-train button:enabled").click()
    page.locator(".st-key-training [data-testid=stVegaLiteChart]").wait_for(timeout=600_000)
    page.locator(".st-key-training").get_by_text("Installed").wait_for(timeout=600_000)
    with site.client() as client:
        run = client.training()
    assert run is not None
    assert run.state is JobState.DONE
    assert len(run.curve) == run.step > 0
    assert shown(page, ".st-key-training canvas, .st-key-training svg.marks").bounding_box() is not None
    assert "colours" in [name.strip() for name in page.locator(".ck-card strong").all_inner_texts()]


def test_a_restart_of_the_service_is_survived(page: Page, site: browsing.Site) -> None:
    ask(page, "Who built the ropeway at Gansett?")
    shown(page, ".answer")
    kept = page.locator(".answer").inner_text()
    site.end_service()
    page.get_by_role("link", name="Documents").click()
    page.get_by_text("The service is away").first.wait_for()
    site.start_service()
    page.get_by_text("The service is away").wait_for(state="detached")
    page.get_by_role("link", name="Chat").click()
    shown(page, ".answer")
    assert page.locator(".answer").inner_text() == kept
    ask(page, "Who built the ropeway at Gansett?")
    shown(page, ".answer", 2)


def test_two_users_see_what_is_theirs(browser: Browser, site: browsing.Site) -> None:
    """The last test: from the first key on, the service lets nobody in without one."""
    keys = {user: browsing.key(site, user, groups) for user, groups in (("boss", ()), ("ana", ("press",)), ("bo", ()))}
    browsing.until(lambda: browsing.locked(site), "keys are asked for")
    site.add([("windmill.txt", b"The windmill of Harrow was painted by Ines Calder.\n")], groups=("press",), key=keys["boss"])
    pages = {}
    for user in ("ana", "bo"):
        page = pages[user] = opened(browser, site.url)
        page.get_by_label("API key").fill("ck-wrong")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("This key opens nothing").wait_for()
        page.get_by_label("API key").fill(keys[user])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_test_id("stChatInputTextArea").wait_for()
        ask(page, "Who painted the windmill of Harrow?")
    shown(pages["ana"], ".answer")
    shown(pages["bo"], ".answer, .refusal")
    assert "Ines Calder" in pages["ana"].locator(".answer").inner_text()
    assert "Calder" not in pages["bo"].locator(".answer, .refusal").inner_text()
    for page in pages.values():
        page.get_by_role("link", name="Documents").click()
        page.get_by_test_id("stDataFrame").wait_for()
    assert rows(pages["ana"]) == rows(pages["bo"]) + 1
    for user, page in pages.items():
        assert keys[user] not in page.content()
        unharmed(page)
        page.context.close()


def rows(page: Page) -> int:
    """How many documents the page says there are."""
    return int(str(page.locator(".st-key-find-document input").get_attribute("placeholder")).split()[2])
