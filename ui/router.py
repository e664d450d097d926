"""How well questions find their expert: the trained router's held-out figures and its confusion table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from ui.markup import escaped
from ui.session import State

_FIGURES = {
    "macro_f1": "Macro-F1", "accuracy": "Right", "out_of_scope_auroc": "Foreign questions told apart (AUROC)",
    "calibration_error": "Calibration error", "threshold": "Base answers below",
}  # fmt: skip
_MOST_LABELS = 40
"""Above it the table is no use on a page."""


def shown(now: State) -> None:
    report = now.client.router()
    st.html('<h2 class="ck-subtitle">Choosing the expert</h2>')
    if report is None:
        st.html('<p class="ck-faint">No router is trained: <code>ckllm experts train-router</code> learns from questions.</p>')
        return
    figures = "".join(
        f"<tr><td>{told}</td><td>{report[name]:.3f}</td></tr>"
        for name, told in _FIGURES.items()
        if isinstance(report.get(name), int | float)
    )
    count = escaped(report.get("held_out_rows", "?"))
    st.html(
        '<div class="ck-scroll"><table class="ck-ledger ck-narrow">'
        f"<thead><tr><th>{count} questions held out of training</th><th></th></tr></thead><tbody>{figures}</tbody></table></div>"
    )
    table = report.get("confusion")
    if isinstance(table, Mapping) and 0 < len(table.get("labels", ())) <= _MOST_LABELS:
        with st.expander("Which questions were taken for which", icon=":material/grid_on:"):
            st.html(confusion_table(table["labels"], table["counts"]))


def confusion_table(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A row for what was meant, a column for what was said; the deeper the colour, the larger the share of the row."""
    head = "".join(f'<th scope="col"><span dir="auto">{escaped(label)}</span></th>' for label in labels)
    body = "".join(
        f'<tr><th scope="row" dir="auto">{escaped(label)}</th>{"".join(_cell(count, sum(row)) for count in row)}</tr>'
        for label, row in zip(labels, counts, strict=True)
    )
    caption = "Rows: the expert that was meant. Columns: the expert that was chosen."
    return (
        f'<p class="ck-faint ck-small">{caption}</p><div class="ck-scroll"><table class="ck-confusion">'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(count: int, total: int) -> str:
    share = round(100 * count / total) if total else 0
    return f'<td style="--share:{share}%">{count or ""}</td>'
