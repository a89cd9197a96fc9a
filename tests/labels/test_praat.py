"""TextGrids of Praat, in all of their forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_events import refused, rows_of, spans_of
from text_examples import PRAAT

LONG, SHORT = PRAAT["textgrid: long"].decode(), PRAAT["textgrid: short"]
# What praatio 6.2.2 gives for the same files (openTextgrid, includeEmptyIntervals=False), but for
# the doubled quotes of points, which it leaves doubled in the long form.
SONG = [('say "ah" 1', 0.5, 1.25), ("ün\u00ef\ntwo lines", 3.5, 5.0)]
CLICKS = [("k", 0.75, 0.75), ('q"q', 2.5, 2.5)]


@pytest.mark.parametrize("name", ["textgrid: long", "textgrid: UTF-16"])
def test_the_long_form_has_intervals_and_points(name: str) -> None:
    assert rows_of(PRAAT[name], "song") == SONG
    assert rows_of(PRAAT[name], "clicks") == CLICKS
    assert spans_of(PRAAT[name], "song") == [("", 0.0, float("inf"), 0)]


@pytest.mark.parametrize("name", [name for name in PRAAT if "mark" in name or "short" in name])
def test_the_short_form_is_read_in_any_encoding(name: str) -> None:
    assert rows_of(PRAAT[name]) == [('say "ah" 1', 0.5, 5.0)]


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_labels_stand_in_their_lines_whatever_ends_them(end: str) -> None:
    rows = rows_of(LONG.replace("\n", end).encode(), "song", "line")
    assert [row[-1] for row in rows] == [22, 30]


def test_what_is_around_values_does_not_matter() -> None:
    bare = LONG.replace(" = ", "=").replace("    ", "").replace("xmin=0.5", '! no 7 "\n0.5')
    assert rows_of(bare.encode(), "song") == SONG


def test_a_tier_must_be_chosen_where_several_have_labels() -> None:
    assert refused(LONG.encode()) == (
        "x.txt has labels in several tiers; pass as label_column (--label-column) one of 'song', "
        "'clicks'"
    )
    assert refused(LONG.encode(), "Song") == (
        "x.txt has no tier 'Song'; pass as label_column (--label-column) one that it has: 'song', "
        "'clicks'"
    )


def test_a_tier_without_text_is_no_choice() -> None:
    empty = LONG.replace("say", "").replace('""ah"" 1', "").replace("ün\u00ef\ntwo lines", " ")
    assert rows_of(empty.encode()) == CLICKS
    assert rows_of(empty.encode(), "song") == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("xmin = 0.5", "xmin = half", "line 22: 'say \"ah\" 1' stands in the place"),
        ("xmin = 0.5", "xmin = 5", "line 21: the interval ends before it begins"),
        ("IntervalTier", "Tier", "line 10: the class of a tier is 'Tier'"),
        ("size = 4", "size = 3", "line 28: '3.5' stands in the place of the class of a tier"),
        ("size = 4", "size = -4", "line 14: the number of intervals or points is -4"),
        ("size = 4", "size = 1e999", "line 14: 'inf' stands in the place of"),
        ("item []", '"item" []', "line 8: the class of a tier is 'item'"),
        ("size = 2 \nitem", "size = 1 \nitem", "line 33: there is more behind the last tier"),
        ('"q""q" ', '"q""q', "line 43: the double quote of a text is never closed"),
        ('mark = "q""q" ', "", "line 44: the file ends before the text of"),
    ],
)
def test_what_is_wrong_is_refused_by_its_line(old: str, new: str, message: str) -> None:
    assert old in LONG
    error = refused(LONG.replace(old, new, 1).encode(), "song")
    assert error.startswith(f"x.txt, {message}"), error


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)))
def test_any_text_is_read_in_any_form_and_encoding(labels: list[str]) -> None:
    # The short form is the long one without what is for people.
    quoted = [label.replace('"', '""') for label in labels]
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    short = f'{head}0\n9\n<exists>\n1\n"IntervalTier"\n"a"\n0\n9\n{len(labels)}\n'
    long = f"{head}xmin = 0\nxmax = 9\ntiers? <exists>\nsize = 1\nitem []:\n    item [1]:\n"
    long += 'class = "IntervalTier"\nname = "a"\nxmin = 0\nxmax = 9\n'
    long += f"intervals: size = {len(labels)}\n"
    for i, label in enumerate(quoted):
        short += f'{i}\n{i + 1}\n"{label}"\n'
        long += f'intervals [{i + 1}]:\nxmin = {i}\nxmax = {i + 1}\ntext = "{label}"\n'
    rows = [(label.strip(), i, i + 1) for i, label in enumerate(labels) if label.strip()]
    for text in (short, long):
        for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be"):
            assert rows_of(text.encode(encoding)) == rows
