"""Submissions: jobs that are handed to a batch system, and what it says when it takes none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from distributed.deploy.spec import ProcessInterface

PAUSES = (1.0, 2.0)  # seconds before another try: its controller may only be busy


class Submissions:
    """Follows the jobs of a cluster, and tells where one could not be submitted.

    Dask itself logs that, and goes on as if the job were in the queue.

    Parameters
    ----------
    notice : callable
        Called with a sentence for people, where other jobs have been submitted.
    none : callable
        Called with the reason where none is, and so no worker will come.
    """

    def __init__(self, notice: Callable[[str], None], none: Callable[[str], None]) -> None:
        self._notice, self._none = notice, none
        self._under_way = 0
        self._submitted: set[Any] = set()
        self._said: set[str] = set()

    def followed(self, job_class: Any) -> Any:
        """The class of a batch system's jobs, with all that it knows, but followed."""
        submissions = self

        class Job(job_class):  # type: ignore[misc]
            async def start(self) -> None:
                reason = await submissions._submit(super().start)
                if reason is None:
                    submissions._submitted.add(self)
                else:
                    await ProcessInterface.start(self)  # it is as if it were in the queue
                    submissions._tell(reason)

            async def close(self) -> None:
                submissions._submitted.discard(self)
                await super().close()

        Job.__name__ = job_class.__name__
        return Job

    async def _submit(self, start: Callable[[], Awaitable[None]]) -> str | None:
        """Why it could not be done, if so."""
        self._under_way += 1
        try:
            for pause in (*PAUSES, None):
                try:
                    await start()
                    return None
                except (OSError, RuntimeError, ValueError) as error:
                    reason, passing = _reason(error), not isinstance(error, FileNotFoundError)
                if pause is None or not passing:
                    break
                await asyncio.sleep(pause)
            return reason
        finally:
            self._under_way -= 1

    def _tell(self, reason: str) -> None:
        if not self._submitted and not self._under_way:
            self._none(reason)
        elif reason not in self._said:
            self._said.add(reason)
            self._notice(f"not all jobs could be submitted: {reason}")


def _reason(error: Exception) -> str:
    """What a batch system says, in one line."""
    found = re.search(
        r"Exit code: (.*?)\nCommand:\n(.*?)\nstdout:\n(.*?)\nstderr:\n(.*)", str(error), re.DOTALL
    )
    if isinstance(error, FileNotFoundError):
        return f"there is no command {error.filename} here"
    if found is None:
        return " ".join(str(error).split())
    code, command, out, err = (" ".join(text.split()) for text in found.groups())
    return f"'{command}' ended with exit code {code}" + (f" ({err or out})" if err or out else "")
