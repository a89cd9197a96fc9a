"""Labels in plots: a row a class, and the events that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from plotted import boxes, marks, swatches

import pipeline as pl
from pipeline.store import pack
from pipeline.views.plots import plot_window

FEATURE = pl.Spectrogram(n_fft=32, frame_length=20)

# A plain table of all that an event may be; frequencies of the features go up to 500 Hz.
TABLE = """path,start,end,label,low_f,high_f,state
x.wav,0.5,1.25,owl,100,300,PRESENT
x.wav,2,2.5,fox,200,900,UNCERTAIN
x.wav,3,3.5,bat,2000,4000,PRESENT
x.wav,3.2,4.8,bat,,,PRESENT
x.wav,3.4,3.4,$cat_{,,,PRESENT
x.wav,1,2,fox,100,300,ABSENT
y.wav,1,2,owl,100,300,PRESENT
x.wav,11,11.5,owl,100,300,PRESENT
"""


def write(path: Path, seconds: int) -> None:
    soundfile.write(path, np.random.default_rng(0).random(seconds * 1000) / 2, 1000)


@pytest.fixture
def labelled(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store of two recordings, labelled by a folder with a table."""
    for name in ("x", "y"):
        write(tmp_path / f"{name}.wav", 12)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.csv").write_text(TABLE)
    out = tmp_path / f"out.{getattr(request, 'param', 'zarr')}"
    sources = [tmp_path / "x.wav", tmp_path / "y.wav"]
    assert pl.extract(sources, out, FEATURE, tmp_path / "tables").ok
    return out


@pytest.mark.parametrize("labelled", ["zarr", "h5"], indirect=True)
def test_events_are_boxes_where_they_have_frequencies(
    labelled: Path, tmp_path: Path, drawn: list[Figure]
) -> None:
    plot_window(labelled, 2, tmp_path / "x.png")
    label, features = drawn[0].axes[0], drawn[0].axes[2]
    colours = swatches(label)
    assert [*colours] == ["$cat_{", "bat", "fox", "owl"]
    assert len({*colours.values()}) == 4
    top = features.get_ylim()[1]
    (owl, solid, one), (fox, dotted, other) = boxes(features)
    np.testing.assert_allclose([owl, fox], [[0.5, 1.25, 100, 300], [2, 2.5, 200, top]])
    assert (solid, dotted) == ("-", ":")  # the annotator was not sure of the fox
    assert (one, other) == (colours["owl"], colours["fox"])
    texts = [(text.get_text(), to_rgba(text.get_bbox_patch().get_facecolor()))  # type: ignore
             for text in features.texts]  # fmt: skip
    assert texts == [("owl", one), ("fox", other)]
    # What is higher than the features go, or has no frequencies, is in the row of its class.
    (high, y0, _), (bat, y1, bats), (cat, y2, cats) = marks(label)
    assert (high, bat, cat) == ([3, 3.5], [3.2, 4.8], [3.4])
    np.testing.assert_allclose([*y0, *y1, *y2], [4 / 3, 4 / 3, 5 / 3, 5 / 3, 0.5])
    assert (bats, cats) == (colours["bat"], colours["$cat_{"])


def test_what_is_not_annotated_is_hatched(
    labelled: Path, tmp_path: Path, drawn: list[Figure]
) -> None:
    plot_window(labelled, 2, tmp_path / "x.png")
    panel = drawn[0].axes[0]
    assert panel.get_title(loc="right") == "hatched: not annotated"
    hatched = np.zeros((4, 7), np.bool_)
    for path in (path for c in panel.collections if c.get_hatch() for path in c.get_paths()):
        (a, row), (b, _) = path.get_extents().get_points().astype(int).tolist()
        hatched[row, a:b] = True
    # The table tells what is absent, and so what is not known.
    shown = ["".join(".?"[cell] for cell in row) for row in hatched.astype(int).tolist()]
    assert shown == ["???.???", "???..??", "?.?????", "..?????"]
    mesh = np.reshape(panel.collections[0].get_array(), (4, 7))  # type: ignore[arg-type]
    heard = ["".join(f"{cell:.0f}" for cell in row) for row in mesh]
    assert heard == ["0001000", "0001100", "0000000", "1100000"]


def test_what_is_annotated_is_not_hatched(tmp_path: Path, drawn: list[Figure]) -> None:
    write(tmp_path / "x.wav", 6)
    # As NIST writes them: who speaks, and which part was listened to.
    (tmp_path / "x.rttm").write_text("SPEAKER x 1 0.5 1 <NA> <NA> A <NA> <NA>\n")
    for end, hatched in ((3, [3, 6]), (6, None)):
        (tmp_path / "x.uem").write_text(f"x NA 0 {end}\n")
        out = tmp_path / f"{end}.zarr"
        assert pl.extract(tmp_path / "x.wav", out, FEATURE, str(tmp_path / "x.[ru]*")).ok
        plot_window(out, 2, tmp_path / "x.png")
        panel = drawn[-1].axes[0]
        found = [path.get_extents() for c in panel.collections if c.get_hatch()
                 for path in c.get_paths()]  # fmt: skip
        assert [[box.x0, box.x1] for box in found] == ([] if hatched is None else [hatched])
        assert bool(panel.get_title(loc="right")) == (hatched is not None)


def gone(tables: Path) -> None:
    (tables / "a.csv").unlink()


def one_more(tables: Path) -> None:
    (tables / "b.csv").write_text(TABLE)


def moved(tables: Path) -> None:
    (tables / "a.csv").write_text(TABLE.replace("0.5,1.25", "2.5,3.25"))


def renamed(tables: Path) -> None:
    (tables / "a.csv").write_text(TABLE.replace("owl", "elk"))


def large(tables: Path) -> None:
    with open(tables / "a.csv", "ab") as file:
        file.write(b"\n" * (64 << 20))


@pytest.mark.parametrize(
    ("labelled", "change"),
    [
        *(("zarr", gone), ("h5", gone), ("zarr", one_more), ("h5", one_more)),
        *(("zarr", moved), ("h5", renamed), ("zarr", large)),
    ],
    indirect=["labelled"],
)
def test_events_are_left_out_where_their_files_are_not_what_they_were(
    labelled: Path, tmp_path: Path, drawn: list[Figure], change: Callable[[Path], None]
) -> None:
    change(tmp_path / "tables")
    plot_window(labelled, 2, tmp_path / "x.png")
    label, features = drawn[0].axes[0], drawn[0].axes[2]
    assert [t.get_text() for t in label.get_yticklabels()] == ["$cat_{", "bat", "fox", "owl"]
    assert any(c.get_hatch() for c in label.collections)
    assert boxes(features) == [] == [*features.texts]
    assert not swatches(label)
    assert not marks(label)


def test_events_are_those_of_the_labels_that_hold(
    labelled: Path, tmp_path: Path, drawn: list[Figure]
) -> None:
    (tmp_path / "new.csv").write_text(TABLE.replace("0.5,1.25", "2.5,3.25"))
    names = {"owl": "elk", "fox": None}
    pl.label(labelled, tmp_path / "new.csv", label_map=names, min_overlap=0.1)
    plot_window(labelled, 2, tmp_path / "x.png")
    features = drawn[0].axes[2]
    assert [box for box, _, _ in boxes(features)] == [[2.5, 3.25, 100, 300]]
    assert [text.get_text() for text in features.texts] == ["elk"]
    pl.label(labelled, np.eye(24, 3))
    plot_window(labelled, 2, tmp_path / "x.png")
    assert not boxes(drawn[1].axes[2])
    assert not swatches(drawn[1].axes[0])


@pytest.mark.parametrize("labelled", ["h5"], indirect=True)
def test_a_packed_copy_has_rows_without_events(
    labelled: Path, tmp_path: Path, drawn: list[Figure]
) -> None:
    pack(labelled, tmp_path / "packed.h5")
    plot_window(tmp_path / "packed.h5", 2, tmp_path / "x.png")
    label, features = drawn[0].axes[:2]
    assert len(label.get_yticklabels()) == 4
    assert not boxes(features)
    assert not marks(label)


def test_fractions_are_shades_and_frames_are_cells_along_time(
    labelled: Path, tmp_path: Path, drawn: list[Figure]
) -> None:
    pl.label(labelled, tmp_path / "tables", label_kind="fraction")
    plot_window(labelled, 2, tmp_path / "x.png")
    mesh = drawn[0].axes[0].collections[0]
    shades = np.reshape(mesh.get_array(), (4, 7))  # type: ignore[arg-type]
    np.testing.assert_allclose(shades[3, :3], [0.5, 0.25, 0])
    assert len({*mesh.to_rgba(shades[3, :3])[:, 0].tolist()}) == 3
    pl.label(labelled, tmp_path / "tables", label_kind="frame")
    plot_window(labelled, 2, tmp_path / "x.png")
    panel = drawn[1].axes[0]
    cells = [c for c in panel.collections if c.get_array() is not None]
    assert len(cells) == 7  # windows
    for t, x in ((0, 0.75), (1, 1.25)):
        owl = np.reshape(cells[t].get_array(), (4, -1))[3]  # type: ignore[arg-type]
        edges = cells[t].get_coordinates()[0, :, 0]  # type: ignore[attr-defined]
        assert owl[np.searchsorted(edges, x - 0.1) - 1] == 1
        assert owl[np.searchsorted(edges, x + (-0.3 if t == 0 else 0.1)) - 1] == 0
    assert any(c.get_hatch() for c in panel.collections)


def test_of_more_classes_than_fit_those_near_have_rows(tmp_path: Path, drawn: list[Figure]) -> None:
    write(tmp_path / "x.wav", 70)
    long = "a name that is longer than there is room for beside a row"
    rows = [f"{k}.5\t{k}.7\tc{k:02} {long} {k}" for k in range(60)]
    (tmp_path / "x.txt").write_text("\n".join(rows))
    pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", FEATURE, tmp_path / "x.txt")
    plot_window(tmp_path / "x.zarr", 10, tmp_path / "x.png")
    panel = drawn[0].axes[0]
    *names, more = (text.get_text() for text in panel.get_yticklabels())
    assert [name[:3] for name in names] == [f"c{k:02}" for k in range(6, 15)]
    assert [name.split()[-1] for name in names] == [f"{k}" for k in range(6, 15)]
    assert {len(name) for name in names} == {32}
    assert more == "51 more"
    mesh = np.reshape(panel.collections[0].get_array(), (10, 9))  # type: ignore[arg-type]
    assert np.array_equal(mesh, np.eye(10, 9))
    plot_window(tmp_path / "x.zarr", 66, tmp_path / "x.png")
    assert [text.get_text() for text in drawn[1].axes[0].get_yticklabels()] == ["60 classes"]


def test_of_more_classes_near_than_fit_the_others_share_a_row(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    write(tmp_path / "x.wav", 3)
    rows = [
        f"{k / 30}\t{k / 30 + 0.01}\tc{k:02} of a long name\n\\\t100\t{200 + k}" for k in range(30)
    ]
    (tmp_path / "x.txt").write_text("\n".join(rows))
    pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", FEATURE, tmp_path / "x.txt")
    plot_window(tmp_path / "x.zarr", 1, tmp_path / "x.png")
    label, features = drawn[0].axes[0], drawn[0].axes[2]
    assert [t.get_text() for t in label.get_yticklabels()][-2:] == ["c23 of a long name", "6 more"]
    assert len(swatches(label)) == 24
    found = boxes(features)
    assert len(found) == 30
    assert {colour for *_, colour in found[24:]} == {to_rgba("#767676")}
    # Names have a place of their own, or none.
    extents = [text.get_window_extent() for text in features.texts]
    assert 3 < len(extents) < 30
    assert not any(a.overlaps(b) for i, a in enumerate(extents) for b in extents[:i])


def test_events_of_one_class_that_overlap_are_side_by_side(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    write(tmp_path / "x.wav", 3)
    (tmp_path / "x.txt").write_text("0\t2\towl\n0.5\t1\towl\n1.5\t2.5\towl\n2\t3\towl\n")
    feature = pl.Waveform()  # which has no frequencies
    pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", feature, tmp_path / "x.txt")
    plot_window(tmp_path / "x.zarr", 1, tmp_path / "x.png")
    found = [(x, y[0]) for x, y, _ in marks(drawn[0].axes[0])]
    third = 1 / 3
    assert [x for x, _ in found] == [[0, 2], [0.5, 1], [1.5, 2.5], [2, 3]]
    np.testing.assert_allclose([y for _, y in found], [third, 2 * third, 2 * third, third])


@pytest.mark.parametrize(
    ("feature", "table"),  # the same events by Audacity and Raven
    [
        (pl.Spectrogram(), "spinetail.txt"),
        (pl.MelSpectrogram(n_mels=40, context="window"), "*.selections.txt"),
    ],
)
def test_boxes_of_a_recorded_spinetail(
    audio: Path, tmp_path: Path, drawn: list[Figure], feature: pl.Feature, table: str
) -> None:
    folder, out = audio / "spinetail-44k", tmp_path / "x.zarr"
    pl.extract(folder / "spinetail.wav", out, feature, str(folder / table), window=0.5)
    plot_window(out, 1, tmp_path / "x.png")
    features = drawn[0].axes[2]
    one, other, *_ = (box for box, _, _ in boxes(features))
    np.testing.assert_allclose(one, [0.101385, 0.36752, 6441.064, 12296.577], atol=0.001)
    np.testing.assert_allclose(other, [0.506924, 3.041545, 2593.156, 8866.921], atol=0.001)
    assert [text.get_text() for text in features.texts] == ["SP", "CRER", "SP", "SP"]


def test_points_in_the_songs_of_flies_are_markers(
    audio: Path, tmp_path: Path, drawn: list[Figure]
) -> None:
    folder = audio / "fly-song-2500Hz"
    out, wav = tmp_path / "x.zarr", folder / "20161207T102314_ch1.wav"
    pl.extract(wav, out, pl.Waveform(), folder / f"{wav.stem}.Table.1.selections.txt")
    plot_window(out, 85, tmp_path / "x.png")
    points = [x[0] for x, _, _ in marks(drawn[0].axes[0]) if len(x) == 1]
    np.testing.assert_allclose(points, [88.926, 88.9584, 88.9888])


def test_of_more_events_than_can_be_told_apart_the_longest_are_drawn(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    write(tmp_path / "x.wav", 3)
    rows = [f"{k / 200}\t{k / 200 + (0.02 if k % 5 else 0.01)}\towl" for k in range(500)]
    (tmp_path / "x.txt").write_text("\n".join(rows))
    pl.extract(tmp_path / "x.wav", tmp_path / "x.zarr", pl.Waveform(), tmp_path / "x.txt")
    plot_window(tmp_path / "x.zarr", 1, tmp_path / "x.png")
    panel = drawn[0].axes[0]
    assert panel.get_title(loc="left") == "the 400 longest of 500 events"
    np.testing.assert_allclose([x[1] - x[0] for x, _, _ in marks(panel)], [0.02] * 400)
