"""Named arrays in Zarr or HDF5, with files and checksums: the door to zarr and numcodecs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
