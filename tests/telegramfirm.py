"""The sample firm with its bot really running against the loopback Bot API server: real tables, files and sockets."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from aiohttp import web

from bot.app import App
from bot.stand_in import made_photo
from bot.telegram_channel import WEBHOOK_PATH, TelegramChannel, TelegramSettings
from bot.wiring import SAMPLE_FIRM
from handlers.tools import Ear, Tools, make_tools
from nlp.models import NoModel
from nlp.transcribe import Transcriber
from reports.firm_import import read_firm, save_firm
from rules.limits import Limits
from scheduler.clock import tick
from storage import inbox, people
from storage.database import Database
from storage.files import LocalFiles
from storage.inbox import Delivery
from storage.people import Account
from tests.botapi import updates
from tests.botapi.server import BotApi
from tests.botapi.updates import Person
from tests.databases import WHOLE, open_migrated
from tests.firmrows import FirmRows
from tests.speech import CLIPS

Json = dict[str, Any]

START = datetime(2026, 11, 23, 10, 0, tzinfo=ZoneInfo("Asia/Shanghai"))  # a Monday
SHOP = (30.08218, 120.49390)  # a step from the door of 柯桥老灶台酒家, an outlet of 王建
WANG_JIAN, SUN_HAO, MANAGER_WU = "E101", "E102", "E002"
CLIP = "note08.ogg"  # 跟周店长聊了一会，解决了送货迟到的问题，不太满意。

EAR = Ear(Limits())  # takes a second to build, and every test's firm has the same words


class Deaf:
    """A recogniser without a model, as on a machine where none was pulled yet."""

    def transcribe(self, audio: bytes, hints: object) -> Any:
        raise NoModel("none", (), ())


@dataclass
class Clock:
    """Runs `speed` times as fast as the wall's from START, and can be moved on by hand."""

    speed: float = 1.0
    moved: timedelta = timedelta(0)
    began: float = field(default_factory=time.monotonic)

    def __call__(self) -> datetime:
        return START + self.moved + timedelta(seconds=(time.monotonic() - self.began) * self.speed)


class TelegramFirm(FirmRows):
    """`app` may be stopped and made anew over the same database and files: `make_app`."""

    def __init__(self, folder: Path, api: BotApi, transcriber: Transcriber, clock: Clock) -> None:
        self.api, self.transcriber, self.clock = api, transcriber, clock
        self.database = sample_database(folder)
        self.tools = firm_tools(folder)
        self.channel = TelegramChannel(TelegramSettings(api.token, api_base=api.base), poll_s=1, pause_s=0.02)
        self.app = self.make_app()

    def make_app(self) -> App:
        return App(self.database, self.tools, self.transcriber, [self.channel], now=self.clock)

    def invite(self, employee: str) -> str:
        with self.database.work(WHOLE) as work:
            return people.make_invite(work, employee, self.clock())

    def link(self, employee: str, number: int) -> "Phone":
        """Somebody of the firm whose account is tied already."""
        with self.database.work(WHOLE) as work:
            account = Account("telegram", str(number), str(number), employee)
            people.link(work, account, self.clock())
        self.api.know(number)
        return Phone(self, Person(number))

    async def time_passes(self, until: datetime) -> None:
        """The clock reaches `until`, and what falls due is queued and sent."""
        self.clock.moved += until - self.clock()
        await asyncio.to_thread(tick, self.database, self.tools, self.clock())
        self.app.sender.wake()

    async def idle(self, seconds: float = 20.0) -> None:
        """Wait until every update was applied, every note heard, and every message that is due sent."""
        await self.api.until(lambda: not self.api.waiting() and not self.left(), seconds)


@dataclass(frozen=True)
class Phone:
    """One person's Telegram: what is sent from it and what arrives on it."""

    firm: TelegramFirm
    person: Person

    @property
    def date(self) -> int:
        return int(self.firm.clock().timestamp())

    def messages(self) -> list[Json]:
        return [message for message in self.firm.api.sent if message["chat"]["id"] == self.person.id]

    def texts(self) -> list[str]:
        return [str(message.get("text", message.get("caption", ""))) for message in self.messages()]

    async def sends(self, *given: Json) -> None:
        """Send, and wait until the bot is done with it."""
        await self.firm.api.give(*given)
        await self.firm.idle()

    async def hears(self, words: str, seconds: float = 30.0) -> str:
        """Wait for a message that holds `words`; it."""
        await self.firm.api.until(lambda: any(words in text for text in self.texts()), seconds)
        return next(text for text in reversed(self.texts()) if words in text)

    def button(self, label: str) -> Json:
        """A press on the newest button with this label."""
        for message in reversed(self.messages()):
            for row in message.get("reply_markup", {}).get("inline_keyboard", []):
                for one in row:
                    if label in one["text"]:
                        return updates.tap(one["callback_data"], self.person)
        raise AssertionError(f"no button {label}, only: {self.texts()}")

    def live_place(self) -> Json:
        return updates.live(*SHOP, person=self.person, date=self.date)

    def photo(self, name: str = "门头", **more: Any) -> Json:
        """A photo that the server has the bytes of."""
        self.firm.api.put_file(name, made_photo(name), f"photos/{name}.jpg")
        return updates.photo(self.person, file_id=name, date=self.date, **more)

    def voice(self, clip: str = CLIP, seconds: int = 5) -> Json:
        data = (CLIPS / clip).read_bytes()
        self.firm.api.put_file(clip, data, f"voice/{clip}")
        return updates.voice(self.person, seconds, file_id=clip, size=len(data), date=self.date)

    def text(self, words: str) -> Json:
        return updates.text(words, self.person, date=self.date)


def sample_database(folder: Path) -> Database:
    """A fresh SQLite file with the sample firm in it."""
    database = open_migrated(folder)
    with database.work(WHOLE) as work:
        save_firm(work, read_firm(SAMPLE_FIRM))
    return database


def firm_tools(folder: Path) -> Tools:
    return replace(make_tools(Limits(), LocalFiles(folder / "files")), ear=EAR)


def delivery(person: str, key: str, message: Json | None, at: datetime, position: int = 0) -> Delivery:
    """What a channel would hand over; `person` is a user id of the channel "telegram"."""
    return Delivery(
        channel="telegram",
        account="123456",
        delivery_key=key,
        person=f"telegram:{person}",
        chat_ref=person,
        raw={"key": key},
        message=message,
        received_at=at,
        position=position,
    )


@asynccontextmanager
async def running(
    folder: Path,
    transcriber: Transcriber | None = None,
    *,
    mode: Literal["polling", "webhook"] = "polling",
    speed: float = 1.0,
) -> AsyncIterator[TelegramFirm]:
    """The firm's bot, receiving and sending."""
    async with BotApi() as api:
        firm = TelegramFirm(folder, api, transcriber or Deaf(), Clock(speed))
        try:
            if mode == "polling":
                await firm.app.start()
                yield firm
            else:
                async with _webhook(firm):
                    yield firm
        finally:
            await firm.app.stop()
            firm.database.close()


@asynccontextmanager
async def _webhook(firm: TelegramFirm) -> AsyncIterator[None]:
    """Receive through a real route on a port of our own."""

    async def handle(request: web.Request) -> web.Response:
        return await firm.channel.webhook(request)

    site = web.Application()
    site.router.add_post(WEBHOOK_PATH, handle)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}{WEBHOOK_PATH}"
        settings = TelegramSettings(firm.api.token, "webhook", address, "s3cret", firm.api.base)
        firm.channel = TelegramChannel(settings, pause_s=0.02)
        firm.app = firm.make_app()
        await firm.app.start()
        yield
    finally:
        await runner.cleanup()


def apply_order(firm: TelegramFirm, person: str) -> list[str]:
    """The delivery keys of one person in the order they were applied."""
    with firm.database.read(WHOLE) as work:
        return [item.delivery_key for item, _ in inbox.of_person(work, "telegram", f"telegram:{person}")]
