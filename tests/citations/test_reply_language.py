from __future__ import annotations

from pathlib import Path

import pytest

from ckllm import from_json
from ckllm.citations.refusal import RefusalPolicy
from ckllm.citations.reply_language import other_language
from tests.knowledge import add, knowledge_base

ENGLISH = "The bridge was opened by the mayor of the town in the spring of that year."
SENTENCES = {
    "English": (ENGLISH, "Who opened the bridge over the river?"),
    "German": (
        "Die Brücke wurde im Frühling jenes Jahres vom Bürgermeister der Stadt eröffnet.",
        "Wer hat die Brücke über den Fluss eröffnet?",
    ),
    "Spanish": (
        "El puente fue inaugurado por el alcalde de la ciudad en la primavera de ese año.",
        "¿Quién inauguró el puente sobre el río?",
    ),
    "Turkish": ("Köprü o yılın ilkbaharında şehrin belediye başkanı tarafından açıldı.", "Nehrin üzerindeki köprüyü kim açtı?"),
    "Hindi": ("पुल उस साल वसंत में शहर के महापौर ने खोला था और लोग खुश थे।", "नदी पर बने पुल को किसने खोला था?"),
    "Chinese": ("这座桥是那年春天由该市的市长为市民正式启用的。", "是谁启用了河上的这座桥？"),
    "Japanese": ("その橋は、その年の春に市長によって市民のために開通されました。", "川に架かる橋を開通させたのは誰ですか。"),
    "Arabic": ("افتتح رئيس بلدية المدينة الجسر في ربيع تلك السنة أمام الناس.", "من افتتح الجسر فوق النهر؟"),
    "Russian": ("Мост был открыт мэром города весной того же года для всех жителей.", "Кто открыл мост через реку?"),
}


@pytest.mark.parametrize("language", SENTENCES)
def test_every_other_language_is_told(language: str) -> None:
    reply, _ = SENTENCES[language]
    for other, (_, question) in SENTENCES.items():
        told = other_language(question, reply)
        same = other == language or {other, language} == {"Chinese", "Japanese"}  # which share their script
        assert bool(told) is not same, (language, other, told)


def test_the_languages_are_named() -> None:
    told = other_language(SENTENCES["German"][1], ENGLISH)
    assert told == "the model answered in English, the question is in German"


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("नदी पर बने पुल को किसने खोला था?", "Ada Brandt"),
        ("नदी पर बने पुल को किसने खोला था?", "Mayor Ada Brandt of Kestrel, Harrow and Venn"),
        ("是谁启用了这座桥？", "NASA, 1932"),
        ("What is the Hindi word for water?", "पानी"),
        ("Wer eröffnete die Brücke?", "Mayor Ada Brandt"),
        ("Wie heißt das Buch?", "The Old Man and the Sea"),
        ("What did the sign on the bridge say in German?", "Betreten verboten"),
        ("NASA ने Apollo 11 mission कब launch किया?", "NASA launched the mission on the morning of 16 July 1969."),
        ("1932?", ENGLISH),
        ("Kestrel?", "1932"),
    ],
)
def test_names_numbers_mixtures_and_a_few_words_are_of_no_language(question: str, reply: str) -> None:
    assert other_language(question, reply) == ""


def test_an_answer_in_another_language_gives_way_to_quotes_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RefusalPolicy, "doubt", lambda *_: "")  # the hashing embedder knows no translation
    with knowledge_base(tmp_path, lambda _messages: ENGLISH) as kb:
        add(kb, "bridge.txt", ENGLISH + " It is red.")
        assert not kb.ask(SENTENCES["English"][1]).quoted
        assert "warnings" not in kb.ask(SENTENCES["English"][1]).as_json()
        answer = kb.ask(SENTENCES["German"][1])
        assert answer.quoted
        assert answer.citations
        assert answer.warnings == ("the model answered in English, the question is in German: exact quotes are shown instead",)
        assert answer.as_json()["warnings"] == list(answer.warnings)
        assert from_json.answer(answer.as_json()).warnings == answer.warnings
