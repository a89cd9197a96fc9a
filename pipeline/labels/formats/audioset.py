"""AudioSet's strong labels: segment_id, start_time_seconds, end_time_seconds, label.

A segment is named by the video and where it begins in it, in milliseconds; times count from the
segment's start. The framed file has a column more, ``present``: PRESENT or NOT_PRESENT. It says
what was looked for, so that all else is unknown, not absent.
"""

from pipeline.labels.formats.tables import Table, table_format

COLUMNS = {
    "file": ("segment_id",),
    "start": ("start_time_seconds",),
    "end": ("end_time_seconds",),
    "label": ("label",),
    "state": ("present",),
}

AUDIOSET = table_format("audioset", Table(COLUMNS, ("file", "start", "end", "label")))
