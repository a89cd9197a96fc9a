"""Plain values: what JSON can hold in place of a value, the same in every process.

Two values have the same one only if they are the same; what JSON has no word
for becomes a mapping of one key that says what it was.
"""

import dataclasses
import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

OURS = "pipeline."
PIECE = 1 << 16


class UnknownError(ValueError):
    """A value that cannot be distinguished from others of its type."""


def plain(value: Any, above: tuple[int, ...] = ()) -> Any:
    """A value as JSON can hold it; `above` are the objects that it is part of, by ``id``."""
    for kinds, convert in SIMPLE:
        if isinstance(value, kinds):
            return convert(value)
    if id(value) in above:
        raise UnknownError(f"a {type(value).__name__} that is part of itself")
    above = (*above, id(value))
    if isinstance(value, list | tuple):
        return [plain(item, above) for item in value]
    if isinstance(value, set | frozenset):
        return {"set": sorted((plain(item, above) for item in value), key=json.dumps)}
    if isinstance(value, Mapping):
        items = ([plain(key, above), plain(item, above)] for key, item in value.items())
        return {"mapping": sorted(items, key=json.dumps)}
    if isinstance(value, np.ndarray):
        return _array(value, above)
    if callable(value) and hasattr(value, "__qualname__") and is_found(value):
        return _code(value)
    state = {name: plain(item, above) for name, item in state_of(value).items()}
    return {name_of(type(value)): state}


def name_of(code: Any) -> str:
    """Where a function or class is found: ``package.module:Name``; of ours, in which wing."""
    module: str = code.__module__
    if module.startswith(OURS):
        module = ".".join(module.split(".")[:2])
    return f"{module}:{code.__qualname__}"


def is_found(code: Any) -> bool:
    """Whether a function or class is what its module has under its name."""
    found: Any = sys.modules.get(code.__module__)
    for part in code.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is code


def state_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass; of other objects the attributes, or what they are pickled by."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    kind = type(value)
    pickled = ("__reduce__", "__reduce_ex__")  # by ways of its own: there may be more to it
    hides = any(getattr(kind, name) is not getattr(object, name) for name in pickled)
    if hides or not (hasattr(value, "__dict__") or hasattr(kind, "__slots__")):
        raise UnknownError(f"a {kind.__name__}")
    try:
        state = value.__getstate__()
    except Exception as error:
        raise UnknownError(f"a {kind.__name__}") from error
    parts = state if isinstance(state, tuple) else (state,)  # of __dict__, and of __slots__
    if not all(part is None or isinstance(part, dict) for part in parts):
        return {"state": state}
    return {
        str(name): item
        for part in parts
        for name, item in (part or {}).items()
        if not isinstance(getattr(kind, str(name), None), cached_property)
    }


def array_digest(values: npt.NDArray[Any]) -> str:
    """SHA-256 of an array's dtype, shape and values, in hexadecimal."""
    found = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode())
    rows = np.atleast_1d(values)
    for start in range(0, len(rows), PIECE):  # they may be as many as the windows, and mapped
        found.update(np.ascontiguousarray(rows[start : start + PIECE]).tobytes())
    return found.hexdigest()


def _array(value: npt.NDArray[Any], above: tuple[int, ...]) -> Any:
    if type(value) not in (np.ndarray, np.memmap):  # such as a masked one
        raise UnknownError(f"a {type(value).__name__}")
    if value.dtype.hasobject:  # its bytes are addresses
        return {"objects": [list(value.shape), plain(value.tolist(), above)]}
    return {"array": f"{value.dtype.str}{value.shape} {array_digest(value)}"}


def _number(value: float) -> Any:
    """A float; JSON has no word for some, and -0.0 equals 0.0."""
    if math.isfinite(value) and (value or math.copysign(1, value) > 0):
        return value
    return {"float": repr(value)}


def _scalar(value: np.generic) -> Any:
    if value.dtype.kind not in "biufcmMSU":
        raise UnknownError(f"a {type(value).__name__}")
    return {"scalar": [value.dtype.str, str(value)]}


def _code(value: Any) -> Any:
    if not is_found(value):  # one that was made on the way, such as a lambda
        raise UnknownError(f"{value.__qualname__}")
    return {"code": name_of(value)}


# In this order, for some are of several kinds.
SIMPLE: list[tuple[Any, Callable[[Any], Any]]] = [
    (np.generic, _scalar),
    (Enum, lambda value: {"enum": [name_of(type(value)), value.name]}),
    (str | bool | int | None, lambda value: value),
    (float, _number),
    (complex, lambda value: {"complex": repr(value)}),
    (bytes, lambda value: {"bytes": hashlib.sha256(value).hexdigest()}),
    (PurePath, lambda value: {"path": str(value)}),
    ((type, FunctionType, BuiltinFunctionType), _code),
    (np.ufunc, lambda value: {"code": f"numpy:{value.__name__}"}),
    (ModuleType, lambda value: {"module": value.__name__}),
]
