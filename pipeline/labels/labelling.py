"""Labelling: how label files are read, and what of their events becomes y."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.checks import number, one_of
from pipeline.labels.windows import Kind, Rule
from pipeline.paths import read_rows
from pipeline.yaml_files import load_yaml

LEAST = 1e-9
Unlabelled = Literal["unknown", "negative"]


@dataclass(frozen=True)
class Labelling:
    """How label files are read, and what of their events becomes y.

    Parameters
    ----------
    label_format : str, optional
        Format of the label files, or "windows" for one label a window; recognised from what they
        hold if not given.
    label_column : str, optional
        Column of a table, tier of a TextGrid or ELAN file, or key of a tag, that has the labels.
    classes : sequence of str, optional
        The classes, in this order; all that there are, sorted, if not given. Others are left out.
    label_map : mapping or path, optional
        Names in place of labels, or None for those to leave out; a YAML file of the form
        ``label: name``, or CSV with the columns ``label`` and ``name``.
    label_kind : {"window", "fraction", "frame"}
        Whether y is 1 where a class is heard in a window (window, class), how much of the window
        it takes (window, class), or where it is heard in each frame of the feature (window,
        class, time).
    min_overlap : float, optional
        An event counts in a window that has so many seconds of it.
    min_fraction_of_event : float, optional
        An event counts in a window that has such a part of it.
    min_fraction_of_window : float, optional
        An event counts in a window of which it takes such a part. Of the three, one is enough;
        without them, any overlap. A point event counts in the window that contains it.
    unlabelled : {"unknown", "negative"}
        Whether nobody looked at a recording that no label file speaks of, or nothing is in it.

    Raises
    ------
    ValueError
        If a value is not allowed.
    """

    label_format: str | None = None
    label_column: str | None = None
    classes: tuple[str, ...] | None = None
    label_map: Mapping[str, str | None] | str | os.PathLike[str] | None = None
    label_kind: Kind = "window"
    min_overlap: float | None = None
    min_fraction_of_event: float | None = None
    min_fraction_of_window: float | None = None
    unlabelled: Unlabelled = "unknown"

    def __post_init__(self) -> None:
        one_of("label_kind", self.label_kind, get_args(Kind))
        one_of("unlabelled", self.unlabelled, get_args(Unlabelled))
        for name in ("label_format", "label_column"):
            value = getattr(self, name)
            if not isinstance(value, str | None):
                raise ValueError(f"{name} is {value!r}; it must be a name")
        object.__setattr__(self, "classes", _classes(self.classes))
        for name, allowed, most in (
            ("min_overlap", "of seconds above 0", LEAST**-1),
            ("min_fraction_of_event", "above 0, of at most 1", 1.0),
            ("min_fraction_of_window", "above 0, of at most 1", 1.0),
        ):
            if (value := getattr(self, name)) is None:
                continue
            object.__setattr__(self, name, number(name, value, LEAST, allowed, most))
            if self.label_kind != "window":
                raise ValueError(
                    f"{name} is {value!r}, but label_kind is {self.label_kind!r}; leave it out, or "
                    f"pass label_kind 'window'"
                )

    @property
    def rule(self) -> Rule:
        """When an event counts in a window."""
        return Rule(self.min_overlap, self.min_fraction_of_event, self.min_fraction_of_window)

    @property
    def passed(self) -> dict[str, Any]:
        """What is not at its default, as plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.label_map is not None:
            values["label_map"] = self.names()
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in values.items() if value != defaults[name]}

    def names(self) -> dict[str, str | None]:
        """The map of labels, read where it is a file."""
        if self.label_map is None:
            return {}
        if not isinstance(self.label_map, Mapping):
            path = Path(self.label_map)
            is_table = path.suffix.lower() in (".csv", ".tsv", ".txt")
            found = _map_of_table(path) if is_table else load_yaml(path)
            return _checked_map(found, f"label_map {path}")
        return _checked_map(self.label_map, "label_map")


def _classes(classes: Any) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, str):
        classes = [name.strip() for name in classes.split(",")]
    names = tuple(str(name) if isinstance(name, int) else name for name in classes)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"classes is {classes!r}; it must be names with commas between them")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"classes has {twice!r} twice; name each class once")
    return names


def _checked_map(found: Mapping[Any, Any], what: str) -> dict[str, str | None]:
    for label, name in found.items():
        if isinstance(label, bool) or not isinstance(label, str | int | float):
            raise ValueError(f"{what} has {label!r}, which is no text; put it between quotes")
        if isinstance(name, bool) or not isinstance(name, str | int | float | None):
            raise ValueError(
                f"{what} has {name!r} for {label!r}; it must be a name, or null to leave the "
                f"label out"
            )
    return {str(label): None if name is None else str(name) for label, name in found.items()}


def _map_of_table(path: Path) -> dict[str, str | None]:
    try:
        header, *rows = [row for row in read_rows(path) if any(row)] or [[]]
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; pass the path of a file") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file ({error}); correct it") from error
    names = [name.lower() for name in header]
    if not {"label", "name"} <= {*names}:
        raise ValueError(f"{path} lacks a column 'label' or 'name'; a map of labels has both")
    label, name = names.index("label"), names.index("name")
    cells = [row + [""] * len(names) for row in rows]
    return {row[label]: row[name] or None for row in cells}
