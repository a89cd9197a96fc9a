"""Workers that run any function, on threads, processes or a cluster: the door to distributed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
