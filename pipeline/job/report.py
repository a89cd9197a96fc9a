"""The report: how far a job is, and how it ended."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.amounts import duration
from pipeline.html import LISTED, Section, Shown, Table
from pipeline.text import counted, printable

SHOWN = 20  # of each kind of failure


@dataclass(frozen=True)
class Progress:
    """How far a job is, as it says at its start and whenever a region ends."""

    regions: int
    n_regions: int
    windows: int
    n_windows: int


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """How a job ended.

    Attributes
    ----------
    out : str
        Path of the store.
    windows, regions : int
        In the store, or in the share of it.
    computed : int
        Regions computed by this run; others were done before.
    failed : tuple of (int, str)
        Regions that could not be computed, and why.
    unreadable : tuple of (str, str)
        Files that have no windows, and why.
    masked : tuple of (int, int, str)
        First window, the one after the last, and why they could not be read.
    stopped : str or None
        Why the job ended before all regions were tried.
    seconds : float
        How long the run took.
    share : str or None
        Which share of the job it was, if not the whole of it.
    outlook : str or None
        What becomes of the store after a share.
    passed_over : tuple of (str, int)
        As of `Recordings`: no failure, for nobody asked for it by name.
    clipped : int
        Values that were beyond the limits of the codes that they are stored as.
    """

    out: str
    windows: int
    regions: int
    computed: int
    failed: tuple[tuple[int, str], ...]
    unreadable: tuple[tuple[str, str], ...]
    masked: tuple[tuple[int, int, str], ...]
    stopped: str | None
    seconds: float
    share: str | None = None
    outlook: str | None = None
    passed_over: tuple[tuple[str, int], ...] = ()
    clipped: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything was read, computed and stored."""
        return not (self.failed or self.unreadable or self.masked or self.stopped)

    def __str__(self) -> str:
        share = f", share {self.share}" if self.share else ""
        lines = [
            f"{self.out}{share}: {self.windows} windows in {self.regions} regions, "
            f"{self.computed} computed now in {self.seconds:.1f} s"
        ]
        unreadable, masked, failed = self.unreadable, self.masked, self.failed
        lines += [f"not read: {path}: {reason}" for path, reason in unreadable[:SHOWN]]
        lines += [f"masked: windows {a} to {b - 1}: {reason}" for a, b, reason in masked[:SHOWN]]
        lines += [f"failed: region {region}: {reason}" for region, reason in failed[:SHOWN]]
        hidden = sum(max(0, len(found) - SHOWN) for found in (unreadable, masked, failed))
        if hidden:
            lines.append(f"and {hidden} more, which status lists")
        if self.passed_over:
            counts = (f"{kind} ({count})" for kind, count in self.passed_over)
            lines.append(f"passed over: {', '.join(counts)}")
        if self.clipped:
            lines.append(
                f"clipped: {self.clipped:,} values beyond the limits, which info tells; they are "
                f"stored as the nearest"
            )
        if self.stopped:
            lines.append(
                f"stopped: {self.stopped}; what is done is kept: fix that, and run the same "
                f"command again"
            )
        if self.share and not (self.computed or self.failed or self.stopped):
            lines.append("nothing of this share was left to do")
        if self.outlook:
            lines.append(self.outlook)
        return "\n".join(map(printable, lines))

    def _line(self) -> str:
        wrong = {
            "failed": counted(len(self.failed), "region"),
            "masked": counted(self._n_masked, "window"),
            "not read": counted(len(self.unreadable), "file"),
        }
        found = [f"{what}: {n}" for what, n in wrong.items() if not n.startswith("0 ")]
        found += ["stopped"] if self.stopped else []
        return f"{self.out}, {counted(self.windows, 'window')}, {', '.join(found) or 'all done'}"

    @property
    def _n_masked(self) -> int:
        return sum(b - a for a, b, _ in self.masked)

    def _sections(self) -> Iterator[Section]:
        yield {
            "share": self.share,
            "windows": self.windows,
            "regions": f"{self.regions:,}, of which {self.computed:,} computed by this run",
            "took": duration(self.seconds),
            "failed": counted(len(self.failed), "region"),
            "masked": counted(self._n_masked, "window"),
            "not read": counted(len(self.unreadable), "file"),
            "clipped": counted(self.clipped, "value") if self.clipped else None,
            "passed over": ", ".join(f"{kind} ({n:,})" for kind, n in self.passed_over) or None,
            "stopped": self.stopped,
            "outlook": self.outlook,
        }
        if self.failed:
            yield Table("Failed", ("region", "why"), self.failed, unfolded=True)
        if self.masked:
            rows = [(f"{a:,} to {b - 1:,}", why) for a, b, why in self.masked[:LISTED]]
            yield Table("Masked", ("windows", "why"), rows, len(self.masked), unfolded=True)
        if self.unreadable:
            yield Table("Not read", ("path", "why"), self.unreadable, unfolded=True)
