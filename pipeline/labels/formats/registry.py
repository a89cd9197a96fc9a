"""All formats of label files, in the order in which they are looked for."""

from pipeline.labels.formats.aoef import AOEF
from pipeline.labels.formats.audacity import AUDACITY
from pipeline.labels.formats.elan import ELAN
from pipeline.labels.formats.format import Format
from pipeline.labels.formats.nist import CTM, RTTM, UEM
from pipeline.labels.formats.plain import CSV, SAMPLES
from pipeline.labels.formats.subtitles import SRT, WEBVTT
from pipeline.labels.formats.textgrid import TEXTGRID
from pipeline.labels.text import Text

# What is more particular comes first.
ALL = (*(TEXTGRID, ELAN, AOEF, WEBVTT, SRT), *(RTTM, UEM, CTM, AUDACITY), *(CSV, SAMPLES))
FORMATS = {format.name: format for format in ALL}


def recognise(text: Text) -> Format | None:
    """The format of a label file, by what it begins with."""
    return next((format for format in FORMATS.values() if format.recognised(text)), None)
