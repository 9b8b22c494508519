"""The sample firm with its site behind a reverse proxy and a loopback platform: for the page of the exact position."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiohttp import web
from sqlalchemy import select
from yarl import URL

from bot.app import App
from bot.loopback.official import OfficialPlatform
from bot.loopback.pages import SCRIPT_PATH, popup_event
from bot.loopback.work import WorkPlatform
from bot.mp_channel import CALLBACK_PATH as MP_PATH
from bot.mp_channel import MpChannel, MpSettings
from bot.mp_sending import Template
from bot.web_channel import WebChannel
from bot.wechat_client import ApiAccount
from bot.wechat_pages import WeChatPages
from bot.wecom_channel import CALLBACK_PATH as WECOM_PATH
from bot.wecom_channel import WecomChannel, WecomSettings
from rules.limits import Limits
from storage import people
from storage.people import Account
from storage.tables.visits import PlaceRow
from tests.databases import WHOLE
from tests.firmrows import FirmRows
from tests.telegramfirm import SHOP, WANG_JIAN, Clock, Deaf, firm_tools, sample_database
from tests.wecomfirm import MEMBERS, words_of
from web.here import HerePage
from web.sessions import Sessions
from web.site import WebSettings

OPENID = "oWangJian_0001"
REMINDER = Template("TPL_reminder-01", "subscribe", (("客户", "thing1"),))
PHONE = {"User-Agent": "Mozilla/5.0 (Linux; Android 14) wxwork/4.1.30 MicroMessenger/7.0.1"}
KEY = b"k" * 32


@dataclass
class HereFirm(FirmRows):
    """`address` is what phones open: a proxy that passes everything on under another host name and port."""

    folder: Path
    platform: WorkPlatform | OfficialPlatform
    address: str
    clock: Clock = field(default_factory=Clock)
    boxes: bool = False

    def __post_init__(self) -> None:
        self.database = sample_database(self.folder)
        tools = firm_tools(self.folder)
        settings = WebSettings(port=0, public_url=self.address)
        self.site = WebChannel(settings, self.database, tools.files, Limits(), Sessions(KEY), self.clock)
        platform = self.platform
        self.channel: WecomChannel | MpChannel
        if isinstance(platform, WorkPlatform):
            self.channel = WecomChannel(
                WecomSettings(
                    platform.app_id,
                    platform.agent_id,
                    platform.secret,
                    platform.callback_token,
                    platform.aes_key,
                    api_base=platform.base,
                ),
                self.database,
                clock=self.clock,
            )
            self.person, path = "wangjian", WECOM_PATH
        else:
            account = ApiAccount("mp", platform.app_id, platform.secret, api_base=platform.base)
            templates = {"reminder": REMINDER} if self.boxes else {}
            mp = MpSettings(account, platform.callback_token, platform.aes_key, templates=templates)
            self.channel = MpChannel(mp, self.database, clock=self.clock, zone=tools.zone)
            self.person, path = OPENID, MP_PATH
            platform.followers.add(OPENID)
            with self.database.work(WHOLE) as work:
                people.link(work, Account("mp", OPENID, OPENID, WANG_JIAN), self.clock())
        platform.pages.holder = self.person
        api = self.channel.api
        assert api is not None
        boxes = (REMINDER.template_id,) if self.boxes else ()
        pages = WeChatPages(
            api, self.channel.take_in, self.clock, platform.base, f"{platform.base}/{SCRIPT_PATH}", boxes
        )
        self.page = HerePage(self.site.site, pages, KEY)
        self.site.app.add_routes(self.page.routes())
        self.site.app.add_routes([web.route("*", path, self.channel.webhook)])
        platform.pages.tell = self._ticked
        self.app = App(self.database, tools, Deaf(), [self.site, self.channel], now=self.clock)

    async def _ticked(self, person: str, templates: list[str]) -> None:
        """The platform tells the account of a box that was ticked."""
        at = int(self.clock().timestamp())
        raw = popup_event(templates)
        xml = self.platform.messages.event(person, "subscribe_msg_popup_event", at=at, raw=raw)
        await self.platform.push(f"{self.address}{MP_PATH}", xml)

    @property
    def path(self) -> str:
        return self.page.path

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{self.site.port}"

    def places(self) -> list[PlaceRow]:
        with self.database.read(WHOLE) as work:
            return list(work.session.scalars(select(PlaceRow).order_by(PlaceRow.id)))

    def read(self) -> str:
        """What stands in this person's chat."""
        return "\n".join(words_of(one) for one in self.platform.sent if one["to"] == self.person)

    async def settle(self) -> None:
        await self.platform.until(lambda: not self.left(), 20)


@dataclass
class Phone:
    """A browser inside the app: it keeps cookies, follows nothing by itself, and says that it is WeChat's."""

    firm: HereFirm
    http: aiohttp.ClientSession

    async def opens(self, url: str, **how: Any) -> aiohttp.ClientResponse:
        headers = {**PHONE, **how.pop("headers", {})}
        answer = await self.http.get(URL(url, encoded=True), allow_redirects=False, headers=headers, **how)
        await answer.read()
        return answer

    async def leaves_for_the_platform(self) -> str:
        """Open the page from the menu; the platform's address that the browser is sent to."""
        answer = await self.opens(self.firm.page.address)
        assert answer.status == 302, await answer.text()
        return answer.headers["Location"]

    async def comes_back(self) -> str:
        """Where the platform sends the browser back to, code and state included."""
        answer = await self.opens((await self.leaves_for_the_platform()).partition("#")[0])
        assert answer.status == 302, await answer.text()
        return answer.headers["Location"]

    async def logs_in(self) -> str:
        """The page as it is shown to whoever came all the way."""
        back = await self.opens(await self.comes_back())
        assert back.status == 302, await back.text()
        shown = await self.opens(back.headers["Location"])
        assert shown.status == 200, await shown.text()
        self.page = await shown.text()
        return self.page

    def shown(self, name: str) -> str:
        """What the page says of itself for its script."""
        found = re.search(rf'data-{name}="([^"]*)"', self.page)
        assert found is not None
        return unescape(found[1])

    async def config(self, url: str) -> aiohttp.ClientResponse:
        answer = await self.http.get(f"{self.firm.page.address}/api/config", params={"url": url}, headers=PHONE)
        await answer.read()
        return answer

    async def posts(self, *, token: str | None = None, **fields: Any) -> aiohttp.ClientResponse:
        """A measured position; fields that are None are left out."""
        whole = {
            "lat": SHOP[0],
            "lon": SHOP[1],
            "accuracy": 12.0,
            "source": "sdk",
            "fix_age_s": 0.4,
            "key": "0f0e0d0c-0b0a-0908-0706-050403020100",
            **fields,
        }
        body = {name: value for name, value in whole.items() if value is not None}
        headers = {**PHONE, "X-Zoudian-Token": self.shown("token") if token is None else token}
        answer = await self.http.post(f"{self.firm.page.address}/api/place", json=body, headers=headers)
        await answer.read()
        return answer


def asked_of(authorize: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(authorize).query).items()}


@asynccontextmanager
async def phone_of(firm: HereFirm) -> AsyncIterator[Phone]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        yield Phone(firm, http)


@asynccontextmanager
async def running(
    folder: Path, product: Literal["wecom", "mp"] = "wecom", *, name: str = "127.0.0.1", **how: Any
) -> AsyncIterator[HereFirm]:
    """The whole bot of one platform. `name` is the host in the address that phones open."""
    made: dict[str, HereFirm] = {}

    async def pass_on(request: web.Request) -> web.StreamResponse:
        """As a reverse proxy does: another host name towards us, redirects and cookies untouched."""
        url = made["firm"].upstream + request.raw_path
        headers = {key: value for key, value in request.headers.items() if key.lower() not in ("host", "connection")}
        async with http.request(
            request.method, URL(url, encoded=True), headers=headers, data=await request.read(), allow_redirects=False
        ) as answer:
            kept = [
                (k, v) for k, v in answer.headers.items() if k.lower() not in ("transfer-encoding", "content-length")
            ]
            body = web.Response(status=answer.status, body=await answer.read())
            for key, value in kept:
                if key.lower() != "content-type":
                    body.headers.add(key, value)
            body.headers["Content-Type"] = answer.headers.get("Content-Type", "application/octet-stream")
            return body

    platform = WorkPlatform(members=MEMBERS) if product == "wecom" else OfficialPlatform()
    proxy = web.Application()
    proxy.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(proxy, access_log=None, shutdown_timeout=0.2)
    async with platform, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            address = f"http://{name}:{runner.addresses[0][1]}"
            firm = made["firm"] = await asyncio.to_thread(HereFirm, folder, platform, address, **how)
            try:
                await firm.app.start()
                yield firm
            finally:
                await firm.app.stop()
                firm.database.close()
        finally:
            await runner.cleanup()
