"""Interrupts: what Ctrl-C and SIGTERM do to a command."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread, current_thread, main_thread
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


# A signal may come when this thread has just taken a lock of the standard library. So a handler
# takes no lock; and while other threads are at work it raises nothing: the lock would stay taken,
# and a thread that wants it, and who waits for that thread, would wait forever.


@contextmanager
def interruptible() -> Iterator[None]:
    """In the block, the first signal raises `KeyboardInterrupt`; a later one ends the process."""
    first: list[float] = []
    events = SimpleQueue[None]()  # the first signal, and the end of the block

    def handle(number: int, frame: FrameType | None) -> None:
        if not first:
            first.append(monotonic())
            events.put(None)
            raise KeyboardInterrupt
        if monotonic() - first[0] > ONCE:
            os._exit(INTERRUPTED)

    def say() -> None:
        events.get()
        try:
            events.get(timeout=PATIENCE)
        except Empty:
            print(UNDER_WAY, file=sys.stderr)

    with suppress(RuntimeError):  # there may be no thread left
        Thread(target=say, daemon=True).start()
    try:
        with _handling(dict.fromkeys((signal.SIGINT, signal.SIGTERM), handle)):
            yield
    finally:
        events.put(None)
        events.put(None)


@contextmanager
def interrupts_noted(note: Callable[[], None]) -> Iterator[None]:
    """In the block, a signal that would raise `KeyboardInterrupt` calls `note` instead."""

    def handle(before: Callable[..., None], number: int, frame: FrameType | None) -> None:
        try:
            before(number, frame)
        except KeyboardInterrupt:
            note()

    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = current_thread() is main_thread()  # the only one that signals are handled in
    with _handling({n: partial(handle, h) for n, h in found.items() if ours and callable(h)}):
        yield


@contextmanager
def _handling(handlers: dict[signal.Signals, Callable[..., None]]) -> Iterator[None]:
    """Handle signals in the block, but for a Ctrl-C that a shell lets a command ignore."""
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        if number == signal.SIGTERM or before[number] is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
