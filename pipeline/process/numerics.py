"""The numerics class: which arithmetic computes here, on which the last bits of a result hang."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# Levels of NumPy's dispatch, from the highest, and by which names older versions know them.
LEVELS = {
    "X86_V4": ({"X86_V4"}, {"AVX512_SKX"}),
    "X86_V3": ({"X86_V3"}, {"AVX2", "FMA3"}),
    "X86_V2": ({"X86_V2"}, {"SSE42"}),
}
ANY = "any"  # of a store whose regions several classes may have computed
HOW_TO_AGREE = (
    "start all of them with the same OPENBLAS_CORETYPE and NPY_DISABLE_CPU_FEATURES (cluster.yaml "
    "says where), or allow it by --numerics any"
)


@cache
def numerics_class() -> str:
    """The class of this process, such as ``x86_64, openblas 0.3.31 Haswell, numpy X86_V3, ...``.

    Processes of one class give the same bits. Others choose other instructions for a
    product of matrices or a logarithm, or decode and resample by other versions, and
    differ in the last bits.
    """
    import soundfile
    import soxr

    parts = {
        platform.machine(): "",
        _blas(): "",
        "numpy": _level(),
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__libsoxr_version__,
    }
    return ", ".join(f"{name} {value}".strip() for name, value in parts.items())


def other_numerics(theirs: str) -> str:
    """That this process is of another class than the one that a job is computed by."""
    return (
        f"computes by {numerics_class()}, and the job by {theirs}, which differs in the last bits; "
        f"{HOW_TO_AGREE}"
    )


def _blas() -> str:
    """Name, version and kind of processor of the BLAS that NumPy multiplies matrices with."""
    from threadpoolctl import threadpool_info

    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    # SciPy's wheels bring another, which may be loaded, too.
    own = [info for info in found if "numpy" in str(Path(info["filepath"]).parent)] or found
    if not own:  # one that threadpoolctl does not know, as that of macOS
        built: Any = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{built.get('name', 'blas')} {built.get('version', '')}".strip()
    names = (own[0]["internal_api"], own[0]["version"], own[0].get("architecture"))
    return " ".join(str(name) for name in names if name)


def _level() -> str:
    """What NumPy's own loops are compiled for, of that which this processor can do."""
    simd: Any = np.show_config(mode="dicts")["SIMD Extensions"]
    can = {*simd.get("baseline", ()), *simd.get("found", ())}
    for level, names in LEVELS.items():
        if any(some <= can for some in names):
            return level
    return "+".join(sorted(can)) or "baseline"
