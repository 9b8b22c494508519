"""准确定位页，真的浏览器：从菜单的网址，经平台授权，到位置进门、聊天里有回答；出了毛病，页面说清楚怎么办。"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from bot.loopback.platform import Trouble
from rules.evidence import PlaceKind
from tests.browser.conftest import SHOP, keep
from tests.herefirm import PHONE, HereFirm
from tests.herefirm import running as here_running


class Away:
    """The bot and its platform in a thread of their own."""

    def __init__(self, folder: Path, product: Literal["wecom", "mp"], **how: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="bot", daemon=True)
        self._thread.start()
        # localhost is another site than the platform's 127.0.0.1: cookies come back from there as from a stranger.
        self._run = here_running(folder, product, name="localhost", **how)
        self.firm: HereFirm = self.call(self._run.__aenter__())

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def end(self) -> None:
        self.call(self._run.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@contextmanager
def away(folder: Path, product: Literal["wecom", "mp"] = "wecom", **how: Any) -> Iterator[Away]:
    made = Away(folder, product, **how)
    try:
        yield made
    finally:
        made.end()


@contextmanager
def phone_at(chromium: Browser, *, allowed: bool = True) -> Iterator[BrowserContext]:
    context = chromium.new_context(
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        viewport={"width": 390, "height": 844},
        device_scale_factor=2,
        has_touch=True,
        user_agent=PHONE["User-Agent"],
        geolocation=SHOP,
        permissions=["geolocation"] if allowed else [],
    )
    context.set_default_timeout(15_000)
    complaints: list[str] = []
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield context
    context.close()
    assert [said for said in complaints if "Failed to load resource" not in said] == []  # refused on purpose


def send(page: Page) -> None:
    page.get_by_role("button", name="发送准确位置").click()


@pytest.mark.parametrize("product", ["wecom", "mp"])
def test_from_the_menu_to_the_answer_in_the_chat(chromium: Browser, tmp_path: Path, product: Any) -> None:
    with away(tmp_path, product) as run, phone_at(chromium) as phone:
        firm = run.firm
        if product == "mp":
            hello = firm.platform.messages.text(firm.person, "帮助", at=int(firm.clock().timestamp()))
            run.call(firm.platform.push(f"{firm.address}/mp/callback", hello))
        page = phone.new_page()
        page.goto(firm.page.address)
        expect(page).to_have_url(f"{firm.page.address}#wechat_redirect")  # no code, no state left in sight
        expect(page.get_by_role("heading")).to_have_text("王建，到店了吗？")
        keep(page, f"here_{product}")
        send(page)
        expect(page.locator("#said")).to_contain_text("已收到，误差约 12 米")
        keep(page, f"here_{product}_done")
        run.call(firm.settle())
        [place] = firm.places()
        assert (place.kind, place.accuracy_m) == (PlaceKind.H5.value, 12.0)
        assert firm.inbox()[-1].raw["source"] == "sdk"
        assert firm.platform.pages.checked == ["config:ok"]  # the platform itself accepted our signature
        assert "已到店：柯桥老灶台酒家" in firm.read()
        page.get_by_role("button", name="回到聊天").click()
        expect(page.locator("body")).to_have_text("closed")


def test_a_double_tap_and_a_lost_answer_are_one_position(chromium: Browser, tmp_path: Path) -> None:
    with away(tmp_path) as run, phone_at(chromium) as phone:
        firm = run.firm
        page = phone.new_page()
        page.goto(firm.page.address)
        lost: list[object] = []

        def lose_the_first_answer(route: Any) -> None:
            if not lost:
                lost.append(route.fetch())
                route.abort()
            else:
                route.continue_()

        page.route("**/api/place", lose_the_first_answer)
        page.get_by_role("button", name="发送准确位置").dblclick()
        expect(page.locator("#said")).to_have_text("网络不通")
        page.get_by_role("button", name="再发一次").click()
        expect(page.locator("#said")).to_contain_text("已收到")
        run.call(firm.settle())
        assert len(firm.inbox()) == 1


def no_ticket(firm: HereFirm) -> None:
    firm.platform.trouble("get_jsapi_ticket", Trouble(errcode=48002, times=99))


def no_script(firm: HereFirm) -> None:
    firm.platform.trouble("open/js/jweixin.js", Trouble(status=503, times=99))


@pytest.mark.parametrize("hurt", [no_ticket, no_script])
def test_without_the_sdk_the_browser_measures(
    chromium: Browser, tmp_path: Path, hurt: Callable[[HereFirm], None]
) -> None:
    with away(tmp_path) as run, phone_at(chromium) as phone:
        hurt(run.firm)
        page = phone.new_page()
        page.goto(run.firm.page.address)
        send(page)
        expect(page.locator("#said")).to_contain_text("已收到")
        run.call(run.firm.settle())
        assert run.firm.inbox()[-1].raw["source"] == "browser"
        assert [one.kind for one in run.firm.places()] == [PlaceKind.H5.value]
        expect(page.get_by_role("button", name="回到聊天")).to_be_hidden()  # only the SDK can close the page


@pytest.mark.parametrize(
    ("hurt", "says"),
    [
        (no_ticket, "企业微信没有给这个页面定位许可"),
        (no_script, "企业微信的网页组件打不开"),
        (lambda firm: setattr(firm.platform.pages, "refuses", "cancel"), "没有允许定位"),
        (lambda firm: setattr(firm.platform.pages, "refuses", "system permission denied"), "没有允许定位"),
        (lambda firm: setattr(firm.platform.pages, "refuses", "timeout"), "没有允许定位"),  # then the browser refuses
    ],
    ids=["ticket", "script", "cancel", "denied", "timeout"],
)
def test_what_is_in_the_way_is_said_with_what_to_do(
    chromium: Browser, tmp_path: Path, hurt: Callable[[HereFirm], None], says: str
) -> None:
    """没有许可、没有组件、没授权：各有各的话，都说下一步怎么办，什么也没存。"""
    with away(tmp_path) as run, phone_at(chromium, allowed=False) as phone:
        hurt(run.firm)
        page = phone.new_page()
        page.goto(run.firm.page.address)
        send(page)
        expect(page.locator("#said")).to_contain_text(says)
        expect(page.get_by_role("button", name="发送准确位置")).to_be_enabled()
        keep(page, "here_denied")
        assert run.firm.inbox() == []


def test_without_a_signal_of_the_satellites_it_says_so(chromium: Browser, tmp_path: Path) -> None:
    with away(tmp_path) as run, phone_at(chromium) as phone:
        run.firm.platform.pages.refuses = "no position"
        page = phone.new_page()
        page.add_init_script(
            "navigator.geolocation.getCurrentPosition = (found, lost) => lost({code: 2, PERMISSION_DENIED: 1})"
        )
        page.goto(run.firm.page.address)
        send(page)
        expect(page.locator("#said")).to_contain_text("打开手机的定位开关")


def test_a_signature_that_the_platform_refuses_is_no_dead_end(chromium: Browser, tmp_path: Path) -> None:
    with away(tmp_path) as run, phone_at(chromium) as phone:
        page = phone.new_page()
        page.goto(run.firm.page.address)  # logged in while the domain was trusted
        page.locator("#send").wait_for()
        run.firm.platform.pages.domains = {"another.example"}
        page.reload()
        send(page)
        expect(page.locator("#said")).to_contain_text("已收到")
        assert run.firm.inbox()[-1].raw["source"] == "browser"
        assert run.firm.platform.pages.checked[-1] == "domain"


def test_a_login_that_is_over_is_renewed_without_a_word(chromium: Browser, tmp_path: Path) -> None:
    with away(tmp_path) as run, phone_at(chromium) as phone:
        page = phone.new_page()
        page.goto(run.firm.page.address)
        phone.clear_cookies()
        page.goto(run.firm.page.address)
        send(page)
        expect(page.locator("#said")).to_contain_text("已收到")


def test_a_coarse_position_is_told(chromium: Browser, tmp_path: Path) -> None:
    with away(tmp_path) as run, phone_at(chromium) as phone:
        phone.set_geolocation({"latitude": 30.08215, "longitude": 120.49383, "accuracy": 900})
        page = phone.new_page()
        page.goto(run.firm.page.address)
        send(page)
        expect(page.locator("#said")).to_contain_text("误差约 900 米")
        expect(page.locator("#said")).to_contain_text("再测一次更好")


def test_outside_of_the_app_and_for_strangers(chromium: Browser, tmp_path: Path) -> None:
    with away(tmp_path) as run, phone_at(chromium) as phone:
        run.firm.platform.pages.holder = "somebody"
        page = phone.new_page()
        page.goto(run.firm.page.address)
        expect(page.locator("main")).to_contain_text("公司内部的拜访助手")
        plain = chromium.new_page()
        plain.goto(run.firm.page.address)
        expect(plain.locator("main")).to_contain_text("请在手机的企业微信里打开")
        plain.close()


def test_the_box_of_reminders_is_ticked(chromium: Browser, tmp_path: Path) -> None:
    with away(tmp_path, "mp", boxes=True) as run, phone_at(chromium) as phone:
        page = phone.new_page()
        page.goto(run.firm.page.address)
        expect(page.locator("#remind")).to_contain_text("同意一次能收到一条")
        page.locator("wx-open-subscribe").click()
        expect(page.locator("#remind-said")).to_contain_text("到点会提醒您")
        keep(page, "here_remind")
        assert run.firm.platform.pages.ticked == ["TPL_reminder-01"]
