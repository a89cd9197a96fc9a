"""Forks: libraries with threads of their own do not survive a fork of the process."""

from __future__ import annotations

import os

__all__ = ["NoFork"]


class NoFork:
    """Refuses to go on, in place of hanging, in a process that was forked too late.

    Parameters
    ----------
    what : str
        What was used before, for people.
    """

    def __init__(self, what: str) -> None:
        self._what, self._used, self._forked = what, False, False
        os.register_at_fork(after_in_child=self._after)

    def _after(self) -> None:
        self._forked = self._used

    def check(self) -> None:
        """Note that it is used now.

        Raises
        ------
        RuntimeError
            If it was used before this process was forked.
        """
        if self._forked:
            raise RuntimeError(
                f"{self._what} was read or written before this process was forked, which its "
                f"library does not survive; start processes by 'spawn' (torch: "
                f"multiprocessing_context)"
            )
        self._used = True
