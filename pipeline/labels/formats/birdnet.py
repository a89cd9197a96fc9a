"""What BirdNET finds, as CSV.

BirdNET-Analyzer writes ``Start (s),End (s),Scientific name,Common name,Confidence,File``, without
``File`` in older versions, which wrote a file for each recording, empty where nothing was found;
its table for R begins with ``filepath,start,end``. Classes without "_" in their name, of one's
own classifier, have no common name: then the scientific one is the label. The package birdnet
writes ``input,start_time,end_time,species_name,confidence``, with times as HH:MM:SS.ss and
species as Scientific_Common, which is kept as it stands.
"""

from pipeline.labels.formats.tables import Table, table_format

COLUMNS = {
    "file": ("file", "filepath", "input"),
    "start": ("start (s)", "start_time", "start"),
    "end": ("end (s)", "end_time", "end"),
    "label": ("common name", "common_name", "species_name"),
    "label_else": ("scientific name", "scientific_name"),
    "confidence": ("confidence",),
}

BIRDNET = table_format(
    "birdnet", Table(COLUMNS, ("start", "end", "label", "confidence"), of_one=True)
)
