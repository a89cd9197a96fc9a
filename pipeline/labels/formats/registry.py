"""All formats of label files, in the order in which they are looked for."""

from pipeline.labels.formats.format import Format
from pipeline.labels.formats.plain import CSV, SAMPLES
from pipeline.labels.text import Text

# What is more particular comes first.
FORMATS = {format.name: format for format in (CSV, SAMPLES)}


def recognise(text: Text) -> Format | None:
    """The format of a label file, by what it begins with."""
    return next((format for format in FORMATS.values() if format.recognised(text)), None)
