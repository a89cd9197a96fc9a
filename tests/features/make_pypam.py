"""Makes pypam.npz: what pypam has for the levels of a sound that is made anew anywhere.

pypam needs NumPy 1, so it is run in an environment of its own:

    python -m venv pypam && pypam/bin/pip install lifewatch-pypam==1.0.0
    pypam/bin/python tests/features/make_pypam.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

END_TO_END_DB = 176.0
CASES = {"1 Hz": (8000, 8000), "4 Hz": (8000, 2000)}  # samplerate and n_fft
RATES = (8000, 48000, 96000, 256000)


def sound(samplerate: int, seconds: int = 4) -> Any:
    """Noise that falls by 6 dB an octave, and a tone, as float32."""
    n = samplerate * seconds
    noise = np.random.PCG64(0).random_raw(n) / 2.0**63 - 1
    for t in range(1, n):
        noise[t] += 0.99 * noise[t - 1]
    tone = np.sin(2 * np.pi * 0.1237 * np.arange(n))
    return (0.01 * noise + 0.1 * tone).astype(np.float32)


def main() -> None:
    import xarray
    from pypam import utils
    from pypam.signal import Signal

    found: dict[str, Any] = {}
    for name, (rate, n_fft) in CASES.items():
        signal = Signal(sound(rate).astype(np.float64) * 10 ** (END_TO_END_DB / 20), rate)
        signal.set_band(None)
        frequencies, power, _ = signal.spectrum(nfft=n_fft, overlap=0.5, db=False)
        psd = xarray.DataArray(power[None], {"frequency": frequencies}, ["id", "frequency"])
        limits = {
            "millidecade": utils.get_hybrid_millidecade_limits([0, rate / 2], n_fft, rate),
            "decidecade": utils.get_decidecade_limits([10, rate / 2], n_fft, rate),
        }
        for bands, (edges, centres) in limits.items():
            levels = utils.spectra_ds_to_bands(psd, edges, centres, rate / n_fft, db=True)
            found[f"{name} {bands} centres"] = np.asarray(centres, np.float32)
            if rate == n_fft:  # of other bins it divides the sum, not the power, by the band's Hz
                found[f"{name} {bands} levels"] = levels.values[0].astype(np.float32)
    for rate in RATES:
        _, centres = utils.get_hybrid_millidecade_limits([0, rate / 2], rate, rate)
        _, decidecades = utils.get_decidecade_limits([10, rate / 2], rate, rate)
        found[f"counts {rate}"] = np.array([len(centres), len(decidecades)])
    np.savez_compressed(Path(__file__).with_name("pypam.npz"), **found)


if __name__ == "__main__":
    main()
