"""Feature extraction for audio that does not fit in memory."""

from pipeline.batches import Batches
from pipeline.config import Settings
from pipeline.features import Feature, Spectrogram
from pipeline.grid import Window, WindowGrid
from pipeline.job import extract
from pipeline.recordings import Recording, Recordings, scan
from pipeline.report import Progress, Report
from pipeline.streaming import stream
from pipeline.windows import map_windows, open_windows

__all__ = [
    "Batches",
    "Feature",
    "Progress",
    "Recording",
    "Recordings",
    "Report",
    "Settings",
    "Spectrogram",
    "Window",
    "WindowGrid",
    "extract",
    "map_windows",
    "open_windows",
    "scan",
    "stream",
]
