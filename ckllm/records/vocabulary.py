"""What questions about rows are made of, language by language: rules as data.

A phrase is written in lower case without accents, as :func:`ckllm.records.words.folded` makes it. Words that change what is
counted without being understood here (not, without, per, each, other, most …) are in no list on purpose: a question with one of
them is not computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ckllm.records.words import Phrase, phrases

Operation: TypeAlias = Literal["count", "list", "sum", "average", "minimum", "maximum"]
Comparison: TypeAlias = Literal["<", "<=", "=", ">=", ">", "between"]


@dataclass(frozen=True, slots=True)
class Language:
    """Phrases of one language; the longest that fits is taken."""

    triggers: Mapping[Phrase, Operation]
    imperatives: frozenset[str]
    """First words of triggers that order a list, where others ask which."""
    distinct: frozenset[Phrase]
    """Different, distinct: each value once."""
    comparisons: Mapping[Phrase, Comparison]
    """Before a number or a date."""
    trailing: Mapping[Phrase, Comparison]
    """After it, as in Hindi."""
    conjunctions: frozenset[Phrase]
    """and, or."""
    at: frozenset[Phrase]
    """in, on: before a date that a row must have."""
    function: frozenset[Phrase]
    """Words that say nothing by themselves here, "have" and "listed" among them."""
    rows: frozenset[Phrase]
    """Row, entry, record."""
    months: Mapping[Phrase, int]
    reads_comma_as_decimal: bool
    head_first: bool
    """Whether a title's first word names what it lists, as in "empleados de la oficina"."""


def _triggers(**by_operation: str) -> dict[Phrase, Operation]:
    return {phrase: operation for operation, text in by_operation.items() for phrase in phrases(text)}  # type: ignore[misc]


def _comparisons(less: str, at_most: str, equal: str, at_least: str, more: str, between: str = "") -> dict[Phrase, Comparison]:
    by_sign: dict[Comparison, str] = {
        "<": less, "<=": at_most, "=": equal, ">=": at_least, ">": more, "between": between,
    }  # fmt: skip
    return {phrase: sign for sign, text in by_sign.items() for phrase in phrases(text)}


def _months(text: str) -> dict[Phrase, int]:
    """Twelve groups, separated by `;`, of names separated by `,`."""
    return {phrase: number for number, group in enumerate(text.split(";"), start=1) for phrase in phrases(group)}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _set(text: str) -> frozenset[Phrase]:
    return frozenset(phrases(text))


_SIGNS = {"less": "<", "at_most": "<=, ≤", "equal": "=", "at_least": ">=, ≥", "more": ">"}

ENGLISH = Language(
    triggers=_triggers(
        count="how many, number of, the number of, total number of, count, count of, count the",
        list="list, list all, list the, list all the, which, which of, which of the, name all, name all the, show all, "
        "show me all, show all the, give me all, enumerate, what are all the",
        sum="sum of, total, in total, the sum of, overall total, sum",
        average="average, mean",
        minimum="lowest, smallest, minimum, least expensive, cheapest",
        maximum="highest, largest, maximum, biggest, greatest, most expensive",
    ),
    imperatives=_words("list name show give enumerate what"),
    distinct=_set("different, distinct, unique"),
    comparisons=_comparisons(
        "less than, fewer than, under, below, lower than, smaller than, before, earlier than, cheaper than, " + _SIGNS["less"],
        "at most, no more than, not more than, up to, " + _SIGNS["at_most"],
        "exactly, equal to, " + _SIGNS["equal"],
        "at least, no less than, not less than, no fewer than, since, " + _SIGNS["at_least"],
        "more than, over, above, greater than, higher than, larger than, exceeding, after, later than, " + _SIGNS["more"],
        "between",
    ),
    trailing=_comparisons("", "or less, or fewer, or below", "", "or more, or above", ""),
    conjunctions=_set("and, or"),
    at=_set("in, on, during"),
    function=_set(
        "a, an, the, of, in, on, at, among, to, for, from, by, is, are, was, were, be, been, has, have, had, do, does, did, "
        "there, that, who, whose, which, this, these, those, me, all, please, what, and, having, listed, contained, contain, "
        "contains, with, belong, belongs, set, marked, value, equals, table, file, sheet, list, being, as, its, their, can, you, "
        "tell, in total, altogether, give, show, us, i, we, find, how, much, s"
    ),
    rows=_set("rows, row, entries, entry, records, record, lines, items, item"),
    months=_months(
        "january, jan; february, feb; march, mar; april, apr; may; june, jun; july, jul; august, aug; september, sep, sept; "
        "october, oct; november, nov; december, dec"
    ),
    reads_comma_as_decimal=False,
    head_first=False,
)

SPANISH = Language(
    triggers=_triggers(
        count="cuantos, cuantas, numero de, el numero de, cantidad de",
        list="lista, lista de, lista todos los, lista todas las, enumera, enumera todos los, enumera todas las, que, cuales, "
        "cuales de los, cuales de las, muestra todos los, muestra todas las, nombra todos los, nombra todas las",
        sum="suma de, la suma de, total, en total",
        average="promedio, media",
        minimum="minimo, minima, mas bajo, mas baja, menor",
        maximum="maximo, maxima, mas alto, mas alta, mayor",
    ),
    imperatives=_words("lista enumera muestra nombra"),
    distinct=_set("distintos, distintas, diferentes, unicos, unicas"),
    comparisons=_comparisons(
        "menos de, menor que, menor a, inferior a, por debajo de, antes de, anterior a, " + _SIGNS["less"],
        "como maximo, a lo sumo, no mas de, " + _SIGNS["at_most"],
        "exactamente, igual a, " + _SIGNS["equal"],
        "al menos, como minimo, por lo menos, desde, " + _SIGNS["at_least"],
        "mas de, mas que, mayor que, mayor a, superior a, por encima de, despues de, posterior a, " + _SIGNS["more"],
        "entre",
    ),
    trailing=_comparisons("", "o menos", "", "o mas", ""),
    conjunctions=_set("y, e, o, u"),
    at=_set("en"),
    function=_set(
        "el, la, los, las, un, una, unos, unas, de, del, en, a, al, con, para, por, es, son, esta, estan, fue, fueron, hay, "
        "tiene, tienen, tienes, que, todos, todas, se, su, sus, me, y, cual, tabla, fichero, archivo, hoja, figuran, figura"
    ),
    rows=_set("filas, fila, entradas, registros, registro, elementos"),
    months=_months(
        "enero; febrero; marzo; abril; mayo; junio; julio; agosto; septiembre, setiembre; octubre; noviembre; diciembre"
    ),
    reads_comma_as_decimal=True,
    head_first=True,
)

GERMAN = Language(
    triggers=_triggers(
        count="wie viele, wieviele, anzahl der, die anzahl der, anzahl, zahl der",
        list="liste, liste alle, nenne alle, nenne, welche, welcher, welches, welche der, zeige alle, zahle alle",
        sum="summe der, die summe der, gesamt, insgesamt, summe",
        average="durchschnittliche, durchschnittlicher, durchschnittlichen, durchschnittliches, durchschnitt",
        minimum="niedrigste, niedrigsten, kleinste, kleinsten, geringste, geringsten, gunstigste, billigste",
        maximum="hochste, hochsten, grosste, grossten, teuerste, teuersten",
    ),
    imperatives=_words("liste nenne zeige zahle"),
    distinct=_set("verschiedene, verschiedenen, unterschiedliche, unterschiedlichen"),
    comparisons=_comparisons(
        "weniger als, unter, kleiner als, niedriger als, vor, " + _SIGNS["less"],
        "hochstens, maximal, nicht mehr als, bis zu, " + _SIGNS["at_most"],
        "genau, gleich, " + _SIGNS["equal"],
        "mindestens, wenigstens, seit, ab, " + _SIGNS["at_least"],
        "mehr als, uber, grosser als, hoher als, nach, " + _SIGNS["more"],
        "zwischen",
    ),
    trailing=_comparisons("", "oder weniger", "", "oder mehr", ""),
    conjunctions=_set("und, oder"),
    at=_set("in, im, am, im jahr, im jahre"),
    function=_set(
        "der, die, das, den, dem, des, ein, eine, einen, einem, einer, eines, von, vom, in, im, am, an, auf, aus, mit, zu, zum, "
        "zur, fur, ist, sind, war, waren, gibt, es, hat, haben, hatten, dass, alle, und, wie, was, bei, dort, sich, tabelle, "
        "datei, blatt, stehen, steht, aufgefuhrt, jahr, wert"
    ),
    rows=_set("zeilen, zeile, eintrage, eintrag, datensatze, datensatz"),
    months=_months("januar; februar; marz; april; mai; juni; juli; august; september; oktober; november; dezember"),
    reads_comma_as_decimal=True,
    head_first=False,
)

FRENCH = Language(
    triggers=_triggers(
        count="combien de, combien d, combien, nombre de, le nombre de, le nombre d",
        list="liste, listez, liste les, listez les, liste tous les, liste toutes les, listez tous les, listez toutes les, "
        "enumerez, quels, quelles, quel, quelle, quels sont les, quelles sont les, affiche tous les, affiche toutes les",
        sum="somme des, la somme des, somme, total, au total",
        average="moyenne, moyen",
        minimum="minimum, minimal, minimale, le plus bas, la plus basse, plus petit, plus petite",
        maximum="maximum, maximal, maximale, le plus eleve, la plus elevee, plus grand, plus grande",
    ),
    imperatives=_words("liste listez enumerez affiche"),
    distinct=_set("differents, differentes, distincts, distinctes"),
    comparisons=_comparisons(
        "moins de, inferieur a, inferieure a, en dessous de, avant, moins que, " + _SIGNS["less"],
        "au plus, au maximum, pas plus de, " + _SIGNS["at_most"],
        "exactement, egal a, egale a, " + _SIGNS["equal"],
        "au moins, au minimum, depuis, " + _SIGNS["at_least"],
        "plus de, superieur a, superieure a, au dessus de, apres, plus que, " + _SIGNS["more"],
        "entre",
    ),
    trailing=_comparisons("", "ou moins", "", "ou plus", ""),
    conjunctions=_set("et, ou"),
    at=_set("en, au, dans"),
    function=_set(
        "le, la, les, l, un, une, des, du, de, d, a, au, aux, en, dans, sur, par, pour, avec, est, sont, etait, etaient, ont, "
        "il, y, t, elle, ils, elles, qui, que, tous, toutes, se, ce, ces, et, tableau, fichier, feuille, figurent"
    ),
    rows=_set("lignes, ligne, entrees, enregistrements, enregistrement"),
    months=_months("janvier; fevrier; mars; avril; mai; juin; juillet; aout; septembre; octobre; novembre; decembre"),
    reads_comma_as_decimal=True,
    head_first=True,
)

HINDI = Language(
    triggers=_triggers(
        count="कितने, कितनी, कितना, कुल कितने, कुल कितनी, की संख्या",
        list="सूची, कौन से, कौन सी, कौनसे, कौनसी, किन, सभी की सूची",
        sum="योग, कुल योग",
        average="औसत",
        minimum="न्यूनतम, सबसे कम",
        maximum="अधिकतम, सबसे अधिक, सबसे ज्यादा",
    ),
    imperatives=_words("सूची सभी"),
    distinct=_set("अलग, अलग अलग, विभिन्न"),
    comparisons=_comparisons(
        _SIGNS["less"], _SIGNS["at_most"], _SIGNS["equal"], "कम से कम, " + _SIGNS["at_least"], _SIGNS["more"], ""
    ),
    trailing=_comparisons("से कम, से पहले, के पहले", "तक", "", "या अधिक, या उससे अधिक", "से अधिक, से ज्यादा, से ज़्यादा, से ऊपर, के बाद"),
    conjunctions=_set("और, या, व"),
    at=frozenset(),
    function=_set(
        "का, के, की, को, में, से, पर, है, हैं, था, थे, थी, ने, यह, वह, ये, वे, एक, भी, हो, जो, जिन, जिनका, जिनकी, जिनके, सभी, "
        "और, बताओ, बताइए, दें, दीजिए, करें, क्या, तालिका, फाइल, वाले, वाली, वाला, मूल्य है, कुल, मौजूद"
    ),
    rows=_set("पंक्तियाँ, पंक्तियां, पंक्ति, प्रविष्टियाँ, प्रविष्टियां, प्रविष्टि, रिकॉर्ड"),
    months=_months("जनवरी; फरवरी, फ़रवरी; मार्च; अप्रैल; मई; जून; जुलाई; अगस्त; सितंबर, सितम्बर; अक्टूबर; नवंबर, नवम्बर; दिसंबर, दिसम्बर"),
    reads_comma_as_decimal=False,
    head_first=False,
)

LANGUAGES: Mapping[str, Language] = {"en": ENGLISH, "es": SPANISH, "de": GERMAN, "fr": FRENCH, "hi": HINDI}

TEMPORAL = _set(
    "before, earlier than, since, after, later than, antes de, anterior a, desde, despues de, posterior a, vor, seit, nach, "
    "avant, depuis, apres, से पहले, के पहले, के बाद"
)
"""Comparisons of dates only."""
GENERIC_KEYS = _set(
    "name, full name, id, no, nr, number, code, title, key, ref, reference, label, nombre, nombre completo, codigo, titulo, "
    "numero, bezeichnung, titel, nummer, kennung, nom, nom complet, titre, intitule, नाम, क्रमांक, संख्या, पहचान"
)
"""Headers of columns that name what a row is about, whatever that is."""
IDENTIFIERS = frozenset({"id", "no", "nr", "number", "nummer", "code", "ref", "key", "codigo", "numero", "sku"})
"""Last words of headers whose numbers are names."""
KEY_PARTS = frozenset(word for phrase in GENERIC_KEYS for word in phrase) | IDENTIFIERS
GENERIC_NAMES = _words(
    "list table data overview register sheet tabelle liste ubersicht daten lista tabla datos tableau donnees csv "
    "tsv xlsx xls ods json jsonl ndjson html htm docx odt md txt export dump final new sheet1 all alle todos the "
    "our unsere los las les der die das"
)
"""Words of titles that name no thing."""
TITLE_BREAKS = _words(
    "of in for at from by per with to and since until de del en para por desde con y des du dans pour avec et der "
    "von vom im nach pro je aus fur mit und bei का के की में"
)
"""Words behind which a title says more about what it lists."""
GROUPED = _words("by per each nach pro je por par cada chaque")
"""Words of a title that say that its rows are sums of something."""
JOINING = _words("and or und oder y o e et ou और या vs versus plus")
"""Words that join two things in one title."""
TOTALS = _words(
    "total totals sum sub subtotal overall all average mean grand gesamt gesamtsumme summe insgesamt zwischensumme "
    "durchschnitt suma totales promedio somme totaux moyenne ensemble कुल योग औसत"
)
"""First words of rows that sum up others."""
SUMS = _words("total totals subtotal gesamt gesamtsumme summe insgesamt zwischensumme totales")
"""Those of them that say so whatever follows."""
MISSING = frozenset(
    ["", "-", "–", "—", "n/a", "na", "null", "none", "nan", "?", "…", "..", "k.a.", "k. a.", "s/d", "n/d", "#n/a"]
)
"""Cells that hold nothing."""
UNITS: Mapping[str, str] = {
    "euro": "€", "euros": "€", "eur": "€", "dollar": "$", "dollars": "$", "usd": "$", "dolares": "$", "pound": "£", "pounds": "£",
    "gbp": "£", "rupee": "₹", "rupees": "₹", "inr": "₹", "रुपये": "₹", "percent": "%", "prozent": "%", "pourcent": "%",
    "kilogram": "kg", "kilograms": "kg", "kilos": "kg", "kilogramm": "kg", "gram": "g", "grams": "g", "gramm": "g",
    "kilometre": "km", "kilometres": "km", "kilometer": "km", "kilometers": "km", "kilometros": "km", "metre": "m",
    "metres": "m", "meter": "m", "meters": "m", "metros": "m", "litre": "l", "litres": "l", "liter": "l", "liters": "l",
}  # fmt: skip
"""Names of units → as they are compared."""
