"""Lines: plain values as JSON, with a checksum; and digests of such values."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import google_crc32c

CHECK_BYTES = len('{"check":"01234567",')


def fingerprint(identity: Any) -> str:
    """SHA-256 of the canonical JSON of plain values, in hexadecimal."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest_lines(values: Iterable[Any]) -> str:
    """SHA-256 of the values as lines of JSON, which are never held all at once."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(json_line(value))
    return digest.hexdigest()


def json_line(value: Any) -> bytes:
    """A value as one line of JSON."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def with_checksum(values: dict[str, Any]) -> bytes:
    """A line of JSON that begins with the checksum of the rest of it."""
    rest = json_line(values)[1:]
    return _check(rest[:-1]) + rest


def _check(rest: bytes) -> bytes:
    return b'{"check":"%08x",' % int(google_crc32c.value(rest))


def parse(line: bytes) -> dict[str, Any] | None:
    """The values of a line `with_checksum`; None if it is damaged."""
    rest = line[CHECK_BYTES:-1]
    if line[-1:] != b"\n" or line[:CHECK_BYTES] != _check(rest):
        return None
    values: dict[str, Any] = json.loads(b"{" + rest)
    return values
