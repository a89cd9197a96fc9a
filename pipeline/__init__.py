"""Feature extraction for audio that does not fit in memory."""

# ruff: noqa: E402 - the first two lines before all that takes time
from pipeline.interrupts import await_command  # isort: split

await_command()

from pipeline.batches import Batches
from pipeline.features import Feature, Spectrogram
from pipeline.grid import Window, WindowGrid
from pipeline.job import extract
from pipeline.recordings import Recording, Recordings, scan
from pipeline.report import Progress, Report
from pipeline.settings import Settings
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
