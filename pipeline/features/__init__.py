"""Features: a block of windows in, a block of values out; by what a feature is known again."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
