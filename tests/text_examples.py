"""Label files that are no tables, as tools write them, by "FORMAT: what is in it"."""

from __future__ import annotations

import json
from typing import Any

AUDACITY = {
    # As LabelStruct::Export writes them, with and without frequencies.
    "audacity: regions, points and frequencies": b"0.500000\t1.250000\twren\n"
    b"\\\t2000.000000\t8000.500000\n2.000000\t2.000000\t\n3.000000\t4.000000\tcrow\n"
    b"\\\t-1.000000\t9000.000000\n",
    # Two tracks, exported together where decimals have a comma.
    "audacity: two tracks with commas": b"5,000000\t6,000000\tb\r\n1,000000\t2,000000\ta\r\n",
    # Old files without ends, and what the importer takes for them.
    "audacity: points": b"0.5\tclick\n1.5\t\tother\n2.5\t\n3.5\t4.5\n",
    # BirdNET-Analyzer, save_as_audacity and older versions of it.
    "audacity: BirdNET": b"0\t3.0\tTurdus merula, Eurasian Blackbird\t0.8132\n"
    b"3.0\t6.0\tParus major, Great Tit\t0.55\n",
}
NIST = {
    "rttm: speakers": b";; made up\nSPEAKER a 1 6.690 0.430 <NA> <NA> ann <NA> <NA>\n"
    b"SPKR-INFO a 1 <NA> <NA> <NA> unknown ann <NA> <NA>\n"
    b"SPEAKER b 2 0.5 1.5 <NA> <NA> bob 0.9 <NA>\n",
    "rttm: nine fields": b"SPEAKER a 1 6.690 0.430 <NA> <NA> ann <NA>\n",
    "uem: parts": b";; made up\na NA 0.000 30.000\nb 1 10.000 20.000\n",
    "ctm: words": b";; made up\na A 0.5 0.25 hello 0.9\na B 1.0 0.5 you\n",
}
SUBTITLES = {
    # As LabelStruct::Export writes them.
    "srt: cues": b"1\n00:00:00,500 --> 00:00:01,250\nwren\n\n2\n01:00:02,000 --> 01:00:02,000\n\n\n"
    b"3\n01:00:03,000 --> 01:00:04,000\ntwo\nlines\n",
    "webvtt: of Audacity": b"WEBVTT\n\n1\n00:00:00.500 --> 00:00:01.250\nwren\n\n",
    "webvtt: of others": b"WEBVTT - a title\nKind: x\n\nNOTE no\ncue --> at all\n\n"
    b"00:01.000 --> 00:02.500 align:start\ncrow\n",
}
_LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0\x20
xmax = 5\x20
tiers? <exists>\x20
size = 2\x20
item []:\x20
    item [1]:
        class = "IntervalTier"\x20
        name = "song"\x20
        xmin = 0\x20
        xmax = 5\x20
        intervals: size = 4\x20
        intervals [1]:
            xmin = 0\x20
            xmax = 0.5\x20
            text = ""\x20
        intervals [2]:
            xmin = 0.5\x20
            xmax = 1.25\x20
            text = "say ""ah"" 1"\x20
        intervals [3]:
            xmin = 1.25\x20
            xmax = 3.5\x20
            text = " "\x20
        intervals [4]:
            xmin = 3.5\x20
            xmax = 5\x20
            text = "\u00fcn\u00ef
two lines"\x20
    item [2]:
        class = "TextTier"\x20
        name = "clicks"\x20
        xmin = 0\x20
        xmax = 5\x20
        points: size = 2\x20
        points [1]:
            number = 0.75\x20
            mark = "k"\x20
        points [2]:
            number = 2.5\x20
            mark = "q""q"\x20
"""
_SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
5
<exists>
1
"IntervalTier"
"song"
0
5
2
0
0.5
""
0.5
5
"say ""ah"" 1"
"""
PRAAT = {
    "textgrid: long": _LONG.encode(),
    "textgrid: short": _SHORT.encode(),
    "textgrid: UTF-16": _LONG.encode("utf-16"),
    "textgrid: UTF-16 without a mark": _SHORT.encode("utf-16-le"),
    "textgrid: other end without a mark": _SHORT.encode("utf-16-be"),
}


def _annotation(kind: str, name: str, of: str, value: str) -> str:
    return (
        f'<ANNOTATION>\n<{kind} ANNOTATION_ID="{name}" {of}>'
        f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></{kind}></ANNOTATION>\n"
    )


def _aligned(name: str, begin: int, end: int, value: str) -> str:
    slots = f'TIME_SLOT_REF1="ts{begin}" TIME_SLOT_REF2="ts{end}"'
    return _annotation("ALIGNABLE_ANNOTATION", name, slots, value)


# The elements and attributes are those that pympi-ling 1.71 and ELAN itself write.
_EAF = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT AUTHOR="" FORMAT="3.0">\n'
    '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
    '<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/My%20Data/a%20b.wav" MIME_TYPE="audio/x-wav" '
    'RELATIVE_MEDIA_URL="../a%20b.wav" TIME_ORIGIN="500"/>\n'
    '<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/My%20Data/a.mp4" MIME_TYPE="video/mp4"/>\n'
    "</HEADER>\n<TIME_ORDER>\n"
    '<TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/>\n<TIME_SLOT TIME_SLOT_ID="ts2"/>\n'
    '<TIME_SLOT TIME_SLOT_ID="ts3"/>\n<TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="2500"/>\n'
    '<TIME_SLOT TIME_SLOT_ID="ts5" TIME_VALUE="1200"/>\n</TIME_ORDER>\n'
    '<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="birds">\n'
    + _aligned("a1", 1, 4, "wren &amp; <![CDATA[<co>]]>")
    + _aligned("a2", 5, 4, "")
    + '</TIER>\n<TIER LINGUISTIC_TYPE_REF="sub" PARENT_REF="birds" TIER_ID="parts">\n'
    + _aligned("a3", 1, 2, "x")
    + _aligned("a4", 2, 3, "y")
    + _aligned("a5", 3, 4, "z")
    + '</TIER>\n<TIER LINGUISTIC_TYPE_REF="as" PARENT_REF="birds" TIER_ID="gloss">\n'
    + _annotation("REF_ANNOTATION", "a6", 'ANNOTATION_REF="a1"', "Troglodytes")
    + _annotation("REF_ANNOTATION", "a7", 'ANNOTATION_REF="a6"', "troglodytes")
    + '</TIER>\n<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="none"/>\n</ANNOTATION_DOCUMENT>\n'
)
ELAN = {"elan: tiers": _EAF.encode()}

_BATS: list[tuple[str, Any, list[int]]] = [
    ("TimeStamp", 0.25, [0]),
    ("TimeInterval", [0.1, 0.2], [0, 1]),
    ("Point", [0.3, 40000.0], [0, 2]),
    ("BoundingBox", [0.4, 30000.0, 0.5, 60000.0], []),
    ("Polygon", [[[0.6, 20000.0], [0.7, 50000.0], [0.65, 10000.0], [0.6, 20000.0]]], [1]),
    ("LineString", [[0.8, 20000.0], [0.9, 25000.0]], [0]),
    ("MultiPoint", [[1.0, 1000.0], [1.1, 2000.0]], [0]),
    ("MultiLineString", [[[1.0, 1e3], [1.1, 2e3]], [[1.2, 3e3], [1.3, 500.0]]], [0]),
    ("MultiPolygon", [[[[1.0, 1e3], [1.1, 2e3], [1.05, 100.0], [1.0, 1e3]]]], [0]),
]
# The tables that soundevent 2.10.0 writes (io.save), without those that are not read.
PROJECT: dict[str, Any] = {
    "uuid": "p",
    "name": "bats",
    "collection_type": "annotation_project",
    "tags": [
        {"id": 0, "key": "dwc:scientificName", "value": "Myotis myotis"},
        {"id": 1, "key": "event", "value": "Echolocation"},
        {"id": 2, "key": "dwc:scientificName", "value": "Nyctalus noctula"},
    ],
    "recordings": [
        {"uuid": "r0", "path": "bat 1.wav", "samplerate": 441000, "time_expansion": 10.0},
        {"uuid": "r1", "path": "b.wav", "samplerate": 48000},
    ],
    "clips": [
        {"uuid": "c0", "recording": "r0", "start_time": 0.0, "end_time": 1.5},
        {"uuid": "c1", "recording": "r1", "start_time": 0.0, "end_time": 30.0},
        {"uuid": "c2", "recording": "r1", "start_time": 30.0, "end_time": 60.0},
    ],
    "sound_events": [
        *(
            {"uuid": f"s{i}", "recording": "r0", "geometry": {"type": kind, "coordinates": at}}
            for i, (kind, at, _) in enumerate(_BATS)
        ),
        {
            "uuid": "s9",
            "recording": "r1",
            "geometry": {"type": "BoundingBox", "coordinates": [1.0, 2000.0, 2.5, 8000.0]},
        },
    ],
    "sound_event_annotations": [
        *(
            {"uuid": f"a{i}", "sound_event": f"s{i}", "tags": tags}
            for i, (_, _, tags) in enumerate(_BATS)
        ),
        {"uuid": "a9", "sound_event": "s9", "tags": [2]},
    ],
    "clip_annotations": [
        {"uuid": "ca0", "clip": "c0", "tags": [0], "sound_events": [f"a{i}" for i in range(9)]},
        {"uuid": "ca1", "clip": "c1", "sound_events": ["a9"]},
        {"uuid": "ca2", "clip": "c2"},
    ],
    "tasks": [
        {"uuid": "t0", "clip": "c0", "status_badges": [{"state": "completed"}]},
        {
            "uuid": "t1",
            "clip": "c1",
            "status_badges": [{"state": "completed"}, {"state": "rejected"}],
        },
        {"uuid": "t2", "clip": "c2", "status_badges": [{"state": "assigned"}]},
    ],
}


def aoef(data: Any, **values: Any) -> bytes:
    """A file of some tables, with others in place of some."""
    return json.dumps({"version": "1.1.0", "data": data | values}).encode()


AOEF = {
    "aoef: project": aoef(PROJECT),
    "aoef: set": aoef(PROJECT, collection_type="annotation_set", tasks=None),
}
TEXTS: dict[str, bytes] = {**AUDACITY, **NIST, **SUBTITLES, **PRAAT, **ELAN, **AOEF}
# Which of several sets of labels is read.
COLUMNS = {
    **dict.fromkeys(PRAAT, "song"),
    **dict.fromkeys(ELAN, "birds"),
    **dict.fromkeys(AOEF, "dwc:scientificName"),
}
