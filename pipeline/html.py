"""HTML: what notebooks show of a value: a line, facts, and tables to unfold.

It has no script. It takes its colours from the page that it is in, light or dark, and its rules
of style are of its own class only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from pipeline.text import printable, shortened

LISTED = 10  # rows of a table
SHORT, LONGEST = 48, 240  # letters of a cell: what stays in one line, and the most
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
.A .short{{white-space:nowrap}}
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
        numbers = [isinstance(cell, int) for cell in (shown[0] if shown else self.head)]
        head = "".join(map(_head, self.head, numbers))
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
        try:
            line = self._line()
        except Exception as error:
            line = _why_not(error)
        return f"<{type(self).__name__}: {shortened(printable(line), LONGEST)}>"

    def _repr_html_(self) -> str:
        try:
            line, sections = text_of(self._line()), "".join(map(_html, self._sections()))
        except Exception as error:
            line, sections = text_of(_why_not(error)), ""
        name = text_of(type(self).__name__)
        return (
            f'<div class="{MADE_OF}"><style>{STYLE}</style><p><b>{name}</b> {line}</p>'
            f"{sections}</div>"
        )


def text_of(value: object) -> str:
    """Text that others wrote, as HTML shows it."""
    return escape(shortened(printable(str(value)), LONGEST))


def _why_not(error: Exception) -> str:
    """Why a value is not shown, whose files may be gone: a notebook goes on."""
    return f"cannot be shown: {error or type(error).__name__}"


def _html(section: Section) -> str:
    if isinstance(section, Table):
        return str(section)
    facts = {name: value for name, value in section.items() if value is not None}
    rows = (f"<tr><th>{text_of(name)}</th>{_cell(facts[name], False)}</tr>" for name in facts)
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _head(name: str, of_numbers: bool) -> str:
    return f'<th class="number">{text_of(name)}</th>' if of_numbers else f"<th>{text_of(name)}</th>"


def _cell(value: Cell, aligned: bool = True) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>' if aligned else f"<td>{value:,}</td>"
    text = "" if value is None else value
    start = '<td class="short">' if len(text) <= SHORT else "<td>"
    return f"{start}{text_of(text)}</td>"
