"""Bytes under a name, on a disk or in a bucket: the only door to obstore."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
