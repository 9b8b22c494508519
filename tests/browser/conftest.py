"""A headless Chromium with a pretended microphone and position. Debian's is taken, or ZOUDIAN_CHROMIUM."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Geolocation, Page, expect, sync_playwright

from tests.browser.running import Running, as_wave, running
from tests.speech import CLIPS

ARTIFACTS = Path(__file__).parent / "artifacts"
SHOP = Geolocation(latitude=30.08215, longitude=120.49383, accuracy=12)  # at the counter of 柯桥老灶台酒家
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--host-resolver-rules=MAP zoudian.test 127.0.0.1",  # a name that is not this machine, over plain http
]


# A machine that is busy with something else is no fault of the page.
expect.set_options(timeout=20_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")  # Playwright's loop must have ended before an async test of another file runs
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """What its microphone hears is a voice note of the sample firm, over and over."""
    program = os.environ.get("ZOUDIAN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is needed: apt install chromium, or set ZOUDIAN_CHROMIUM"
    sound = tmp_path_factory.mktemp("microphone") / "note.wav"
    sound.write_bytes(as_wave(CLIPS / "note07.ogg"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*FLAGS, f"--use-file-for-fake-audio-capture={sound}"]
        )
        yield browser
        browser.close()


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path, demo=True) as made:
        yield made


@pytest.fixture
def phone(chromium: Browser, bot: Running) -> Iterator[BrowserContext]:
    """A phone held upright at a shop's counter, allowed to know where it is and to listen."""
    yield from opened(chromium, bot, viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True)


@pytest.fixture
def desk(chromium: Browser, bot: Running) -> Iterator[BrowserContext]:
    yield from opened(chromium, bot, viewport={"width": 1280, "height": 800})


def opened(chromium: Browser, bot: Running, **options: Any) -> Iterator[BrowserContext]:
    """A browser of its own. Whatever a page complains of, a forbidden script above all, fails the test at its end."""
    context = chromium.new_context(
        base_url=bot.url,
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        geolocation=SHOP,
        permissions=["geolocation", "microphone"],
        **options,
    )
    context.set_default_timeout(15_000)
    complaints: list[str] = []
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield context
    context.close()
    assert [said for said in complaints if "Failed to load resource: net::" not in said] == []  # cut on purpose


@pytest.fixture
def chat(phone: BrowserContext) -> Page:
    """The chat page of rep 王建."""
    page = phone.new_page()
    page.goto("/chat")
    page.get_by_text("王建 · 在线").wait_for()
    return page


def keep(page: Page, name: str) -> None:
    """A screenshot as a test artefact."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png")
