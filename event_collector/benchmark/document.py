"""Building blocks of a self-contained HTML page, for screens of any width, light and dark, and for paper."""

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6570; --line: #d9dee3; --paper: #ffffff;
  --tint: #f3f5f7; --mark: #2563a8; --range: #8fb7e0; --warn: #9a4b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --soft: #9aa5b1; --line: #343b43; --paper: #14171a;
  --tint: #1d2126; --mark: #6aa7e8; --range: #34567a; --warn: #f0a860; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); font-size: .9rem; } .warn { color: var(--warn); }
code, pre { font: .88em/1.5 ui-monospace, monospace; }
pre { background: var(--tint); border: 1px solid var(--line); padding: .7rem;
  white-space: pre-wrap; border-radius: 4px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; }
thead th { white-space: normal; vertical-align: bottom; }
td:first-child { white-space: normal; min-width: 8rem; }
.bars { display: grid; grid-template-columns: fit-content(min(14rem, 40vw)) 1fr; gap: .35rem .7rem;
  font-size: .88rem; margin-bottom: 1rem; }
.bars .bar { position: relative; overflow: hidden; height: 1.3rem; background: var(--tint); }
.bars .bar i, .bars .bar b { position: absolute; top: 0; bottom: 0; display: block; }
.bars .bar i { background: var(--mark); left: 0; } .bars .bar b { background: var(--range); opacity: .75;
  top: .45rem; bottom: .45rem; min-width: 2px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .9rem; }
details summary { cursor: pointer; color: var(--soft); }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --tint: #f0f0f0;
  --mark: #2563a8; --range: #8fb7e0; --warn: #9a4b00; } body { max-width: none; font-size: 10pt; padding: 0; }
  .scroll { overflow: visible; } table { font-size: 7.5pt; } th, td { padding: .15rem .3rem; }
  figure, tr, h2 { break-inside: avoid; } h2 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """Return the page; `parts` are HTML, the title is text."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """Return a section; `parts` are HTML, the heading is text."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(parts) + "\n</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts, which scrolls on narrow screens."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody>\n</table></div>'


def bars(values: Sequence[tuple[str, float, float, float, str]]) -> str:
    """Return a bar for each (label, value, low, high, text), with the interval from low to high drawn on it."""
    most = max((high for _, _, _, high, _ in values), default=0.0) or 1.0
    parts = []
    for label, value, low, high, text in values:
        share, begin, end = (100 * part / most for part in (value, low, high))
        parts.append(
            f'<div>{escape(label)}<br><span class="soft">{escape(text)}</span></div><div class="bar">'
            f'<i style="width:{share:.1f}%"></i><b style="left:{begin:.1f}%;width:{end - begin:.1f}%"></b></div>'
        )
    return f'<div class="bars">{"".join(parts)}</div>'
