"""Times: when a recording began, as file names, manifests and metadata write it.

Recorders write a second of 60, years of two digits, fractions of three or six, a "T" behind the
time, and two times in a name, of which the first is the start. A time without an offset is that
of a clock of which nobody said where it stood; it is never taken for that of this computer.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

SECOND = 10**9  # in nanoseconds
EPOCH = datetime(1970, 1, 1)
YEARS = range(1900, 2200)  # that a recording can be of; 64 bits hold a little more
HEX_NAME = "audiomoth-hex"  # of the first firmware: Unix time in 8 digits of base 16
CODES = {
    "Y": r"[12]\d{3}",
    "y": r"\d\d",
    "m": r"0[1-9]|1[0-2]",
    "d": r"0[1-9]|[12]\d|3[01]",
    "H": r"[01]\d|2[0-3]",
    "I": r"0[1-9]|1[0-2]",
    "p": r"AM|PM|am|pm",
    "M": r"[0-5]\d",
    "S": r"[0-5]\d|60",
    "f": r"\d{1,9}",
    "z": r"[+-]\d\d(?::?[0-5]\d)?|Z",
}
UNPADDED = {code: rf"(?<!\d)(?:{CODES[code]}|\d)(?!\d)" for code in "mdHIMS"}
NEEDED = ("Yy", "m", "d", "HI")
TEMPLATE = "text with codes of strptime for year, month, day and hour, such as %Y%m%d_%H%M%S"
ZONES = "UTC, an offset such as +10:00, or a name such as Europe/Paris"
# ISO 8601, with a space for the "T" as Wildlife Acoustics writes it.
ISO = re.compile(
    r"(?P<Y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)[T ](?P<H>\d\d):(?P<M>\d\d)"
    r"(?::(?P<S>\d\d)(?:[.,](?P<f>\d{1,9})\d*)?)? ?(?P<z>Z|[+-]\d\d(?::?\d\d)?)?"
)
# By AudioMoth; without "(UTC)" by its first firmware, which knew no other zone.
COMMENT = re.compile(
    r"Recorded at (?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)(?:\.(?P<f>\d{1,9}))? "
    r"(?P<d>\d\d)/(?P<m>\d\d)/(?P<Y>\d{4})"
    r"(?: \(UTC(?P<sign>[+-])?(?P<hours>\d{1,2})?(?::(?P<minutes>[ \d]\d))?\))?"
)


class Stamp(NamedTuple):
    """What a clock said, in ns since 1970, and how many seconds it was ahead of UTC, if known."""

    clock: int
    offset: int | None


class Template:
    """Finds the time in the name of a file by codes of strptime, as OSEkit does.

    The first place counts that fits, and is a date. What fits is not cut out of a longer row of
    digits, which would be another number.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if text == HEX_NAME:
            self._pattern = re.compile(r"^(?P<hex>[0-9A-Fa-f]{8})(?=\.|$)")
            return
        pieces, seen = [], list[str]()
        for literal, unpadded, code in re.findall(r"([^%]+)|%(-?)(.?)", text):
            if not literal and code != "%":
                seen.append(self._known(code, bool(unpadded)))
            known = UNPADDED if unpadded else CODES
            piece = literal or ("%" if code == "%" else "")
            pieces.append(re.escape(piece) if piece else f"(?P<{code}>{known[code]})")
        complete = all(any(code in seen for code in codes) for codes in NEEDED)
        if not complete or len(set(seen)) < len(seen) or ("I" in seen) != ("p" in seen):
            raise ValueError(f"datetime is {text!r}; it must be {TEMPLATE}, each once, %I with %p")
        begins, ends = re.match(r"%-?[^%zp]", text), re.search(r"%-?[^%zp]$", text)
        start, stop = r"(?<!\d)" if begins else "", r"(?!\d)" if ends else ""
        self._pattern = re.compile(start + "".join(pieces) + stop)

    def _known(self, code: str, unpadded: bool) -> str:
        if code not in (UNPADDED if unpadded else CODES):
            raise ValueError(
                f"datetime is {self.text!r}, of which %{'-' * unpadded}{code} is no code that can "
                f"be used; use {', '.join('%' + code for code in CODES)}"
            )
        return code

    def find(self, name: str) -> Stamp | None:
        """The time in a name; None if there is none."""
        for found in self._pattern.finditer(name):
            fields = found.groupdict()
            if self.text == HEX_NAME:
                return Stamp(int(fields["hex"], 16) * SECOND, 0)
            if stamp := _stamp(fields, offset_of(fields.get("z"))):
                return stamp
        return None


def check_templates(given: object) -> tuple[str, ...] | None:
    """The texts of templates, or None; ValueError if any of them is none."""
    if given is None:
        return None
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, Iterable) or not (texts := tuple(texts)):
        raise ValueError(f"datetime is {given!r}; it must be {TEMPLATE}, or a list of such")
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"datetime is {text!r}; it must be {TEMPLATE}")
        Template(text)
    return texts


def check_timezone(given: object) -> str | None:
    """The name of a time zone, or None; ValueError if it is none."""
    if given is None:
        return None
    if not isinstance(given, str):
        raise ValueError(f"timezone is {given!r}; it must be {ZONES}, in quotes in a YAML file")
    zone_of(given)
    return given


def zone_of(name: str) -> tzinfo:
    """The time zone of a name."""
    if name in ("UTC", "Z"):
        return UTC
    try:
        if re.fullmatch(CODES["z"], name):
            return timezone(timedelta(seconds=offset_of(name) or 0))
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ValueError(
            f"timezone is {name!r}, which this machine does not know; it must be {ZONES}; names "
            f"are known where tzdata is installed"
        ) from error


def parse_iso(text: str) -> Stamp | None:
    """A date and time as ISO 8601 writes it, with or without an offset; None if it is none."""
    found = ISO.fullmatch(text)
    return _stamp(found.groupdict(), offset_of(found["z"])) if found else None


def parse_metadata(texts: Mapping[str, str]) -> Stamp | None:
    """The time that metadata tell, by the first of them that says its offset; or by the first."""
    known = (parse_iso(texts.get("guano", "")), parse_iso(texts.get("wamd", "")))
    stamps = [stamp for stamp in (*known, _of_comment(texts.get("comment", ""))) if stamp]
    return next((stamp for stamp in stamps if stamp.offset is not None), next(iter(stamps), None))


def _of_comment(text: str) -> Stamp | None:
    found = COMMENT.match(text)
    if not found:
        return None
    seconds = 3600 * int(found["hours"] or 0) + 60 * int(found["minutes"] or 0)
    return _stamp(found.groupdict(), -seconds if found["sign"] == "-" else seconds)


def offset_of(text: str | None) -> int | None:
    """Seconds ahead of UTC, of text such as +10, +1000, +10:00 or Z; None of none."""
    if not text:
        return None
    digits = re.sub(r"\D", "", text).ljust(4, "0")
    seconds = 3600 * int(digits[:2]) + 60 * int(digits[2:4])
    return -seconds if text.startswith("-") else seconds


def _stamp(fields: Mapping[str, str | None], offset: int | None) -> Stamp | None:
    """The time of fields by the names of their codes; None if there is no such date or hour."""
    if fields.get("Y"):
        year = int(fields["Y"] or 0)
    else:
        year = int(fields["y"] or 0)
        year += 1900 if year > 68 else 2000  # as POSIX has it
    hour = int(fields.get("H") or fields.get("I") or 0)
    if half := fields.get("p"):
        hour = hour % 12 + 12 * (half.upper() == "PM")
    minute, second = int(fields.get("M") or 0), int(fields.get("S") or 0)
    try:
        day = date(year, int(fields["m"] or 0), int(fields["d"] or 0))
    except ValueError:
        return None
    far = offset is not None and abs(offset) >= 86400
    if year not in YEARS or hour > 23 or minute > 59 or second > 60 or far:
        return None
    seconds = (day.toordinal() - EPOCH.toordinal()) * 86400 + 3600 * hour + 60 * minute + second
    return Stamp(seconds * SECOND + int((fields.get("f") or "").ljust(9, "0")), offset)


def offset_text(offset: int) -> str:
    """Seconds ahead of UTC as ISO 8601 has them."""
    sign, ahead = "-" if offset < 0 else "+", timedelta(seconds=abs(offset))
    return sign + str(ahead).rjust(8, "0").removesuffix(":00")


def offsets_at(clock: int, zone: tzinfo) -> set[int]:
    """Seconds ahead of UTC that a zone may be when its clocks show a time.

    There are two where clocks are put back, and none in the hour that they leave out.
    """
    local = EPOCH + timedelta(seconds=clock // SECOND)
    found = set()
    for fold in (0, 1):
        placed = local.replace(tzinfo=zone, fold=fold)
        if placed.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local:
            found.add(int((placed.utcoffset() or timedelta()).total_seconds()))
    return found
