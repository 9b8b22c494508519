"""Replaying a transcript through the real door, on a real and fresh database, with a clock that is moved by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from bot.abilities import BY_NAME
from bot.channels import Rendered
from bot.rendering import render
from bot.script import BadScript, Line, Script, bracket, moved
from bot.stand_in import StandIn, made_photo, made_sound, spoilt_photo
from handlers.messages import Incoming, Kind, Media, SentPlace
from handlers.receive import receive
from handlers.sentences import label
from handlers.tools import Tools
from handlers.wire import incoming_to_plain, reply_from_plain, tap_data
from nlp.transcribe import Transcriber
from rules.evidence import PlaceKind
from rules.people import Employee, Part, Role, system
from rules.places import Point, gcj02_from_wgs84, to_wgs84
from scheduler.clock import listen_to_kept_notes, tick
from scheduler.daily import alert_trigger
from scheduler.worker import run_one
from storage import follow_ups, inbox, outbox, people
from storage.database import Database
from storage.inbox import Delivery
from storage.outbox import Outgoing
from storage.people import Account
from texts import load

START = datetime(2026, 11, 23, 9, 0, tzinfo=ZoneInfo("Asia/Shanghai"))  # a Monday
REP = "王建"


@dataclass(frozen=True, slots=True)
class Said:
    """One message that came out: to whom, how it reads on the channel and in a script, and the data behind it."""

    to: str
    text: str
    plain: str
    keys: tuple[str, ...]
    choices: tuple[tuple[str, str], ...]
    intent: str


@dataclass(slots=True)
class TurnLog:
    """One line that did something, and everything said until the next one. `inbox`: the row, None for a duplicate."""

    line: Line
    at: datetime
    who: str
    came_in: dict[str, Any] | None = None
    inbox: int | None = None
    said: list[Said] = field(default_factory=list)


class Replay:
    """Runs scripts. Everybody of the firm has an account on the channel from the first moment on."""

    def __init__(
        self,
        database: Database,
        tools: Tools,
        *,
        channel: str = "terminal",
        transcriber: Transcriber | None = None,
        media: tuple[Path, ...] = (),
        start: datetime = START,
        rep: str = REP,
    ) -> None:
        self.database, self.tools, self.channel = database, tools, channel
        self.abilities = BY_NAME[channel]
        self.ear = StandIn(transcriber)
        self.media = media
        self.clock = start
        self.zone = tools.zone
        self.turns: list[TurnLog] = []
        self._count = 0
        self._seen = 0
        self._last: Delivery | None = None
        self._begun = False
        with database.read(system(Part.CONSOLE)) as work:
            self.staff = {person.name: person for person in people.staff(work)}
        self._invites: dict[str, str] = {}
        self.rep = self._person(rep)
        self.speaker = self.rep.name

    def run(self, script: Script) -> list[TurnLog]:
        """Play every line that does something. Raises BadScript."""
        where = script.path.name if script.path else "-"
        for line in script.lines:
            try:
                self.play(line, script.path.parent if script.path else None)
            except (ValueError, IndexError, LookupError, FileNotFoundError) as trouble:
                raise BadScript(where, line.number, str(trouble)) from trouble
        return self.turns

    def play(self, line: Line, folder: Path | None = None) -> None:
        """Play one line; lines that only state what must come out do nothing."""
        if not line.acts:
            return
        if line.word == "at":
            self._move(line)
            return
        self._begin()
        if line.word == "invite":
            with self.database.work(system(Part.CONSOLE)) as work:
                self._invites[line.text] = people.make_invite(work, self._person(line.who).code, self.clock)
            return
        if line.word in ("rep", "as", "stranger"):
            self.speaker = self._name(line)
        log = TurnLog(line, self.clock, self.speaker)
        self.turns.append(log)
        if line.word == "model":
            self.ear.has_model = True
            listen_to_kept_notes(self.database, self.clock)
        elif line.word == "again":
            if self._last is None:
                raise ValueError("again: 前面还没有消息")
            log.inbox = self._deliver(self._last)
        else:
            message = self._message(line, folder)
            log.came_in = incoming_to_plain(message)
            self._last = self._delivery(log)
            log.inbox = self._deliver(self._last)
        self.settle()

    def settle(self) -> None:
        """Let the recogniser listen, and collect what was said."""
        while run_one(self.database, self.tools, self.ear, lambda: self.clock):
            pass
        self._collect()

    def move_to(self, moment: datetime) -> None:
        """Move the clock, stopping wherever a reminder or an alert falls due on the way."""
        self._begin()
        while self.clock < moment:
            self.clock = min(moment, self._next_due(moment))
            tick(self.database, self.tools, self.clock)
        tick(self.database, self.tools, self.clock)
        self.settle()

    def account_of(self, name: str) -> Account:
        """Raises LookupError for a stranger."""
        with self.database.read(system(Part.CONSOLE)) as work:
            account = people.account(work, self.channel, self._ref(name))
        if account is None:
            raise LookupError(name)
        return account

    def _name(self, line: Line) -> str:
        """Who speaks: a stranger by any name, else somebody of the firm."""
        if line.word == "stranger":
            return line.who or "生人"
        return self._person(line.who).name if line.who else self.rep.name

    def _ref(self, name: str) -> str:
        """The user id on the channel: the 工号 of somebody of the firm, a stranger's own name."""
        return self.staff[name].code if name in self.staff else name

    def _delivery(self, log: TurnLog) -> Delivery:
        self._count += 1
        return Delivery(
            channel=self.channel,
            account="replay",
            delivery_key=str(self._count),
            person=f"{self.channel}:{self._ref(log.who)}",
            chat_ref=self._ref(log.who),
            raw={"line": log.line.text},
            message=log.came_in,
            received_at=self.clock,
            position=self._count,
        )

    def _begin(self) -> None:
        """Tie everybody to the channel when the clock first counts."""
        if self._begun:
            return
        self._begun = True
        with self.database.work(system(Part.CONSOLE)) as work:
            for person in self.staff.values():
                if people.account(work, self.channel, person.code) is None:
                    people.link(work, Account(self.channel, person.code, person.code, person.code), self.clock)
        tick(self.database, self.tools, self.clock)

    def _move(self, line: Line) -> None:
        moment = moved(self.clock, line.text, self.zone)
        if moment is None:
            raise ValueError(f"看不懂时间：{line.text}")
        if not self._begun:
            self.clock = moment
            self._begin()
            return
        if moment < self.clock:
            raise ValueError("时间不能倒退")
        self.turns.append(TurnLog(line, moment, self.speaker))
        self.move_to(moment)
        self.turns[-1].at = self.clock

    def _next_due(self, moment: datetime) -> datetime:
        step = timedelta(microseconds=1)
        trigger = alert_trigger(self.tools.limits)
        upcoming: datetime | None = trigger.get_next_fire_time(None, (self.clock + step).astimezone(self.zone))
        with self.database.read(system(Part.CONSOLE)) as work:
            reminders = [todo.remind_at for todo in follow_ups.to_remind(work, moment) if todo.remind_at > self.clock]
        alerts_due = [upcoming] if upcoming is not None else []
        return min([moment, *reminders, *alerts_due])

    def _deliver(self, delivery: Delivery) -> int | None:
        """The inbox row, None where it was delivered before."""
        with self.database.work(system(Part.CONSOLE)) as work:
            row = inbox.accept(work, delivery)
        if row is not None:
            receive(self.database, self.tools, row, self.clock)
        return row

    def _collect(self) -> None:
        with self.database.work(system(Part.CONSOLE)) as work:
            fresh = [message for message in outbox.after(work, self._seen) if message.state == "due"]
            for message in fresh:
                outbox.sent(work, message.id, self.clock, str(message.id))
                self._seen = max(self._seen, message.id)
        if not self.turns:
            self.turns.append(TurnLog(Line(0, "at", "", ""), self.clock, ""))
        for message in fresh:
            self.turns[-1].said.append(self._said(message))

    def _said(self, message: Outgoing) -> Said:
        reply = reply_from_plain(message.body)
        texts = load(message.body.get("language", ""))
        name = next((person.name for person in self.staff.values() if person.code == message.chat_ref), "")
        return Said(
            to=name or message.chat_ref,
            text=shown(render(message.body, self.abilities)),
            plain=shown(render(message.body, BY_NAME["terminal"])),
            keys=tuple(keys_of(message.body["say"])),
            choices=tuple((choice.value, label(texts, choice)) for choice in reply.choices),
            intent=message.intent,
        )

    def _message(self, line: Line, folder: Path | None) -> Incoming:
        parts = bracket(line.text)
        if parts is None:
            return Incoming(Kind.TEXT, self.clock, text=line.text)
        what, words, rest = parts
        makers: dict[str, Callable[[], Incoming]] = {
            "place": lambda: self._place(words),
            "photo": lambda: self._file(Kind.PHOTO, words, rest, folder, line),
            "voice": lambda: self._file(Kind.VOICE, words, rest, folder, line),
            "tap": lambda: Incoming(Kind.TAP, self.clock, tapped=self._button(words)),
            "edit": lambda: Incoming(Kind.EDIT, self.clock, text=" ".join(words)),
            "sticker": lambda: Incoming(Kind.OTHER, self.clock),
            "video": lambda: Incoming(Kind.OTHER, self.clock),
            "join": lambda: Incoming(Kind.JOIN, self.clock, text=self._invites.get(" ".join(words), " ".join(words))),
            "leave": lambda: Incoming(Kind.LEAVE, self.clock),
        }
        if what not in makers:
            raise ValueError(f"不认识 [{what}]，可用：{'、'.join(makers)}")
        return replace(makers[what](), at=self._acted_at(words))

    def _acted_at(self, words: list[str]) -> datetime:
        """`sent=08:40`: the person did it then, and it only arrives now."""
        sent = _extra(words).get("sent")
        return self.clock if sent is None else moved(self.clock, sent, self.zone) or self.clock

    def _place(self, words: list[str]) -> Incoming:
        """A position written in WGS-84 (or `gcj02`), as this channel would hand it over."""
        point = to_wgs84(Point(float(words[0]), float(words[1])), "gcj02" if "gcj02" in words else "wgs84")
        if self.abilities.datum == "gcj02":
            point = gcj02_from_wgs84(point)
        kind = PlaceKind(next((word for word in words[2:] if word in list(PlaceKind)), "pin"))
        extra = _extra(words)
        age = extra.get("age")
        place = SentPlace(
            point.lat,
            point.lon,
            kind,
            self.abilities.datum,
            float(extra["accuracy"]) if "accuracy" in extra else None,
            self.clock - timedelta(minutes=float(age)) if age else None,
        )
        track = "track" in words
        return Incoming(
            Kind.EDIT if track else Kind.PLACE, self.clock, place=place, forwarded=kind is PlaceKind.FORWARDED
        )

    def _file(self, kind: Kind, words: list[str], caption: str, folder: Path | None, line: Line) -> Incoming:
        if not words:
            raise ValueError("请写文件名")
        name = words[0]
        seconds = next((float(word[:-1]) for word in words[1:] if word.endswith("s") and word[:-1].isdigit()), None)
        album = _extra(words).get("album", "")
        for problem in ("too_big", "gone", "no_right"):
            if problem in words:
                return Incoming(kind, self.clock, media=Media(name, name=name, problem=problem), album=album)
        data = self._photo(words, folder) if kind is Kind.PHOTO else self._sound(words, folder, line.heard)
        if kind is Kind.VOICE and line.heard is not None:
            self.ear.expect(data, line.heard)
        media = Media(
            ref="",
            name=name,
            size=len(data),
            seconds=seconds,
            file=self.tools.files.put(data) if data else "",
            problem="" if data else "empty",
            recognised=line.given,
        )
        return Incoming(kind, self.clock, text=caption, media=media, album=album)

    def _photo(self, words: list[str], folder: Path | None) -> bytes:
        """The file where there is one, else a photo made from its name and `like=`, `taken=` and `where=`."""
        name, extra = words[0], _extra(words)
        data = self._found(name, folder)
        if data is None:
            data = spoilt_photo(name, words)
        if data is not None:
            return data
        taken = moved(self.clock, extra["taken"], self.zone) if "taken" in extra else None
        if "where" in extra:
            lat, _, lon = extra["where"].partition(",")
            return made_photo(name, taken_at=taken, taken_where=Point(float(lat), float(lon)))
        if "like" in extra:
            return made_photo(extra["like"], taken_at=taken, quality=60)
        return made_photo(name, taken_at=taken)

    def _sound(self, words: list[str], folder: Path | None, heard: str | None) -> bytes:
        data = self._found(words[0], folder)
        if data is not None:
            return data
        if "empty" in words:
            return b""
        if heard is None:
            raise FileNotFoundError(f"没有文件 {words[0]}（语音要么有文件，要么写 heard:）")
        return made_sound(words[0])

    def _found(self, name: str, folder: Path | None) -> bytes | None:
        places = [place / name for place in (folder, *self.media) if place is not None]
        return next((path.read_bytes() for path in places if path.is_file()), None)

    def _button(self, words: list[str]) -> str:
        """The data of a button: by its label or number on the newest question that has it, or written out as q3.0.

        `back=1` means the question before that one.
        """
        extra = _extra(words)
        word = " ".join(part for part in words if part.partition("=")[0] not in extra)
        if word.startswith("q") and "." in word:
            return word
        account = self.account_of(self.speaker)
        with self.database.read(system(Part.CONSOLE)) as work:
            asked = [m for m in outbox.to_chat(work, self.channel, account.chat_ref) if m.body.get("choices")]
        texts = load(account.language)
        left = int(extra.get("back", 0))
        for message in reversed(asked):
            choices = reply_from_plain(message.body).choices
            for index, choice in enumerate(choices):
                if word in (label(texts, choice), choice.value, str(index + 1)):
                    if left == 0:
                        return tap_data(message.body["question"], index)
                    left -= 1
                    break
        raise ValueError(f"没有按钮「{word}」")

    def _person(self, name: str) -> Employee:
        person = self.staff.get(name) or next((p for p in self.staff.values() if p.code == name), None)
        if person is None:
            raise LookupError(f"公司里没有「{name}」")
        return person

    def area_manager(self) -> str:
        """The name of the default rep's manager, who is meant by `manager:`."""
        chief = next((p for p in self.staff.values() if p.code == self.rep.manager), None)
        managers = [p for p in self.staff.values() if p.role is not Role.REP]
        return (chief or managers[0]).name if chief or managers else ""


def _extra(words: list[str]) -> dict[str, str]:
    """The words that are written key=value."""
    return dict(word.split("=", 1) for word in words if "=" in word)


def shown(rendered: Rendered) -> str:
    """What a person sees, as text: buttons in brackets below."""
    text = "\n".join(rendered.texts)
    buttons = "  ".join(f"[{button.label}]" for row in rendered.buttons for button in row)
    return f"{text}\n{buttons}" if buttons else text


def keys_of(say: Any) -> list[str]:
    """Every text key in a reply, in order."""
    found = [say["key"]]
    for value in say["values"].values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and "say" in item:
                found += keys_of(item["say"])
    return found
