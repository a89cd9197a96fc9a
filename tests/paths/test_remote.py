"""Stores and recordings in a bucket of a real S3 server, and on a web server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import soundfile
import xarray
from commands import ELSEWHERE, LEASE, REGIONS, Command, Workplace, start, wait_for
from conftest import FEATURE, ROOT, Cli, Write, save_hdf5, save_npy, sound, stored
from s3 import Bucket, digests

import pipeline as pl
from pipeline.job.verification import verify
from pipeline.labels.files import load_labels
from pipeline.layout import Layout
from pipeline.locks import lock, object_lease
from pipeline.locks.lock import holders, locked, shared
from pipeline.locks.object_lease import ObjectLease
from pipeline.paths import buckets, ranges
from pipeline.paths.buckets import ChangedError
from pipeline.paths.remote import RemotePath, Version
from pipeline.record import log
from pipeline.record.record import Record
from pipeline.recordings import read_windows
from pipeline.store import open_store
from pipeline.store.remote_store import RemoteStore

_number = count()


@pytest.fixture
def out(s3: Bucket) -> str:
    """Where a store may be made."""
    return f"{s3.url}/{next(_number)}/x.zarr"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("remote"))


@pytest.fixture(scope="module")
def whole(place: Workplace) -> dict[str, str]:
    """What a job stores in a folder."""
    return place.undisturbed("whole.zarr")


def done_regions(out: str) -> int:
    record = Record(RemotePath(out) / ".record")
    return int(record.state(REGIONS).done.sum()) if record.begun() else 0


def held(place: Workplace, s3: Bucket, out: str, before: str = "") -> Command:
    """Start a job that has done its first region, and waits within the second."""
    (place.folder / "hold").touch()
    (place.folder / "held").unlink(missing_ok=True)
    running = place.extract(out, before=s3.before + before)
    wait_for(lambda: (place.folder / "held").exists() and done_regions(out))
    return running


def is_whole(out: str, whole: dict[str, str]) -> None:
    assert digests(out) == whole
    assert verify(out) == []
    name = RemotePath(out).name
    beside = {name.partition("/")[0] for name, _ in RemotePath(out).parent.walk()}
    assert beside == {name}


def test_a_store_in_a_bucket_holds_what_one_in_a_folder_holds(
    s3: Bucket, out: str, sources: list[Path], tmp_path: Path
) -> None:
    labels = np.arange(sum(int(np.ceil(soundfile.info(path).duration)) for path in sources)) % 3
    local = pl.extract(sources, tmp_path / "x.zarr", FEATURE, labels)
    report = pl.extract(sources, out, FEATURE, labels)
    assert (report.ok, report.windows, report.computed) == (True, local.windows, local.computed)
    assert digests(out) == stored(tmp_path / "x.zarr")
    assert verify(out) == []
    assert pl.extract(sources, out, FEATURE, labels).computed == 0
    for options in ({}, {"shuffle": True}, {"shuffle": True, "mix": 2}):
        ours, theirs = (pl.Batches(path, 50, **options) for path in (out, tmp_path / "x.zarr"))
        for (X, y), (X_local, y_local) in zip(ours, theirs, strict=True):
            assert X.tobytes() == X_local.tobytes()
            assert y is not None
            assert y.tolist() == y_local.tolist()  # type: ignore[union-attr]


def test_a_store_in_a_bucket_opens_elsewhere_and_is_told_by_all_verbs(
    s3: Bucket, out: str, write_wav: Write, cli: Cli, tmp_path: Path
) -> None:
    write_wav("a.wav", 5.5)
    assert cli("plan", "a.wav", "--out", out).code == 0
    assert not RemotePath(out).exists()
    assert cli("extract", "a.wav", "--out", out, "--quiet") == (0, "", "")
    status = json.loads(cli("status", out, "--json").out)
    assert [status[name] for name in ("finished", "done", "running")] == [True, 1, []]
    assert json.loads(cli("info", out, "--json").out)["shape"] == [6, 257, 400]
    assert cli("verify", out).out == "all is as it was written\n"
    assert cli("batches", out, "--batch-size", 4).code == 0
    assert cli("plot", out, "--window", 2, "--png", "w.png").code == 0
    assert "finished" in cli("status", out, "--watch").out
    assert cli("report", out, "--html", "r.html", "--audio").code == 0
    assert "data:audio/flac" in Path("r.html").read_text()
    with xarray.open_zarr(open_store(out).zarr_store()) as dataset:  # type: ignore[attr-defined]
        assert dataset.features.dims == ("window", "frequency", "time")
        np.testing.assert_array_equal(pl.open_dataset(out).features, dataset.features)
    refused = cli("extract", "a.wav", "--out", out, "--hop", 0.5)
    assert (refused.code, "hop was 1.0, and is now 0.5" in refused.err) == (2, True)
    assert cli("extract", "a.wav", "--out", out, "--hop", 0.5, "--overwrite").code == 0
    assert json.loads(cli("info", out, "--json").out)["shape"] == [10, 257, 400]
    assert verify(out) == []


def test_a_killed_job_goes_on(
    place: Workplace, s3: Bucket, out: str, whole: dict[str, str]
) -> None:
    running = held(place, s3, out)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    place.release()
    again = place.extract(out, before=s3.before).wait()
    assert (again.code, f"{REGIONS - 1} computed now" in again.err) == (0, True), again.err
    is_whole(out, whole)


KILLED = """
import itertools, os, signal, obstore
calls = itertools.count()
def dying(function):
    def call(*arguments, **options):
        if next(calls) == {number}:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
for name in ("put", "put_async", "delete", "copy"):
    setattr(obstore, name, dying(getattr(obstore, name)))
"""


def test_a_job_killed_before_any_request_leaves_nothing_in_the_way(
    place: Workplace, s3: Bucket, out: str, whole: dict[str, str]
) -> None:
    # As the job first makes the store, then writes, finishes and gives back the lock.
    numbers = [0, 1, 2, 9, 20, 27, 30, 33, 3, 2, 4, 1]
    other = ("--hop", "0.008", "--overwrite")
    for options in ([], ["--overwrite"]):
        assert not options or place.extract(out, *other, before=s3.before).wait().code == 0
        codes = []
        for number in numbers:
            before = s3.before + KILLED.format(number=number)
            codes.append(place.extract(out, *options, before=before).wait().code)
        assert set(codes) <= {0, -signal.SIGKILL}
        assert codes.count(-signal.SIGKILL) >= len(numbers) // 2
        assert place.extract(out, before=s3.before).wait().code == 0
        is_whole(out, whole)


def test_a_second_job_is_refused_and_the_lock_of_the_dead_is_taken(
    place: Workplace, s3: Bucket, out: str, whole: dict[str, str]
) -> None:
    running = held(place, s3, out, ELSEWHERE)
    second = place.extract(out, before=s3.before + LEASE).wait()
    words = f"another job (process {running.pid} on elsewhere) is writing to {out}"
    assert (second.code, words in second.err) == (2, True), second.err
    assert [str(holder) for holder in holders(RemotePath(out))] == [words[13:].partition(")")[0]]
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    place.release()
    began = time.monotonic()
    assert place.extract(out, before=s3.before + LEASE).wait().code == 0
    assert time.monotonic() - began > 1.5
    is_whole(out, whole)


def test_shares_work_side_by_side(
    place: Workplace, s3: Bucket, out: str, whole: dict[str, str]
) -> None:
    runs = [place.extract(out, "--share", f"{i}/3", before=s3.before) for i in (0, 1, 2, 1)]
    for run in runs:
        ended = run.wait()
        assert ended.code == 0, ended.err
    assert Record(RemotePath(out) / ".record").finished()
    is_whole(out, whole)


def test_a_store_that_another_process_begins_to_make_is_not_there_yet(
    s3: Bucket, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, look = RemoteStore(RemotePath(out)), RemotePath.is_file

    def look_as_it_begins(path: RemotePath) -> bool:
        found = look(path)
        (store.record_folder / "unfinished").write_bytes(b"")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(RemotePath, "is_file", look_as_it_begins)
        assert not store.exists()
    assert not store.exists()


class Clock:
    """The time, which can be put forward."""

    ahead = 0.0
    sleep = staticmethod(time.sleep)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def time(self) -> float:
        return time.time() + self.ahead


def test_a_lease_goes_to_one_and_is_lost_only_to_another(
    s3: Bucket, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEASE_SECONDS", 60.0)
    clock = Clock()
    monkeypatch.setattr(object_lease, "time", clock)
    path = RemotePath(out)
    with locked(path) as ours:
        ours.check()
        with pytest.raises(ValueError, match="another job"), locked(path):
            pass
        with pytest.raises(ValueError, match="another job"), shared(path, "0/2"):
            pass
        at = path.parent / ".x.zarr.lock" / "lock"
        stalled = ObjectLease(at, 60.0)
        at.write_bytes(b'{"host": "elsewhere", "pid": 1}')
        with pytest.raises(TimeoutError):
            stalled.acquire(0)
        clock.ahead += 61  # of the other there is no sign of life
        stalled.acquire(0)
        with pytest.raises(PermissionError, match="the lock was lost"):
            ours.check()
        assert stalled.lost() is False
        stalled.release()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.locks.object_lease.ObjectLease._keep", lambda _: None)
        with locked(path) as ours:
            clock.ahead += 40
            ours.check()  # shows a sign of life by itself
            ours._lease._version = Version("none")  # type: ignore[attr-defined]
            clock.ahead += 40
            ours.check()  # the answer to a sign was lost
    assert holders(path) == []


def test_a_server_that_fails_for_a_while_costs_nothing(
    place: Workplace, s3: Bucket, out: str, whole: dict[str, str]
) -> None:
    patient = "import pipeline.paths.buckets; pipeline.paths.buckets.RETRY_SECONDS = 200.0\n"
    running = held(place, s3, out, patient)
    s3.stop()
    place.release()
    time.sleep(1)  # so that it asks in vain; how often is not told
    assert running.poll() is None
    s3.start()
    ended = running.wait()
    assert (ended.code, f"{REGIONS} computed now" in ended.err) == (0, True), ended.err
    is_whole(out, whole)


def test_a_server_that_fails_for_longer_ends_the_job_which_goes_on_later(
    place: Workplace, s3: Bucket, out: str, whole: dict[str, str], write_wav: Write
) -> None:
    impatient = "import pipeline.paths.buckets; pipeline.paths.buckets.RETRY_SECONDS = 0.3\n"
    running = held(place, s3, out, impatient)
    source = RemotePath(f"{s3.url}/kept.wav")
    source.write_bytes((place.folder / "a.wav").read_bytes())
    (recording,) = pl.scan(str(source))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "RETRY_SECONDS", 0.3)
        buckets._client.cache_clear()
        with recording.open() as audio:
            audio.read(0, 8000)
            s3.stop()
            place.release()
            with pytest.raises(OSError, match="cannot be reached"):  # and is no damage
                audio.read(0, recording.n_samples)
        status = start("status", out, cwd=place.folder, before=s3.before + impatient).wait()
        assert (status.code, status.out) == (2, "")
        assert "s3://recordings cannot be reached: " in status.err
        ended_job = running.wait()
        s3.start()
    buckets._client.cache_clear()
    assert (ended_job.code, "run the same command again" in ended_job.err) == (1, True)
    assert "Traceback" not in ended_job.err
    assert place.extract(out, before=s3.before).wait().code == 0
    is_whole(out, whole)


def test_damage_is_found_and_mended(
    place: Workplace, s3: Bucket, out: str, whole: dict[str, str]
) -> None:
    assert place.extract(out, before=s3.before).wait().code == 0
    root, shards = RemotePath(out), shards_of(out)
    flipped = bytearray((root / shards[0]).read_bytes())
    flipped[1000] ^= 1
    (root / shards[0]).write_bytes(bytes(flipped))
    (root / shards[-1]).unlink()
    (root / "start/c.0").write_bytes(b"torn")
    (root / "features/c.foreign").write_bytes(b"")
    assert sorted(damage.kind for damage in verify(out)) == [
        "changed",
        "foreign",
        "missing",
        "torn",
    ]
    with pytest.raises((ValueError, OSError)):
        list(pl.Batches(out))
    assert len(verify(out, repair=True)) == 4
    assert place.extract(out, before=s3.before).wait().code == 0
    is_whole(out, whole)


def shards_of(out: str) -> list[str]:
    """Names of the objects that hold features."""
    made, job = open_store(out), Record(RemotePath(out) / ".record").job()
    layout = Layout.from_json(job["identity"]["layout"])
    return [name for name, _ in RemotePath(out).walk() if made.windows_of(name, layout)]


def test_what_is_lost_is_computed_again(
    place: Workplace, s3: Bucket, out: str, whole: dict[str, str]
) -> None:
    assert place.extract(out, before=s3.before).wait().code == 0
    root, shards = RemotePath(out), shards_of(out)
    (root / shards[0]).unlink()
    again = place.extract(out, before=s3.before).wait()
    assert (again.code, "1 computed now" in again.err) == (0, True), again.err
    is_whole(out, whole)


def test_no_secret_is_stored_or_printed(place: Workplace, s3: Bucket, out: str) -> None:
    ended = place.extract(out, before=s3.before).wait()
    secret = s3.environment["AWS_SECRET_ACCESS_KEY"]
    assert secret not in ended.out + ended.err
    for name, _ in RemotePath(out).walk():
        assert secret.encode() not in (RemotePath(out) / name).read_bytes(), name
    wrong = "os.environ['AWS_SECRET_ACCESS_KEY'] = 'not-the-one'\n"
    for arguments in (["status", out], ["extract", "a.wav", "--out", out]):
        ended = start(*arguments, cwd=place.folder, before=s3.before + wrong).wait()
        assert (ended.code, ended.out) == (2, "")
        assert "ermission denied" in ended.err
        assert "not-the-one" not in ended.err


def lines_of(folder: RemotePath) -> list[bytes]:
    return [line for name in log.log_names(folder) for line in log.read_log(folder, name)]


def test_a_log_goes_on_in_another_object_and_is_read_in_order(
    s3: Bucket, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "OBJECT_LINES", 3)
    folder = RemotePath(out) / "log"
    first, second = log.new_log(folder), log.new_log(folder)
    lines = [b"%d\n" % i for i in range(7)]
    for line in lines:
        first.add(line)
    assert lines_of(folder) == lines
    second.add(b"7\n")
    first.add(b"8\n")
    assert sorted(lines_of(folder)) == sorted([*lines, b"7\n", b"8\n"])
    for name, _ in folder.walk():
        (folder / name).unlink()
    with pytest.raises(OSError, match="No such file"):
        first.add(b"9\n")


def test_an_object_is_replaced_only_as_what_it_was(s3: Bucket, out: str) -> None:
    path = RemotePath(out) / "object"
    first = path.replace(b"1", None)
    assert path.replace(b"1", None) == first  # the answer to the first may have been lost
    second = path.replace(b"2", first)
    for version in (None, first):
        with pytest.raises(ChangedError):
            path.replace(b"3", version)
    with pytest.raises(ChangedError):
        path.read_span(0, 1, first)
    assert path.read_span(0, 1, second) == b"2"


@pytest.fixture(scope="module")
def audio_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of each kind of reader, and what is to be passed over."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "sub +ü%20").mkdir()
    (folder / "features.zarr").mkdir()
    samples = sound(30, 8000, 2)
    for name in ("a.wav", "b.flac", "c.ogg", "d.mp3", "sub +ü%20/e.aiff", "features.zarr/no.wav"):
        soundfile.write(folder / name, samples, 8000)
    soundfile.write(folder / "f.opus", samples, 8000, "OPUS", format="OGG")
    save_npy(folder / "g", (samples * 30000).astype(np.int16))
    save_npy(folder / "h", np.asfortranarray(samples.astype(np.float32)))
    save_hdf5(folder / "i", samples, 8000.0)
    (folder / "j.wav").write_bytes((folder / "a.wav").read_bytes()[:300_000])
    (folder / ".hidden.wav").write_bytes((folder / "a.wav").read_bytes())
    (folder / "notes.txt").write_text("none")
    (folder / "k.m4a").write_text("none")
    (folder / ".l.m4a").write_text("none")
    return folder


@pytest.fixture(scope="module")
def audio_url(audio_folder: Path, s3: Bucket) -> str:
    root = RemotePath(f"{s3.url}/audio")
    for path in audio_folder.rglob("*"):
        if path.is_file():
            (root / str(path.relative_to(audio_folder))).write_bytes(path.read_bytes())
    return root.url


def test_recordings_in_a_bucket_are_read_as_those_in_a_folder(
    audio_folder: Path, audio_url: str
) -> None:
    here, there = (pl.scan(where, samplerate=8000) for where in (str(audio_folder), audio_url))
    assert [path.replace(audio_url, str(audio_folder)) for path in there.paths] == list(here.paths)
    assert (here.unreadable, there.unreadable) == ((), ())
    assert here.passed_over == there.passed_over == ((".m4a", 1),)
    assert [item.header for item in there] == [item.header for item in here]
    grids = [pl.WindowGrid(recordings, 1.0, 0.5) for recordings in (here, there)]
    X, X_there = (read_windows(*pair) for pair in zip((here, there), grids, strict=True))
    assert X.tobytes() == X_there.tobytes()
    for t in np.random.default_rng(0).integers(0, len(grids[0]) - 5, 10).tolist():
        part, used = grids[1][t : t + 5].detached()
        assert read_windows(there[used], part).tobytes() == X[t : t + 5].tobytes()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("/*.wav", ["a.wav", "j.wav"]),
        ("/[bc].*", ["b.flac", "c.ogg"]),
        ("/**/*.aiff", ["sub +ü%20/e.aiff"]),
        ("/su*", ["sub +ü%20/e.aiff"]),
        ("/sub +ü%20/", ["sub +ü%20/e.aiff"]),
        ("/a.wav", ["a.wav"]),
    ],
)
def test_sources_in_a_bucket_are_found(audio_url: str, source: str, found: list[str]) -> None:
    assert list(pl.scan(audio_url + source).paths) == [f"{audio_url}/{name}" for name in found]


def test_a_manifest_names_urls_and_is_one(audio_url: str, tmp_path: Path, write_wav: Write) -> None:
    write_wav("here.wav")
    (tmp_path / "m.csv").write_text(f"path\nhere.wav\n{audio_url}/b.flac\n")
    paths = [str(tmp_path / "here.wav"), f"{audio_url}/b.flac"]
    assert list(pl.scan(tmp_path / "m.csv").paths) == paths
    RemotePath(f"{audio_url}/m.csv").write_bytes(f"path\na.wav\n{audio_url}/b.flac\n".encode())
    assert list(pl.scan(f"{audio_url}/m.csv").paths) == [f"{audio_url}/a.wav", paths[1]]


def test_a_scan_reads_little(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(6_000_000), 8000)
    path = RemotePath(f"{s3.url}/long.wav")
    path.write_bytes((tmp_path / "long.wav").read_bytes())
    read, span = [], RemotePath.read_span

    def counted(path: RemotePath, start: int, stop: int, version: Version) -> bytes:
        read.append(stop - start)
        return span(path, start, stop, version)

    monkeypatch.setattr(RemotePath, "read_span", counted)
    (recording,) = pl.scan(path.url)
    assert sum(read) <= 1 << 17
    with recording.open() as audio:
        audio.read(4_000_000, 4_008_000)
    assert sum(read) <= 1 << 22


def test_changed_recordings_are_refused(
    s3: Bucket, out: str, write_wav: Write, tmp_path: Path
) -> None:
    source = RemotePath(out).parent / "a.wav"
    source.write_bytes(write_wav("1.wav", 20).read_bytes())
    (recording,) = pl.scan(source.url)
    with recording.open() as audio:
        source.write_bytes(write_wav("2.wav", 20, seed=1).read_bytes())
        with pytest.raises(OSError, match="has changed"):
            audio.read(120_000, 124_000)
    assert pl.extract(source.url, tmp_path / "x.zarr").ok
    source.write_bytes(write_wav("3.wav", 20, seed=2).read_bytes())
    with pytest.raises(OSError, match=r"a\.wav: it has changed since"), recording.open():
        pass
    with pytest.raises(ValueError, match=r"a\.wav was changed"):
        pl.extract(source.url, tmp_path / "x.zarr")


@pytest.mark.parametrize("name", ["a.wav", "b.flac", "c.ogg", "d.mp3", "f.opus", "g.npy", "i.h5"])
def test_what_the_network_fails_at_is_raised_and_passes(
    name: str, audio_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recording,) = pl.scan(f"{audio_url}/{name}", samplerate=8000)

    def read() -> bytes:
        with recording.open() as audio:
            return audio.read(40_000, 230_000).tobytes()

    whole = read()
    for fine in (0, 1):  # the first request may be for the header alone
        ranges._piece.cache_clear()
        left, span = [fine], RemotePath.read_span

        def failing(path: RemotePath, *arguments: Any, left: Any = left, span: Any = span) -> bytes:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(f"{path} cannot be reached")
            return bytes(span(path, *arguments))

        with ThreadPoolExecutor(1) as thread:  # which keeps what it has open
            with monkeypatch.context() as patch:
                patch.setattr(RemotePath, "read_span", failing)
                with pytest.raises(OSError, match="cannot be reached"):
                    thread.submit(read).result()
            assert thread.submit(read).result() == whole


class Ranges(SimpleHTTPRequestHandler):
    """Serves files, and parts of them."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, asked = path.read_bytes(), self.headers.get("Range")
        start, stop = 0, len(data)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(len(data), int(last) + 1)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        self.wfile.write(data[start:stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web(audio_folder: Path) -> Iterator[str]:
    """A web server that has the recordings."""
    pytest.importorskip("obstore")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(audio_folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_recordings_on_a_web_server_are_read_as_those_in_a_folder(
    web: str, audio_folder: Path, tmp_path: Path
) -> None:
    names = ["a.wav", "b.flac", "c.ogg", "d.mp3", "i.h5", "sub +ü%20/e.aiff"]
    here = pl.scan([audio_folder / name for name in names])
    (tmp_path / "m.csv").write_text("path\n" + "\n".join(f"{web}/{quote(name)}" for name in names))
    there = pl.scan(tmp_path / "m.csv")
    assert [item.header for item in there] == [item.header for item in here]
    assert there[0].size == here[0].size
    X, X_there = (read_windows(items, pl.WindowGrid(items, 1.0)) for items in (here, there))
    assert X.tobytes() == X_there.tobytes()


def test_a_manifest_on_a_web_server_names_no_files_of_this_machine(
    web: str, audio_folder: Path, write_wav: Write
) -> None:
    here = write_wav("here.wav")
    for named, manifest in (("x/../../a.wav", "m.csv"), (str(here), "n.csv")):
        (audio_folder / manifest).write_text(f"path,label\n{named},owl\n")
    try:
        assert list(pl.scan(f"{web}/m.csv").paths) == [f"{web}/a.wav"]
        message = rf"{web}/n\.csv names {here}, which would be a file of this machine; what is on"
        with pytest.raises(ValueError, match=message):
            pl.scan(f"{web}/n.csv")
        with pytest.raises(ValueError, match=message):
            load_labels(RemotePath(f"{web}/n.csv"))
    finally:
        for name in "mn":
            (audio_folder / f"{name}.csv").unlink()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("extract {url}/none.wav --out x.zarr", "/none.wav does not exist; give a file"),
        ("extract {url}/none/ --out x.zarr", "/none/ does not exist; give a file"),
        ("extract {url}/*.none --out x.zarr", "nothing fits the glob"),
        ("extract {url}/text/ --out x.zarr", "is a folder with no audio in it"),
        ("extract s3://none-such/ --out x.zarr", "s3://none-such: No such file or directory"),
        ("extract {web}/none.wav --out x.zarr", "does not exist; give a file or a manifest"),
        ("extract ftp://h/a.wav --out x.zarr", "remote are s3://, gs:// and https://"),
        ("extract https://u:p@h/a.wav --out x.zarr", "https://h/a.wav was given with a password"),
        ("extract https://h/a.wav?key=p --out x.zarr", "https://h/a.wav was given with a password"),
        ("extract a.wav --out {url}/x.h5", "in a bucket a store is Zarr, and ends in .zarr"),
        ("extract a.wav --out {web}/x.zarr", "cannot be written to; pass a path, or s3://"),
        ("extract a.wav --out s3://none-such/x.zarr", "s3://none-such: No such file or directory"),
        ("status {url}/none.zarr", "none.zarr does not exist; extract makes it"),
        ("status {url}/foreign.zarr", "is not a store that extract made"),
    ],
)
def test_what_will_not_do_is_said_in_one_sentence(
    arguments: str, words: str, s3: Bucket, web: str, cli: Cli, write_wav: Write
) -> None:
    write_wav("a.wav")
    for name in ("text/notes.txt", "foreign.zarr/zarr.json"):
        RemotePath(f"{s3.url}/bad/{name}").write_bytes(b"{}")
    ended = cli(*arguments.format(url=f"{s3.url}/bad", web=web).split())
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert ":p@" not in ended.err
    assert "key=p" not in ended.err


def test_without_obstore_the_extra_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    buckets._client.cache_clear()
    ended = cli("extract", "s3://bucket/a.wav", "--out", "x.zarr")
    assert ended == (
        2,
        "",
        "error: s3://bucket needs obstore, which is not installed; install "
        "dask-audio-pipeline[remote]\n",
    )


def test_a_forked_process_is_refused_and_does_not_hang(s3: Bucket) -> None:
    RemotePath(f"{s3.url}/none").is_file()
    pid = os.fork()
    if pid == 0:
        try:
            RemotePath(f"{s3.url}/none").is_file()
        except RuntimeError as error:
            os._exit(42 if "forked" in str(error) else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_the_engines_can_be_measured(s3: Bucket) -> None:
    script = ROOT / "scripts" / "measure" / "bucket"
    command = [sys.executable, script, f"{s3.url}/measured", "--windows", "64"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ms/window") == 3 + 9
    assert done.stdout.count("MB/s") == 9
