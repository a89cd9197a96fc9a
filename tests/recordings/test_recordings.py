"""What is found at the sources, and mono samples of it at one rate."""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

import pipeline.recordings.scanning
from pipeline.audio.readers import Header
from pipeline.grid import WindowGrid
from pipeline.recordings import read_windows
from pipeline.recordings.file_names import Paths
from pipeline.recordings.recording import Recording
from pipeline.recordings.recordings import Recordings
from pipeline.recordings.scanning import scan
from pipeline.recordings.sources import find_files

Samples = npt.NDArray[np.float32]
Write = Callable[..., Path]


def read(recording: Recording, start: int = 0, stop: int | None = None) -> Samples:
    with recording.open() as audio:
        return audio.read(start, recording.n_samples if stop is None else stop)


def at_rate(path: Path, native: int, samplerate: int) -> Recording:
    """A NumPy array of one rate, to be delivered at another."""
    (item,) = scan(path, samplerate=native)
    return replace(item, samplerate=samplerate)


def names(recordings: Recordings, folder: Path) -> list[str]:
    return [os.path.relpath(item.path, folder) for item in recordings]


def test_a_file_is_described_by_its_header(write_wav: Write) -> None:
    path = write_wav("x.wav", seconds=2.5, samplerate=11025, channels=2)
    (item,) = recordings = scan(path)
    assert item.path == str(path)
    assert (item.header.samplerate, item.header.channels, item.n_samples) == (11025, 2, 27562)
    assert (item.size, item.modified) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert recordings.unreadable == ()
    assert recordings.n_samples.tolist() == [27562]
    assert recordings.seconds == pytest.approx(27562 / 11025)


def test_a_folder_is_searched_recursively_in_order_of_name(
    write_wav: Write, tmp_path: Path
) -> None:
    found = ["B.WAV", "a.wav", "c.flac", "sub/deep/e.aiff", "sub/x.wav/inner.wav", "ñ 日本.wav"]
    ignored = [".hidden.wav", ".folder/x.wav", "features.zarr/x.wav", "features.h5.parts/x.wav"]
    for name in reversed(found + ignored):
        write_wav(name, seconds=0.1)
    for name in ("notes.txt", "table.csv", "picture.png", "features.h5", "a-lbl.npy"):
        (tmp_path / name).write_bytes(b"no audio")
    assert names(recordings := scan(tmp_path), tmp_path) == found
    assert recordings.unreadable == ()


def test_sources_may_be_text_or_paths_or_any_iterable(write_wav: Write, tmp_path: Path) -> None:
    write_wav("x.wav")
    for sources in (str(tmp_path), tmp_path, f"{tmp_path}/", [tmp_path], iter([str(tmp_path)])):
        assert names(scan(sources), tmp_path) == ["x.wav"]


def test_globs_are_expanded_in_order_of_name(write_wav: Write, tmp_path: Path) -> None:
    for name in ("b.wav", "a.wav", "a.flac", "sub/c.wav", "br[1].wav"):
        write_wav(name, seconds=0.1)
    assert names(scan(f"{tmp_path}/[ab].wav"), tmp_path) == ["a.wav", "b.wav"]
    everywhere = ["a.wav", "b.wav", "br[1].wav", "sub/c.wav"]
    assert names(scan(f"{tmp_path}/**/*.wav"), tmp_path) == everywhere
    assert names(scan(tmp_path / "br[1].wav"), tmp_path) == ["br[1].wav"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_manifest_is_relative_to_where_it_is(
    encoding: str, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = write_wav("elsewhere/z.wav")
    write_wav("audio/ä, b.wav")
    write_wav("lists/one.wav")
    manifest = tmp_path / "lists" / "all.CSV"
    rows = ["path,site", '"../audio/ä, b.wav",north', "one.wav,1", f"{absolute},2", ""]
    manifest.write_text("\n".join(rows), encoding=encoding)
    monkeypatch.chdir(tmp_path)
    found = [Path(item.path).resolve() for item in scan("lists/all.CSV")]
    assert found == [tmp_path / "audio/ä, b.wav", tmp_path / "lists/one.wav", absolute]


def test_a_manifest_s_column_is_found_whatever_its_case_and_spaces(
    write_wav: Write, tmp_path: Path
) -> None:
    write_wav("a.wav")
    write_wav("b.wav")
    (tmp_path / "m.csv").write_text("site, Path \nnorth, a.wav \n\nsouth,b.wav\n")
    assert names(scan(tmp_path / "m.csv"), tmp_path) == ["a.wav", "b.wav"]


def test_sources_of_all_kinds_keep_their_order(write_wav: Write, tmp_path: Path) -> None:
    for name in ("folder/2.wav", "folder/1.wav", "z.wav", "g-2.flac", "g-1.flac", "m.wav"):
        write_wav(name, seconds=0.1)
    (tmp_path / "m.csv").write_text("path\nm.wav\n")
    sources = [tmp_path / "z.wav", f"{tmp_path}/g-*", tmp_path / "folder", tmp_path / "m.csv"]
    expected = ["z.wav", "g-1.flac", "g-2.flac", "folder/1.wav", "folder/2.wav", "m.wav"]
    assert names(scan(sources), tmp_path) == expected


TWO_RATES = r"a\.wav has 8000 Hz, .*fast\.wav has 44100 Hz; .* pass --samplerate to resample"


def make_folder(tmp_path: Path) -> None:
    """Two seconds of one, two and many channels, and things that are no audio."""
    for name, rate, channels in (("a.wav", 8000, 1), ("st.wav", 8000, 2), ("fast.wav", 44100, 1)):
        soundfile.write(tmp_path / name, np.zeros((2 * rate, channels)), rate)
    np.save(tmp_path / "x.npy", np.zeros(9, np.int16))
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.wav").write_bytes(b"no audio")
    (tmp_path / "nothing.csv").touch()
    (tmp_path / "other.csv").write_text("file,label\na.wav,1\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00path")
    (tmp_path / "twice.csv").write_text("path\na.wav\na.wav\n")
    (tmp_path / "dotted.csv").write_text("path\na.wav\n./a.wav\n")
    (tmp_path / "short.csv").write_text("site,path\nnorth,a.wav\nsouth\n")
    (tmp_path / "blank.csv").write_text("path,site\na.wav,north\n ,south\n")
    (tmp_path / "rowless.csv").write_text("path\n")
    (tmp_path / "link.wav").symlink_to("a.wav")


@pytest.mark.parametrize(
    ("sources", "settings", "error", "message"),
    [
        ([], {}, ValueError, "no source is given; give a file, a folder, a glob or a manifest"),
        (["no.wav"], {}, FileNotFoundError, r"no\.wav does not exist; give a file, a folder"),
        (["*.mp3"], {}, FileNotFoundError, r"nothing fits the glob .*\*\.mp3; give another"),
        (["empty"], {}, ValueError, "empty is a folder with no audio in it; give one that has"),
        (
            ["bad"],
            {},
            ValueError,
            r"none of the files found, 1 in all, .*x\.wav: libsndfile: .*\); give others",
        ),
        (["st.wav"], {"channel": 5}, ValueError, r"channel 5 .*st\.wav has 2; .*0 to 1, or mix"),
        (["a.wav"], {"channel": 1}, ValueError, r"channel 1 .*a\.wav has 1; pass --channel 0, "),
        (["a.wav", "a.wav"], {}, ValueError, r"a\.wav is among the sources 2 times; name each"),
        (["bad", "bad"], {}, ValueError, r"x\.wav is among the sources 2 times; name each file"),
        (["twice.csv"], {}, ValueError, r"a\.wav is among the sources 2 times; name each file"),
        (["dotted.csv"], {}, ValueError, r"/a\.wav is among the sources 2 times; name each file"),
        (["a.wav", "./a.wav"], {}, ValueError, r"/a\.wav is among the sources 2 times; name each"),
        (["a.wav", "link.wav"], {}, ValueError, r"/a\.wav is among the sources 2 times; name each"),
        (["short.csv"], {}, ValueError, r"short\.csv names no path in row 2; name one in each row"),
        (["blank.csv"], {}, ValueError, r"blank\.csv names no path in row 2; name one in each row"),
        (["rowless.csv"], {}, ValueError, r"rowless\.csv names no path at all; name one in each"),
        (["a.wav", "st.wav", "fast.wav"], {}, ValueError, TWO_RATES),
        (["a.wav", "x.npy"], {}, ValueError, r"x\.npy is a NumPy array, .*; pass --samplerate"),
        (["nothing.csv"], {}, ValueError, r"nothing\.csv is no manifest: .*'path'; add one"),
        (["other.csv"], {}, ValueError, r"other\.csv .* it has file, label, but no column 'path'"),
        (["binary.csv"], {}, ValueError, r"binary\.csv is not a CSV file .*; give one with a"),
    ],
)
def test_wrong_sources_are_refused_with_the_file_and_a_remedy(
    sources: list[str], settings: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    make_folder(tmp_path)
    with pytest.raises(error, match=message):
        scan([f"{tmp_path}/{source}" for source in sources], **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channel": -1}, "channel is -1; it must be a whole number from 0, or 'mix'"),
        ({"channel": "left"}, "channel is 'left'; it must be a whole number from 0, or 'mix'"),
        ({"channel": True}, "channel is True; it must be a whole number from 0, or 'mix'"),
        ({"samplerate": 0}, "samplerate is 0; it must be a whole number of Hz above 0"),
        ({"samplerate": -1}, "samplerate is -1; it must be a whole number of Hz above 0"),
        ({"samplerate": 2.5}, r"samplerate is 2\.5; it must be a whole number of Hz above 0"),
        ({"samplerate": True}, "samplerate is True; it must be a whole number of Hz above 0"),
        ({"samplerate": 10**12}, "samplerate is 1000000000000; it must be .*, up to 10000000"),
    ],
    ids=str,
)
def test_a_channel_or_rate_that_no_recording_can_have_is_refused_before_files_are_read(
    settings: Any, message: str, write_wav: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav("x.wav", channels=2)
    monkeypatch.delattr("pipeline.recordings.scanning.probe")
    with pytest.raises(ValueError, match=message):
        scan(path, **settings)


def test_unreadable_files_are_listed_with_their_reason(audio: Path) -> None:
    recordings = scan(audio / "broken", samplerate=8000)
    reasons = {Path(path).name: reason for path, reason in recordings.unreadable}
    unreadable = ("half_header", "header_only", "pointer_text", "zero_bytes")
    expected_reasons = ("fmt", "announces 7665456 bytes", "not rec", "not rec")
    assert [*reasons] == [f"{name}.wav" for name in unreadable]
    for reason, expected in zip(reasons.values(), expected_reasons, strict=True):
        assert expected in reason
    assert len(recordings) == 6


def test_a_manifest_row_without_file_is_listed(write_wav: Write, tmp_path: Path) -> None:
    write_wav("x.wav")
    (tmp_path / "m.csv").write_text("path\nmissing.wav\nx.wav\n")
    recordings = scan(tmp_path / "m.csv")
    assert names(recordings, tmp_path) == ["x.wav"]
    assert recordings.unreadable == ((str(tmp_path / "missing.wav"), "No such file or directory"),)


def test_labels_beside_an_array_are_not_audio(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((500, 2), np.int16))
    np.save(tmp_path / "x-lbl.npy", np.zeros(2, np.float32))
    recordings = scan(tmp_path, samplerate=250)
    assert names(recordings, tmp_path) == ["x.npy"]
    assert (recordings.samplerate, recordings.n_samples.tolist()) == (250, [500])


def test_a_slice_is_recordings_again(write_wav: Write, tmp_path: Path) -> None:
    paths = [write_wav(f"{name}.wav", seconds=0.1) for name in "abcd"]
    part = scan(paths)[1:3]
    assert isinstance(part, Recordings)
    assert names(part, tmp_path) == ["b.wav", "c.wav"]


NAMES = st.text(st.characters(), max_size=12)  # surrogates, too


@given(names=st.lists(NAMES, max_size=20), data=st.data())
def test_paths_are_a_sequence_of_text(names: list[str], data: st.DataObject) -> None:
    paths = Paths(names)
    for _ in range(2):
        assert list(paths) == names == [paths[i] for i in range(len(paths))]
        for i in range(-len(names), 0):
            assert paths[i] == names[i]
        for i in (len(names), -len(names) - 1):
            with pytest.raises(IndexError):
                paths[i]
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=20, max_size=20)), np.bool_)
        kept = paths.where(mask[: len(names)])
        assert list(kept) == [name for name, keep in zip(names, mask, strict=False) if keep]
        part = data.draw(st.slices(len(names)))
        paths, names = paths[part], names[part]
        assert list(pickle.loads(pickle.dumps(paths))) == names


def test_many_paths_are_iterated_in_order() -> None:
    names = [f"folder/é{i}.wav" for i in range(10_000)]
    assert list(Paths(names)) == names
    assert list(Paths(names)[4095:9000]) == names[4095:9000]


ITEMS = st.builds(
    Recording,
    path=NAMES,
    header=st.builds(
        Header,
        samplerate=st.sampled_from([1, 8000, 44101, 192_000, 10_000_000]),
        channels=st.integers(1, 64),
        n_samples=st.integers(1, 2**44),
        seekable=st.booleans(),
    ),
    channel=st.sampled_from([0, 5, "mix"]),
    samplerate=st.just(8000),
    size=st.integers(0, 2**62),
    modified=st.integers(-(10**21), 10**21),
    location=NAMES,
)


@given(items=st.lists(ITEMS, min_size=1, max_size=8), data=st.data())
def test_recordings_give_back_the_items_they_were_made_of(
    items: list[Recording], data: st.DataObject
) -> None:
    recordings = Recordings(items, [("x.wav", "no audio")])
    part = data.draw(st.slices(len(items)))
    for some, expected in ((recordings, items), (recordings[part], items[part])):
        again = pickle.loads(pickle.dumps(some))
        assert list(some) == expected == [some[i] for i in range(len(some))] == list(again)
        assert list(some.paths) == [item.path for item in expected]
        known = [(i.path, i.size, i.modified, *dataclasses.astuple(i.header)) for i in expected]
        assert list(some.files()) == known
        assert some.n_samples.tolist() == [item.n_samples for item in expected]
    assert recordings.held_bytes(10**6) == max(item.held_bytes(10**6) for item in items)
    assert (recordings.unreadable, recordings[part].unreadable) == ((("x.wav", "no audio"),), ())
    assert type(recordings[0].size) is type(recordings[-1].header.n_samples) is int


def test_a_slice_of_many_pickles_with_no_more_than_itself(write_wav: Write) -> None:
    (item,) = scan(write_wav("x.wav"))
    many = Recordings([item] * 50_000)
    assert len(pickle.dumps(many[40_000:40_001])) < 3000
    assert len(pickle.dumps(many)) < 50_000 * (2 * len(item.path) + 100)


@given(
    names=st.lists(
        st.lists(st.text("aB-./ \u65e5", min_size=1, max_size=3), min_size=1, max_size=3),
        max_size=12,
    )
)
def test_a_folder_is_searched_in_the_order_of_whole_paths(
    names: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("audio")
    (folder / "m.wav").touch()
    for parts in names:
        parts = [f"x{part.replace('/', '').replace('..', '')}" for part in parts]
        path = folder.joinpath(*parts[:-1], f"{parts[-1]}.wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [str(path) for path in folder.rglob("*.wav")]
    assert list(find_files(folder)[0]) == sorted(found)


def test_folders_are_named_as_they_were_given(
    write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav("in/sub/x.wav")
    monkeypatch.chdir(tmp_path)
    for source, expected in (
        *((".", "in/sub/x.wav"), ("in", "in/sub/x.wav"), ("./in//", "in/sub/x.wav")),
        *(("in/../in/sub", "in/../in/sub/x.wav"), (tmp_path, f"{tmp_path}/in/sub/x.wav")),
    ):
        assert [item.path for item in scan(source)] == [expected]


def test_links_to_files_are_found_and_links_to_folders_are_not_followed(
    write_wav: Write, tmp_path: Path
) -> None:
    elsewhere = write_wav("elsewhere/y.wav")
    write_wav("in/a.wav")
    (tmp_path / "in" / "b.wav").symlink_to(elsewhere)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "gone.wav").symlink_to("nowhere")
    recordings = scan(tmp_path / "in")
    assert names(recordings, tmp_path / "in") == ["a.wav", "b.wav"]
    assert [Path(path).name for path, _ in recordings.unreadable] == ["gone.wav"]


@contextmanager
def without_privileges() -> Iterator[None]:
    """As a user whom permissions bind, which they do not the administrator."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("source", [".", "in", "in/**/*.wav", "i*"])
def test_a_folder_that_may_not_be_searched_is_listed_and_the_rest_is_found(
    source: str, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav("in/sub/x.wav")
    write_wav("in/y.wav")
    (tmp_path / "in" / "sub").chmod(0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # there is no way for others from the root to it
    with without_privileges():
        recordings = scan(source)
        with pytest.raises(ValueError, match=r"in/sub: the folder cannot be searched: Permission"):
            scan("in/sub")
    assert list(recordings.paths) == ["in/y.wav"]
    assert recordings.unreadable == (
        ("in/sub", "the folder cannot be searched: Permission denied"),
    )


def test_links_to_folders_are_searched_where_they_are_named_and_never_in_circles(
    write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("n/a.wav", "n/deep/er/b.wav", "n/x[1]/c.wav", "other/d.wav", "n/.hidden/e.wav"):
        write_wav(name, seconds=0.1)
    write_wav("n/features.zarr/f.wav", seconds=0.1)
    for link, target in (("n/one", "."), ("n/two", "../n"), ("n/site", "../other"), ("n/g", "no")):
        os.symlink(target, link)
    everywhere = ["n/a.wav", "n/deep/er/b.wav", "n/x[1]/c.wav"]
    links = (("links to folders", 3),)
    for pattern in ("n", "n/**", "n/**/*.wav", "n/**/**/*.wav", "**/n/**/*.wav", "[n]/**/*.wav"):
        paths, passed_over, _ = find_files(pattern)
        assert list(paths) == everywhere, pattern
        assert passed_over == links
    for pattern, expected in (
        *(
            ("n/site", ["n/site/d.wav"]),
            ("n/s*", ["n/site/d.wav"]),
            ("n/*/d.wav", ["n/site/d.wav"]),
        ),
        *(("n/site/**/*.wav", ["n/site/d.wav"]), ("./**/d.wav", ["./other/d.wav"])),
        *(
            ("n/**/site/*.wav", ["n/site/d.wav"]),
            ("**/[bd].wav", ["n/deep/er/b.wav", "other/d.wav"]),
        ),
        *(("**/er", ["n/deep/er/b.wav"]), ("n/**/deep/**", ["n/deep/er/b.wav"])),
        *(
            ("other/**/*", ["other/d.wav"]),
            ("n/d**/*.wav", []),
            ("n/.h*/**/*.wav", ["n/.hidden/e.wav"]),
        ),
        (f"{tmp_path}/**/er/*.wav", [f"{tmp_path}/n/deep/er/b.wav"]),
    ):
        if expected:
            assert list(find_files(pattern)[0]) == expected, pattern
        else:
            with pytest.raises(FileNotFoundError, match="nothing fits the glob"):
                find_files(pattern)
    os.mkdir("links")
    for name in "ab":
        os.symlink("../n", f"links/{name}")
    with pytest.raises(
        ValueError, match=r"in it that is read, but with links to folders \(2\); pass"
    ):
        scan("links")


@pytest.mark.parametrize("source", ["in", "in/**", "in/*"])
def test_audio_that_is_not_read_is_counted_by_its_ending(
    source: str, write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wav("in/sub/a.wav")
    for name in ("b.m4a", "C.M4A", "d.wma", "notes.txt", ".hidden.m4a"):
        (tmp_path / "in" / "sub" / name).touch()
    recordings = scan(source)
    assert list(recordings.paths) == ["in/sub/a.wav"]
    assert (recordings.unreadable, recordings.passed_over) == ((), ((".m4a", 2), (".wma", 1)))
    assert recordings[:1].passed_over == ()
    (tmp_path / "in" / "sub" / "a.wav").unlink()
    message = r"it that is read, but with \.m4a \(2\), \.wma \(1\); convert it to WAV or FLAC$"
    with pytest.raises(ValueError, match=message):
        scan(source)


def test_both_names_of_one_file_are_said(write_wav: Write, tmp_path: Path) -> None:
    write_wav("in/a b.WAV")
    (tmp_path / "in" / "link.wav").symlink_to("a b.WAV")
    message = rf"{tmp_path}/in/a b\.WAV is among the sources 2 times; name each file once; "
    message += rf"{tmp_path}/in/a b\.WAV and {tmp_path}/in/link\.wav are the same"
    with pytest.raises(ValueError, match=message):
        scan(tmp_path / "in")


def test_hard_links_are_files_of_their_own_and_other_names_are_not(
    write_wav: Write, tmp_path: Path
) -> None:
    path = write_wav("in/a.wav")
    os.link(path, tmp_path / "in" / "b.wav")
    assert names(scan(tmp_path / "in"), tmp_path / "in") == ["a.wav", "b.wav"]
    (tmp_path / "other").symlink_to("in")
    for sources in (["in", "other/a.wav"], ["in/b.wav", "in/a.wav", "other"]):
        with pytest.raises(ValueError, match=r"/in/[ab]\.wav is among the sources 2 times; name"):
            scan([tmp_path / source for source in sources])


def test_a_missing_file_that_is_named_twice_is_refused(write_wav: Write, tmp_path: Path) -> None:
    write_wav("a.wav")
    (tmp_path / "m.csv").write_text("path\nno.wav\na.wav\n./no.wav\n")
    with pytest.raises(ValueError, match=r"/no\.wav is among the sources 2 times; name each"):
        scan(tmp_path / "m.csv")


def test_few_files_are_probed_ahead_and_the_first_error_ends_the_scan(
    write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav("in/0000.wav", seconds=0.1)
    for i in range(1, 1500):
        os.link(path, tmp_path / "in" / f"{i:04}.wav")
    probed, true_probe = [], pipeline.recordings.scanning.probe

    def probe(path: Path, samplerate: int | None) -> Header:
        probed.append(path.name)
        header = true_probe(path, samplerate)
        return replace(header, channels=2) if path.name == "0000.wav" else header

    monkeypatch.setattr(pipeline.recordings.scanning, "probe", probe)
    recordings = scan(tmp_path / "in", channel=0)
    assert names(recordings, tmp_path / "in") == [f"{i:04}.wav" for i in range(1500)]
    assert [item.header.channels for item in recordings[:3]] == [2, 1, 1]
    probed.clear()
    with pytest.raises(ValueError, match=r"channel 1 was asked for, but .*0001\.wav has 1; pass"):
        scan(tmp_path / "in", channel=1)
    assert len(probed) < 1000


def test_what_no_header_can_say_makes_a_file_unreadable_and_others_are_read(
    write_wav: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcd":
        write_wav(f"{name}.wav")
    claims = {"a": Header(8000, 1, 2**62), "b": Header(10**12, 1, 9), "c": Header(8000, 2**40, 9)}
    true_probe = pipeline.recordings.scanning.probe

    def probe(path: Path, samplerate: int | None) -> Header:
        return claims.get(path.stem) or true_probe(path, samplerate)

    monkeypatch.setattr(pipeline.recordings.scanning, "probe", probe)
    recordings = scan(tmp_path)
    assert names(recordings, tmp_path) == ["d.wav"]
    assert [Path(path).stem for path, _ in recordings.unreadable] == ["a", "b", "c"]
    assert all("which cannot be" in reason for _, reason in recordings.unreadable)


@pytest.mark.parametrize("modified", [-(10**18) - 1, 2**40 * 10**9 + 5])
def test_any_time_of_change_is_kept(modified: int, write_wav: Write) -> None:
    path = write_wav("x.wav")
    os.utime(path, ns=(modified, modified))
    (item,) = scan(path)
    assert item.modified == path.stat().st_mtime_ns
    assert len(read(item)) == 24000


def test_a_channel_is_that_channel_and_mix_is_the_mean_of_all(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (9000, 6)).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", values, 8000, subtype="FLOAT")
    for channel in (0, 3, 5):
        (item,) = scan(tmp_path / "x.wav", channel=channel)
        np.testing.assert_array_equal(read(item, 100, 8000), values[100:8000, channel])
    (item,) = scan(tmp_path / "x.wav", channel="mix")
    mean = values.astype(np.float64).mean(axis=1).astype(np.float32)
    np.testing.assert_array_equal(read(item, 100, 8000), mean[100:8000])


CHANGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "other channels": lambda path: soundfile.write(path, np.zeros((24000, 2)), 8000),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("samplerate", [8000, 5000])
def test_a_file_that_changes_after_the_scan_is_not_read(
    change: str, samplerate: int, write_wav: Write
) -> None:
    path = write_wav("x.wav", seconds=3)
    (item,) = scan(path, samplerate=samplerate)
    CHANGES[change](path)
    why = "No such file" if change == "deleted" else "it has changed since it was scanned"
    with pytest.raises(OSError, match=rf"x\.wav: {why}"):
        read(item, 1000, 9000)


def test_a_recording_is_found_from_another_folder(
    write_wav: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_wav("x.wav")
    monkeypatch.chdir(tmp_path)
    (item,) = scan("x.wav")
    assert item.path == "x.wav"
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(read(item), soundfile.read(path, dtype="float32")[0])


def test_hdf5_is_a_recording_with_its_own_rate(tmp_path: Path) -> None:
    values = np.arange(-500, 500, dtype=np.int16).reshape(500, 2)
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("audio", data=values).attrs["sampling_rate"] = 250
    (item,) = scan(tmp_path, channel=1)
    assert (item.samplerate, item.n_samples) == (250, 500)
    np.testing.assert_array_equal(read(item), values[:, 1] / np.float32(32768))


PAIRS = [(44100, 8000), (48000, 8000), (16000, 8000), (8000, 11025), (8000, 44100), (44101, 8000)]


@pytest.fixture(scope="module")
def resampled(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, tuple[Recording, Samples]]:
    """Recordings to be resampled, and what they are when they are resampled whole."""
    made = {}
    for native, rate in PAIRS:
        path = tmp_path_factory.mktemp("audio") / "x.wav"
        values = np.random.default_rng(native).standard_normal(9 * native + 77) * 0.1
        soundfile.write(path, values, native)
        native_samples = soundfile.read(path, dtype="float32")[0]
        whole = soxr.resample(native_samples, native, rate, quality="VHQ")
        made[native, rate] = (scan(path, samplerate=rate)[0], whole)
    return made


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_resampling_in_blocks_equals_resampling_whole(pair: Any, resampled: Any) -> None:
    recording, expected = resampled[pair]
    samples = read(recording)
    assert samples.dtype == np.float32
    if pair in PAIRS[:2]:
        np.testing.assert_array_equal(samples, expected)
    np.testing.assert_allclose(samples, expected, rtol=0, atol=1e-6)
    assert np.std(samples) > 0.01


@given(pair=st.sampled_from(PAIRS), data=st.data())
def test_resampled_blocks_do_not_depend_on_where_they_begin(
    pair: Any, data: st.DataObject, resampled: Any
) -> None:
    recording, expected = resampled[pair]
    start = data.draw(st.integers(0, recording.n_samples - 1), "start")
    stop = data.draw(st.integers(start + 1, recording.n_samples), "stop")
    part = read(recording, start, stop)
    np.testing.assert_array_equal(part, read(recording)[start:stop])
    np.testing.assert_allclose(part, expected[start:stop], rtol=0, atol=1e-6)


@given(
    n_samples=st.integers(1, 5000),
    native=st.sampled_from([250, 8000, 11025, 16000, 44100, 44101, 96000]),
    rate=st.sampled_from([200, 2500, 8000, 22050, 48000]),
)
def test_the_length_is_that_which_soxr_gives(
    n_samples: int, native: int, rate: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("audio") / "x.npy"
    values = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    np.save(path, values)
    recording = at_rate(path, native, rate)
    expected = values if rate == native else soxr.resample(values, native, rate, quality="VHQ")
    assert recording.n_samples == len(expected)
    if len(expected):
        np.testing.assert_allclose(read(recording), expected, rtol=0, atol=1e-6)


def test_recordings_of_mixed_rates_are_brought_to_one(write_wav: Write, tmp_path: Path) -> None:
    write_wav("a.wav", samplerate=16000)
    write_wav("b.flac", samplerate=44100)
    write_wav("c.wav", samplerate=8000)
    recordings = scan(tmp_path, samplerate=8000)
    assert recordings.samplerate == 8000
    assert recordings.n_samples.tolist() == [24000] * 3


@given(data=st.data())
def test_damage_in_a_resampled_file_stays_near_and_is_the_same_in_every_block(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("audio")
    values = np.random.default_rng(0).standard_normal(60_000).astype(np.float32)
    np.save(folder / "good.npy", values)
    bad = data.draw(st.integers(0, 59_990), "first damaged sample")
    values[bad : bad + 10] = np.nan
    np.save(folder / "bad.npy", values)
    good, damaged = (at_rate(folder / name, 10_000, 5000) for name in ("good.npy", "bad.npy"))
    whole, expected = read(damaged), read(good)
    wrong = np.flatnonzero(np.isnan(whole))
    assert {min(bad // 2, 29_999), bad // 2 + 4} <= set(wrong.tolist())
    assert wrong[0] >= bad // 2 - 300
    assert wrong[-1] <= bad // 2 + 300
    fine = ~np.isnan(whole)
    np.testing.assert_allclose(whole[fine], expected[fine], rtol=0, atol=1e-6)
    start = data.draw(st.integers(0, 29_998), "start")
    stop = data.draw(st.integers(start + 1, 30_000), "stop")
    np.testing.assert_array_equal(read(damaged, start, stop), whole[start:stop])


def test_what_lies_between_two_bad_samples_is_resampled(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(40_000).astype(np.float32)
    np.save(tmp_path / "good.npy", values)
    values[[2000, 12_000, 17_000]] = np.nan, np.inf, -np.inf
    np.save(tmp_path / "bad.npy", values)
    good, bad = (read(at_rate(tmp_path / name, 10_000, 5000)) for name in ("good.npy", "bad.npy"))
    near = [np.abs(np.arange(20_000) - place) <= 300 for place in (1000, 6000, 8500)]
    far = ~np.any(near, axis=0)
    np.testing.assert_allclose(bad[far], good[far], rtol=0, atol=1e-6)
    assert np.isnan(bad[[1000, 6000, 8500]]).all()


def test_of_no_recordings_nobody_knows_the_rate() -> None:
    with pytest.raises(ValueError, match="there are no recordings, and so no samplerate; give"):
        _ = Recordings([]).samplerate


@pytest.mark.parametrize("samplerate", [None, 5000])
def test_windows_of_a_damaged_recording_are_the_same_in_every_block(
    samplerate: int | None, audio: Path, tmp_path: Path
) -> None:
    name = "67416073.210610034155.flac"
    shutil.copy(audio / "broken" / "flipped_bytes.flac", tmp_path / name)
    damaged, original = (
        scan(path, samplerate=samplerate)
        for path in (tmp_path / name, audio / "hydrophone-8k-flac" / name)
    )
    grid = WindowGrid(damaged)[:40]
    whole = read_windows(damaged, grid)
    for block in (1, 7):
        parts = [read_windows(damaged, grid[t : t + block]) for t in range(0, 40, block)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    readable = ~np.isnan(whole).any(axis=1)
    expected = read_windows(original, WindowGrid(original)[:40])
    np.testing.assert_array_equal(whole[readable], expected[readable])
    # Sample 61440, in window 7, is the first damaged one; the file ends in window 25.
    assert readable[:7].all()
    assert not readable[7]
    assert readable[10:24].all()
    assert not readable[26:].any()


@pytest.mark.parametrize(
    ("name", "hop"),
    [("x.ogg", 1.25), ("x.ogg", 1.5), ("x.ogg", 3.0), ("x.opus", 3.0), ("x.mp3", 1.5)],
)
def test_resampled_windows_with_gaps_between_them_equal_those_read_one_by_one(
    name: str, hop: float, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    kind = "OGG" if name == "x.opus" else None
    subtype = "OPUS" if kind else None
    soundfile.write(
        tmp_path / name, rng.uniform(-0.5, 0.5, 45 * 16000), 16000, subtype, format=kind
    )
    recordings = scan(tmp_path / name, samplerate=8000)
    grid = WindowGrid(recordings, window=1.0, hop=hop)
    windows = read_windows(recordings, grid)
    assert len(windows) == len(grid) >= 15
    assert not np.isnan(windows).any()
    single = [read_windows(recordings, grid[t : t + 1])[0] for t in range(len(grid))]
    np.testing.assert_array_equal(windows, single)
    whole = read(recordings[0])
    for window, (_, start, stop) in zip(windows, grid, strict=True):
        np.testing.assert_array_equal(window[: stop - start], whole[start:stop])


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def write_the_first_half(path: Path) -> None:
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples[: len(samples) // 2], rate)


@pytest.mark.parametrize("samplerate", [None, 5000])
@pytest.mark.parametrize("shorten", [cut_in_half, write_the_first_half])
@pytest.mark.parametrize("name", ["x.wav", "x.ogg", "x.mp3"])
def test_windows_that_the_header_promises_and_the_file_lacks_are_nan_and_not_zeros(
    name: str, shorten: Callable[[Path], None], samplerate: int | None, tmp_path: Path
) -> None:
    path = tmp_path / name
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 40 * 16000), 16000)
    recordings = scan(path, samplerate=samplerate)
    grid = WindowGrid(recordings)
    assert len(grid) == 40
    before = read_windows(recordings, grid)
    shorten(path)
    size, modified = path.stat().st_size, path.stat().st_mtime_ns
    recordings = Recordings([replace(recordings[0], size=size, modified=modified)])
    for block in (40, 7):
        after = np.concatenate(
            [read_windows(recordings, grid[t : t + block]) for t in range(0, 40, block)]
        )
        lost = np.isnan(after).all(axis=1)
        assert not np.isnan(after[~lost]).any()
        assert np.ptp(after[~lost], axis=1).min() > 0.1
        assert not lost[:15].any()
        assert lost[24:].all()
        if shorten is cut_in_half or name == "x.wav":
            np.testing.assert_array_equal(after[:15], before[:15])
        if shorten is write_the_first_half:
            assert lost[20:].all()
