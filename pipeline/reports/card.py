"""The card: a report as the README of a data set on the Hugging Face Hub.

What the store knows is written; what only people know has a heading, and a blank to fill in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.amounts import count, duration, moment, share
from pipeline.reports.front_matter import front_matter, name_of
from pipeline.text import printable, shortened, value_text
from pipeline.yaml_files import dump_yaml

BLANK = "[More Information Needed]"
LISTED = 50  # classes
LONGEST = 200  # letters of a name
MARKS = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")
Report = Mapping[str, Any]


def card_of(report: Report) -> str:
    """The card of the values that a report has."""
    parts = (
        *(_about(report), _uses(report), _structure(report), _creation(report)),
        *(_annotations(report), _limits(report), _more()),
    )
    body = "\n".join(line for part in parts for line in part)
    return f"---\n{dump_yaml(front_matter(report))}---\n\n{body}"


def _about(report: Report) -> Iterator[str]:
    yield f"# Dataset Card for {_marked(name_of(report))}\n"
    yield f"{_marked(report['summary'])}.\n"
    yield "## Dataset Details\n\n### Dataset Description\n"
    yield f"{BLANK}\n"
    blanks = "Curated by", "Funded by", "Shared by", "License"
    yield from (f"- **{name}:** {BLANK}" for name in blanks)
    yield "\n### Dataset Sources\n"
    yield from (f"- **{name}:** {BLANK}" for name in ("Repository", "Paper"))


def _uses(report: Report) -> Iterator[str]:
    yield "\n## Uses\n\n### Direct Use\n"
    yield _code(report["open"])
    yield f"{BLANK}\n\n### Out-of-Scope Use\n\n{BLANK}\n"


def _structure(report: Report) -> Iterator[str]:
    labels = report["labels"]
    yield "## Dataset Structure\n"
    yield "Each window has these variables; `features` is X, and `label` is y.\n"
    yield _table(
        ("variable", "dimensions", "shape", "dtype"),
        (
            (item["name"], ", ".join(item["dimensions"]), " x ".join(map(str, item["shape"])),
             item["dtype"])
            for item in report["variables"]
        ),
    )  # fmt: skip
    yield f"Features are {_marked(report['title'])}, in units of {_marked(report['units'])}."
    if any(item["name"] == "label" and len(item["shape"]) for item in report["variables"]):
        yield "Labels are stored as a number for each class, not as a list of those that are there."
    yield "\n### Splits\n"
    if report["splits"] is None:
        yield "There is no split; the metadata call all of it `train`.\n"
    else:
        yield _table(("part", "windows"), report["splits"].items())
    if labels is not None:
        yield from _classes(labels)


def _classes(labels: Mapping[str, Any]) -> Iterator[str]:
    yield "### Classes\n"
    parts = [*(labels["splits"] or ())]
    states = "present", "absent", "unknown"
    yield _table(
        ("class", *states, *(f"in {part}" for part in parts)),
        (
            (row["name"], *(row[state] for state in states), *(row["splits"][p] for p in parts))
            for row in labels["rows"][:LISTED]
        ),
    )
    if labels["n_classes"] > LISTED:
        yield f"These are {LISTED} of {count(labels['n_classes'])} classes.\n"


def _creation(report: Report) -> Iterator[str]:
    yield f"## Dataset Creation\n\n### Curation Rationale\n\n{BLANK}\n\n### Source Data\n"
    yield _list(
        {
            "Recordings": count(report["recordings"]["total"]),
            "Recorded": None if report["coverage"] is None else _span(report["coverage"]),
            "Sample rate": f"{count(report['samplerate'])} Hz",
            "Windows": f"of {report['window']:g} s, one every {report['hop']:g} s",
        }
    )
    yield "#### Data Collection and Processing\n"
    yield f"{BLANK}\n"
    yield f"The features were made by audio-pipeline on {moment(report['created'])}.\n"
    feature = dict(report["feature"])
    values = {"feature": feature.pop("name"), **feature.pop("parameters", {}), **feature}
    for title, found in (
        ("parameter", values),
        ("setting", report["settings"]),
        ("version of", report["versions"]),
    ):
        yield _table((title, "value"), ((name, value_text("", found[name])) for name in found))
    yield _list({"Fingerprint": report["fingerprint"]})
    yield f"#### Who are the source data producers?\n\n{BLANK}\n"


def _span(coverage: Mapping[str, Any]) -> str:
    recorded = duration(coverage["seconds"])
    return f"{recorded}, {moment(coverage['first'])} to {moment(coverage['last'])}"


def _annotations(report: Report) -> Iterator[str]:
    labels = report["labels"]
    yield "### Annotations\n\n#### Annotation process\n"
    if labels is None:
        yield "There are no labels.\n"
    else:
        if labels["events"]:
            yield f"Labels were made of events. {_marked(value_text('', labels['events']))}.\n"
        yield f"{BLANK}\n"
    yield f"#### Who are the annotators?\n\n{BLANK}\n"
    yield f"#### Personal and Sensitive Information\n\n{BLANK}\n"


def _limits(report: Report) -> Iterator[str]:
    yield "## Bias, Risks, and Limitations\n"
    found = [*_lacking(report), *_uneven(report)]
    if found:
        yield "\n".join(f"- {line}" for line in found) + "\n"
    yield f"{BLANK}\n\n### Recommendations\n\n{BLANK}\n"


def _lacking(report: Report) -> Iterator[str]:
    """What there is not, or not yet."""
    windows, failures = report["windows"], report["failures"]
    for state, why in (
        ("masked", "could not be read, and hold the floor value; `valid` is false there"),
        ("failed", "could not be computed"),
        ("pending", "are not computed yet"),
        ("partial", "are cut short by the end of their recording; `n_samples` says where"),
    ):
        if windows[state]:
            yield f"{count(windows[state])} of {count(windows['total'])} windows {why}."
    if failures["n_unreadable"]:
        yield f"{count(failures['n_unreadable'])} files could not be read, and have no windows."
    if values := report["values"]:
        for what, part in (("at the floor", values["floor"]), ("clipped", values["clipped"])):
            if part:
                yield f"{share(part)} of the values are {what}."


def _uneven(report: Report) -> Iterator[str]:
    """Of what there is more than of other things."""
    labels, coverage = report["labels"], report["coverage"]
    if labels is not None and len(labels["rows"]) == labels["n_classes"] > 1:
        most, least = labels["rows"][0], labels["rows"][-1]
        yield (
            f"Classes are not alike: {_marked(most['name'])} is present in "
            f"{count(most['present'])} windows, {_marked(least['name'])} in "
            f"{count(least['present'])}."
        )
    if labels is not None and (unknown := max((r["unknown"] for r in labels["rows"]), default=0)):
        yield f"In up to {count(unknown)} windows it is not known whether a class is present."
    if coverage is not None and coverage["rows"]:
        empty = sum(not row["seconds"] for row in coverage["rows"])
        if empty:
            yield (
                f"{count(empty)} of {count(len(coverage['rows']))} {coverage['unit']}s between the "
                f"first and the last have no recording."
            )
        hours = [sum(row["hours"][hour] for row in coverage["rows"]) for hour in range(24)]
        if not all(hours):
            yield f"{count(hours.count(0))} of the 24 hours of the day have next to no recording."


def _more() -> Iterator[str]:
    yield f"## Licensing Information\n\n{BLANK}\n"
    yield f"## Citation\n\n**BibTeX:**\n\n{BLANK}\n"
    yield f"## Dataset Card Contact\n\n{BLANK}\n"


def _marked(text: object) -> str:
    """Text that others wrote, as Markdown shows it, in one line."""
    return MARKS.sub(r"\\\1", shortened(printable(str(text)), LONGEST))


def _code(text: str) -> str:
    """A program, in a fence of more backticks than are in it."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    lines = "\n".join(map(printable, text.rstrip().splitlines()))
    return f"{fence}python\n{lines}\n{fence}\n"


def _list(facts: Mapping[str, str | None]) -> str:
    lines = (f"- **{name}:** {_marked(fact)}\n" for name, fact in facts.items() if fact is not None)
    return "".join(lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |\n" for row in cells]
    return "".join(lines)


def _cell(value: Any) -> str:
    return count(value) if isinstance(value, int) else _marked(value)
