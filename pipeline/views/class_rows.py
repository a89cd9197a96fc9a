"""Labels of several classes around a window: a row for each class that is shown, by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.text import shortened

Array = npt.NDArray[Any]
SHOWN = 24  # classes, at most, that have a row of their own
# Those of Okabe and Ito without yellow and black, which are lost on white and on dark features.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LIGHT = COLOURS[3:]  # upon which black is read better than white
GREY = "#767676"  # of classes without a row of their own
LONGEST = 32  # letters of a name
HATCHED = {"facecolor": "0.93", "edgecolor": "0.65", "hatch": "/////", "linewidth": 0}


@dataclass(frozen=True, eq=False)
class ClassRows:
    """Labels of a few windows, in rows: one a class, and one for all others together."""

    names: list[str]
    values: Array  # (row, window) or (row, window, frame)
    unknown: Array  # (row, window): whether it is not annotated
    row: Array  # of each class
    n_shown: int  # classes with a row of their own

    @classmethod
    def of(
        cls, labels: Array, annotated: Array | None, names: Sequence[str] | None, marked: Array
    ) -> ClassRows:
        """Rows of labels (window, class) or (window, class, frame).

        Of more classes than there is room for, those have rows that are there, or are `marked`.
        """
        y, n = np.moveaxis(labels, 0, 1), labels.shape[1]
        unknown = np.zeros((n, len(labels)), np.bool_) if annotated is None else ~annotated.T
        shown = np.arange(n)
        if n > SHOWN:
            near = (y != 0).reshape(n, -1).any(axis=1)
            near[marked] = True
            shown = np.flatnonzero(near)[:SHOWN]
        row = np.full(n, len(shown))
        row[shown] = np.arange(len(shown))
        texts = [clipped(str(i if names is None else names[i])) for i in shown.tolist()]
        values, hatched = y[shown], unknown[shown]
        if len(shown) < n:
            others = row == len(shown)
            texts.append(f"{others.sum()} more" if len(shown) else f"{n} classes")
            values = np.concatenate([values, y[others].max(axis=0, keepdims=True)])
            hatched = np.concatenate([hatched, unknown[others].any(axis=0, keepdims=True)])
        return cls(texts, values, hatched, row, len(shown))

    @property
    def height(self) -> float:
        """Inches that the rows take."""
        return max(0.7, 0.17 * len(self.names))

    def colour(self, number: int) -> str:
        """The colour of a class."""
        row = int(self.row[number])
        return COLOURS[row % len(COLOURS)] if row < self.n_shown else GREY

    def draw(self, panel: Any, edges: list[float], across: Array) -> None:
        """Draw the cells; `across` are the edges of frames, from the start of their window."""
        rows = np.arange(len(self.names) + 1)
        # Not quite black, so that what is drawn upon it can be seen.
        top = 1.25 * max(1.0, float(self.values.max(initial=0)))
        style = {"vmin": 0, "vmax": top, "cmap": "Greys", "rasterized": True}
        if self.values.ndim == 2:
            panel.pcolormesh(edges, rows, self.values.astype(float), **style)
        else:
            for t, start in enumerate(edges[:-1]):
                values = self.values[:, t].astype(float)
                panel.pcolormesh(start + across, rows, values, **style)
        heard = self.values.reshape(*self.values.shape[:2], -1).any(axis=2)
        for row, unknown in enumerate(self.unknown & ~heard):
            spans = [(edges[a], edges[b] - edges[a]) for a, b in runs(unknown)]
            if spans:
                panel.broken_barh(spans, (row, 1), **HATCHED)
        for row in rows[1:-1]:
            panel.axhline(row, color="0.8", linewidth=0.4)
        panel.set_yticks(rows[:-1] + 0.5, self.names, fontsize=7, parse_math=False)
        panel.set_ylim(rows[-1], 0)

    def draw_colours(self, panel: Any) -> None:
        """Draw the colour of each class beside its name."""
        across = panel.get_yaxis_transform()
        for number in np.flatnonzero(self.row < self.n_shown).tolist():
            row, colour = int(self.row[number]), self.colour(number)
            panel.plot(
                [-0.004] * 2, [row + 0.1, row + 0.9], color=colour, linewidth=4,
                transform=across, clip_on=False, solid_capstyle="butt",
            )  # fmt: skip


def clipped(name: str, most: int = LONGEST) -> str:
    """A name of so many letters at most: its beginning and its end, as names may begin alike."""
    return shortened(name, most, most // 3)


def runs(mask: Array) -> list[tuple[int, int]]:
    """The first of each run of true values, and the one after its last."""
    steps = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return [(int(a), int(b)) for a, b in steps.reshape(-1, 2)]
