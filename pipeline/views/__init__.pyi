from .class_plot import plot_class as plot_class
from .plots import plot_window as plot_window
from .recording_plot import plot_recording as plot_recording
from .sample import spread as spread
from .thumbnails import thumbnail as thumbnail
