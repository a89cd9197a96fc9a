"""What features of levels in mel bands share: the parameters of these, and their scale."""

from abc import ABC
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.checks import number
from pipeline.features.melparameters import ALLOWED, LEAST, MOST
from pipeline.features.melsums import MelSums
from pipeline.kernels import Output, Scale


@dataclass(frozen=True, kw_only=True)
class MelLevels(MelSums, ABC):
    """Levels of the frames of windows in mel bands, of which a feature is made."""

    power: float = 2.0
    output: Output = "db"
    ref: float | Literal["max"] = 1.0
    amin: float = 1e-10
    top_db: float | None = None

    def _numbers(self) -> dict[str, Any]:
        found = super()._numbers()
        for name in ("power", "amin"):
            found[name] = number(name, getattr(self, name), LEAST, ALLOWED, MOST)
        if self.ref != "max":
            found["ref"] = number("ref", self.ref, LEAST, f"{ALLOWED}, or 'max'", MOST)
        if self.top_db is not None:
            found["top_db"] = number("top_db", self.top_db, 0, "of dB from 0, or None", MOST)
        return found

    @property
    def _exponent(self) -> float:
        return self.power

    @property
    def _scale(self) -> Scale:
        return Scale(self.output, self.power, self.ref, self.amin, self.top_db)

    @property
    def units(self) -> str:
        """Of the values."""
        return self._scale.units
