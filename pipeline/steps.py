"""Steps: what may take long tells how far it is, to whoever wants to show that."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Step(Protocol):
    """Is told how much of a step is done, and of how much; 0 where that is not known."""

    def __call__(self, done: int, total: int = 0, /) -> None: ...


Steps = Callable[[str], Step]  # by what is counted, such as "files looked at"


def unseen(done: int, total: int = 0, /) -> None:
    """Of a step that nobody looks at."""


def all_unseen(counted: str) -> Step:
    """Of steps that nobody looks at."""
    return unseen


def told(items: Iterable[T], step: Step, total: int = 0) -> Iterator[T]:
    """The items, each counted once the next is asked for."""
    for number, item in enumerate(items, 1):
        yield item
        step(number, total)
