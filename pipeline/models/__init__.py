"""Models: an ONNX model by its files, and calls of it: the only door to onnxruntime."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
