"""Batches out of a store, or computed as they are asked for; it knows neither jobs nor clusters."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
