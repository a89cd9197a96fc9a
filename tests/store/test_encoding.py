"""What is stored of a value is the nearest code, and what was never written is told apart."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pipeline as pl
from pipeline.store.encoding import Encoding

FLOATS = [Encoding("float32"), Encoding("float16")]
WHOLE = [
    Encoding("uint8", 0.5, -100.0, 255),
    Encoding("uint8", 1e-3, 0.0, 0),
    Encoding("int16", 0.01, -50.0, -32768),
    Encoding("int16", 3.7, 1e4, 32767),
]
values = arrays(np.float32, (3, 2, 4), elements=st.floats(width=32, allow_nan=False))


def encoded(encoding: Encoding, block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    out = np.empty(block.shape, encoding.dtype)
    encoding.encode(block, out)
    return out


@pytest.mark.parametrize("encoding", FLOATS)
@given(block=values)
def test_floats_are_rounded_to_the_nearest(
    encoding: Encoding, block: npt.NDArray[np.float32]
) -> None:
    stored = encoded(encoding, block)
    with np.errstate(over="ignore"):
        expected = block.astype(encoding.dtype)
    assert stored.tobytes() == expected.tobytes()
    assert encoding.decode(stored) is stored
    assert not encoding.is_missing(stored).any()


@pytest.mark.parametrize("encoding", WHOLE)
@given(block=values, near=st.booleans())
def test_codes_come_back_within_the_largest_error(
    encoding: Encoding, block: npt.NDArray[np.float32], near: bool
) -> None:
    assert encoding.limits is not None
    assert encoding.largest_error is not None
    assert encoding.scale is not None
    low, high = encoding.limits
    if near:  # the limits, of which most floats are far
        block = (low + (high - low) * np.abs(np.sin(block.clip(-9, 9)))).astype(np.float32)
    stored = np.empty(block.shape, encoding.dtype)
    beyond = encoding.encode(block, stored)
    assert not encoding.is_missing(stored).any()
    assert not (stored == encoding.missing).any()
    found, cut = encoding.decode(stored), np.clip(block.astype(float), low, high)
    assert found.dtype == np.float32
    assert (np.abs(found - cut) <= encoding.largest_error).all()
    step = encoding.scale * 0.51
    outside = (block < low - step) | (block > high + step)
    assert outside.sum() <= beyond <= ((block < low) | (block > high)).sum()


@pytest.mark.parametrize("encoding", WHOLE)
def test_the_largest_floats_are_beyond(encoding: Encoding) -> None:
    most = np.finfo(np.float32).max
    block, stored = np.array([[-most, most]]), np.empty((1, 2), encoding.dtype)
    assert encoding.encode(block.astype(np.float32), stored) == 2
    assert encoding.limits is not None
    assert np.allclose(encoding.decode(stored), encoding.limits, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
@given(
    ends=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).filter(
        lambda ends: ends[1] - ends[0] > 1e-3 * max(1, *map(abs, ends))
    )
)
def test_limits_are_those_of_the_first_and_the_last_code(
    dtype: str, ends: tuple[float, float]
) -> None:
    encoding = Encoding.of(dtype, pl.Spectrogram(), ends)
    assert encoding.limits is not None
    assert encoding.largest_error is not None
    assert np.allclose(encoding.limits, ends, atol=encoding.largest_error / 20)
    info = np.iinfo(dtype)
    block = np.array([ends, ends[::-1]], np.float32)
    stored = np.empty(block.shape, dtype)
    assert encoding.encode(block, stored) == 0
    assert stored.tolist() == [[info.min + 1, info.max], [info.max, info.min + 1]]
    assert all(np.float32(value) == value for value in (encoding.scale, encoding.offset))


@pytest.mark.parametrize("encoding", WHOLE)
def test_each_code_but_the_missing_one_is_its_own_value_s(encoding: Encoding) -> None:
    info = np.iinfo(encoding.dtype)
    codes = np.arange(info.min, info.max + 1).astype(encoding.dtype)
    codes = codes[codes != encoding.missing]
    assert np.array_equal(encoded(encoding, encoding.decode(codes)), codes)


@pytest.mark.parametrize("encoding", FLOATS + WHOLE)
@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_windows_that_were_never_written_are_missing(
    encoding: Encoding, shape: tuple[int, ...]
) -> None:
    stored = np.full((5, *shape), encoding.fill_value, encoding.dtype)
    stored[[1, 3]] = encoded(encoding, np.zeros((2, *shape), np.float32))
    assert encoding.is_missing(stored).tolist() == [True, False, True, False, True]
    decoded = encoding.decode(stored)
    assert np.isnan(decoded[[0, 2, 4]]).all()
    assert np.isfinite(decoded[[1, 3]]).all()
    assert encoding.is_missing(stored[:0]).shape == (0,)


@pytest.mark.parametrize("encoding", FLOATS + WHOLE)
def test_attributes_say_the_encoding_as_it_is(encoding: Encoding) -> None:
    assert Encoding.read(encoding.dtype, encoding.attributes) == encoding
    assert pickle.loads(pickle.dumps(encoding)) == encoding
    assert (encoding.attributes == {}) == (encoding in FLOATS)
