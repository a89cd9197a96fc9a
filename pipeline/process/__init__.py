"""The process we run in, and its host: cores, memory, BLAS, interrupts, versions, numerics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
