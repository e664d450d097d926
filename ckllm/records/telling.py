"""A result as sentences in the language of the question. Templates are data; what stands in them are cells and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckllm.records.computing import Result
from ckllm.records.conditions import plain

MOST_LISTED = 50
"""Rows of a list that are shown, each with its citation."""
MOST_CITED = 10
"""Rows of a count or a sum that are cited."""


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence and the rows that it rests on; no rows: on the header."""

    text: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Told:
    lines: tuple[Line, ...]
    short: str
    """The number, or the one thing, that was asked for; "" for a longer list."""


@dataclass(frozen=True, slots=True)
class _Templates:
    all: str
    count: str
    none: str
    distinct: str
    listed: str
    sum: str
    average: str
    minimum: str
    maximum: str
    left_out: str
    more_cited: str
    more_listed: str


_TEMPLATES: Mapping[str, _Templates] = {
    "en": _Templates(
        all="{name} has {n} rows.",
        count="{n} of the {of} rows of {name} match: {conditions}.",
        none="None of the {of} rows of {name} match: {conditions}.",
        distinct="{name} has {n} different values of {label}{where}.",
        listed="{n} found in {name}{where}:",
        sum="The sum of {target} over {n} of the {of} rows of {name}{where} is {value}.",
        average="The average of {target} over {n} of the {of} rows of {name}{where} is {value}.",
        minimum="The lowest {target} in {name}{where} is {value}.",
        maximum="The highest {target} in {name}{where} is {value}.",
        left_out="Rows that say nothing there and are not counted: {n}.",
        more_cited="Rows counted and not cited: {n}.",
        more_listed="Rows found and not listed: {n}.",
    ),
    "es": _Templates(
        all="{name} tiene {n} filas.",
        count="{n} de las {of} filas de {name} cumplen: {conditions}.",
        none="Ninguna de las {of} filas de {name} cumple: {conditions}.",
        distinct="{name} tiene {n} valores distintos de {label}{where}.",
        listed="{n} en {name}{where}:",
        sum="La suma de {target} en {n} de las {of} filas de {name}{where} es {value}.",
        average="El promedio de {target} en {n} de las {of} filas de {name}{where} es {value}.",
        minimum="El valor más bajo de {target} en {name}{where} es {value}.",
        maximum="El valor más alto de {target} en {name}{where} es {value}.",
        left_out="Filas sin ese dato, no contadas: {n}.",
        more_cited="Filas contadas y no citadas: {n}.",
        more_listed="Filas encontradas y no mostradas: {n}.",
    ),
    "de": _Templates(
        all="{name} hat {n} Zeilen.",
        count="{n} der {of} Zeilen von {name} erfüllen: {conditions}.",
        none="Keine der {of} Zeilen von {name} erfüllt: {conditions}.",
        distinct="{name} hat {n} verschiedene Werte von {label}{where}.",
        listed="{n} in {name}{where}:",
        sum="Die Summe von {target} über {n} der {of} Zeilen von {name}{where} ist {value}.",
        average="Der Durchschnitt von {target} über {n} der {of} Zeilen von {name}{where} ist {value}.",
        minimum="Der niedrigste Wert von {target} in {name}{where} ist {value}.",
        maximum="Der höchste Wert von {target} in {name}{where} ist {value}.",
        left_out="Zeilen ohne diese Angabe, nicht gezählt: {n}.",
        more_cited="Gezählte, nicht zitierte Zeilen: {n}.",
        more_listed="Gefundene, nicht gezeigte Zeilen: {n}.",
    ),
    "fr": _Templates(
        all="{name} compte {n} lignes.",
        count="{n} des {of} lignes de {name} remplissent : {conditions}.",
        none="Aucune des {of} lignes de {name} ne remplit : {conditions}.",
        distinct="{name} a {n} valeurs différentes de {label}{where}.",
        listed="{n} dans {name}{where} :",
        sum="La somme de {target} sur {n} des {of} lignes de {name}{where} est {value}.",
        average="La moyenne de {target} sur {n} des {of} lignes de {name}{where} est {value}.",
        minimum="La valeur la plus basse de {target} dans {name}{where} est {value}.",
        maximum="La valeur la plus élevée de {target} dans {name}{where} est {value}.",
        left_out="Lignes sans cette donnée, non comptées : {n}.",
        more_cited="Lignes comptées et non citées : {n}.",
        more_listed="Lignes trouvées et non montrées : {n}.",
    ),
    "hi": _Templates(
        all="{name} में {n} पंक्तियाँ हैं।",
        count="{name} की {of} में से {n} पंक्तियाँ यह शर्त पूरी करती हैं: {conditions}।",
        none="{name} की {of} पंक्तियों में से कोई यह शर्त पूरी नहीं करती: {conditions}।",
        distinct="{name} में {label} के {n} अलग मान हैं{where}।",
        listed="{name} में {n} मिले{where}:",
        sum="{name} की {of} में से {n} पंक्तियों में {target} का योग {value} है{where}।",
        average="{name} की {of} में से {n} पंक्तियों में {target} का औसत {value} है{where}।",
        minimum="{name} में {target} का न्यूनतम मान {value} है{where}।",
        maximum="{name} में {target} का अधिकतम मान {value} है{where}।",
        left_out="जिन पंक्तियों में यह जानकारी नहीं है और जो गिनी नहीं गईं: {n}।",
        more_cited="गिनी गईं पर उद्धृत नहीं की गईं पंक्तियाँ: {n}।",
        more_listed="मिलीं पर दिखाई नहीं गईं पंक्तियाँ: {n}।",
    ),
}


def told(result: Result, lang: str) -> Told:
    plan, table, templates = result.plan, result.plan.table, _TEMPLATES[lang]
    conditions = "; ".join(condition.shown for condition in plan.conditions)
    values = {
        "name": f"“{table.name}”", "of": result.of, "conditions": conditions, "where": f" ({conditions})" if conditions else "",
        "label": _name(result, plan.label), "target": _name(result, plan.target), "n": len(result.rows),
        "value": _value(result, lang),
    }  # fmt: skip
    if plan.operation == "list":
        lines, short = _listed(result, templates, values)
    elif plan.operation == "count":
        template = templates.distinct if plan.distinct else (templates.count if result.rows else templates.none)
        template = template if conditions or plan.distinct else templates.all
        lines, short = [_cited(template.format(**values), result.rows)], str(len(result.rows)) if result.rows else ""
    else:
        template = {"sum": templates.sum, "average": templates.average, "minimum": templates.minimum}.get(
            plan.operation, templates.maximum
        )
        lines, short = [_cited(template.format(**values), result.rows)], _value(result, lang)
    if result.left_out:
        lines.append(Line(templates.left_out.format(n=result.left_out), ()))
    shown = MOST_LISTED if plan.operation == "list" else MOST_CITED
    if len(result.rows) > shown:
        more = templates.more_listed if plan.operation == "list" else templates.more_cited
        lines.append(Line(more.format(n=len(result.rows) - shown), ()))
    return Told(tuple(lines), short)


def _cited(text: str, rows: tuple[int, ...]) -> Line:
    return Line(text, rows[:MOST_CITED])


def _listed(result: Result, templates: _Templates, values: Mapping[str, object]) -> tuple[list[Line], str]:
    plan = result.plan
    if not result.rows:
        return [Line(templates.none.format(**values), ())], ""
    items = [_item(result, row) for row in result.rows[:MOST_LISTED]]
    first = {"minimum": templates.minimum, "maximum": templates.maximum}.get(plan.extreme or "", templates.listed)
    lines = [Line(first.format(**values), ())]
    lines += [Line(f"• {item}", (row,)) for item, row in zip(items, result.rows, strict=False)]
    cells = plan.table.cells(plan.label if plan.label is not None else 0)
    return lines, cells[result.rows[0]] if len(result.rows) == 1 else ""


def _item(result: Result, row: int) -> str:
    """What a row is called, with what was asked of it: its other columns, and the values that were compared."""
    plan, table = result.plan, result.plan.table
    if plan.label is None:
        return "; ".join(cell for cell in table.rows[row] if cell)
    compared = [condition.column for condition in plan.conditions if condition.cells is None]
    columns = dict.fromkeys((*plan.shown, *compared, *(() if plan.target is None else (plan.target,))))
    more = [f"{table.columns[at].name}: {cell}" for at in columns if at != plan.label and (cell := table.cells(at)[row])]
    more = [] if plan.distinct else more
    return table.cells(plan.label)[row] + (f" ({', '.join(more)})" if more else "")


def _name(result: Result, column: int | None) -> str:
    return "" if column is None else result.plan.table.columns[column].name or f"#{column + 1}"


def _value(result: Result, lang: str) -> str:
    if result.value is None:
        return ""
    number = plain(result.value)
    number = number if lang in ("en", "hi") else number.replace(".", ",")
    if result.unit in "€$£¥₹" and result.unit:
        return f"{result.unit}{number}" if lang in ("en", "hi") else f"{number} {result.unit}"
    return f"{number} {result.unit}".rstrip() if result.unit != "%" else f"{number} %"
