"""A transcript played through a loopback platform: every line of a person is XML, encrypted, signed and posted to the
real channel; files are fetched and everything said is sent over real sockets. The clock and the turns are the replay's.
"""

import asyncio
import queue
import re
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

from aiohttp import web

from bot.channels import Rendered, SendError, Shut
from bot.loopback.official import OfficialPlatform
from bot.loopback.platform import Attempt, Trouble
from bot.loopback.work import WorkPlatform, choices_of
from bot.mp_channel import MpChannel, MpSettings
from bot.mp_sending import Template
from bot.mp_slots import Slots
from bot.rendering import details, render
from bot.replay import Replay
from bot.script import Line, bracket
from bot.send_limits import KeptWindows
from bot.wechat_client import ApiAccount
from bot.wecom_channel import WecomChannel, WecomSettings
from bot.wecom_sending import MEMBER_WINDOWS
from handlers.messages import Incoming, Kind
from handlers.receive import receive
from handlers.tools import Tools
from handlers.wire import incoming_from_plain, incoming_to_plain, read_tap
from rules.evidence import DEVICE_FIXES, PlaceKind
from rules.places import Point, gcj02_from_wgs84, to_wgs84
from scheduler.clock import tick
from storage import inbox, outbox, people
from storage.database import Database
from storage.inbox import Delivery
from storage.people import Account
from tests.databases import WHOLE

T = TypeVar("T")

TEMPLATES = {
    "reminder": Template("TPL-reminder", "template", (("客户", "thing1"), ("时间", "time2"), ("事项", "thing3"))),
    "alert": Template("TPL-alert", "template", (("标题", "thing1"), ("时间", "time2"))),
}
QUIET_S = 0.25  # how long a callback is held open where nothing is said; the real channel waits 4 s
PLATFORM_S = 20.0


class CannotCarry(Exception):
    """This platform has nothing a person could do that is this line; the text is why."""


class Wire:
    """An event loop in a thread of its own, with both platforms and the bot's callback addresses on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._thread.start()
        self.channels: dict[str, WecomChannel | MpChannel] = {}
        self.run(self._open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.start(work).result(60)

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self.run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _open(self) -> None:
        self.work = WorkPlatform(callback_s=PLATFORM_S)
        self.official = OfficialPlatform(callback_s=PLATFORM_S)
        await self.work.__aenter__()
        await self.official.__aenter__()
        site = web.Application()
        site.router.add_route("*", "/{channel}/callback", self._callback)
        self._runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _callback(self, request: web.Request) -> web.StreamResponse:
        return await self.channels[request.match_info["channel"]].webhook(request)

    async def _shut(self) -> None:
        await self._runner.cleanup()
        await self.work.__aexit__(None, None, None)
        await self.official.__aexit__(None, None, None)


class WechatReplay(Replay):
    """Plays over `wire`. `carried` counts the callbacks; `held` are answers that may not be pushed any more."""

    def __init__(self, wire: Wire, database: Database, tools: Tools, channel: str) -> None:
        self._wire = wire
        self.platform: WorkPlatform | OfficialPlatform = wire.work if channel == "wecom" else wire.official
        self.carried = 0
        self.held: list[str] = []
        self._arrived: queue.Queue[int | None] = queue.Queue()
        self._under_way: list[Future[list[Attempt]]] = []
        self._again: list[str] = []
        self._lines: list[str] = []
        super().__init__(database, tools, channel=channel)
        refs = [self._ref(name) for name in self.staff]
        if isinstance(self.platform, WorkPlatform):
            self.platform.members = set(refs)
            self.platform.sent.clear()
            self.platform.cards.clear()
        else:
            self.platform.followers = set(refs)
            self.platform.sent.clear()
        self.there = wire.run(self._open())
        self.abilities = self.there.abilities

    async def _open(self) -> WecomChannel | MpChannel:
        made = self._made()
        await made.start(self._accept)
        self._wire.channels[self.channel] = made
        return made

    def _made(self) -> WecomChannel | MpChannel:
        platform = self.platform
        if isinstance(platform, WorkPlatform):
            wecom = WecomSettings(
                platform.app_id,
                platform.agent_id,
                platform.secret,
                platform.callback_token,
                platform.aes_key,
                api_base=platform.base,
            )
            made = WecomChannel(wecom, self.database, clock=lambda: self.clock)
            # Its limits count real minutes; a day of the script passes within one, ten taps within a script's second.
            made.sending._windows = KeptWindows(
                self.database, "wecom", MEMBER_WINDOWS, lambda: self.clock.timestamp() + 10.0 * self.carried
            )
            return made
        account = ApiAccount("mp", platform.app_id, platform.secret, api_base=platform.base)
        mp = MpSettings(account, platform.callback_token, platform.aes_key, templates=TEMPLATES)
        slots = Slots(window=QUIET_S)
        return MpChannel(mp, self.database, clock=lambda: self.clock, zone=self.zone, slots=slots)

    def close(self) -> None:
        self._wire.run(self.there.stop())

    # people

    def _ref(self, name: str) -> str:
        person = self.staff.get(name)
        if person is None:
            return f"stranger-{sum(map(ord, name))}"
        if self.channel == "wecom":
            return person.wecom or person.code.lower()
        return f"openid-{person.code}"

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        with self.database.work(WHOLE) as work:
            for person in self.staff.values():
                ref = self._ref(person.name)
                if people.account(work, self.channel, ref) is None:
                    people.link(work, Account(self.channel, ref, ref, person.code), self.clock)
        tick(self.database, self.tools, self.clock)

    # in

    def play(self, line: Line, folder: Any = None) -> None:
        self._lines = []
        if isinstance(self.platform, WorkPlatform):
            self.platform._times.clear()  # a day of the script passes within one of the platform's minutes
        super().play(line, folder)
        assert not getattr(self.platform, "dropped", [])

    def _message(self, line: Line, folder: Any) -> Incoming:
        meant = super()._message(line, folder)
        words = (bracket(line.text) or ("", [], ""))[1]
        self._lines = self._as_xml(meant, words)
        return meant

    def _deliver(self, delivery: Delivery) -> int | None:
        """Post what the person did; the row of the last callback that was new."""
        if self._lines:
            self._again = self._lines
        row = None
        for xml in self._again:
            row = self._post(xml) or row
        return row

    def _post(self, xml: str) -> int | None:
        self.carried += 1
        going = self._wire.start(self.platform.push(f"{self._wire.url}/{self.channel}/callback", xml))
        self._under_way.append(going)
        while True:
            try:
                row = self._arrived.get(timeout=0.02)
                break
            except queue.Empty:
                if going.done() and self._arrived.empty():
                    return None  # a repeat that got the answer kept for it
        if row is not None:
            self._fetch(row)
            receive(self.database, self.tools, row, self.clock)
        return row

    async def _accept(self, delivery: Delivery) -> bool:
        def store() -> int | None:
            with self.database.work(WHOLE) as work:
                return inbox.accept(work, delivery)

        assert delivery.error == "", delivery.error
        row = await asyncio.to_thread(store)
        self._arrived.put(row)
        return row is not None

    def _fetch(self, row: int) -> None:
        """As the intake does."""
        with self.database.read(WHOLE) as work:
            delivery = inbox.load(work, row)
        assert delivery is not None
        assert delivery.message is not None
        message = incoming_from_plain(delivery.message)
        if message.media is None or message.media.problem:
            return
        with self.database.read(WHOLE) as work:
            if not people.knows(work, self.channel, delivery.chat_ref):
                return
        try:
            data = self._wire.run(self.there.fetch(message.media))
            media = replace(message.media, file=self.tools.files.put(data), size=len(data))
        except Exception as problem:  # MediaProblem, told to the person
            media = replace(message.media, problem=getattr(problem, "reason", "") or str(problem))
        with self.database.work(WHOLE) as work:
            inbox.keep_message(work, row, incoming_to_plain(replace(message, media=media)))

    def _as_xml(self, meant: Incoming, words: list[str]) -> list[str]:
        """What the platform pushes when a person does this. Raises CannotCarry."""
        sends, who, at = self.platform.messages, self._ref(self.speaker), int(meant.at.timestamp())
        if isinstance(self.platform, OfficialPlatform):
            self.platform.followers.add(who)
        match meant.kind:
            case Kind.TEXT:
                return [sends.text(who, meant.text, at=at)]
            case Kind.PLACE:
                return self._place_xml(meant, who, at)
            case Kind.PHOTO | Kind.VOICE:
                return [self._file_xml(meant, who, at)]
            case Kind.TAP:
                return [self._tap_xml(meant.tapped, who, at)]
            case Kind.OTHER:
                return [sends.video(who, self.platform.put_media(b"video", "video/mp4"), at=at)]
            case Kind.JOIN if self.channel == "mp":
                return [sends.event(who, "subscribe", at=at, EventKey=f"qrscene_{meant.text}", Ticket="ticket")]
            case Kind.JOIN:
                raise CannotCarry("invite")
            case Kind.LEAVE:
                return [sends.event(who, "unsubscribe", at=at, EventKey="")]
            case Kind.EDIT if meant.place is not None:
                raise CannotCarry("live location that moves on")
            case _:
                raise CannotCarry("edit")

    def _place_xml(self, meant: Incoming, who: str, at: int) -> list[str]:
        """A device's position is what the app reports by itself, and the pin that the person sends."""
        place = meant.place
        assert place is not None
        if place.kind is PlaceKind.FORWARDED:
            raise CannotCarry("forwarded flag")
        if place.kind is PlaceKind.VENUE:
            raise CannotCarry("venue told from a pin")
        if self.channel == "mp" and abs(place.lat) > 90:
            raise CannotCarry("position that is none")  # set aside as unreadable; a map offers no such place
        if place.fixed_at is not None:
            raise CannotCarry("age of a fix")
        truth = to_wgs84(Point(place.lat, place.lon), place.datum)
        shown = gcj02_from_wgs84(truth)
        sends = self.platform.messages
        pin = sends.location(who, shown.lat, shown.lon, label="某路", at=at)
        if place.kind not in DEVICE_FIXES:
            return [pin]
        told = shown if self.channel == "wecom" else truth
        return [sends.position(who, told.lat, told.lon, place.accuracy_m or 10.0, at=at), pin]

    def _file_xml(self, meant: Incoming, who: str, at: int) -> str:
        media = meant.media
        assert media is not None
        if meant.text:
            raise CannotCarry("caption")
        if meant.album:
            raise CannotCarry("album")
        if media.recognised and self.channel == "wecom":
            raise CannotCarry("words that the platform recognised")
        kind = "image/jpeg" if meant.kind is Kind.PHOTO else "audio/amr"
        data = self.tools.files.get(media.file) if media.file else b""
        if media.problem == "too_big":
            data = bytes(20 * 1024 * 1024 + 1)
        if media.problem == "no_right":
            if self.channel == "wecom":
                raise CannotCarry("account without rights")
            self.platform.trouble("media/get", Trouble(errcode=48001))
        number = "GONE" if media.problem == "gone" else self.platform.put_media(data, kind)
        sends = self.platform.messages
        if media.recognised:
            return sends.message(who, "voice", at, MediaId=number, Format="amr", Recognition=media.recognised)
        return (sends.image if meant.kind is Kind.PHOTO else sends.voice)(who, number, at=at)

    def _tap_xml(self, tapped: str, who: str, at: int) -> str:
        """The card that has this choice; where it came as numbers, the number, which stands for the open question."""
        if isinstance(self.platform, WorkPlatform):
            for message in reversed(self.platform.sent):
                card = message.get("template_card")
                if message["to"] == who and card and tapped in [key for key, _ in choices_of(card)]:
                    label = next(text for key, text in choices_of(card) if key == tapped)
                    return self.platform.tap(who, label, at=at, card=card)
        with self.database.read(WHOLE) as work:
            account = people.account(work, self.channel, who)
        read = read_tap(tapped)
        if read is not None and account is not None and account.current_question == read[0]:
            return self.platform.messages.text(who, str(read[1] + 1), at=at)
        if self.channel == "mp":
            raise CannotCarry("button of an old question")
        old = {
            "EventKey": tapped,
            "TaskId": "old",
            "CardType": "button_interaction",
            "ResponseCode": f"c{self.carried}",
        }
        return self.platform.messages.event(who, "template_card_event", at=at, **old)

    # out

    def settle(self) -> None:
        super().settle()
        for going in self._under_way:
            attempts = going.result(PLATFORM_S + 5)
            assert attempts[-1].status == 200, attempts
        self._under_way.clear()

    def _collect(self) -> None:
        with self.database.read(WHOLE) as work:
            fresh = [message for message in outbox.after(work, self._seen) if message.state == "due"]
        for message in fresh:
            shown = render(message.body, self.abilities)
            shown = replace(shown, intent=message.intent, key=f"replay-{message.id}")
            if message.intent in ("reminder", "alert"):
                shown = replace(shown, details=details(message.body))
            self._send(message.chat_ref, shown)
        super()._collect()

    def _send(self, chat_ref: str, shown: Rendered) -> None:
        if chat_ref.startswith("stranger-") and isinstance(self.platform, WorkPlatform):
            return  # nobody of the corp
        try:
            self._wire.run(self.there.send(chat_ref, shown))
        except Shut as shut:
            self.held.append(f"{chat_ref}: {shut.reason}")
        except SendError as trouble:
            raise AssertionError(f"{type(trouble).__name__}: {trouble}") from trouble

    def _said(self, message: Any) -> Any:
        said = super()._said(message)
        name = next((name for name in self.staff if self._ref(name) == message.chat_ref), said.to)
        return replace(said, to=name)


def as_this_channel_tells(text: str) -> str:
    """A script whose `saved:` lines call a device's position what WeChat has, the app's own report, and whose words the
    channel itself recognised came by 公众号, the only one of the two that may send such.
    """
    text = re.sub(r"^(saved: (?:#\d+ )?place = )(?:live|browser|h5_gps) ", r"\1report ", text, flags=re.M)
    return re.sub(r"^(saved: (?:#\d+ )?note = heard by )terminal ", r"\1mp ", text, flags=re.M)
