"""Our process and its host: cores, memory, BLAS threads, versions, numerics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
