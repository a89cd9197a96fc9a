"""What chunks of WAV files say of the time, wherever they are, and however they are damaged."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio.riff import time_texts

Write = Callable[..., Path]

# As AudioMoth-Firmware-Basic 1.11.0 writes it, behind the samples.
GUANO = (
    "GUANO|Version:1.0\nMake:Open Acoustic Devices\nModel:AudioMoth\n"
    "Timestamp:2025-05-03T03:14:00Z\nOriginal Filename:242A2604603691DD_20250503_031400.WAV\n"
)
COMMENT = "Recorded at 03:14:00 03/05/2025 (UTC) by AudioMoth 242A2604603691DD at medium gain."
SAID = {"guano": "2025-05-03T03:14:00Z"}


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def listed(comment: str) -> bytes:
    """The list that AudioMoth writes before the samples, its texts filled up with zeros."""
    fields = chunk(b"ICMT", comment.encode().ljust(384, b"\0")) + chunk(b"IART", b"\0" * 32)
    return chunk(b"LIST", b"INFO" + fields)


def wamd(*fields: tuple[int, bytes]) -> bytes:
    """As the SM4 of Wildlife Acoustics writes it: fields by number, that of the version first."""
    packed = (struct.pack("<HI", number, len(value)) + value for number, value in fields)
    return chunk(b"wamd", struct.pack("<HIH", 0, 2, 1) + b"".join(packed))


FORMAT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))
SAMPLES = chunk(b"data", np.arange(500, dtype="<i2").tobytes())


def wav(*parts: bytes) -> bytes:
    body = b"WAVE" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def said(folder: Path, data: bytes, name: str = "x.wav") -> dict[str, str]:
    (folder / name).write_bytes(data)
    return time_texts(folder / name)


def test_chunks_are_found_before_and_behind_the_samples(tmp_path: Path) -> None:
    guano = chunk(b"guan", GUANO.encode())
    assert said(tmp_path, wav(FORMAT, guano, SAMPLES)) == SAID
    assert said(tmp_path, wav(FORMAT, SAMPLES, guano)) == SAID
    assert said(tmp_path, wav(FORMAT, listed(COMMENT), SAMPLES)) == {"comment": COMMENT}
    both = wav(FORMAT, listed(COMMENT), SAMPLES, guano)
    assert said(tmp_path, both, "x.WAV") == SAID | {"comment": COMMENT}
    assert said(tmp_path, wav(FORMAT, SAMPLES)) == {}
    assert said(tmp_path, both, "x.flac") == {}


def test_the_fields_of_wamd_are_found_among_others(tmp_path: Path) -> None:
    data = wamd(
        *((1, b"SM4BAT"), (5, b"2014-04-02 22:59:14-05:00\0"), (0x0F, struct.pack("<H", 10))),
        (0x0D, b"RIFF" * 1000),  # a voice note
    )
    found = {"wamd": "2014-04-02 22:59:14-05:00", "expansion": "10"}
    assert said(tmp_path, wav(FORMAT, data, SAMPLES)) == found
    assert said(tmp_path, wav(FORMAT, SAMPLES, data)) == found
    assert said(tmp_path, wav(FORMAT, SAMPLES, wamd((5, b"")))) == {"wamd": ""}


def test_guano_may_be_written_with_blanks_and_time_expansion(tmp_path: Path) -> None:
    text = "GUANO|Version: 1.0\r\nTimestamp: 2014-04-02 22:59:14\r\nTE: 10\r\nNote: a:b \0"
    found = said(tmp_path, wav(FORMAT, chunk(b"guan", text.encode()), SAMPLES))
    assert found == {"guano": "2014-04-02 22:59:14", "expansion": "10"}
    assert said(tmp_path, wav(FORMAT, chunk(b"guan", b"\xff\xfe\0\n:"), SAMPLES)) == {}


def test_what_libsndfile_writes_around_it_is_passed_over(tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(501, np.int16), 8000, format="WAV", subtype="PCM_U8")
    data = file.getvalue() + b"\0" * (len(file.getvalue()) % 2)
    assert said(tmp_path, data + chunk(b"guan", GUANO.encode())) == SAID


def test_a_file_above_4_gib_is_walked_by_its_own_lengths(tmp_path: Path) -> None:
    path, length = tmp_path / "x.wav", (1 << 32) + 10
    long = chunk(b"ds64", struct.pack("<QQQI", length + 100, length, length // 2, 0))
    with path.open("wb") as file:
        file.write(b"RF64" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + long + FORMAT)
        file.write(b"data" + struct.pack("<I", 0xFFFFFFFF))
        file.seek(length, 1)  # a hole, which takes no room
        file.write(chunk(b"guan", GUANO.encode()))
    assert time_texts(path) == SAID


WHOLE = wav(
    FORMAT,
    listed(COMMENT),
    wamd((5, b"2014-04-02 22:59:14")),
    SAMPLES,
    chunk(b"guan", b"GUANO|V:1\n"),
)


@given(
    stop=st.integers(0, len(WHOLE)),
    flips=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=20),
)
def test_damage_costs_the_time_at_most(
    tmp_path_factory: pytest.TempPathFactory, stop: int, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(WHOLE)
    for place, value in flips:
        data[place] = value
    found = said(tmp_path_factory.getbasetemp(), bytes(data[:stop]))
    assert found.keys() <= {"guano", "wamd", "comment", "expansion"}


def test_lengths_that_cannot_be_are_no_reason_to_read_them(tmp_path: Path) -> None:
    endless = b"guan" + struct.pack("<I", 0xFFFFFFF0) + GUANO.encode()
    assert said(tmp_path, wav(FORMAT, SAMPLES, endless)) == SAID
    many = wav(FORMAT, *[chunk(b"junk", b"")] * 1000, chunk(b"guan", GUANO.encode()))
    assert said(tmp_path, many) == {}
    assert said(tmp_path, b"") == {}
    assert time_texts(tmp_path / "gone.wav") == {}


def test_recordings_of_an_audiomoth_say_when_they_begin(audio: Path) -> None:
    for path in sorted((audio / "blackbird-48k").glob("*.WAV")):
        minute = path.stem[-4:-2]
        found = time_texts(path)
        assert found.keys() == {"guano", "comment"}
        assert found["guano"] == f"2025-05-03T03:{minute}:00Z"
        assert found["comment"].startswith(f"Recorded at 03:{minute}:00 03/05/2025 (UTC) by")
