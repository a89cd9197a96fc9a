"""Interrupts: what Ctrl-C and SIGTERM do to a command."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from time import monotonic
from types import FrameType

INTERRUPTED = 130
PATIENCE = 1.0  # seconds until it is said that something is being finished
UNDER_WAY = "interrupted: what is under way is brought to an end first; Ctrl-C again ends at once"
ONCE = 0.5  # seconds in which one Ctrl-C may arrive twice, from a terminal and a program between
PROGRAM = "audio-pipeline"


def await_command() -> None:
    """Let Ctrl-C end a command without a traceback while it still imports what it needs."""
    own = sys.argv[:1] == ["-m"] or PROGRAM in map(os.path.basename, sys.orig_argv[1:2])
    if own and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


@contextmanager
def interruptible() -> Iterator[None]:
    """In the block, the first signal raises `KeyboardInterrupt`; a later one ends the process."""
    first: list[float] = []
    timer = Timer(PATIENCE, print, [UNDER_WAY], {"file": sys.stderr})
    timer.daemon = True

    def handle(number: int, frame: FrameType | None) -> None:
        if not first:
            first.append(monotonic())
            with suppress(RuntimeError):  # there may be no thread left
                timer.start()
            raise KeyboardInterrupt
        if monotonic() - first[0] > ONCE:
            os._exit(INTERRUPTED)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        # A shell lets what it starts in the background ignore Ctrl-C.
        if number == signal.SIGTERM or handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
