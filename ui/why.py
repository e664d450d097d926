"""Why this answer: the expert with the scores behind the choice, what was retrieved, used and cited, and where the time went."""

from __future__ import annotations

import streamlit as st

from ckllm.contracts import Answer, Evidence, Route, Timings
from ui.answers import where
from ui.markup import bar, escaped, name_of, seconds

_STAGES = {
    "rewrite_s": "Rewriting the question", "retrieve_s": "Searching", "rerank_s": "Ranking", "route_s": "Choosing the expert",
    "generate_s": "Writing", "verify_s": "Checking",
}  # fmt: skip
_BARS = 6


def why(answer: Answer) -> None:
    with st.expander("Why this answer", icon=":material/account_tree:"):
        st.html(_route(answer.route) + _ledger(answer.evidence) + _timings(answer))


def _route(route: Route) -> str:
    scores = sorted(route.scores.items(), key=lambda row: row[1], reverse=True)
    bars = "".join(bar(name, share, f"{share:.0%}", chosen=name == route.expert) for name, share in scores[:_BARS])
    more = f'<p class="ck-faint">{len(scores) - _BARS} more below</p>' if len(scores) > _BARS else ""
    weights = " + ".join(f"{escaped(name)} {share:.0%}" for name, share in route.weights.items())
    mixed = f' <span class="ck-faint">({weights})</span>' if len(route.weights) > 1 else ""
    return (
        f'<section class="ck-why"><h4>Expert</h4><p><strong>{escaped(route.expert)}</strong>{mixed} '
        f'<span class="ck-faint">{escaped(route.reason)}</span></p>{bars}{more}</section>'
    )


def _ledger(evidence: tuple[Evidence, ...]) -> str:
    if not evidence:
        return '<section class="ck-why"><h4>Passages</h4><p class="ck-faint">Nothing was found.</p></section>'
    used, cited = sum(entry.in_prompt for entry in evidence), sum(entry.cited for entry in evidence)
    rows = "".join(_line(entry) for entry in evidence)
    return (
        f'<section class="ck-why"><h4>Passages</h4><p class="ck-faint">{len(evidence)} retrieved, {used} given to the model, '
        f'{cited} cited</p><div class="ck-scroll"><table class="ck-ledger"><thead><tr><th>Passage</th><th>Score</th><th>Read</th>'
        f"<th>Cited</th></tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _line(entry: Evidence) -> str:
    title = entry.hit.title or name_of(entry.hit.source)
    yes, no = '<td aria-label="yes">✓</td>', '<td aria-label="no" class="ck-faint">–</td>'
    about = f'<td dir="auto">{escaped(title)} <span class="ck-faint">{escaped(where(entry))}</span></td>'
    used = f"{yes if entry.in_prompt else no}{yes if entry.cited else no}"
    return f"<tr{' class=cited' if entry.cited else ''}>{about}<td>{entry.hit.score:.3f}</td>{used}</tr>"


def _timings(answer: Answer) -> str:
    spent = [(told, float(getattr(answer.timings, name))) for name, told in _STAGES.items()]
    longest = max((value for _, value in spent), default=0.0) or 1.0
    bars = "".join(bar(told, value / longest, seconds(value)) for told, value in spent if value > 0)
    tokens = f"{answer.usage.prompt_tokens} tokens read, {answer.usage.completion_tokens} written"
    about = f"{_total(answer.timings)} · {tokens}"
    return f'<section class="ck-why"><h4>Time</h4><p class="ck-faint">{about}</p>{bars}</section>'


def _total(timings: Timings) -> str:
    first = f", first word after {seconds(timings.first_token_s)}" if timings.first_token_s else ""
    return f"{seconds(timings.total_s)} in all{first}"
