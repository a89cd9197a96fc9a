"""A format of label files: how it is recognised, and how it is read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.labels.events import Found
from pipeline.labels.text import Text


@dataclass(frozen=True)
class Choices:
    """What a user says of label files: which column, or tier, has the labels."""

    column: str | None = None


@dataclass(frozen=True)
class Format:
    """A format by its name on the command line.

    `recognised` looks at the first lines. `read` gives events, and spans that were annotated; a
    ValueError names the line that cannot be read.
    """

    name: str
    recognised: Callable[[Text], bool]
    read: Callable[[Text, Choices], Iterator[Found]]
