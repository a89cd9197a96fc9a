"""A headless Chromium in which pages are tested, and what eyes and axe's rules say of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from PIL import Image
from servers import skip_unless_installed

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]

BOXES = """those => [...document.querySelectorAll(those)].map((one) => {
    const { left, top, right, bottom } = one.getBoundingClientRect();
    return [left + scrollX, top + scrollY, right + scrollX, bottom + scrollY];
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A running Chromium."""
    skip_unless_installed("Chromium", ("chromium",))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=which("chromium"), args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, file: Path, scheme: str = "light", width: int = 1200, javascript: bool = True
) -> Iterator[Any]:
    """A page in a browser, which must say nothing on the console and ask for no other file."""
    said: list[str] = []
    asked: list[str] = []
    context = browser.new_context(
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        reduced_motion="reduce",
        java_script_enabled=javascript,
    )
    try:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        yield page
        page.title()  # an answer after which all that was said has come
        assert said == []
        assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    finally:
        context.close()


def broken_rules(page: Any) -> list[str]:
    """Which of axe's rules a page breaks, and where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]


def unfold(page: Any) -> None:
    """Show what is folded."""
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")


def shorten(page: Any, what: str, n: int) -> None:
    """Leave so many of what repeats, such as the rows of each table."""
    page.evaluate(
        """([what, n]) => {
            const more = (one) => [...one.parentNode.children].indexOf(one) >= n;
            [...document.querySelectorAll(what)].filter(more).forEach((one) => one.remove());
        }""",
        [what, n],
    )


def ink(page: Any, *elements: str) -> list[list[float]]:
    """How much of each of some elements, as it is shown, is not of its commonest colour."""
    image = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    return [
        [_ink(image.crop([round(place) for place in box])) for box in page.evaluate(BOXES, those)]
        for those in elements
    ]


def _ink(image: Image.Image) -> float:
    counts = [n for n, _ in image.getcolors(image.width * image.height)]
    return 1 - max(counts) / sum(counts)


def unpainted(page: Any) -> list[str]:
    """The marks of drawings that have no colour."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("svg *")].filter((one) => {
            const { fill, stroke } = getComputedStyle(one);
            return fill === "none" && stroke === "none";
        }).map((one) => one.outerHTML)"""
    )
    return found
