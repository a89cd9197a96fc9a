"""HTML: what notebooks show of a value: a line, facts, and tables to unfold.

It has no script. It takes its colours from the page that it is in, light or dark, and its rules
of style are of its own class only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from pipeline.text import printable, shortened

LISTED = 10  # rows of a table
LONGEST = 240  # letters of a cell
MADE_OF = "audio-pipeline"  # the class
FRAME = "rgba(128,128,128,.35)"
STYLE = f"""\
.A{{max-width:62em;line-height:1.4;overflow-x:auto}}
.A p{{margin:0 0 .4em;padding:0 0 .3em;border-bottom:1px solid {FRAME};overflow-wrap:anywhere}}
.A table{{border-collapse:collapse;margin:0 0 .3em;color:inherit;font-size:inherit;border:0}}
.A tr,.A tbody tr:nth-child(n){{background:none;border:0}}
.A th,.A td{{padding:.1em .7em .1em 0;text-align:left;vertical-align:top;border:0;\
overflow-wrap:anywhere;white-space:normal;max-width:44em}}
.A th{{font-weight:normal;opacity:.7;white-space:nowrap}}
.A thead th{{border-bottom:1px solid {FRAME}}}
.A .number{{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}}
.A summary{{cursor:pointer}}
.A details>table{{margin-left:1.1em}}
""".replace(".A", f".{MADE_OF}")
Cell = str | int | None


@dataclass(frozen=True)
class Table:
    """Rows that are unfolded by a click: the first few, of so many."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    n: int | None = None  # as many as are given, if None
    unfolded: bool = False

    def __str__(self) -> str:
        n = len(self.rows) if self.n is None else self.n
        shown = self.rows[:LISTED]
        head = "".join(f"<th>{text_of(name)}</th>" for name in self.head)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in shown)
        rest = f"; the first {len(shown)}" if n > len(shown) else ""
        return (
            f"<details{' open' * self.unfolded}><summary>{text_of(self.title)} ({n:,}{rest})"
            f"</summary><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></details>"
        )


Section = Mapping[str, Cell] | Table


class Shown:
    """What says in one line what it is, and more in a notebook.

    Neither reads features or audio, or ends in an error: what cannot be shown says why.
    """

    def _line(self) -> str:
        """What it is, but for the name of its class."""
        raise NotImplementedError

    def _sections(self) -> Iterator[Section]:
        """What a notebook shows below: facts, of which those that are None are left out; tables."""
        raise NotImplementedError

    def __repr__(self) -> str:
        line = shortened(printable(_or_why_not(self._line)), LONGEST)
        return f"<{type(self).__name__}: {line}>"

    def _repr_html_(self) -> str:
        line = text_of(_or_why_not(self._line))
        below = _or_why_not(lambda: "".join(map(_html, self._sections())), text_of)
        return (
            f'<div class="{MADE_OF}"><style>{STYLE}</style>'
            f"<p><b>{text_of(type(self).__name__)}</b> {line}</p>{below}</div>"
        )


def text_of(value: object) -> str:
    """Text that others wrote, as HTML shows it."""
    return escape(shortened(printable(str(value)), LONGEST))


def _or_why_not(make: Callable[[], str], written: Callable[[str], str] = str) -> str:
    try:
        return make()
    except Exception as error:  # a notebook shows a value whatever has become of its files
        return written(f"cannot be shown: {error or type(error).__name__}")


def _html(section: Section) -> str:
    if isinstance(section, Table):
        return str(section)
    facts = {name: value for name, value in section.items() if value is not None}
    rows = (f"<tr><th>{text_of(name)}</th>{_cell(facts[name], False)}</tr>" for name in facts)
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _cell(value: Cell, aligned: bool = True) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>' if aligned else f"<td>{value:,}</td>"
    return f"<td>{'' if value is None else text_of(value)}</td>"
