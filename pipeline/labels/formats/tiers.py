"""Several sets of labels in one file: tiers, or keys of tags; one of them is read."""

from collections.abc import Collection, Iterable

from pipeline.labels.formats.format import Choices
from pipeline.labels.text import Text

SHOWN = 20


def chosen_set(
    text: Text, what: str, there: Collection[str], used: Iterable[str], choices: Choices
) -> str | None:
    """The set that is chosen, or else the only one that is used; None if none is.

    `what` they are called; `there` are all of them.
    """
    if choices.column is not None:
        if choices.column not in there:
            raise ValueError(
                f"{text.name} has no {what} {choices.column!r}; pass as label_column "
                f"(--label-column) one that it has: {_listed(there)}"
            )
        return choices.column
    found = list(dict.fromkeys(used))
    if len(found) > 1:
        raise ValueError(
            f"{text.name} has labels in several {what}s; pass as label_column (--label-column) "
            f"one of {_listed(found)}"
        )
    return found[0] if found else None


def _listed(names: Collection[str]) -> str:
    some = [repr(name[:80]) for name in dict.fromkeys(names)]
    more = f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
    return ", ".join(some[:SHOWN]) + more if some else "none"
