"""What may be asked of all recordings: a channel and a rate."""

from __future__ import annotations

from typing import Literal

from pipeline.audio import HIGHEST_RATE
from pipeline.checks import whole


def check_channel(channel: object) -> int | Literal["mix"]:
    """A channel, counted from 0, or "mix"; ValueError if it is neither."""
    return "mix" if channel == "mix" else whole("channel", channel, 0, "from 0, or 'mix'")


def check_samplerate(samplerate: object) -> int | None:
    """A rate in Hz, or None; ValueError if no recording can have it."""
    allowed = f"of Hz above 0, up to {HIGHEST_RATE}"
    if samplerate is None:
        return None
    return whole("samplerate", samplerate, 1, allowed, HIGHEST_RATE)
