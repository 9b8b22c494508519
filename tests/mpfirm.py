"""The sample firm with its bot really running behind a loopback 公众号: real AES callbacks, tables and sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.app import App
from bot.loopback.official import OfficialPlatform
from bot.loopback.platform import Attempt
from bot.mp_channel import CALLBACK_PATH, MpChannel, MpSettings
from bot.mp_sending import Template
from bot.mp_slots import Slots
from bot.stand_in import made_photo
from bot.wechat_client import ApiAccount
from bot.wiring import SAMPLE_FIRM
from handlers.messages import Reply, Say
from handlers.turn import outgoing
from nlp.transcribe import Transcriber
from rules.places import Point, gcj02_from_wgs84
from scheduler.clock import tick
from storage import outbox, people, push_budget
from storage.outbox import Outgoing
from storage.people import Account
from tests.databases import WHOLE
from tests.firmrows import FirmRows, at_work
from tests.telegramfirm import SHOP, Clock, Deaf, firm_tools, sample_database

CLIPS = SAMPLE_FIRM / "clips"
REMINDER = Template("TPL-reminder", "template", (("客户", "thing1"), ("时间", "time2"), ("事项", "thing3")))
ALERT = Template("TPL-alert", "template", (("标题", "thing1"), ("时间", "time2")))
FAST = {"window": 1.0, "cut": 1.4, "repeat": 1.0}  # instead of 4, 6 and 7 seconds


class MpFirm(FirmRows):
    """`app` may be stopped and made anew over the same database and files: `make_app`."""

    def __init__(
        self,
        folder: Path,
        platform: OfficialPlatform,
        transcriber: Transcriber,
        clock: Clock,
        *,
        passive_only: bool = False,
        templates: dict[str, Template] | None = None,
        secret: bool = True,
        times: dict[str, float] | None = None,
    ) -> None:
        self.platform, self.transcriber, self.clock = platform, transcriber, clock
        self.database = sample_database(folder)
        self.tools = firm_tools(folder)
        self.links: list[tuple[bytes, str]] = []
        account = ApiAccount("mp", platform.app_id, platform.secret if secret else "", api_base=platform.base)
        self.settings = MpSettings(
            account, platform.callback_token, platform.aes_key, passive_only=passive_only, templates=templates or {}
        )
        self._times = times or {}
        self.url = ""
        self.app = self.make_app()

    def make_app(self) -> App:
        self.channel = MpChannel(
            self.settings,
            self.database,
            clock=self.clock,
            zone=self.tools.zone,
            file_link=self._link,
            slots=Slots(patient=self.settings.passive_only, **self._times),
        )
        return App(self.database, self.tools, self.transcriber, [self.channel], now=self.clock)

    async def callback(self, request: web.Request) -> web.StreamResponse:
        return await self.channel.webhook(request)

    def _link(self, content: bytes, name: str) -> str:
        self.links.append((content, name))
        return f"https://firm.example/files/{len(self.links)}"

    def follower(self, employee: str, openid: str) -> "Phone":
        """Somebody of the firm whose account is tied already."""
        with self.database.work(WHOLE) as work:
            people.link(work, Account("mp", openid, openid, employee), self.clock())
        return self.stranger(openid)

    def stranger(self, openid: str) -> "Phone":
        self.platform.followers.add(openid)
        return Phone(self, openid)

    async def time_passes(self, until: datetime) -> None:
        self.clock.moved += until - self.clock()
        await asyncio.to_thread(tick, self.database, self.tools, self.clock())
        self.app.sender.wake()
        await self.idle()

    async def idle(self, seconds: float = 20.0) -> None:
        await self.platform.until(lambda: not self.left(), seconds)


@dataclass
class Phone:
    """One person's WeChat. `passive` is what came as the answer to a message, `texts` all that was read, in order of
    arrival as far as it can be told: what was pushed is looked up when it is asked for.
    """

    firm: MpFirm
    openid: str
    passive: list[str] = field(default_factory=list)
    acts: int = 0

    @property
    def at(self) -> int:
        return int(self.firm.clock().timestamp())

    def pushed(self) -> list[str]:
        """客服消息 and templates."""
        return [_words(one) for one in self.firm.platform.sent if one["to"] == self.openid]

    def read(self) -> str:
        """Everything that stands in the chat."""
        return "\n".join([*self.passive, *self.pushed()])

    async def sends(self, xml: str, *, settle: bool = True) -> list[Attempt]:
        """Send as the platform does, up to three times, and wait until the bot is done with it."""
        self.acts += 1
        attempts = await self.firm.platform.push(self.firm.url, xml)
        for attempt in attempts:
            self._take(attempt)
        if settle:
            await self.firm.idle()
        return attempts

    async def says(self, words: str, **more: str) -> str:
        """Type something; what the bot answers in the same breath."""
        before = len(self.passive)
        await self.sends(self.firm.platform.messages.text(self.openid, words, at=self.at, **more))
        return "\n".join(self.passive[before:])

    async def pins(self, where: tuple[float, float] = SHOP) -> str:
        """A pin as a phone in China sends it: in GCJ-02."""
        shown = gcj02_from_wgs84(Point(*where))
        before = len(self.passive)
        await self.sends(self.firm.platform.messages.location(self.openid, shown.lat, shown.lon, at=self.at))
        return "\n".join(self.passive[before:])

    async def photographs(self, name: str = "门头") -> str:
        media = self.firm.platform.put_media(made_photo(name), "image/jpeg")
        before = len(self.passive)
        await self.sends(self.firm.platform.messages.image(self.openid, media, at=self.at))
        return "\n".join(self.passive[before:])

    async def speaks(self, sound: bytes, *, wide: bytes = b"") -> str:
        """A voice note; `wide` is the 16 kHz recording that newer phones send along."""
        platform = self.firm.platform
        media = platform.put_media(sound, "audio/amr")
        clearer = platform.put_media(wide, "audio/amr") if wide else ""
        before = len(self.passive)
        await self.sends(platform.messages.voice(self.openid, media, at=self.at, wide=clearer))
        return "\n".join(self.passive[before:])

    def _take(self, attempt: Attempt) -> None:
        if attempt.status == 200 and attempt.body.startswith("<xml>"):
            reply = self.firm.platform.signer.open_reply(attempt.body)
            assert (reply["ToUserName"], reply["MsgType"]) == (self.openid, "text")
            assert set(reply) == {"ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"}
            assert len(str(reply["Content"]).encode()) <= 2048
            self.passive.append(reply["Content"])


def push(firm: MpFirm, phone: Phone, words: str, intent: str = "reminder") -> int:
    """Queue a message that nobody asked for."""
    with firm.database.work(WHOLE) as work:
        account = people.account(work, "mp", phone.openid)
        assert account is not None
        reply = Reply(Say("as_is", {"text": words}))
        row = outbox.queue(work, outgoing(account, reply, firm.clock(), f"test:{words}", intent=intent))
        assert row is not None
    firm.app.sender.wake()
    return row


def row(firm: MpFirm, number: int) -> Outgoing:
    return next(one for one in firm.outbox() if one.id == number)


def spent(firm: MpFirm, phone: Phone) -> push_budget.Budget:
    with firm.database.read(WHOLE) as work:
        return push_budget.budget(work, "mp", phone.openid, firm.clock())


def clip(name: str) -> bytes:
    """A voice note of the sample firm."""
    return (CLIPS / name).read_bytes()


def _words(message: dict[str, Any]) -> str:
    if message["msgtype"] == "text":
        return str(message["text"]["content"])
    if message["msgtype"] == "template":
        return " · ".join(one["value"] for one in message["template"]["data"].values())
    return f"[{message['msgtype']}]"


@asynccontextmanager
async def running(
    folder: Path, transcriber: Transcriber | None = None, *, speed: float = 1.0, callback_s: float = 5.0, **more: Any
) -> AsyncIterator[MpFirm]:
    """The firm's bot, receiving and sending."""
    async with OfficialPlatform(callback_s=callback_s) as platform:
        firm = MpFirm(folder, platform, transcriber or Deaf(), Clock(speed), **more)
        async with at_work(firm, CALLBACK_PATH):
            yield firm


def fast(**more: Any) -> dict[str, Any]:
    """A platform that gives up, and a channel that waits, four times as fast as the real ones."""
    return {"callback_s": 1.2, "times": FAST, **more}
