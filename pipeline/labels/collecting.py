"""Collecting: the label files that a path, a folder or a glob names, and all that they say."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.labels.events import Collection, Events
from pipeline.labels.formats.format import Choices, Format
from pipeline.labels.formats.registry import FORMATS, recognise
from pipeline.labels.labelling import Labelling
from pipeline.labels.text import Text
from pipeline.paths import AnyPath, RemotePath, as_path, is_remote, open_binary

# Endings of what may be a label file in a folder; all else there is passed over.
SUFFIXES = {
    *(".txt", ".csv", ".tsv", ".textgrid", ".eaf", ".rttm", ".uem", ".ctm", ".json", ".srt"),
    *(".vtt", ".selections"),
}
STORES = (".zarr", ".parts")  # which are not looked into


def label_files(labels: str) -> list[AnyPath]:
    """The files that a path, a folder or a glob names, in order of name; none if it is none."""
    path = as_path(labels)
    if isinstance(path, RemotePath):
        if not path.name or path.is_dir():
            return [path / name for name, _ in sorted(path.walk()) if _may_be_labels(name)]
        return [path]
    if path.is_dir():
        return [file for file in sorted(_below(path)) if _may_be_labels(file.name)]
    if path.exists():
        return [path]
    found = sorted(glob.glob(labels, recursive=True)) if glob.has_magic(labels) else []
    return [Path(name) for name in found if not os.path.isdir(name)]


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and not f.endswith(STORES)]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _may_be_labels(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def read_text(path: AnyPath) -> Text:
    """A label file as it is."""
    if isinstance(path, Path):
        return Text(str(path), path.read_bytes())
    with open_binary(path) as file:
        return Text(str(path), file.read())


def read_events(files: Iterable[AnyPath], labelling: Labelling) -> Events:
    """All that label files say; a ValueError names the file, and the line, that is none."""
    format, choices = _chosen(labelling.label_format), Choices(labelling.label_column)
    collection, empty, formats = Collection(), list[Text](), dict[str, Format]()
    for path in files:
        text = read_text(path)
        if not text.data.strip() and format is None:
            empty.append(text)
            continue
        own = format or recognise(text)
        if own is None:
            raise ValueError(
                f"{text.name}, line 1: it is in no format that is known; pass label_format "
                f"(--label-format), one of {', '.join(FORMATS)}, or a glob that leaves it out"
            )
        formats[own.name] = own
        collection.add(text.name, own.read(text, choices))
    _add_empty(collection, empty, formats)
    return collection.events()


def _add_empty(collection: Collection, empty: list[Text], formats: dict[str, Format]) -> None:
    """An empty file says that nothing is to be heard, if all others are in one format."""
    for text in empty:
        if len(formats) != 1:
            raise ValueError(
                f"{text.name}, line 1: it is empty, which tells no format; pass label_format "
                f"(--label-format), one of {', '.join(FORMATS)}, or a glob that leaves it out"
            )
        (format,) = formats.values()
        collection.add(text.name, format.read(text, Choices()))


def _chosen(name: str | None) -> Format | None:
    if name is None:
        return None
    if name not in FORMATS:
        raise ValueError(f"label_format is {name!r}; allowed are {', '.join(FORMATS)}")
    return FORMATS[name]


def holds_events(path: AnyPath) -> bool:
    """Whether a file is in one of the formats of events."""
    return recognise(read_text(path)) is not None


def is_single(labels: str) -> bool:
    """Whether a path is that of one file, and neither a folder nor a glob."""
    if is_remote(labels):
        path = as_path(labels)
        return not (isinstance(path, RemotePath) and path.is_dir())
    return os.path.isfile(labels) or not (os.path.isdir(labels) or glob.has_magic(labels))
