"""The chat page's side of the wire: what a person does becomes a delivery, what the bot says is streamed back.

Every message carries a key made by the page; a repeated POST of the same key is stored once. Ages instead of times are
taken from the page (how long ago it was said, how old the fix was then), so a phone's wrong clock does no harm.
"""

import asyncio
import json
import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from aiohttp import BodyPartReader, web

import texts
from handlers.messages import Incoming, Kind, Media, SentPlace
from handlers.wire import incoming_to_plain
from rules.evidence import PlaceKind
from rules.people import Part, system
from storage import chats, firm
from storage.chats import CHANNEL, Heard
from storage.database import Work
from storage.inbox import Delivery
from storage.outbox import Outgoing
from web.files import file_response
from web.site import MB, SITE, Refusal, Site, Visitor, data, json_body, page, visitor_of

routes = web.RouteTableDef()

PAGE = 60  # messages of each side in one look back
_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONGEST_AGE = timedelta(hours=72)  # a message kept in the page without signal counts from when it was said
_HEARTBEAT_S = 15.0
_SHARED_LOOK_S = 1.0  # another process may have said something, which rings here nowhere
_MEDIA = {"photo": Kind.PHOTO, "voice": Kind.VOICE}


@routes.get("/chat")
async def chat_page(request: web.Request) -> web.StreamResponse:
    """The empty page; everything personal comes by the calls below."""
    return page("chat.html", texts.load(request.app[SITE].settings.language))


@routes.get("/api/history")
async def history(request: web.Request) -> web.StreamResponse:
    """Both sides of the chat, oldest first: the last page, or the one before a time."""
    site, visitor = request.app[SITE], await visitor_of(request)
    before = _time(request.query.get("before"))

    def find(work: Work) -> tuple[list[Heard], list[Outgoing], set[int]]:
        own = chats.heard_from(work, visitor.person, PAGE, before)
        after = chats.page_start(work, visitor.session.user_ref, PAGE, before)
        said = chats.said_to(work, visitor.session.user_ref, site.clock(), after, before=before)[-PAGE:]
        return own, said, _answered(work, visitor, said)

    own, said, answered = await site.look(find, visitor.scope)
    parts = [_own(item) for item in own] + [_bots(site, item, answered) for item in said]
    # A page that is full on one side begins where that side begins, so that nothing between two pages is left out.
    starts = [part[0] for part, full in ((own, len(own) == PAGE), (said, len(said) == PAGE)) if full and part]
    start = max((item.received_at if isinstance(item, Heard) else item.made_at for item in starts), default=None)
    shown = [part for part in parts if start is None or part["at"] >= start.isoformat()]
    return data(
        {
            "messages": sorted(shown, key=lambda part: (part["at"], part["from"] == "bot")),
            "last": said[-1].id if said else 0,
            "before": start.isoformat() if start is not None else None,
        }
    )


@routes.get("/api/events")
async def events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: one `said` a message of the bot, with its row as id, from the last id the page has seen.

    A reconnecting browser names that id itself (Last-Event-ID). `answered` names the questions that are settled.
    """
    site, visitor = request.app[SITE], await visitor_of(request)
    chat_ref = visitor.session.user_ref
    last = _number(request.headers.get("Last-Event-ID") or request.query.get("after", "0"))
    stream = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
    )
    heard = site.listen(chat_ref)
    try:
        await stream.prepare(request)
        while not site.closing:
            heard.clear()
            said, answered = await site.look(partial(_news, site=site, visitor=visitor, after=last), visitor.scope)
            for message in said:
                last = message.id
                await _send_event(stream, "said", _bots(site, message, answered), message.id)
            await _send_event(stream, "answered", sorted(answered))
            await _wait(heard, _SHARED_LOOK_S if site.database.shared else _HEARTBEAT_S)
    except ConnectionResetError:
        pass  # the page was closed; it comes back with the last id that it saw
    finally:
        site.forget(chat_ref, heard)
    return stream


@routes.post("/api/messages")
async def receive(request: web.Request) -> web.StreamResponse:
    """One thing a person did. Answered only once it is stored: `new` is false for a key that was stored before.

    Nothing of what a stranger sends is kept: he is refused before a byte of it is read.
    """
    site, visitor = request.app[SITE], await visitor_of(request)
    if visitor.employee is None:
        raise Refusal(403, "stranger")
    if request.content_type == "multipart/form-data":
        fields, message = await _with_file(request, site)
    else:
        fields = await json_body(request)
        message = await site.look(
            lambda work: _without_file(fields, site, work), system(Part.SITE) if site.settings.demo else visitor.scope
        )
    key = fields.get("key")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise Refusal(400, "bad")
    new = await site.accept(
        Delivery(
            channel=CHANNEL,
            account=CHANNEL,
            delivery_key=f"{visitor.session.user_ref}:{key}",
            person=visitor.person,
            chat_ref=visitor.session.user_ref,
            raw=fields,
            message=incoming_to_plain(message),
            received_at=site.clock(),
        )
    )
    return data({"accepted": True, "new": new})


@routes.get("/api/own/{inbox}/file")
async def own_file(request: web.Request) -> web.StreamResponse:
    """The photo or recording that this person sent in a message."""
    site, visitor = request.app[SITE], await visitor_of(request)
    number = _number(request.match_info["inbox"])
    heard = await site.look(lambda work: chats.heard(work, visitor.person, number), visitor.scope)
    media = (heard.message.get("media") if heard is not None else None) or {}
    if not media.get("file"):
        raise Refusal(404, "not_found")
    return await file_response(request, site.files, media["file"], media["mime"])


@routes.get("/api/said/{outbox}/image")
async def bots_image(request: web.Request) -> web.StreamResponse:
    """The picture of a message that the bot sent to this person."""
    site, visitor = request.app[SITE], await visitor_of(request)
    number = _number(request.match_info["outbox"])
    said = await site.look(
        lambda work: chats.said_to(work, visitor.session.user_ref, site.clock(), number - 1, most=1),
        visitor.scope,
    )
    attached = said[0].body.get("attach") if said and said[0].id == number else None
    if not attached:
        raise Refusal(404, "not_found")
    return await file_response(request, site.files, attached)


def _news(work: Work, site: Site, visitor: Visitor, after: int) -> tuple[list[Outgoing], set[int]]:
    chat_ref = visitor.session.user_ref
    said = chats.said_to(work, chat_ref, site.clock(), after)
    recent = chats.said_to(work, chat_ref, site.clock(), chats.page_start(work, chat_ref, PAGE))
    return said, _answered(work, visitor, [*recent, *said])


def _answered(work: Work, visitor: Visitor, said: Sequence[Outgoing]) -> set[int]:
    if visitor.account is None:
        return set()
    return chats.answered(work, visitor.account.id, {m.body["question"] for m in said if m.body.get("question")})


def _own(heard: Heard) -> dict[str, Any]:
    """A message of the person, as the page shows it."""
    message = heard.message
    part = {
        "from": "me",
        "key": heard.delivery_key.rpartition(":")[2],
        "at": heard.received_at.isoformat(),
        "kind": message["kind"],
        "text": message.get("text", ""),
        "tapped": message.get("tapped", ""),
    }
    if message.get("place"):
        part["place"] = {"title": message["place"]["title"], "accuracy": message["place"]["accuracy_m"]}
    if (message.get("media") or {}).get("file"):
        part["file"] = f"/api/own/{heard.id}/file"
        part["seconds"] = message["media"].get("seconds")
    return part


def _bots(site: Site, message: Outgoing, answered: set[int]) -> dict[str, Any]:
    """A message of the bot, as the page shows it."""
    shown = site.shown(message)
    question = message.body.get("question")
    return {
        "from": "bot",
        "id": message.id,
        "at": message.made_at.isoformat(),
        "texts": list(shown.texts),
        "buttons": [[{"data": code, "label": label} for code, label in row] for row in shown.buttons],
        "question": question,
        "answered": question in answered,
        "multi": message.body.get("multi", False),
        "wants_place": shown.wants_place,
        "image": f"/api/said/{message.id}/image" if message.body.get("attach") else None,
    }


def _without_file(fields: dict[str, Any], site: Site, work: Work) -> Incoming:
    at, kind = _said_at(fields, site.clock()), fields.get("kind")
    if kind == "text" and isinstance(fields.get("text"), str):
        return Incoming(Kind.TEXT, at, text=fields["text"])
    if kind == "tap" and isinstance(fields.get("tapped"), str) and len(fields["tapped"]) <= 64:
        return Incoming(Kind.TAP, at, tapped=fields["tapped"])
    if kind == "place" and isinstance(fields.get("demo_outlet"), str):
        return Incoming(Kind.PLACE, at, place=_in_front_of(fields["demo_outlet"], at, site, work))
    if kind == "place":
        return Incoming(Kind.PLACE, at, place=_fix(fields, at))
    raise Refusal(400, "bad")


def _fix(fields: dict[str, Any], at: datetime) -> SentPlace:
    """A position by navigator.geolocation: degrees WGS-84, accuracy in metres, and its age when it was sent."""
    lat, lon = _finite(fields.get("lat")), _finite(fields.get("lon"))
    if lat is None or lon is None:
        raise Refusal(400, "bad")
    age = timedelta(seconds=min(max(_finite(fields.get("fix_age_s")) or 0.0, 0.0), 7 * 86400.0))
    accuracy = _finite(fields.get("accuracy"))
    return SentPlace(
        lat, lon, PlaceKind.BROWSER, "wgs84", None if accuracy is None else max(0.0, accuracy), fixed_at=at - age
    )


def _in_front_of(code: str, at: datetime, site: Site, work: Work) -> SentPlace:
    """A demonstration's position at an outlet, marked as one. Nowhere else can a position be made up here."""
    outlet = firm.outlet(work, code) if site.settings.demo else None
    if outlet is None or outlet.point is None:
        raise Refusal(403, "demo_only")
    mark = texts.load(site.settings.language).say("web.demo.mark", {"name": outlet.name})
    return SentPlace(outlet.point.lat, outlet.point.lon, PlaceKind.BROWSER, "wgs84", 10.0, at, mark)


async def _with_file(request: web.Request, site: Site) -> tuple[dict[str, Any], Incoming]:
    """A form with a photo or recording. The bytes are stored for good before anything else is."""
    cap = site.settings.upload_mb * MB
    if (request.content_length or 0) > cap + MB:
        raise Refusal(413, "too_big", mb=site.settings.upload_mb)
    fields: dict[str, Any] = {}
    content, name, mime = None, "", ""
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise Refusal(400, "bad")
        if part.name == "file":
            content = await _read_up_to(part, cap, site)
            name, mime = (part.filename or "")[:120], part.headers.get("Content-Type", "")[:100]
        else:
            fields[str(part.name)[:20]] = (await _read_up_to(part, 1024, site)).decode("utf-8", "replace")
    kind = _MEDIA.get(fields.get("kind", ""))
    if content is None or kind is None:
        raise Refusal(400, "bad")
    file = await asyncio.to_thread(site.files.put, content) if content else ""
    fields |= {"name": name, "size": len(content), "file": file}
    media = Media(
        ref="",
        mime=mime,
        name=name,
        size=len(content),
        seconds=_finite(fields.get("seconds")),
        unique=file,
        file=file,
        problem="" if content else "empty",
    )
    return fields, Incoming(kind, _said_at(fields, site.clock()), media=media)


async def _read_up_to(part: BodyPartReader, cap: int, site: Site) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk(256 * 1024):
        content += chunk
        if len(content) > cap:
            raise Refusal(413, "too_big", mb=site.settings.upload_mb)
    return bytes(content)


def _said_at(fields: dict[str, Any], now: datetime) -> datetime:
    age = timedelta(seconds=min(max(_finite(fields.get("age_s")) or 0.0, 0.0), _LONGEST_AGE.total_seconds()))
    return now - age


def _finite(value: object) -> float | None:
    """A number from a page or a form, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def _time(text: str | None) -> datetime | None:
    try:
        at = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(400, "bad") from None
    if at is not None and at.tzinfo is None:
        raise Refusal(400, "bad")
    return at


async def _wait(heard: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await heard.wait()
    except TimeoutError:
        return


async def _send_event(stream: web.StreamResponse, name: str, content: Any, number: int | None = None) -> None:
    head = f"event: {name}\n" + (f"id: {number}\n" if number is not None else "")
    await stream.write(f"{head}data: {json.dumps(content, ensure_ascii=False)}\n\n".encode())
