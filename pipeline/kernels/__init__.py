"""Arithmetic on blocks of windows, of NumPy and SciPy alone: frames, and spectra of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
