"""A small firm with its web site running on loopback, for the tests of the pages: real tables, files and channel."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
from PIL import Image
from yarl import URL

from bot.web_channel import WebChannel
from handlers.messages import Choice, Reply, Say
from handlers.turn import ask, outgoing
from rules.anomalies import Anomaly, Finding
from rules.evidence import Grade, Level, Photo, Place, PlaceKind, Reason
from rules.limits import Limits
from rules.outlets import Outlet
from rules.people import Employee, Role
from rules.places import Point
from rules.visit import Answer, Plain, Source, State, Visit
from storage import alerts, evidence, firm, inbox, outbox, people, visits
from storage.evidence import Appeal, Note
from storage.files import LocalFiles
from storage.inbox import Delivery
from storage.people import Account
from tests.databases import WHOLE, open_migrated
from web.sessions import COOKIE, Sessions
from web.site import WebSettings

NOON = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)  # a Monday, 12:00 in 绍兴
SHOPS = {
    "C1": ("柯桥老灶台酒家", "柯桥区", 30.08215, 120.49383),
    "C2": ("鲁迅路阿福面馆", "越城区", 29.99561, 120.58792),
}
STAFF = (
    Employee("E001", "钱总", Role.DIRECTOR, ()),
    Employee("E002", "吴经理", Role.AREA_MANAGER, ("柯桥区",), "E001"),
    Employee("E003", "郑经理", Role.AREA_MANAGER, ("越城区",), "E001"),
    Employee("E005", "王建", Role.REP, ("柯桥区",), "E002"),
    Employee("E006", "李敏", Role.REP, ("越城区",), "E003"),
    Employee("E009", "赵走", Role.REP, ("柯桥区",), "E002", active=False),
)


@dataclass
class Firm:
    """The site's database and channel, and short ways to put things into them. `now` is a clock moved by hand."""

    folder: Path
    settings: WebSettings
    now: datetime = NOON
    took: list[Delivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = open_migrated(self.folder)
        self.files = LocalFiles(self.folder / "files")
        self.sessions = Sessions(b"k" * 32)
        self.channel = WebChannel(
            self.settings, self.database, self.files, Limits(), self.sessions, clock=lambda: self.now
        )
        with self.database.work(WHOLE) as work:
            people.save_employees(work, STAFF)
            firm.save_outlets(
                work,
                [
                    Outlet(code, name, "餐饮", district, f"绍兴市{district}", Point(lat, lon), rep, None)
                    for (code, (name, district, lat, lon)), rep in zip(SHOPS.items(), ("E005", "E006"), strict=True)
                ],
            )

    async def accept(self, delivery: Delivery) -> bool:
        return await asyncio.to_thread(self._store, delivery)

    def _store(self, delivery: Delivery) -> bool:
        with self.database.work(WHOLE) as work:
            new = inbox.accept(work, delivery) is not None
        if new:
            self.took.append(delivery)
        return new

    def link(self, employee: str, user_ref: str) -> Account:
        with self.database.work(WHOLE) as work:
            return people.link(work, Account("web", user_ref, user_ref, employee), self.now)

    def cookie(self, user_ref: str) -> dict[str, str]:
        return {COOKIE: self.sessions.cookie(self.sessions.make(self.now, user_ref))}

    def say(self, account: Account, text: str, choices: tuple[str, ...] = (), after: timedelta = timedelta(0)) -> int:
        """Queue a message of the bot, as a turn does; the outbox row. `after`: it is due only so much later."""
        reply = Reply(Say("as_is", {"text": text}), tuple(Choice(word, word) for word in choices), about="visit")
        with self.database.work(WHOLE) as work:
            number = ask(work, account, reply, self.now) if choices else None
            key = f"test:{text}:{self.now.isoformat()}"
            row = outbox.queue(work, outgoing(account, reply, self.now, key, question=number))
            assert row is not None
            if after:
                outbox.hold_until(work, row, self.now + after, "")
        self.channel.site.ring(account.chat_ref)
        return row

    def visit(self, rep: str, outlet: str | None, **answers: Plain) -> int:
        """A closed visit of 32 minutes with a photo, a note, a corrected answer and a grade; its id."""
        began = self.now - timedelta(hours=2)
        point = Point(30.0823, 120.4939)
        with self.database.work(WHOLE) as work:
            pin = Place(point, PlaceKind.PIN, began, point, "wgs84")
            place = evidence.add_place(work, rep, pin, None)
            grade = Grade(Level.DOUBTFUL, (Reason("too_far", {"metres": 412, "fence": 200}),))
            said = {"problem": "演示了小酥肉的出餐", "outcome": "won", "close_factor": "老板娘认可新品"} | answers
            found = {name: Answer(value, Source.NOTE, quote="老板娘说好") for name, value in said.items()}
            found["outcome"] = Answer(said["outcome"], Source.REP, original="pending")
            visit = Visit(
                rep,
                began,
                State.CLOSED,
                {"outlet": Answer(outlet, Source.PIN), "place": Answer(place, Source.PIN), **found},
                left_at=began + timedelta(minutes=32),
                closed_at=began + timedelta(minutes=32),
                grade=grade,
            )
            number = visits.add(work, visit, "Asia/Shanghai")
            photo = evidence.add_photo(
                work,
                rep,
                number,
                Photo(self.files.put(picture("seagreen")), began, same_as=None),
                mime="image/png",
                size=(320, 240),
                phash_quality=100,
                inbox=None,
            )
            heard = Note(
                rep, began, "heard", number, self.files.put(b"OggS" + bytes(64)), "audio/ogg", 6.0, "老板娘说好"
            )
            note = evidence.add_note(work, heard, None)
            kept = visits.load(work, number)
            assert kept is not None
            kept = kept.put("photo", Answer([photo], Source.REP)).put("report", Answer([note], Source.REP))
            visits.save(work, kept)
            evidence.add_appeal(work, Appeal(number, rep, "门店搬到对面了", self.now))
        return number

    def alert(self, manager: str, *reps: str) -> int:
        with self.database.work(WHOLE) as work:
            found = [Finding(Anomaly.NO_NEW_OUTLET, "柯桥区", reps, 2)]
            day = self.now.astimezone(ZoneInfo("Asia/Shanghai")).date()
            number = alerts.add(work, manager, day, self.now, found)
            assert number is not None
        return number

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.channel.port}"


@asynccontextmanager
async def open_firm(folder: Path, **settings: Any) -> AsyncIterator[Firm]:
    made = Firm(folder, WebSettings(port=0, **settings))
    await made.channel.start(made.accept)
    try:
        yield made
    finally:
        await made.channel.stop()
        made.database.close()


class Browser:
    """A client with cookies and the POST token, as the pages' scripts are one."""

    def __init__(self, firm: Firm, user_ref: str = "", base: str = "") -> None:
        self.firm, self.base = firm, base
        jar = aiohttp.CookieJar(unsafe=True)  # loopback is an address, not a name
        self.client = aiohttp.ClientSession(firm.url, cookie_jar=jar)
        if user_ref:
            self.client.cookie_jar.update_cookies(firm.cookie(user_ref), URL(firm.url))
        self.token = ""

    async def __aenter__(self) -> "Browser":
        try:
            self.token = (await self.get("/api/me"))["token"]
        except BaseException:
            await self.client.close()
            raise
        return self

    async def __aexit__(self, *trouble: object) -> None:
        await self.client.close()

    async def get(self, path: str, status: int = 200) -> Any:
        async with self.client.get(self.base + path) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def post(self, path: str, body: Mapping[str, Any], status: int = 200) -> Any:
        return await self._post(path, status, json=body)

    async def upload(self, fields: Mapping[str, str], content: bytes, mime: str, status: int = 200) -> Any:
        form = aiohttp.FormData(dict(fields))
        form.add_field("file", io.BytesIO(content), filename="note.bin", content_type=mime)
        return await self._post("/api/messages", status, data=form)

    async def _post(self, path: str, status: int, **content: Any) -> Any:
        headers = {"X-Zoudian-Token": self.token}
        async with self.client.post(self.base + path, headers=headers, **content) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    @asynccontextmanager
    async def events(self, after: int = 0, last_seen: int | None = None) -> AsyncIterator["Events"]:
        """The event stream from row `after`, or as a reconnecting browser asks, with the id it saw last."""
        headers = {} if last_seen is None else {"Last-Event-ID": str(last_seen)}
        async with self.client.get(f"/api/events?after={after}", headers=headers) as answer:
            assert answer.status == 200
            yield Events(answer)


class Events:
    """Server-sent events one by one."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self, name: str, seconds: float = 5.0) -> Any:
        """The data of the next event of this name."""
        async with asyncio.timeout(seconds):
            while block := await self._answer.content.readuntil(b"\n\n"):
                lines = dict(line.split(": ", 1) for line in block.decode().splitlines() if line)
                if lines["event"] == name:
                    return json.loads(lines["data"])
        raise EOFError("the stream has ended")


def picture(colour: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (320, 240), colour).save(made, "PNG")
    return made.getvalue()
