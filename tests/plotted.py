"""What is drawn of events, read from the panels of a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle


def boxes(panel: Axes) -> list[tuple[list[float], str, Any]]:
    """Left, right, bottom and top of each box, its style and its colour."""
    found = (patch for patch in panel.patches if isinstance(patch, Rectangle) and not patch.fill)
    return [
        ([box.get_x(), box.get_x() + box.get_width(), box.get_y(), box.get_y() + box.get_height()],
         str(box.get_linestyle()), box.get_edgecolor())
        for box in found
    ]  # fmt: skip


def marks(panel: Axes) -> list[tuple[list[float], list[float], Any]]:
    """Where events are drawn as lines or points, and their colours."""
    lines = (line for line in panel.lines if line.get_transform() == panel.transData)
    return [
        ([*map(float, np.asarray(line.get_xdata()))], [*map(float, np.asarray(line.get_ydata()))],
         to_rgba(line.get_color()))
        for line in lines
    ]  # fmt: skip


def swatches(panel: Axes) -> dict[str, Any]:
    """The colour beside the name of each row."""
    names = [text.get_text() for text in panel.get_yticklabels()]
    lines = (line for line in panel.lines if np.allclose(line.get_xdata(), -0.004))
    return {
        names[int(np.mean(np.asarray(line.get_ydata())))]: to_rgba(line.get_color())
        for line in lines
    }
