"""The numerics class: the libraries and instructions that decide the last bits of a result."""

import platform
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# Levels of NumPy's dispatch, the highest first, by their names and those of older versions.
LEVELS = {
    "X86_V4": ({"X86_V4"}, {"AVX512_SKX"}),
    "X86_V3": ({"X86_V3"}, {"AVX2", "FMA3"}),
    "X86_V2": ({"X86_V2"}, {"SSE42"}),
}
ANY = "any"  # the class of a store whose regions several may have computed


@cache
def numerics_class() -> str:
    """The class of this process, such as ``x86_64, openblas 0.3.31 Haswell, numpy X86_V3, ...``.

    Processes of one class compute the same bits. Those of another may differ in the last
    ones: by other instructions for matrix products and logarithms, or other versions that
    decode and resample.
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
    """The end of a sentence that says that this process is of another class than a job."""
    return (
        f"computes by {numerics_class()}, and the job by {theirs}, which differs in the last bits; "
        f"start all of them with the same OPENBLAS_CORETYPE and NPY_DISABLE_CPU_FEATURES "
        f"(cluster.yaml says where), or allow it by --numerics any"
    )


def _blas() -> str:
    """Name, version and kind of processor of the BLAS that NumPy multiplies matrices with."""
    from threadpoolctl import threadpool_info

    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    # SciPy's wheels bring another BLAS, which may be loaded, too.
    own = [info for info in found if "numpy" in str(Path(info["filepath"]).parent)] or found
    if not own:  # one that threadpoolctl does not know, as that of macOS
        built: Any = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{built.get('name', 'blas')} {built.get('version', '')}".strip()
    names = (own[0]["internal_api"], own[0]["version"], own[0].get("architecture"))
    return " ".join(str(name) for name in names if name)


def _level() -> str:
    """The level of instructions that NumPy's own loops use on this processor."""
    simd: Any = np.show_config(mode="dicts")["SIMD Extensions"]
    can = {*simd.get("baseline", ()), *simd.get("found", ())}
    for level, names in LEVELS.items():
        if any(some <= can for some in names):
            return level
    return "+".join(sorted(can)) or "baseline"
