"""Reports to be shown as pages: a full one, a little one, and one that wants to break the page."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any

import numpy as np
import soundfile
from PIL import Image

HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(2)>",
    "a" * 300,
    "מים חיים",
    "\ud800 half",
    "line\nline\ttab\x00\x1b[31m\x85",
    "{{ 7 * 7 }}{% x %}",
    "鳥の声",
    "",
    "../../../etc",
    "\u202egnp.eno\u2066",
]
NAMES = [f"{HOSTILE[i % len(HOSTILE)]} {i}" for i in range(200)]


def picture(title: str, window: int, size: int = 0, **more: Any) -> dict[str, Any]:
    """A picture that gets larger with `size`, which is noise."""
    rng, file = np.random.default_rng(window), io.BytesIO()
    pixels = np.tile(np.arange(320, dtype=np.uint8), (180, 1))
    if size:
        pixels = rng.integers(0, 2**size, pixels.shape, np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return {
        "title": title,
        "png": f"data:image/png;base64,{b64encode(file.getvalue()).decode()}",
        "width": 320,
        "height": 180,
        "alt": f"log power of window {window}, {title} at {window} s",
        "window": window,
        "path": "recordings/a.wav",
        "at": float(window),
        "datetime": "2026-03-02T04:05:06+02:00",
        "labels": ["owl", "wind"],
        "sound": None,
        **more,
    }


def sound(seconds: float = 0.1) -> str:
    file = io.BytesIO()
    noise = np.random.default_rng(0).standard_normal(round(8000 * seconds)) / 5
    soundfile.write(file, noise, 8000, format="FLAC")
    return f"data:audio/flac;base64,{b64encode(file.getvalue()).decode()}"


def coverage(n_days: int) -> dict[str, Any]:
    rows = []
    for i in range(n_days):
        day = np.datetime64("2026-03-02") + i
        hours = [0.0] * 24 if 5 <= i < 7 else [(h % 4) / 4 if h < 12 else 1.0 for h in range(24)]
        seconds = 3600 * sum(hours)
        rows.append(
            {"from": str(day), "seconds": seconds, "share": seconds / 86400, "hours": hours}
        )
    return {
        "unit": "day",
        "first": rows[0]["from"],
        "last": rows[-1]["from"],
        "rows": rows,
        "offset": "+02:00",
        "seconds": sum(row["seconds"] for row in rows),
        "undated": 3,
    }


def recording(number: int, path: str, **states: int) -> dict[str, Any]:
    none = dict.fromkeys(("whole", "partial", "masked", "failed", "pending"), 0)
    return {
        "number": number,
        "path": path,
        "seconds": 300.5,
        "begins": "2026-03-02T04:05:06+02:00",
        **none,
        **states,
        "median": -9.5,
        "floor": 0.01,
    }


def level(n_rows: int, loudest: float = 1.0) -> dict[str, Any]:
    """The level of windows that are an hour apart, as loud as a multiple of the usual."""
    start = np.datetime64("2026-03-02")
    rows = [
        {
            "window": 8 * i,
            "begins": f"{start + np.timedelta64(i, 'h')}:00:00+02:00",
            "at": 8.0 * i,
            "low": loudest * (-12 + np.sin(i / 9)),
            "median": loudest * (-10 + np.sin(i / 9)),
            "high": loudest * (-7 + np.sin(i / 5)),
            "floor": 0.02,
        }
        for i in range(n_rows)
    ]
    return {"units": "1", "rows": rows}


def throughput(hosts: list[str], n_stretches: int = 60) -> dict[str, Any]:
    """A job whose first host is slow."""
    start = np.datetime64("2026-11-19T20:00:00")
    return {
        "began": "2026-11-19T20:00:00+00:00",
        "ended": "2026-11-19T21:00:00+00:00",
        "seconds": 7000.0,
        "windows_per_second": 1800.5,
        "timeline": [
            {"at": f"{start + 60 * i}+00:00", "windows_per_second": 100.0 * (i % 7)}
            for i in range(n_stretches)
        ],
        "hosts": [
            {
                "host": host,
                "workers": 2,
                "regions": 3 + i,
                "windows": 190 + 830 * i,
                "seconds": 0.004 if i else 0.01,
                "relative": 1.0 if i else 2.5,
                "slow": not i,
            }
            for i, host in enumerate(hosts)
        ],
    }


def classes(names: list[str], most: int, parts: list[str]) -> dict[str, Any]:
    """Each class in a third as many windows as the one before it, split in equal parts."""
    n = min(20, len(names))
    counts = np.random.default_rng(0).integers(0, 50, (n, n)) + 100 * np.eye(n, dtype=int)
    present = [most // 3**i for i in range(len(names))]
    return {
        "kind": "events",
        "n_classes": len(names) + 5,
        "classes": names,
        "rows": [
            {
                "name": name,
                "present": present[i],
                "absent": 600 + i,
                "unknown": i,
                "splits": {part: present[i] // len(parts) for part in parts},
            }
            for i, name in enumerate(names)
        ],
        "splits": {part: 1200 // len(parts) for part in parts},
        "together": {"names": names[:n], "counts": (counts + counts.T).tolist()},
        "events": {"files": 2, "events": 300, "matched": 290, "no_recording": 10},
    }


def full() -> dict[str, Any]:
    """A finished store of a season, with a few failures."""
    edges = np.linspace(-13.8, -2.2, 65)
    return {
        "report": 1,
        "path": "stores/season.zarr",
        "title": "log(power spectral density + 1e-06)",
        "units": "1",
        "made": "2026-11-20T08:00:00+00:00",
        "created": "2026-11-19T20:00:00+00:00",
        "finished": True,
        "packed": False,
        "summary": "1,210 windows of 1 s (20.2 min) of 5 recordings: log power, float32",
        "shape": [1210, 257, 400],
        "dimensions": ["window", "frequency", "time"],
        "dtype": "float32",
        "samplerate": 8000,
        "window": 1.0,
        "hop": 1.0,
        "variables": [
            {
                "name": "features",
                "dimensions": ["frequency", "time"],
                "shape": [257, 400],
                "dtype": "float32",
            },
            {"name": "label", "dimensions": ["class"], "shape": [10], "dtype": "int8"},
        ],
        "splits": {"train": 600, "test": 600},
        "windows": {
            "total": 1210,
            "whole": 1100,
            "partial": 5,
            "masked": 105,
            "failed": 0,
            "pending": 0,
        },
        "regions": {"total": 19, "done": 19, "failed": 0, "pending": 0},
        "running": [],
        "recordings": {
            "total": 5,
            "rows": [
                recording(i, f"recordings/day {i}/rec_{i}.wav", whole=1100 // 4**i, masked=21 * i)
                | {"seconds": 2000.5 / 3**i, "median": None if i == 2 else 3.0 * i - 12.0}
                for i in range(5)
            ],
        },
        "coverage": coverage(30),
        "labels": classes(["owl", "wind", "rain", "Strix aluco", "car"], 1100, ["train", "test"]),
        "pictures": {
            "classes": [picture("owl", 3, sound=sound()), picture("wind", 7)],
            "recordings": [picture("recordings/a.wav", i) for i in range(3)],
            "n_classes": 10,
            "n_recordings": 5,
            "axes": {"x": "time 0 to 1 s", "y": "frequency 0 to 4 kHz"},
            "missing": None,
        },
        "values": {
            "name": "log(power spectral density + 1e-06)",
            "units": "1",
            "sampled": 326,
            "of": 1105,
            "histogram": {"edges": edges.tolist(), "counts": [*range(64)]},
            "minimum": -13.8,
            "maximum": -2.2,
            "mean": -9.5,
            "std": 1.7,
            "floor": 0.0004,
            "clipped": 0.001,
        },
        "level": level(150),
        "failures": {
            "failed": [],
            "masked": [
                {
                    "windows": [230, 335],
                    "path": "recordings/b.flac",
                    "reason": "it cannot be read from sample 61440 on",
                }
            ],
            "unreadable": [
                {"path": "recordings/c.wav", "reason": "libsndfile: Format not recognised"}
            ],
            "n_failed": 0,
            "n_masked": 1,
            "n_unreadable": 1,
            "damaged_lines": 1,
            "damaged": [{"reason": "features/c.1.0 is damaged", "windows": 3}],
        },
        "throughput": throughput(["node-9", "node-10"]),
        "bytes": {"stored": 497_000_000, "per_window": 411_200.0, "decoded": 454_000_000},
        "feature": {
            "name": "spectrogram",
            "parameters": {"n_fft": 512, "taper": ["tukey", 0.25], "hop_length": None},
        },
        "settings": {"window": 1.0, "hop": 1.0, "limits": None, "datetime": ["%Y%m%d"]},
        "versions": {"dask-audio-pipeline": "0.1.0", "numpy": "2.4.6"},
        "numerics": {"x86_64, openblas SkylakeX": 1000, "x86_64, openblas Haswell": 210},
        "fingerprint": "f67ef22ea234daca21cbe3a9208bbbbf4a27d80ebd856aff8af71991dd68a730",
        "open": "import pipeline as pl\n\nfor X, y in pl.Batches('season.zarr'):\n    print(X)\n",
    }


def little() -> dict[str, Any]:
    """A store of which almost nothing is done yet."""
    found = full()
    return found | {
        "finished": False,
        "windows": {"total": 8, "whole": 0, "partial": 0, "masked": 0, "failed": 2, "pending": 6},
        "regions": {"total": 4, "done": 0, "failed": 1, "pending": 3},
        "running": [{"holder": "process 7 on node-1", "share": "0/2", "regions": 2, "done": 0}],
        "recordings": {
            "total": 1,
            "rows": [
                recording(0, "x.npy", failed=2, pending=6)
                | {"median": None, "floor": None, "begins": None}
            ],
        },
        "coverage": None,
        "labels": None,
        "splits": None,
        "pictures": {
            "classes": [],
            "recordings": [],
            "n_classes": 0,
            "n_recordings": 1,
            "axes": None,
            "missing": None,
        },
        "values": None,
        "level": None,
        "throughput": None,
        "failures": {
            "failed": [
                {
                    "region": 0,
                    "windows": [0, 2],
                    "attempts": 4,
                    "reason": "RuntimeError: no luck",
                    "trace": "Traceback\n  File x, line 3\nRuntimeError: no luck",
                }
            ],
            "masked": [],
            "unreadable": [],
            "n_failed": 1,
            "n_masked": 0,
            "n_unreadable": 0,
            "damaged_lines": 0,
            "damaged": [],
        },
        "numerics": {},
    }


def hostile() -> dict[str, Any]:
    """A store of which there is as much as can be, under names that want to be markup."""
    found, reason = full(), "\n".join(HOSTILE)
    loud = sound(1.0)
    shown = [
        picture(name, i, 8, labels=NAMES[:30], sound=loud, path=f"{name}/x.wav", alt=name)
        for i, name in enumerate(NAMES[:90])
    ]
    return found | {
        "path": NAMES[0],
        "title": NAMES[1],
        "units": NAMES[3],
        "summary": NAMES[2],
        "finished": False,
        "shape": [10**10, 257, 400],
        "windows": {
            "total": 10**10,
            "whole": 10**9,
            "partial": 1,
            "masked": 10**9,
            "failed": 5,
            "pending": 10**9,
        },
        "regions": {"total": 10**7, "done": 10**6, "failed": 10**5, "pending": 9 * 10**6},
        "running": [
            {"holder": name, "share": f"{i}/200", "regions": 10**6, "done": i}
            for i, name in enumerate(NAMES)
        ],
        "recordings": {
            "total": 10**6,
            "rows": [
                recording(i, f"{name}/{name}.wav", whole=10**6, masked=i)
                for i, name in enumerate(NAMES)
            ],
        },
        "coverage": coverage(400) | {"offset": None, "undated": 10**9},
        "labels": classes(NAMES, 10**15, NAMES[:9]) | {"events": dict.fromkeys(NAMES[:9], 10**15)},
        "pictures": found["pictures"]
        | {
            "classes": shown[:40],
            "recordings": shown[40:],
            "n_classes": 6000,
            "n_recordings": 10**6,
            "axes": {"x": NAMES[0], "y": NAMES[1]},
        },
        "values": found["values"] | {"name": NAMES[0], "units": NAMES[1], "maximum": 1e300},
        "level": level(200, loudest=1e37) | {"units": NAMES[1]},
        "failures": _failures(reason),
        "throughput": throughput(NAMES[:100], 100) | {"windows_per_second": 1e18},
        "bytes": {"stored": 10**18, "per_window": 1e9, "decoded": 10**19},
        "feature": {"name": NAMES[0], "parameters": {name: name for name in NAMES[:9]}},
        "settings": {name: [name] for name in NAMES[:9]},
        "versions": found["versions"] | {name: name for name in NAMES[:9]},
        "numerics": dict.fromkeys(NAMES[:9], 10**10),
        "open": reason,
    }


def _failures(reason: str) -> dict[str, Any]:
    """As many failures of each kind as are listed, all for the same reason."""
    return {
        "failed": [
            {
                "region": i,
                "windows": [i, i + 9],
                "attempts": 4,
                "reason": reason,
                "trace": reason * 9,
            }
            for i in range(50)
        ],
        "masked": [
            {"windows": [i, i + 9], "path": name, "reason": reason}
            for i, name in enumerate(NAMES[:50])
        ],
        "unreadable": [{"path": name, "reason": reason} for name in NAMES[:50]],
        "n_failed": 10**5,
        "n_masked": 10**5,
        "n_unreadable": 10**5,
        "damaged_lines": 9,
        "damaged": [{"reason": reason, "windows": 3} for _ in range(50)],
    }


REPORTS = {"full": full, "little": little, "hostile": hostile}
