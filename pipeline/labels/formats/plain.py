"""Plain CSV, as people write it: a file, a start, an end or a duration, and a label.

"offset" is an end in DCASE, but a start elsewhere: it is the end of "onset", and nothing alone.
Times are seconds, hours:minutes:seconds or, in columns that say so, samples; where both are there,
seconds. An event without end and duration is a point. Without a column of files, the table is of
one recording, which its own name says. A row that names a file, and no more, says that nothing is
to be heard in it. With a column of states, only what it names was annotated.
"""

from dataclasses import replace

from pipeline.labels.events import Unit
from pipeline.labels.formats.tables import Table, table_format

COLUMNS = {
    "file": ("path", "file", "filename", "audio_file", "file_name", "audiofilename", "audio_path"),
    "start": ("start", "start_time", "onset", "begin", "start_s", "onset_s", "start_seconds"),
    "end": ("end", "end_time", "stop", "end_s", "offset_s", "end_seconds", "stop_time"),
    "duration": ("duration", "length"),
    "label": ("label", "labels", "annotation", "species", "event_label", "class", "name"),
    "low": ("low_f", "low_freq", "min_frequency", "start_frequency", "freq_min", "fmin"),
    "high": ("high_f", "high_freq", "max_frequency", "end_frequency", "freq_max", "fmax"),
    "channel": ("channel",),
    "confidence": ("confidence", "score"),
    "state": ("state", "present"),
}
ENDS = {"offset": "onset"}
IN_SAMPLES = {
    **COLUMNS,
    "start": ("start_sample", "onset_sample", "begin_sample"),
    "end": ("end_sample", "offset_sample", "stop_sample"),
    "duration": ("duration_samples",),
}

_SECONDS = Table(COLUMNS, ("start",), ("end", "duration"), ends=ENDS, points=True, of_nothing=True)
_SAMPLES = replace(_SECONDS, columns=IN_SAMPLES, ends={}, unit=Unit.SAMPLES)
CSV, SAMPLES = table_format("csv", _SECONDS), table_format("csv-samples", _SAMPLES)
