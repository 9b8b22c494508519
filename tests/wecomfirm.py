"""The sample firm with its bot really running behind a loopback 企业微信: real AES callbacks, tables and sockets."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from sqlalchemy import select

from bot.app import App
from bot.channels import Channel
from bot.loopback.platform import Attempt
from bot.loopback.work import WorkPlatform
from bot.stand_in import made_photo
from bot.wecom_channel import CALLBACK_PATH, WecomChannel, WecomSettings
from bot.wecom_robot import Group, GroupRobots
from bot.wiring import SAMPLE_FIRM
from nlp.transcribe import Transcriber
from rules.places import Point, gcj02_from_wgs84
from scheduler.clock import tick
from storage import people
from storage.people import Account
from storage.tables.post import CardRow
from tests.databases import WHOLE
from tests.firmrows import FirmRows, at_work
from tests.telegramfirm import SHOP, Clock, Deaf, firm_tools, sample_database

CLIPS = SAMPLE_FIRM / "clips"
MEMBERS = ("wangjian", "sunhao", "zhouyang", "wujingli", "qianzong", "heping")  # of the sample firm; the last one left


class WecomFirm(FirmRows):
    """`app` may be stopped and made anew over the same database and files: `make_app`."""

    def __init__(
        self,
        folder: Path,
        platform: WorkPlatform,
        transcriber: Transcriber,
        clock: Clock,
        *,
        cards: bool = True,
        store_s: float = 4.0,
        groups: Sequence[Group] = (),
    ) -> None:
        self.platform, self.transcriber, self.clock = platform, transcriber, clock
        self.database = sample_database(folder)
        self.tools = firm_tools(folder)
        self.settings = WecomSettings(
            corp_id=platform.app_id,
            agent_id=platform.agent_id,
            secret=platform.secret,
            token=platform.callback_token,
            aes_key=platform.aes_key,
            api_base=platform.base,
            cards=cards,
        )
        self._groups, self._store_s = groups, store_s
        self.url = ""
        self.app = self.make_app()

    def make_app(self) -> App:
        self.channel = WecomChannel(self.settings, self.database, clock=self.clock, store_s=self._store_s)
        robots = GroupRobots(self._groups, self.database, api_base=self.platform.base, clock=self.clock)
        channels: list[Channel] = [self.channel, robots] if self._groups else [self.channel]
        return App(self.database, self.tools, self.transcriber, channels, now=self.clock)

    async def callback(self, request: web.Request) -> web.StreamResponse:
        return await self.channel.webhook(request)

    def member(self, userid: str) -> "Phone":
        return Phone(self, userid)

    async def time_passes(self, until: datetime) -> None:
        """The clock reaches `until`, and what falls due is queued and sent."""
        self.clock.moved += until - self.clock()
        await asyncio.to_thread(tick, self.database, self.tools, self.clock())
        self.app.sender.wake()

    async def idle(self, seconds: float = 20.0) -> None:
        """Wait until every message was applied, every note heard, and every message that is due sent."""
        await self.platform.until(lambda: not self.left(self.clock()), seconds)

    def accounts(self) -> list[Account]:
        with self.database.read(WHOLE) as work:
            return people.accounts(work)

    def cards(self) -> list[CardRow]:
        with self.database.read(WHOLE) as work:
            return list(work.session.scalars(select(CardRow).order_by(CardRow.made_at)))


@dataclass
class Phone:
    """One member's 企业微信: what is sent from it and what arrives on it. Ids are written as people type them."""

    firm: WecomFirm
    userid: str
    acts: int = 0

    @property
    def at(self) -> int:
        return int(self.firm.clock().timestamp())

    def messages(self) -> list[dict[str, Any]]:
        return [message for message in self.firm.platform.sent if message["to"] == self.userid.lower()]

    def texts(self) -> list[str]:
        return [words_of(message) for message in self.messages()]

    async def sends(self, xml: str, *, settle: bool = True) -> list[Attempt]:
        """Send as the platform does, up to three times, and wait until the bot is done with it."""
        self.acts += 1
        attempts = await self.firm.platform.push(self.firm.url, xml)
        if settle:
            await self.firm.idle()
        return attempts

    async def says(self, words: str) -> list[str]:
        """Type something; what the bot answers."""
        before = len(self.messages())
        await self.sends(self.firm.platform.messages.text(self.userid, words, at=self.at))
        return self.texts()[before:]

    def pin(self, where: tuple[float, float] = SHOP) -> str:
        """A pin as a phone in China sends it: in GCJ-02."""
        shown = gcj02_from_wgs84(Point(*where))
        return self.firm.platform.messages.location(self.userid, shown.lat, shown.lon, label="某路", at=self.at)

    def report(self, where: tuple[float, float] = SHOP, precision: float = 12.0) -> str:
        """What the app reports of itself when its chat is opened."""
        shown = gcj02_from_wgs84(Point(*where))
        return self.firm.platform.messages.position(self.userid, shown.lat, shown.lon, precision, at=self.at)

    def photo(self, name: str = "门头") -> str:
        media = self.firm.platform.put_media(made_photo(name), "image/jpeg")
        return self.firm.platform.messages.image(self.userid, media, at=self.at)

    def voice(self, clip: Path) -> str:
        media = self.firm.platform.put_media(clip.read_bytes(), "audio/amr")
        return self.firm.platform.messages.voice(self.userid, media, at=self.at)

    async def taps(self, *labels: str) -> list[str]:
        """Press the newest button with this label, or tick several; what the bot answers."""
        before = len(self.messages())
        await self.sends(self.firm.platform.tap(self.userid, *labels, at=self.at))
        return self.texts()[before:]

    async def hears(self, words: str, seconds: float = 30.0) -> str:
        """Wait for a message that holds `words`; it."""
        await self.firm.platform.until(lambda: any(words in text for text in self.texts()), seconds)
        return next(text for text in reversed(self.texts()) if words in text)


def words_of(message: dict[str, Any]) -> str:
    """What a person reads of a message: a card's title, what stands below it and its labels."""
    if message["msgtype"] == "text":
        return str(message["text"]["content"])
    if message["msgtype"] == "template_card":
        card = message["template_card"]
        return f"{card['main_title']['title']} {card['main_title'].get('desc', '')}{card.get('sub_title_text', '')}"
    return f"[{message['msgtype']}]"


@asynccontextmanager
async def running(
    folder: Path, transcriber: Transcriber | None = None, *, speed: float = 1.0, **how: Any
) -> AsyncIterator[WecomFirm]:
    """The firm's bot, receiving and sending. `how`: see WecomFirm."""
    async with WorkPlatform(members=MEMBERS) as platform:
        firm = WecomFirm(folder, platform, transcriber or Deaf(), Clock(speed), **how)
        async with at_work(firm, CALLBACK_PATH):
            yield firm
