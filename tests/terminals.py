"""What commands show on a terminal."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen

__all__ = ["new_terminal", "on_a_terminal", "pieces"]


def new_terminal(width: int) -> tuple[int, int]:
    """A terminal of so many columns: its end to read from, and that of a command."""
    terminal, side = os.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    return terminal, side


def pieces(terminal: int) -> Iterator[bytes]:
    """What is shown on a terminal, until nobody has it any more."""
    with suppress(OSError):  # this is how a terminal ends
        while piece := os.read(terminal, 4096):
            yield piece
    os.close(terminal)


def on_a_terminal(command: list[str], width: int = 80, folder: Path | None = None) -> str:
    """What a command that ends well, and prints no results, shows on a terminal."""
    terminal, stderr = new_terminal(width)
    with Popen(command, cwd=folder, stdout=PIPE, stderr=stderr, text=True) as running:
        os.close(stderr)
        shown = b"".join(pieces(terminal))
        assert running.communicate()[0] == ""
    assert running.returncode == 0
    return shown.decode()
