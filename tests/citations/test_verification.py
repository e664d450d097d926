from __future__ import annotations

import pytest

from ckllm.citations.verification import RuleVerifier, TrainedVerifier, broken_rule, names, numbers
from ckllm.contracts import Quote

EVIDENCE = (
    "The Kestrel bridge was opened by Mayor Ada Brandt on 3 May 1932 and spans 1,204 m over the river,"
    " but it does not carry trains."
)


def supported(sentence: str, evidence: str = EVIDENCE) -> bool:
    return RuleVerifier(0.7).verify([sentence], [[Quote(1, 0, len(evidence), evidence)]])[0].supported


@pytest.mark.parametrize(
    "sentence",
    [
        EVIDENCE,
        "The Kestrel bridge was opened on 3 May 1932.",
        "Mayor Ada Brandt opened the Kestrel bridge.",
        "The bridge spans 1204 m.",
        "It does not carry trains.",
    ],
)
def test_what_the_quote_says_is_supported(sentence: str) -> None:
    assert supported(sentence)


@pytest.mark.parametrize(
    ("sentence", "rule"),
    [
        ("The Kestrel bridge was opened on 3 May 1934.", "number"),
        ("The Kestrel bridge spans 1,240 m over the river.", "number"),
        ("The bridge spans 1,204 km over the river.", "unit"),
        ("The Kestrel bridge was opened by Mayor Eve Brandt.", "name"),
        ("The Osprey bridge was opened by Mayor Ada Brandt.", "name"),
        ("The Kestrel bridge was not opened on 3 May 1932.", "negation"),
        ("The bridge does carry trains.", "negation"),
        ("Only the Kestrel bridge spans the river.", "quantifier"),
        ("Cheese is made from milk.", "nothing shared"),
    ],
)
def test_what_the_quote_does_not_say_is_not_supported(sentence: str, rule: str) -> None:
    assert not supported(sentence), rule


def test_without_quotes_nothing_is_supported() -> None:
    verdict = RuleVerifier(0.0).verify(["Anything."], [[]])[0]
    assert not verdict.supported
    assert verdict.broken


def test_numbers_of_other_scripts_and_groupings_are_equal() -> None:
    assert numbers("१२०४ और 1,204 und 1204") == {"1204"}
    assert numbers("3.5") == {"3.5"}


def test_a_minus_belongs_to_its_number_and_the_dash_of_a_range_does_not() -> None:
    assert numbers("from −5 to 3, at -5.5 and –7") == {"-5", "3", "-5.5", "-7"}
    assert numbers("10–15 of 20-30, 5 –10") == {"10", "15", "20", "30", "5"}


@pytest.mark.parametrize(
    ("sentence", "evidence"),
    [
        ("The licence costs €500 a year.", "The licence costs $500 a year."),
        ("The licence costs £500 a year.", "The licence costs 500 dollars a year."),
        ("The plant cost $5 million.", "The plant cost 5 million euros."),
        ("The mean in January is 5 °C.", "The mean in January is -5 °C."),
        ("The mean in January is -5 °C.", "The mean in January is 5 °C."),
        ("The meeting was held before the war.", "The meeting was held after the war."),
        ("The gate opens at 8:30.", "The gate opens at 9:30 and closes at 8:45."),
        ("Die Regel gilt für Kinder.", "Die Regel gilt für Kinder nicht."),
        ("Het medicijn is geschikt voor kinderen.", "Het medicijn is niet geschikt voor kinderen."),
        ("Läkemedlet passar barn.", "Läkemedlet passar inte barn."),
        ("Obat ini cocok untuk anak-anak.", "Obat ini tidak cocok untuk anak-anak."),
        ("ยานี้เหมาะกับเด็ก", "ยานี้ไม่เหมาะกับเด็ก"),
        ("この薬は子供に使える。", "この薬は子供に使えない。"),
        ("התרופה מתאימה לילדים.", "התרופה אינה מתאימה לילדים."),
    ],
)
def test_one_sign_or_one_word_makes_another_statement(sentence: str, evidence: str) -> None:
    assert broken_rule(sentence, evidence)
    quote = Quote(1, 0, len(evidence), evidence)
    assert not TrainedVerifier().verify([sentence], [[quote]])[0].supported


@pytest.mark.parametrize(
    ("sentence", "evidence"),
    [
        ("Membership costs 5 % of income.", "Membership costs 5 percent of income."),
        ("The plant cost $5 million.", "The plant cost 5 million dollars."),
        ("The plant cost 5 million dollars.", "The plant cost $5 million."),
        ("Between 10 and 15 members came.", "10–15 members came."),
        ("Der Rabatt gilt für Mitglieder.", "Der Rabatt gilt für Mitglieder, nicht für Gäste."),
        ("The rule applies to adults.", "The rule applies to adults but not to children."),
        ("The temperature is –5 °C.", "The temperature is −5 °C."),
    ],
)
def test_other_writing_of_the_same_breaks_no_rule(sentence: str, evidence: str) -> None:
    assert broken_rule(sentence, evidence) == ""


def test_the_capital_of_a_first_word_is_no_name_but_an_acronym_is() -> None:
    assert names("Bridges in Norway’s west use NASA steel.") == ["Norway", "NASA"]
    assert names("NATO met.") == ["NATO"]


@pytest.mark.parametrize(
    ("sentence", "supported"),
    [
        ("The pump was repaired in May.", True),
        ("The fan was repaired in May.", False),
    ],
)
def test_what_an_aside_denies_is_not_said_of_the_rest(sentence: str, supported: bool) -> None:
    assert (broken_rule(sentence, "The pump (not the fan) was repaired in May.") == "") is supported


def test_an_aside_that_only_denies_counts() -> None:
    assert broken_rule("The pump was repaired in May.", "The pump was (not) repaired in May.")


def test_negation_in_hindi() -> None:
    assert not supported("पुल पर रेल चलती है।", "पुल पर रेल नहीं चलती है।")
    assert supported("पुल पर रेल नहीं चलती है।", "पुल पर रेल नहीं चलती है।")


@pytest.mark.parametrize(
    ("sentence", "evidence", "supported"),
    [
        ("Adults take one tablet daily.", "Adults take two tablets daily; children under 12 take one tablet daily.", False),
        ("Anna Meier leads the legal team.", "Anna Meier leads the finance team, and Tom Braun leads the legal team.", False),
        ("Adults take two tablets daily.", "Adults take two tablets daily; children under 12 take one tablet daily.", True),
        ("Tom Braun leads the legal team.", "Anna Meier leads the finance team, and Tom Braun leads the legal team.", True),
    ],
)
def test_parts_of_two_statements_are_not_joined(sentence: str, evidence: str, supported: bool) -> None:
    assert (broken_rule(sentence, evidence) == "") is supported
