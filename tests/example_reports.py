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
]


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


def classes(names: list[str]) -> dict[str, Any]:
    n = min(20, len(names))
    counts = np.random.default_rng(0).integers(0, 50, (n, n)) + 100 * np.eye(n, dtype=int)
    return {
        "kind": "events",
        "n_classes": len(names) + 5,
        "rows": [
            {
                "name": name,
                "present": 90 - i % 90,
                "absent": 600 + i,
                "unknown": i,
                "splits": {"train": 70 - i % 70, "test": 20},
            }
            for i, name in enumerate(names)
        ],
        "splits": {"train": 900, "test": 300},
        "together": {"names": names[:n], "counts": (counts + counts.T).tolist()},
        "events": {"files": 2, "events": 300, "matched": 290, "no_recording": 10},
    }


def full() -> dict[str, Any]:
    """A finished store of a season, with a few failures."""
    edges = np.linspace(-13.8, -2.2, 65)
    level = [
        {
            "window": 8 * i,
            "begins": f"2026-03-{2 + i // 24:02}T{i % 24:02}:00:00+02:00",
            "at": 8.0 * i,
            "low": -12 + np.sin(i / 9),
            "median": -10 + np.sin(i / 9),
            "high": -7 + np.sin(i / 5),
            "floor": 0.02,
        }
        for i in range(150)
    ]
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
                recording(
                    i,
                    f"recordings/day {i}/rec_{i}.wav",
                    whole=220 - 21 * i,
                    masked=21 * i,
                    partial=1,
                )
                for i in range(5)
            ],
        },
        "coverage": coverage(30),
        "labels": classes(["owl", "wind", "rain", "Strix aluco", "car"]),
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
            "not_numbers": 0.0,
        },
        "level": {"units": "1", "rows": level},
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
        "throughput": {
            "began": "2026-11-19T20:00:00+00:00",
            "ended": "2026-11-19T21:00:00+00:00",
            "seconds": 7000.0,
            "windows_per_second": 1800.5,
            "timeline": [
                {"at": "2026-11-19T20:00:00+00:00", "windows_per_second": 100.0 * (i % 7)}
                for i in range(60)
            ],
            "hosts": [
                {
                    "host": "node-9",
                    "workers": 2,
                    "regions": 3,
                    "windows": 190,
                    "seconds": 0.01,
                    "relative": 2.5,
                    "slow": True,
                },
                {
                    "host": "node-10",
                    "workers": 2,
                    "regions": 16,
                    "windows": 1020,
                    "seconds": 0.004,
                    "relative": 1.0,
                    "slow": False,
                },
            ],
        },
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
    found = full()
    names = [HOSTILE[i % len(HOSTILE)] + f" {i}" for i in range(200)]
    loud = sound(1.0)
    shown = [
        picture(names[i], i, 8, labels=names[:30], sound=loud, path=f"{names[i]}/x.wav")
        for i in range(90)
    ]
    reason = "\n".join(HOSTILE)
    return found | {
        "path": names[0],
        "title": names[1],
        "summary": names[2],
        "windows": {
            "total": 10**10,
            "whole": 10**9,
            "partial": 1,
            "masked": 10**9,
            "failed": 5,
            "pending": 10**9,
        },
        "recordings": {
            "total": 10**6,
            "rows": [
                recording(i, f"{name}/{name}.wav", whole=10**6, masked=i)
                for i, name in enumerate(names)
            ],
        },
        "coverage": coverage(200) | {"offset": None},
        "labels": classes(names),
        "pictures": found["pictures"]
        | {
            "classes": shown[:40],
            "recordings": shown[40:],
            "n_classes": 6000,
            "n_recordings": 10**6,
        },
        "failures": {
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
                for i, name in enumerate(names[:50])
            ],
            "unreadable": [{"path": name, "reason": reason} for name in names[:50]],
            "n_failed": 10**5,
            "n_masked": 10**5,
            "n_unreadable": 10**5,
            "damaged_lines": 9,
            "damaged": [{"reason": reason, "windows": 3}],
        },
        "feature": {"name": names[0], "parameters": {name: name for name in names[:9]}},
        "settings": {name: [name] for name in names[:9]},
        "numerics": {names[0]: 10**10},
    }


REPORTS = {"full": full, "little": little, "hostile": hostile}
