"""The atlas page: claims first, then every figure with its data."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from atlas.claims import AGREES, DIFFERS, PART, Claim
from atlas.data import Atlas
from atlas.figures import Shown
from atlas.picture import to_csv
from planner.files import write_whole
from planner.plots import style

VERDICTS = (AGREES, PART, DIFFERS)
_CLASSES = {AGREES: "agrees", PART: "part", DIFFERS: "differs"}
_CSS = ".part{color:#8a6d00;font-weight:600}nav a{margin-right:.6rem;white-space:nowrap}"


def write(atlas: Atlas, claims: Sequence[Claim], shown: Sequence[Shown], folder: Path) -> None:
    """Write claims.csv and atlas.html."""
    columns = {
        "claim": [each.number for each in claims],
        "paper": [each.paper for each in claims],
        "found": [each.found for each in claims],
        "verdict": [each.verdict for each in claims],
        "note": [each.note for each in claims],
    }
    write_whole(folder / "claims.csv", to_csv(columns))
    body = _introduction(atlas, claims) + _claims(claims) + _figures(shown)
    page = style.page("Distillation scaling laws, rebuilt", [], body)
    write_whole(folder / "atlas.html", page.replace("</style>", f"{_CSS}</style>", 1))


def _introduction(atlas: Atlas, claims: Sequence[Claim]) -> str:
    counts = ", ".join(
        f"{sum(each.verdict == word for each in claims)} {word}" for word in VERDICTS
    )
    source = escape(f"{atlas.law.source.citation} {atlas.law.source.location}")
    return (
        f"<p>Figures, tables and claims of the paper, computed from the coefficient set "
        f"<b>{escape(atlas.law.name)}</b> ({source}). {atlas.solves:,} plans are behind them, each "
        f"certified: none is more than {atlas.largest_gap:.1e} nats above its proven lower bound. "
        "Bounds on sizes and tokens are the paper's, 1e6 to 1e17.</p>"
        f"<p>Claims: {counts}. Figures carry the numbers of the paper's figures on the same "
        "questions; how they are laid out, and which sizes and budgets they show, is this "
        "project's choice. Much of what they show lies far outside what was measured (143M to "
        "12.6B parameters, 17 to 202 tokens per parameter): there the law extrapolates.</p>"
    )


def _claims(claims: Sequence[Claim]) -> str:
    rows = "".join(
        f"<tr><td>{escape(each.number)}</td><td>{escape(each.paper)}</td>"
        f"<td>{escape(each.found)}{_note(each)}</td>"
        f'<td class="{_CLASSES[each.verdict]}">{escape(each.verdict)}</td></tr>'
        for each in claims
    )
    return (
        '<h2 id="claims">Claims</h2><p>As data: <a href="claims.csv">claims.csv</a></p>'
        "<table><thead><tr><th>No.</th><th>The paper says</th><th>Found</th>"
        "<th>Verdict</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _note(claim: Claim) -> str:
    return f"<br><small>{escape(claim.note)}</small>" if claim.note else ""


def _figures(shown: Sequence[Shown]) -> str:
    links = "".join(f'<a href="#{each.key}">{escape(each.title)}</a>' for each in shown)
    parts = [f"<h2>Figures and tables</h2><nav>{links}</nav>"]
    for each in shown:
        picture = (
            f'<a href="{each.picture}"><img src="{each.picture}" alt="{escape(each.caption)}" '
            'loading="lazy"></a>' if each.picture else ""
        )  # fmt: skip
        parts.append(
            f'<h2 id="{each.key}">{escape(each.title)}</h2><figure>{picture}<figcaption>'
            f'{escape(each.caption)} Data: <a href="{each.data}">{each.data}</a>, {each.rows:,} '
            "rows.</figcaption></figure>"
        )
    return "".join(parts)
