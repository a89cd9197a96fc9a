"""The samples of one file, the same bits wherever a read begins: the door to soundfile and soxr."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
