"""Replaying a transcript through the real door, on a real and fresh database, with a clock that is moved by hand."""

import hashlib
import io
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from PIL import Image

from bot.abilities import BY_NAME
from bot.channels import Rendered
from bot.rendering import render
from bot.script import BadScript, Line, Script, bracket, moved
from handlers.messages import Incoming, Kind, Media, SentPlace
from handlers.receive import receive
from handlers.sentences import label
from handlers.tools import Tools
from handlers.wire import incoming_to_plain, reply_from_plain, tap_data
from nlp.transcribe import Hints, Transcriber, Transcript
from rules.evidence import PlaceKind
from rules.people import Employee, Role
from scheduler.clock import tick
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
    """One message that came out: to whom, how it reads on the channel, and the data behind it."""

    to: str
    text: str
    keys: tuple[str, ...]
    choices: tuple[tuple[str, str], ...]
    intent: str


@dataclass(slots=True)
class TurnLog:
    """One line that did something, and everything said until the next one."""

    line: Line
    at: datetime
    who: str
    came_in: dict[str, Any] | None = None
    said: list[Said] = field(default_factory=list)


class StandIn:
    """A recogniser that returns what the script says was heard, by the sound's content; others go to the real one."""

    def __init__(self, real: Transcriber | None) -> None:
        self._real = real
        self._heard: dict[str, str] = {}

    def expect(self, audio: bytes, text: str) -> None:
        self._heard[hashlib.sha256(audio).hexdigest()] = text

    def transcribe(self, audio: bytes, hints: Hints) -> Transcript:
        key = hashlib.sha256(audio).hexdigest()
        if key in self._heard:
            seconds = hints.claimed_seconds or 5.0
            return Transcript(self._heard[key], (), 0.95 if self._heard[key] else 0.0, "script", seconds, ())
        if self._real is None:
            raise LookupError("neither a heard: line nor a recogniser for this sound")
        return self._real.transcribe(audio, hints)


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
        with database.work() as work:
            self.staff = {person.name: person for person in people.staff(work) if person.active}
        self.rep = self._person(rep)
        self.speaker = self.rep

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
        if line.word == "at":
            self._move(line)
            return
        if not line.speaks:
            return
        self._begin()
        if line.word != "again":
            self.speaker = self._person(line.who) if line.who else self.rep
        log = TurnLog(line, self.clock, self.speaker.name)
        self.turns.append(log)
        if line.word == "again":
            if self._last is None:
                raise ValueError("again: 前面还没有消息")
            self._deliver(self._last)
        else:
            message = self._message(line, folder)
            log.came_in = incoming_to_plain(message)
            self._count += 1
            self._last = Delivery(
                channel=self.channel,
                account="replay",
                delivery_key=str(self._count),
                person=f"{self.channel}:{self.speaker.code}",
                chat_ref=self.speaker.code,
                raw={"line": line.text},
                message=log.came_in,
                received_at=self.clock,
                position=self._count,
            )
            self._deliver(self._last)
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

    def account_of(self, person: Employee) -> Account:
        with self.database.read() as work:
            account = people.account(work, self.channel, person.code)
        if account is None:
            raise LookupError(person.name)
        return account

    def _begin(self) -> None:
        """Tie everybody to the channel when the clock first counts."""
        if self._begun:
            return
        self._begun = True
        with self.database.work() as work:
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
        self.turns.append(TurnLog(line, moment, ""))
        self.move_to(moment)
        self.turns[-1].at = self.clock

    def _next_due(self, moment: datetime) -> datetime:
        step = timedelta(microseconds=1)
        trigger = alert_trigger(self.tools.limits)
        upcoming: datetime | None = trigger.get_next_fire_time(None, (self.clock + step).astimezone(self.zone))
        with self.database.read() as work:
            reminders = [todo.remind_at for todo in follow_ups.to_remind(work, moment) if todo.remind_at > self.clock]
        alerts_due = [upcoming] if upcoming is not None else []
        return min([moment, *reminders, *alerts_due])

    def _deliver(self, delivery: Delivery) -> None:
        with self.database.work() as work:
            row = inbox.accept(work, delivery)
        if row is not None:
            receive(self.database, self.tools, row, self.clock)

    def _collect(self) -> None:
        with self.database.work() as work:
            fresh = [message for message in outbox.after(work, self._seen) if message.state == "due"]
            for message in fresh:
                outbox.sent(work, message.id, self.clock, str(message.id))
                self._seen = max(self._seen, message.id)
        if not self.turns:
            self.turns.append(TurnLog(Line(0, "at", "", ""), self.clock, ""))
        for message in fresh:
            self.turns[-1].said.append(self._said(message))

    def _said(self, message: Outgoing) -> Said:
        rendered = render(message.body, BY_NAME["terminal"] if self.abilities.buttons == 0 else self.abilities)
        reply = reply_from_plain(message.body)
        texts = load(message.body.get("language", ""))
        name = next((person.name for person in self.staff.values() if person.code == message.chat_ref), "?")
        return Said(
            to=name,
            text=shown(rendered),
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
            "tap": lambda: Incoming(Kind.TAP, self.clock, tapped=self._button(" ".join(words))),
            "edit": lambda: Incoming(Kind.EDIT, self.clock, text=" ".join(words)),
            "sticker": lambda: Incoming(Kind.OTHER, self.clock),
            "video": lambda: Incoming(Kind.OTHER, self.clock),
            "join": lambda: Incoming(Kind.JOIN, self.clock, text=" ".join(words)),
            "leave": lambda: Incoming(Kind.LEAVE, self.clock),
        }
        if what not in makers:
            raise ValueError(f"不认识 [{what}]，可用：{'、'.join(makers)}")
        return makers[what]()

    def _place(self, words: list[str]) -> Incoming:
        lat, lon = float(words[0]), float(words[1])
        kinds = {"live", "pin", "forwarded", "venue", "browser", "report"}
        kind = next((word for word in words[2:] if word in kinds), "pin")
        extra = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        age = extra.get("age")
        place = SentPlace(
            lat,
            lon,
            PlaceKind(kind),
            "gcj02" if "gcj02" in words else self.abilities.datum if "wgs84" not in words else "wgs84",
            float(extra["accuracy"]) if "accuracy" in extra else None,
            self.clock - timedelta(minutes=float(age)) if age else None,
        )
        track = "track" in words
        return Incoming(Kind.EDIT if track else Kind.PLACE, self.clock, place=place, forwarded=kind == "forwarded")

    def _file(self, kind: Kind, words: list[str], caption: str, folder: Path | None, line: Line) -> Incoming:
        if not words:
            raise ValueError("请写文件名")
        name = words[0]
        seconds = next((float(word[:-1]) for word in words[1:] if word.endswith("s") and word[:-1].isdigit()), None)
        album = next((word.removeprefix("album=") for word in words[1:] if word.startswith("album=")), "")
        if "too_big" in words:
            return Incoming(kind, self.clock, media=Media(name, problem="too_big"))
        data = self._bytes(kind, name, folder, heard=line.heard)
        if kind is Kind.VOICE and line.heard is not None:
            self.ear.expect(data, line.heard)
        media = Media(
            ref="",
            name=name,
            size=len(data),
            seconds=seconds,
            file=self.tools.files.put(data) if data else "",
            problem="" if data else "empty",
        )
        return Incoming(kind, self.clock, text=caption, media=media, album=album)

    def _bytes(self, kind: Kind, name: str, folder: Path | None, *, heard: str | None) -> bytes:
        for place in (folder, *self.media):
            if place is not None and (place / name).is_file():
                return (place / name).read_bytes()
        if kind is Kind.PHOTO:
            return made_photo(name)
        if heard is not None:
            return made_sound(name)
        raise FileNotFoundError(f"没有文件 {name}（语音要么有文件，要么写 heard:）")

    def _button(self, word: str) -> str:
        """The data of a button: by its label or number on the latest question, or written out as q3.0."""
        if word.startswith("q") and "." in word:
            return word
        account = self.account_of(self.speaker)
        with self.database.read() as work:
            last = [m for m in outbox.to_chat(work, self.channel, account.chat_ref) if m.body.get("choices")]
        if not last:
            raise ValueError("还没有可以点的按钮")
        reply = reply_from_plain(last[-1].body)
        texts = load(account.language)
        for index, choice in enumerate(reply.choices):
            if word in (label(texts, choice), choice.value, str(index + 1)):
                return tap_data(last[-1].body["question"], index)
        raise ValueError(f"没有按钮「{word}」")

    def _person(self, name: str) -> Employee:
        person = self.staff.get(name) or next((p for p in self.staff.values() if p.code == name), None)
        if person is None:
            raise LookupError(f"公司里没有在职的「{name}」")
        return person

    def area_manager(self) -> str:
        """The name of the default rep's manager, who is meant by `manager:`."""
        chief = next((p for p in self.staff.values() if p.code == self.rep.manager), None)
        managers = [p for p in self.staff.values() if p.role is not Role.REP]
        return (chief or managers[0]).name if chief or managers else ""


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


def made_photo(name: str) -> bytes:
    """A real JPEG whose picture follows from its name, so that a transcript needs no file beside it.

    Pictures of different names differ as much as photos of different shops do.
    """
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def made_sound(name: str) -> bytes:
    """A second of real, soft noise that follows from its name, as WAV."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    samples = np.random.default_rng(seed).integers(-800, 800, 16_000, dtype=np.int16)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(samples.tobytes())
    return buffer.getvalue()
