"""A stored conversation printed as a script, so that what went wrong in the field becomes a test."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from bot.abilities import TERMINAL
from bot.rendering import render
from handlers.messages import Incoming, Kind
from handlers.wire import incoming_from_plain
from rules.limits import Limits
from rules.people import Part, system
from storage import evidence, inbox, outbox, people
from storage.database import Database, Work
from storage.files import FileLost, Files
from storage.people import Account


class NoSuchConversation(Exception):
    """Nobody of that name has talked to the bot."""


def stored_script(
    database: Database, files: Files, limits: Limits, conversation: str, media: Path | None = None
) -> Iterator[str]:
    """The lines of a script; with `media` the photos and sounds are written there too. Raises NoSuchConversation."""
    zone = ZoneInfo(limits.time_zone)
    with database.read(system(Part.CONSOLE)) as work:
        found = _conversations(work, conversation)
        if not found:
            raise NoSuchConversation(conversation)
        for channel, person, name in found:
            yield f"# {name}（{channel}）"
            yield from _lines(work, files, zone, channel, person, name, media)


def accounts_meant(work: Work, wanted: str) -> list[Account]:
    """Every account meant by a name, a 工号 or channel:user."""
    found = []
    for account in people.accounts(work):
        employee = people.employee(work, account.employee)
        person = f"{account.channel}:{account.user_ref}"
        if employee is not None and wanted in (employee.code, employee.name, person):
            found.append(account)
    return found


def _conversations(work: Work, wanted: str) -> list[tuple[str, str, str]]:
    """(channel, person, name) of every account meant."""
    return [
        (one.channel, f"{one.channel}:{one.user_ref}", person.name)
        for one in accounts_meant(work, wanted)
        if (person := people.employee(work, one.employee)) is not None
    ]


def _lines(
    work: Work, files: Files, zone: ZoneInfo, channel: str, person: str, name: str, media: Path | None
) -> Iterator[str]:
    clock: datetime | None = None
    last_said = 0
    chat_ref = ""
    for delivery, state in inbox.of_person(work, channel, person):
        if delivery.message is None or state != "done":
            yield f"# #{delivery.id} {state} {delivery.error[:80]}"
            continue
        message = incoming_from_plain(delivery.message, delivery.id)
        chat_ref = delivery.chat_ref
        for said in outbox.to_chat(work, channel, chat_ref, last_said):
            if (said.made_at >= message.at and said.in_reply_to is None) or said.in_reply_to == delivery.id:
                break
            if said.in_reply_to is None or said.in_reply_to < delivery.id:
                last_said = said.id
                yield from _said(said.body)
        if clock is None or message.at > clock:
            clock = message.at
            yield f"at: {clock.astimezone(zone):%Y-%m-%d %H:%M:%S}"
        yield from _sent(work, files, message, f"as {name}", media)
    for said in outbox.to_chat(work, channel, chat_ref, last_said):
        yield from _said(said.body)


def _said(body: dict[str, object]) -> Iterator[str]:
    first, *rest = "\n".join(render(body, TERMINAL).texts).split("\n")
    yield f"bot: {first}"
    yield from (f"    {line.strip()}" for line in rest)


def _sent(work: Work, files: Files, message: Incoming, who: str, media: Path | None) -> Iterator[str]:
    if message.place is not None:
        place = message.place
        words = [f"{place.lat:.6f}", f"{place.lon:.6f}", place.kind.value]
        words += ["gcj02"] if place.datum == "gcj02" else ["wgs84"]
        words += [f"accuracy={place.accuracy_m:g}"] if place.accuracy_m is not None else []
        words += ["track"] if message.kind is Kind.EDIT else []
        yield f"{who}: [place {' '.join(words)}]"
    elif message.media is not None:
        yield from _file(work, files, message, who, media)
    elif message.kind is Kind.TAP:
        yield f"{who}: [tap {message.tapped}]"
    elif message.kind is Kind.EDIT:
        yield f"{who}: [edit {' '.join(message.text.split())}]"
    elif message.kind is Kind.OTHER:
        yield f"{who}: [sticker]"
    elif message.kind in (Kind.JOIN, Kind.LEAVE):
        yield f"# {message.kind.value}"
    else:
        yield f"{who}: {' '.join(message.text.split())}"


def _file(work: Work, files: Files, message: Incoming, who: str, media: Path | None) -> Iterator[str]:
    sent = message.media
    if sent is None:
        return
    voice = message.kind is Kind.VOICE
    suffix = Path(sent.name).suffix or (".ogg" if voice else ".jpg")
    name = f"{sent.file[:12] or 'lost'}{suffix}"
    words = [name]
    words += [f"{sent.seconds:.0f}s"] if sent.seconds else []
    words += ["too_big"] if sent.problem == "too_big" else []
    yield f"{who}: [{'voice' if voice else 'photo'} {' '.join(words)}] {message.text}".rstrip()
    if voice:
        note = evidence.note_of_inbox(work, message.source)
        if note is not None and note.channel_text:
            yield f"given: {note.channel_text}"
        if note is not None:
            yield f"heard: {'[no_model]' if note.words_from else note.text}"
    if media is not None and sent.file:
        media.mkdir(parents=True, exist_ok=True)
        try:
            (media / name).write_bytes(files.get(sent.file))
        except FileLost:
            yield f"# {name} is lost"
