"""The rendered book in a browser that can reach nothing but it."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, sync_playwright

from taskgroup_core.runs import book
from taskgroup_core.runs.provenance import ROOT

SCREENSHOTS = ROOT / "build" / "screenshots"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [CONTENTS["root"], *(chapter["file"] for part in CONTENTS["parts"] for chapter in part["chapters"])]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail("no Chromium: in CI the pages must be opened")
    pytest.skip("no Chromium on this machine: install it to open the rendered pages")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("book") / "site"
    book.stage(site, ROOT / "build" / "executed")
    return book.render(site).parent


@pytest.fixture(scope="module")
def address(html: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page with all it complained of and all it asked for."""

    def __init__(self, browser: Browser, address: str, mode: str = "light", viewport: dict[str, int] = DESKTOP) -> None:
        self.context = browser.new_context(viewport=viewport, color_scheme=mode)
        self.page: Page = self.context.new_page()
        self.address, self.errors, self.outside = address, [], []
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url}"))
        self.page.on("response", lambda got: got.status >= 400 and self.errors.append(f"{got.status}: {got.url}"))
        self.context.route(lambda url: not url.startswith((address, "data:", "blob:")), self._refuse)

    def _refuse(self, route) -> None:
        self.outside.append(route.request.url)
        route.abort()

    def open(self, name: str) -> Page:
        self.page.goto(f"{self.address}/{name}.html", wait_until="load")
        self.page.wait_for_load_state("networkidle")
        if self.page.locator("span.math, div.math").count():
            self.page.wait_for_function("document.querySelectorAll('mjx-container svg').length > 0")
            self.page.evaluate("MathJax.startup.promise")
        return self.page

    def shoot(self, name: str, kind: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        whole = name != "book/api"  # too long a page to take a picture of
        self.page.screenshot(path=SCREENSHOTS / f"{name.replace('/', '_')}-{kind}.png", full_page=whole)


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address)
    yield visit
    visit.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_error_with_its_formulas_and_asks_for_nothing_outside(name, visit):
    page = visit.open(name)
    assert page.locator("h1").first.inner_text()
    visit.shoot(name, "light")
    assert visit.errors == []
    assert visit.outside == []
    written = page.locator(".bd-article span.math, .bd-article div.math").count()
    assert page.locator(".bd-article mjx-container svg").count() >= written
    assert page.locator("mjx-merror, [data-mml-node=merror]").count() == 0
    prose = page.locator(".bd-article").evaluate(
        """article => {
            const copy = article.cloneNode(true);
            copy.querySelectorAll('pre, code, script, style, mjx-container, .highlight').forEach(part => part.remove());
            return copy.textContent;
        }"""
    )
    assert re.findall(r"\$[^$\n]{1,60}\$", prose) == []  # a formula that was never one
    if name in ("book/notation", "notebooks/01_linearisation", "notebooks/04_grad_tag_end_to_end"):
        assert written > 0


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_in_dark_mode(name, browser, address):
    visit = Visit(browser, address, mode="dark")
    page = visit.open(name)
    assert page.locator("html").get_attribute("data-theme") == "dark"
    visit.shoot(name, "dark")
    assert luminance(page, "body", "backgroundColor") < 0.2
    assert luminance(page, ".bd-article p", "color") > 0.5
    for image in page.locator(".bd-article .cell_output img").all():
        background = image.evaluate("image => getComputedStyle(image).backgroundColor")
        assert background == "rgb(255, 255, 255)"
    assert visit.errors == []
    visit.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_off_on_a_phone(name, browser, address):
    visit = Visit(browser, address, viewport=PHONE)
    page = visit.open(name)
    visit.shoot(name, "phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.bd-article mjx-container[display=true], .bd-article table')].filter(
            wide => {
                for (let box = wide; box && box.tagName != 'BODY'; box = box.parentElement)
                    if (['auto', 'scroll'].includes(getComputedStyle(box).overflowX)) return false;
                return wide.getBoundingClientRect().right > innerWidth;
            }).length"""
    )
    assert cut == 0
    visit.context.close()


def test_search_finds_a_word(visit):
    visit.page.goto(f"{visit.address}/search.html?q=affinity")
    visit.page.wait_for_selector("#search-results li a")
    found = visit.page.locator("#search-results li a").all_inner_texts()
    assert "Glossary" in found
    assert visit.errors == []
    assert visit.outside == []


def test_search_does_not_find_what_is_not_there(visit):
    visit.page.goto(f"{visit.address}/search.html?q=xylophone")
    visit.page.wait_for_function("/did not match/.test(document.querySelector('#search-results').innerText)")
    assert visit.page.locator("#search-results li a").count() == 0


def test_the_switch_changes_the_mode(visit):
    page = visit.open("book/introduction")
    seen = set()
    for _ in range(3):
        page.locator("button.theme-switch-button").first.click()
        seen.add(page.locator("html").get_attribute("data-theme"))
    assert seen == {"light", "dark"}
    assert visit.errors == []


def test_the_first_page_leads_to_the_introduction(visit):
    visit.page.goto(f"{visit.address}/index.html")
    visit.page.wait_for_url("**/book/introduction.html")


def test_links_within_the_book_lead_somewhere(html):
    for name in PAGES:
        page = html / f"{name}.html"
        for link in re.findall(r'href="([^"#?:]+)(?:[#?][^"]*)?"', page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{name}: {link}"


def test_a_warning_fails_the_build(tmp_path):
    site = tmp_path / "site"
    (site / "book").mkdir(parents=True)
    (site / "_config.yml").write_text("title: t\nexecute:\n  execute_notebooks: 'off'\n")
    (site / "_toc.yml").write_text("format: jb-book\nroot: book/page\n")
    (site / "book" / "page.md").write_text("# Page\n\n{doc}`nowhere`\n")
    with pytest.raises(book.BookFailed, match="nowhere"):
        book.render(site)


def luminance(page: Page, selector: str, name: str) -> float:
    red, green, blue = page.locator(selector).first.evaluate(
        "(node, name) => getComputedStyle(node)[name].match(/[\\d.]+/g).slice(0, 3).map(Number)", name
    )
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255
