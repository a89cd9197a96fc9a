"""Settings of a job: frozen, checked when made."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from pipeline.audio import Channel, check_channel, check_samplerate
from pipeline.checks import number, one_of, reject_unknown, whole
from pipeline.grid import Tail
from pipeline.labels import Labelling
from pipeline.recordings import check_templates, check_timezone

LEAST = math.ulp(0.0)  # of the numbers above 0
LARGEST = 1e30  # of what float32 can be scaled by
WHOLE = ("uint8", "int16")
LABELLING = [item.name for item in dataclasses.fields(Labelling)]


@dataclass(frozen=True)
class Settings:
    """How recordings are cut, read and stored.

    Parameters
    ----------
    window : float
        Length of a window, in seconds.
    hop : float, optional
        Seconds between window starts; `window` if not given.
    channel : int or "mix"
        The channel that is used, counted from 0, or the mean of all.
    samplerate : int, optional
        Rate in Hz that all audio is resampled to; needed for ``.npy``, whose
        rate it is. If not given, all recordings must share one rate.
    tail : {"pad", "drop"}
        What becomes of the last window when a recording ends inside it.
    dtype : {"float32", "float16", "uint8", "int16"}
        Of the stored features. Whole numbers are codes of values, in equal steps
        from one of the limits to the other; values beyond are stored as the
        nearest, and counted. Those of `Waveform` in int16 are its samples.
    limits : sequence of two float, optional
        The least and the greatest value that whole numbers hold; the feature's
        own if not given.
    compression : {"none", "lz4", "zstd"}
        Of features in Zarr; those in HDF5 are not compressed.
    on_error : {"mask", "stop"}
        Whether windows that cannot be read are masked, or end the job.
    on_lost : {"stop", "mask"}
        Whether a job that was begun refuses to go on when one of its recordings
        is gone, or masks what it has not yet computed of it.
    retries : int
        How often a region is tried again that failed for what may pass: an
        input/output error, or a worker that was lost.
    datetime : str or list of str, optional
        Where the names of files say when recordings begin: codes of strptime, as in
        ``"%Y%m%d_%H%M%S"``, found anywhere in a name; several are tried in
        turn. ``audiomoth-hex`` are the names of its first firmware.
    timezone : str, optional
        Of times that say no offset: ``UTC``, ``+10:00`` or ``Europe/Paris``.
    numerics : {"same", "any"}
        Whether all regions must be computed by processes of one numerics class,
        which give the same bits, or may be by any, which differ in the last ones.
    flush : bool
        Whether each region is on the disk before it is recorded as done, so that
        a loss of power costs no more than a kill does.
    labelling : Labelling
        How label files are read; `extract` and others take its parameters as
        settings of their own.

    Raises
    ------
    ValueError
        If a value is not allowed.
    """

    window: float = 1.0
    hop: float | None = None
    channel: Channel = 0
    samplerate: int | None = None
    tail: Tail = "pad"
    dtype: Literal["float32", "float16", "uint8", "int16"] = "float32"
    limits: Sequence[float] | None = None
    compression: Literal["none", "lz4", "zstd"] = "none"
    on_error: Literal["mask", "stop"] = "mask"
    on_lost: Literal["stop", "mask"] = "stop"
    retries: int = 3
    datetime: str | Sequence[str] | None = None
    timezone: str | None = None
    numerics: Literal["same", "any"] = "same"
    flush: bool = False
    labelling: Labelling = field(default_factory=Labelling)

    def __post_init__(self) -> None:
        allowed = "of seconds above 0"
        checked = {
            "window": number("window", self.window, LEAST, allowed),
            "hop": None if self.hop is None else number("hop", self.hop, LEAST, allowed),
            "channel": check_channel(self.channel),
            "samplerate": check_samplerate(self.samplerate),
            "datetime": check_templates(self.datetime),
            "timezone": check_timezone(self.timezone),
            "limits": None if self.limits is None else _check_limits(self.limits),
            "retries": whole("retries", self.retries, 0, "from 0"),
            "compression": "none" if self.compression is None else self.compression,
        }
        if not isinstance(self.flush, bool):
            raise ValueError(f"flush is {self.flush!r}; it must be true or false")
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal:
                one_of(name, getattr(self, name), get_args(hint))
        if self.limits is not None and self.dtype not in WHOLE:
            raise ValueError(
                f"limits is {list(self.limits)}, but dtype is {self.dtype}, which needs none; pass "
                f"dtype {' or '.join(WHOLE)}, or leave limits out"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Settings, with those of `labelling`, from names and values; others are an error."""
        reject_unknown(values, [*cls.names(), *LABELLING], "setting")
        own = {name: value for name, value in values.items() if name not in LABELLING}
        labelling = {name: value for name, value in values.items() if name in LABELLING}
        return cls(**own, labelling=Labelling(**labelling))

    @classmethod
    def names(cls) -> list[str]:
        """Names of the settings, without those of labels."""
        return [item.name for item in dataclasses.fields(cls) if item.name != "labelling"]


def _check_limits(limits: Any) -> tuple[float, float]:
    what = "a finite number"
    with suppress(TypeError, ValueError):
        low, high = (number("limits", value, -LARGEST, what, LARGEST) for value in limits)
        if low < high:
            return low, high
    raise ValueError(
        f"limits is {limits!r:.80}; it must be two finite numbers, the lower one first"
    )
