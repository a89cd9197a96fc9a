"""Summary: what a notebook shows of a plan."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from pipeline.amounts import duration, size
from pipeline.html import LISTED, Section, Table
from pipeline.text import counted, value_text

# What is not shown as it is, by a line for each.
TOLD = {
    *("out", "recordings", "unreadable", "passed_over", "seconds", "samplerate", "window", "hop"),
    *("windows", "regions", "shape", "dtype", "compression", "bytes", "files", "memory_bytes"),
    *("threads", "labelled", "classes", "datetime", "feature", "share", "unplaced"),
}


def line_of(values: Mapping[str, Any]) -> str:
    """A plan in one line."""
    return (
        f"{values['out']}, {counted(values['windows'], 'window')} of "
        f"{counted(values['recordings'], 'recording')}, {size(values['bytes'])} in "
        f"{counted(values['files'], 'file')}"
    )


def sections_of(values: Mapping[str, Any]) -> Iterator[Section]:
    """What `describe_plan` says, for people."""
    length, rate = duration(values["seconds"]), values["samplerate"]
    shape = " x ".join(f"{n:,}" for n in values["shape"])
    before = "" if values["compression"] == "none" else f", before {values['compression']}"
    yield {
        "recordings": f"{values['recordings']:,}, {length} at {rate:,} Hz",
        "not read": counted(len(values["unreadable"]), "file") if values["unreadable"] else None,
        "passed over": value_text("", values["passed_over"]) if values["passed_over"] else None,
        "begin": _span(values["datetime"]),
        "windows": f"{values['windows']:,} of {values['window']:g} s, one every "
        f"{values['hop']:g} s, in {counted(values['regions'], 'region')}",
        "features": f"{shape}, {values['dtype']}",
        "store": f"{size(values['bytes'])}{before}, in {counted(values['files'], 'file')}",
        "memory": f"{size(values['memory_bytes'])} at most, for "
        f"{counted(values['threads'], 'thread')}",
        "labels": None if values["labelled"] else "none",
        **{name: value_text(name, item) for name, item in values.items() if name not in TOLD},
    }
    feature = dict(values["feature"])
    named = {"name": feature.pop("name"), **feature.pop("parameters"), **feature}
    rows = [(name, value_text(name, item)) for name, item in named.items()]
    yield Table("Feature", ("parameter", "value"), rows)
    if values.get("classes"):
        yield _classes(values["classes"])
    if values.get("unplaced"):
        n, rows = len(values["unplaced"]), values["unplaced"][:LISTED]
        yield Table("Without a place", ("event",), [(value_text("", row),) for row in rows], n)
    if values["unreadable"]:
        n, rows = len(values["unreadable"]), [*islice(values["unreadable"].items(), LISTED)]
        yield Table("Not read", ("path", "why"), rows, n, unfolded=True)


def _classes(classes: Any) -> Table:
    """The classes, with the windows that have each where these are counted."""
    if not isinstance(classes, Mapping):
        return Table("Classes", ("name",), [(name,) for name in classes])
    states = "present", "absent", "unknown"
    rows = [(name, *(counts[state] for state in states)) for name, counts in classes.items()]
    return Table("Classes", ("name", *states), rows)


def _span(times: Mapping[str, Any] | None) -> str | None:
    """From when to when recordings are, and in how many places they are not one after another."""
    if times is None:
        return None
    found = [f"{times['first']} to {times['last']}"] if times["first"] else []
    for noun in ("gap", "overlap"):
        places = times[f"{noun}s"]
        if n := places["recordings"]:
            found.append(f"{counted(n, noun)} ({duration(places['seconds'])})")
    if n := times["missing"]["recordings"]:
        found.append(f"not known of {n:,}")
    return "; ".join(found)
