"""One visit through 企业微信 and through a 公众号, shown in the terminal: `zoudian demo --wechat`.

The bot, the channels, the encrypted callbacks and the recogniser are the real ones. Only the platforms are not: they
run on this machine (bot/loopback), and the clock is set to last Monday so that the visit takes no half an hour.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from bot.app import App
from bot.loopback.official import OfficialPlatform
from bot.loopback.work import WorkPlatform, choices_of
from bot.mp_channel import MpChannel, MpSettings
from bot.stand_in import made_photo
from bot.wechat_client import ApiAccount
from bot.wecom_channel import WecomChannel, WecomSettings
from handlers.tools import Tools
from nlp.transcribe import Transcriber
from rules.people import Part, system
from rules.places import Point, gcj02_from_wgs84
from storage import inbox, jobs, outbox, people
from storage.database import Database
from storage.people import Account

REP: Final = "E104"  # 周洋 of the sample firm
USERID, OPENID = "zhouyang", "oZhouYang_demo"
CORNER: Final = Point(29.97126, 120.58034)  # the door of an outlet of his
CLIP: Final = "note00.amr"
LAST_WORDS: Final = "担心炸品送来化冻"
BETWEEN: Final = timedelta(minutes=27)  # from the photo to the voice note
PATIENCE_S: Final = 120.0
PATH: Final = "/callback"

Platform = WorkPlatform | OfficialPlatform
Show = Callable[[str, str], None]
"""(who, what was said): "rep" or "bot"."""


@dataclass
class Clock:
    """Goes on from `start`, and can be moved."""

    start: datetime
    moved: timedelta = timedelta(0)
    began: float = field(default_factory=time.monotonic)

    def __call__(self) -> datetime:
        return self.start + self.moved + timedelta(seconds=time.monotonic() - self.began)


class _Phone:
    """The rep's phone on one platform: pushes what is done on it, shows what arrives, counts the acts."""

    def __init__(self, app: App, platform: Platform, person: str, clock: Clock, url: str, show: Show) -> None:
        self._app, self._platform, self._person = app, platform, person
        self._clock, self._url, self._show = clock, url, show
        self._seen = 0
        self.acts = 0

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [message for message in self._platform.sent if message["to"] == self._person]

    async def act(self, shown: str, xml: str) -> None:
        """One act of the rep, and everything that the bot says to it."""
        self.acts += 1
        self._show("rep", shown)
        for attempt in await self._platform.push(self._url, xml):
            if attempt.body.startswith("<xml>"):
                self._show("bot", str(self._platform.signer.open_reply(attempt.body)["Content"]))
        await self._platform.until(lambda: not self._busy(), PATIENCE_S)
        for message in self.sent[self._seen :]:
            self._show("bot", words_of(message))
        self._seen = len(self.sent)

    def _busy(self) -> bool:
        with self._app.database.read() as work:
            if inbox.waiting(work, self._clock()) or any(jobs.counts(work).get(one) for one in ("ready", "running")):
                return True
            return any(one.state == "due" for one in outbox.after(work, 0))

    async def visit(self, recording: bytes, confirm: str) -> None:
        """Pin, photo, voice note, confirmation, and what was still missing."""
        platform, person, clock = self._platform, self._person, self._clock
        says, pin = platform.messages, gcj02_from_wgs84(CORNER)

        def at() -> int:
            return int(clock().timestamp())

        await self.act(f"[{pin.lat:.5f} {pin.lon:.5f}]", says.location(person, pin.lat, pin.lon, at=at()))
        photo = platform.put_media(made_photo("门头"), "image/jpeg")
        await self.act("[photo]", says.image(person, photo, at=at()))
        clock.moved += BETWEEN
        voice = platform.put_media(recording, "audio/amr")
        await self.act("[voice]", says.voice(person, voice, at=at()))
        if isinstance(platform, WorkPlatform):
            await self.act(f"[{confirm}]", platform.tap(person, confirm, at=at()))
        else:
            await self.act("1", says.text(person, "1", at=at()))
        await self.act(LAST_WORDS, says.text(person, LAST_WORDS, at=at()))


async def wecom_tour(
    database: Database,
    tools: Tools,
    transcriber: Transcriber,
    start: datetime,
    recording: bytes,
    confirm: str,
    show: Show,
) -> int:
    """The visit in 企业微信, choices on cards. How many acts it took the rep."""
    clock = Clock(start)
    async with WorkPlatform(members=(USERID, "zhengjingli"), callback_s=10) as platform:
        settings = WecomSettings(
            platform.app_id,
            platform.agent_id,
            platform.secret,
            platform.callback_token,
            platform.aes_key,
            api_base=platform.base,
        )
        channel = WecomChannel(settings, database, clock=clock)
        app = App(database, tools, transcriber, [channel], now=clock)
        async with _serving(app, channel.webhook) as url:
            phone = _Phone(app, platform, USERID, clock, url, show)
            await phone.visit(recording, confirm)
            return phone.acts


async def mp_tour(
    database: Database,
    tools: Tools,
    transcriber: Transcriber,
    start: datetime,
    recording: bytes,
    confirm: str,
    show: Show,
) -> int:
    """The same visit in a 公众号, choices by number."""
    clock = Clock(start)
    async with OfficialPlatform(followers=(OPENID,)) as platform:
        with database.work(system(Part.CONSOLE)) as work:
            people.link(work, Account("mp", OPENID, OPENID, REP), clock())
        account = ApiAccount("mp", platform.app_id, platform.secret, api_base=platform.base)
        settings = MpSettings(account, platform.callback_token, platform.aes_key)
        channel = MpChannel(settings, database, clock=clock, zone=tools.zone)
        app = App(database, tools, transcriber, [channel], now=clock)
        async with _serving(app, channel.webhook) as url:
            phone = _Phone(app, platform, OPENID, clock, url, show)
            await phone.visit(recording, confirm)
            return phone.acts


def words_of(message: dict[str, Any]) -> str:
    """What stands on the phone: a text, or a card with its buttons in brackets."""
    if message["msgtype"] == "text":
        return str(message["text"]["content"])
    if message["msgtype"] != "template_card":
        return f"[{message['msgtype']}]"
    card = message["template_card"]
    title = card.get("main_title", {})
    lines = [title.get("title", ""), title.get("desc", ""), card.get("sub_title_text", "")]
    lines.append(" ".join(f"[{label}]" for _, label in choices_of(card)))
    return "\n".join(line for line in lines if line)


@asynccontextmanager
async def _serving(app: App, webhook: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    """The bot running, with its callback address on this machine."""
    site = web.Application()
    site.router.add_route("*", PATH, webhook)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await app.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    finally:
        await app.stop()
        await runner.cleanup()
