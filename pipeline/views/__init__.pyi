from .plots import plot_window as plot_window
