"""All formats of label files, in the order in which they are looked for."""

from pipeline.labels.formats.aoef import AOEF
from pipeline.labels.formats.aplose import APLOSE
from pipeline.labels.formats.audacity import AUDACITY
from pipeline.labels.formats.audioset import AUDIOSET
from pipeline.labels.formats.birdnet import BIRDNET
from pipeline.labels.formats.crowsetta import GENERIC, SIMPLE
from pipeline.labels.formats.dcase import STRONG, WEAK
from pipeline.labels.formats.elan import ELAN
from pipeline.labels.formats.format import Format
from pipeline.labels.formats.kaleidoscope import KALEIDOSCOPE
from pipeline.labels.formats.nist import CTM, RTTM, UEM
from pipeline.labels.formats.plain import CSV, SAMPLES
from pipeline.labels.formats.raven import RAVEN
from pipeline.labels.formats.songexplorer import SONGEXPLORER
from pipeline.labels.formats.subtitles import SRT, WEBVTT
from pipeline.labels.formats.textgrid import TEXTGRID
from pipeline.labels.text import Text

# What is more particular comes first and, of what is not, that of which there are most files.
FORMATS = {
    format.name: format
    for format in (
        *(RAVEN, AUDACITY, RTTM, UEM, CTM, TEXTGRID, ELAN, AOEF, WEBVTT, SRT, BIRDNET),
        *(KALEIDOSCOPE, APLOSE, AUDIOSET, STRONG, WEAK, GENERIC, SIMPLE, SONGEXPLORER, CSV),
        SAMPLES,
    )
}


def recognise(text: Text) -> Format | None:
    """The format of a label file, by what it begins with."""
    return next((format for format in FORMATS.values() if format.recognised(text)), None)
