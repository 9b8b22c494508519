"""A decrypted callback of 企业微信 becomes one delivery for the inbox. Nothing here does I/O, and nothing raises.

The library gives its fields when they are asked for, and only then finds them unreadable; so everything is read here,
once. What cannot be read becomes a delivery without a message, which says why.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from wechatpy import events as library_events
from wechatpy.enterprise.events import EVENT_TYPES, register_event
from wechatpy.enterprise.messages import MESSAGE_TYPES
from wechatpy.fields import BaseField, IntegerField, StringField
from wechatpy.messages import UnknownMessage

from bot.wechat_callback import as_list
from handlers.commands import COMMANDS
from handlers.messages import Incoming, Kind, Media, SentPlace
from handlers.wire import incoming_to_plain, read_taps, tap_data
from rules.evidence import PlaceKind
from rules.places import Datum
from storage.inbox import Delivery

CHANNEL: Final = "wecom"
# developer.work.weixin.qq.com/document/path/90195: 1 to 64 bytes, letters, digits and _ - @ . , case does not count.
USERID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
# One act of the person makes one of these and the message itself (a photo, a pin): only the message counts.
DOUBLES: Final = frozenset({"pic_sysphoto", "pic_photo_or_album", "pic_weixin", "location_select"})


# What the library does not know, told to it by the way it offers (developer.work.weixin.qq.com/document/path/90240).


@register_event("enter_agent")
class EnterAgentEvent(library_events.BaseEvent):  # type: ignore[misc]
    """Somebody opened the app's chat. Comes at every opening, where the app has 上报进入应用事件 switched on."""

    event = "enter_agent"
    agent = IntegerField("AgentID", 0)


@register_event("template_card_event")
class TemplateCardEvent(library_events.BaseEvent):  # type: ignore[misc]
    """A button of a card, or its submit button with what was ticked. `selected` may be a dict, a list or nothing."""

    event = "template_card_event"
    agent = IntegerField("AgentID", 0)
    key = StringField("EventKey", "")
    task_id = StringField("TaskId", "")
    card_type = StringField("CardType", "")
    response_code = StringField("ResponseCode", "")
    selected = BaseField("SelectedItems", {})


@register_event("template_card_menu_event")
class TemplateCardMenuEvent(TemplateCardEvent):
    """An entry of the menu in a card's corner."""

    event = "template_card_menu_event"


class Unreadable(ValueError):
    """The callback parses but says something that cannot be, like a position that is no number."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one callback asks of the channel: a delivery to store, and the card that was tapped, if one was."""

    delivery: Delivery
    task_id: str = ""
    response_code: str = ""


@dataclass(frozen=True, slots=True)
class Datums:
    """Which datum positions are in: those people send, and those the app reports. The vendor states neither."""

    pins: Datum = "gcj02"
    reports: Datum = "gcj02"


def read_callback(xml: Mapping[str, Any], account: str, datums: Datums, received_at: datetime) -> Heard:
    """Read one callback that the guard let in, as a dict. `account` is corpid:agentid, `received_at` aware."""
    raw = dict(xml)
    try:
        person = _userid(raw.get("FromUserName"))
    except Unreadable:
        person = ""
    task_id = code = ""
    try:
        message = _library_object(raw)
        at = _moment(raw.get("CreateTime"), received_at)
        incoming = _incoming(message, raw, at, datums)
        if isinstance(message, TemplateCardEvent):
            task_id, code = _text(message.task_id)[:128], _text(message.response_code)[:200]
        plain: dict[str, Any] | None = incoming_to_plain(incoming)
        position, error = int(at.timestamp()), ""
    except Exception as trouble:  # the library raises ValueError, TypeError, KeyError, AttributeError on what is odd
        plain, position, error = None, 0, f"{type(trouble).__name__}: {trouble}"[:500]
    delivery = Delivery(
        channel=CHANNEL,
        account=account,
        delivery_key=_delivery_key(raw),
        person=f"{CHANNEL}:{person}",
        chat_ref=person,
        raw=raw,
        message=plain,
        received_at=received_at,
        position=position,
        error=error,
    )
    return Heard(delivery, task_id, code)


def _library_object(raw: dict[str, Any]) -> Any:
    """The library's object for a callback, as its parse_message makes it; that one reads text alone."""
    kind = _text(raw.get("MsgType")).lower()
    if not kind:
        raise Unreadable("no MsgType")
    if kind == "event":
        return EVENT_TYPES.get(_text(raw.get("Event")).lower(), UnknownMessage)(dict(raw))
    return MESSAGE_TYPES.get(kind, UnknownMessage)(dict(raw))


def _incoming(message: Any, raw: Mapping[str, Any], at: datetime, datums: Datums) -> Incoming:
    if isinstance(message, TemplateCardEvent):
        return Incoming(Kind.TAP, at, tapped=_tapped(message))
    if isinstance(message, UnknownMessage):
        # An event nobody told us of asks for nothing; a message of an unknown type is still somebody's message.
        return Incoming(Kind.NOTICE if _text(raw.get("MsgType")).lower() == "event" else Kind.OTHER, at)
    event = getattr(message, "event", "")
    if event:
        return _EVENTS.get(event, _notice)(message, at, datums)
    return _MESSAGES.get(message.type, _other)(message, at, datums)


Reader = Callable[[Any, datetime, Datums], Incoming]


def _words(message: Any, at: datetime, datums: Datums) -> Incoming:
    text = _text(message.content)
    return Incoming(Kind.TEXT if text else Kind.OTHER, at, text=text)


def _photo(message: Any, at: datetime, datums: Datums) -> Incoming:
    return Incoming(Kind.PHOTO, at, media=_media(message, "image/jpeg", "photo.jpg"))


def _voice(message: Any, at: datetime, datums: Datums) -> Incoming:
    """AMR, whatever `Format` says. This platform sends no transcript of its own."""
    return Incoming(Kind.VOICE, at, media=_media(message, "audio/amr", "voice.amr"))


def _pin(message: Any, at: datetime, datums: Datums) -> Incoming:
    """A place somebody chose on a map: no accuracy, and a forwarded one looks the same, so it is never a device fix."""
    lat, lon = _degrees(message.location_x), _degrees(message.location_y)
    return Incoming(Kind.PLACE, at, place=SentPlace(lat, lon, PlaceKind.PIN, datums.pins, title=_text(message.label)))


def _report(message: Any, at: datetime, datums: Datums) -> Incoming:
    """The app tells where the device is, when its owner opens the chat: a device fix, and no message."""
    lat, lon = _degrees(message.latitude), _degrees(message.longitude)
    accuracy = _degrees(message.precision or 0.0)
    if accuracy < 0:
        raise Unreadable("a negative precision")
    place = SentPlace(lat, lon, PlaceKind.REPORT, datums.reports, accuracy_m=accuracy or None, fixed_at=at)
    return Incoming(Kind.EDIT, at, place=place)


def _menu(message: Any, at: datetime, datums: Datums) -> Incoming:
    """A menu entry is a command by its name; one of a menu that this bot did not make asks for nothing we know."""
    key = _text(message.key)
    return Incoming(Kind.TEXT, at, text=f"/{key}") if key in COMMANDS else Incoming(Kind.NOTICE, at)


def _notice(message: Any, at: datetime, datums: Datums) -> Incoming:
    return Incoming(Kind.NOTICE, at)


def _other(message: Any, at: datetime, datums: Datums) -> Incoming:
    """A video, a link: told politely that it is not taken."""
    return Incoming(Kind.OTHER, at)


_MESSAGES: Final[dict[str, Reader]] = {"text": _words, "image": _photo, "voice": _voice, "location": _pin}
_EVENTS: Final[dict[str, Reader]] = {
    "subscribe": lambda message, at, datums: Incoming(Kind.JOIN, at),
    "unsubscribe": lambda message, at, datums: Incoming(Kind.LEAVE, at),
    "enter_agent": lambda message, at, datums: Incoming(Kind.ENTER, at),
    "location": _report,
    "click": _menu,
    **dict.fromkeys(DOUBLES, _notice),
}


def _tapped(message: TemplateCardEvent) -> str:
    """The data of the button, or of all options that were ticked; empty when nothing of ours was."""
    picked = [
        _text(option)
        for items in as_list(message.selected)
        for item in as_list(items.get("SelectedItem") if isinstance(items, Mapping) else None)
        for ids in as_list(item.get("OptionIds") if isinstance(item, Mapping) else None)
        for option in as_list(ids.get("OptionId") if isinstance(ids, Mapping) else ids)
    ]
    taps = [tap for tap in map(read_taps, picked or [_text(message.key)]) if tap is not None]
    if not taps or any(tap[0] != taps[0][0] for tap in taps):
        return ""
    indexes = dict.fromkeys(index for _, several in taps for index in several)
    return tap_data(taps[0][0], *indexes)


def _media(message: Any, mime: str, name: str) -> Media:
    ref = _text(message.media_id)
    return Media(ref=ref, mime=mime, name=name, problem="" if ref else "gone")


def _delivery_key(raw: Mapping[str, Any]) -> str:
    """Messages have an id. Events have none, and a time in whole seconds: so by everything that tells one from another.

    A card's ResponseCode is another one at each tap, so two taps within a second are two.
    """
    number = raw.get("MsgId")
    if isinstance(number, str) and number.isascii() and number.isdigit() and number.strip("0"):
        return f"msg:{number}"[:200]
    names = ("FromUserName", "CreateTime", "Event", "EventKey", "TaskId", "ResponseCode", "Latitude", "Longitude")
    parts = [raw.get(name) for name in names]
    if not any(parts):
        parts = [raw]
    return "event:" + hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _moment(value: Any, received_at: datetime) -> datetime:
    """CreateTime is in seconds since 1970; without one it is the time of arrival."""
    if value is None:
        return received_at
    try:
        return datetime.fromtimestamp(int(_text(value)), UTC)
    except (ValueError, OverflowError, OSError):
        raise Unreadable("CreateTime is no time") from None


def _userid(value: Any) -> str:
    """In small letters: the platform takes no account of case, and answers in small letters."""
    text = _text(value)
    if not USERID.fullmatch(text):
        raise Unreadable("FromUserName is no userid")
    return text.lower()


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"text expected, not {type(value).__name__}")
    return value


def _degrees(value: Any) -> float:
    """A number; whether it is a place on earth is judged where places are."""
    number = float(value)
    if not math.isfinite(number) or abs(number) > 1e9:
        raise Unreadable("not a number of degrees or metres")
    return number
