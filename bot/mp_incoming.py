"""A genuine callback of 公众号 becomes one delivery for the inbox. Nothing here does I/O, and nothing raises.

The library's fields are converted when they are read, and may raise only then; so all are read here, once, and what
cannot be read becomes a delivery without a message that says why.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from wechatpy import events, messages
from wechatpy.events import EVENT_TYPES, BaseEvent, register_event
from wechatpy.fields import BaseField
from wechatpy.messages import MESSAGE_TYPES, UnknownMessage

from bot.wechat_callback import as_list, moment, part, word
from handlers.commands import COMMANDS
from handlers.messages import Incoming, Kind, Media, SentPlace
from handlers.wire import incoming_to_plain, read_tap
from rules.evidence import PlaceKind
from rules.places import Datum
from storage.inbox import Delivery
from storage.push_budget import Act

CHANNEL: Final = "mp"
OPENID: Final = re.compile(r"[A-Za-z0-9_-]{6,64}")
SCENE: Final = "qrscene_"  # before the scene of a code whose scan made somebody follow
# A typed invite, for accounts that may not make codes with parameters: 加入 k3Jx….
TYPED_INVITE: Final = re.compile(r"(?:加入|邀请码|join)[\s:：]*([A-Za-z0-9_-]{16,64})", re.IGNORECASE)

Answer = Literal["reply", "none"]


@register_event("subscribe_msg_popup_event")
class SubscribeMsgPopupEvent(BaseEvent):  # type: ignore[misc]  # wechatpy ships no types
    """Somebody ticked, or refused, the box of 订阅通知 on a page."""

    event = "subscribe_msg_popup_event"
    body = BaseField("SubscribeMsgPopupEvent", {})


@register_event("subscribe_msg_change_event")
class SubscribeMsgChangeEvent(BaseEvent):  # type: ignore[misc]  # wechatpy ships no types
    """Somebody switched a template of 订阅通知 off (or on again) in the account's settings."""

    event = "subscribe_msg_change_event"
    body = BaseField("SubscribeMsgChangeEvent", {})


@register_event("subscribe_msg_sent_event")
class SubscribeMsgSentEvent(BaseEvent):  # type: ignore[misc]  # wechatpy ships no types
    """What became of a 订阅通知."""

    event = "subscribe_msg_sent_event"
    body = BaseField("SubscribeMsgSentEvent", {})


@dataclass(frozen=True, slots=True)
class Datums:
    """Which datum positions are in: those people send, and those the app reports. The vendor states neither."""

    pins: Datum = "gcj02"
    reports: Datum = "wgs84"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a template message, told later: `reason` is a key under `undelivered.`, "" where it arrived."""

    message_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A box that was ticked (`count` 1), or an agreement that was taken back (0)."""

    template: str
    count: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What one callback asks of the channel: a delivery to store, whether it may be answered with a message, what it
    lets us push, and what it tells of earlier messages.
    """

    delivery: Delivery
    sender: str  # both as the answer's envelope needs them
    receiver: str
    answer: Answer = "none"
    act: Act | None = None
    outcomes: tuple[Outcome, ...] = ()
    grants: tuple[Grant, ...] = ()


class Unreadable(ValueError):
    """The callback is genuine but says something that cannot be, like a latitude of 200."""


def read_callback(xml: Mapping[str, Any], account: str, datums: Datums, received_at: datetime) -> Heard:
    """Read the inside of one callback. `account` is the appid, `received_at` aware."""
    raw = _storable(dict(xml))
    person = word(raw, "FromUserName")
    if not OPENID.fullmatch(person):
        person = ""
    plain: dict[str, Any] | None = None
    outcomes: tuple[Outcome, ...] = ()
    grants: tuple[Grant, ...] = ()
    error, answer, act = "", "none", None
    at = received_at
    try:
        if not person:
            raise Unreadable("no openid in FromUserName")
        at = _sent_at(raw, received_at)
        found = _library_object(raw)
        incoming = _incoming(found, raw, at, datums)
        outcomes, grants = _outcomes(found), _grants(found)
        answer, act = _answerable(found, incoming), _act(found, incoming, raw)
        plain = incoming_to_plain(incoming)
    except Exception as trouble:  # the library raises ValueError, TypeError, AttributeError and more on odd fields
        error, answer, act = f"{type(trouble).__name__}: {trouble}"[:500], "none", None
    delivery = Delivery(
        channel=CHANNEL,
        account=account,
        delivery_key=delivery_key(raw),
        person=f"{CHANNEL}:{person}" if person else "",
        chat_ref=person,
        raw=raw,
        message=plain,
        received_at=received_at,
        position=int(at.timestamp()),
        error=error,
    )
    return Heard(
        delivery,
        sender=person,
        receiver=word(raw, "ToUserName"),
        answer="reply" if answer == "reply" else "none",
        act=act,
        outcomes=outcomes,
        grants=grants,
    )


def delivery_key(raw: Mapping[str, Any]) -> str:
    """Messages have an id. Events have none and a time in whole seconds, so everything that tells them apart counts."""
    number = word(raw, "MsgId")
    if re.fullmatch(r"[0-9]{1,40}", number):
        return f"msg:{number}"
    names = ("FromUserName", "CreateTime", "Event", "EventKey", "Ticket", "MsgID", "Latitude", "Longitude")
    told = "\0".join(word(raw, name) for name in names)
    if not told.strip("\0"):
        told = repr(sorted(raw.items(), key=str))
    return f"event:{hashlib.sha256(told.encode()).hexdigest()}"


def _library_object(raw: dict[str, Any]) -> Any:
    """The library's object for a callback, as its parse_message makes it from the text."""
    kind, event = word(raw, "MsgType").lower(), word(raw, "Event").lower()
    if not kind:
        raise Unreadable("no MsgType")
    if kind != "event":
        return MESSAGE_TYPES.get(kind, UnknownMessage)(dict(raw))
    if event == "subscribe" and word(raw, "EventKey").startswith(SCENE):
        scene = word(raw, "EventKey").removeprefix(SCENE)
        return EVENT_TYPES["subscribe_scan"]({**raw, "EventKey": scene})
    return EVENT_TYPES.get(event, UnknownMessage)(dict(raw))


def _incoming(found: Any, raw: Mapping[str, Any], at: datetime, datums: Datums) -> Incoming:
    match found:
        case messages.TextMessage():
            return _text(raw, at)
        case messages.ImageMessage():
            refs = (word(raw, "MediaId"), word(raw, "PicUrl"))
            return Incoming(Kind.PHOTO, at, media=_media(refs, "image/jpeg", "photo.jpg"))
        case messages.VoiceMessage():
            # The 16 kHz recording is clearer than the 8 kHz one; `Format` tells nothing. `Recognition` has come
            # empty since the platform gave it up; where it is filled, it is the channel's own transcript.
            refs = (word(raw, "MediaId16K"), word(raw, "MediaId"))
            sound = _media(refs, "audio/amr", "voice.amr")
            return Incoming(Kind.VOICE, at, media=replace(sound, recognised=word(raw, "Recognition")))
        case messages.LocationMessage():
            # No accuracy, no sign of forwarding, no time of the fix: a pin set by hand, whatever it was.
            lat, lon = _degrees(raw, "Location_X", 90), _degrees(raw, "Location_Y", 180)
            return Incoming(
                Kind.PLACE, at, place=SentPlace(lat, lon, PlaceKind.PIN, datums.pins, title=word(raw, "Label")[:200])
            )
        case events.LocationEvent():
            lat, lon = _degrees(raw, "Latitude", 90), _degrees(raw, "Longitude", 180)
            accuracy = _degrees(raw, "Precision", 1e7) if word(raw, "Precision") else None
            if accuracy is not None and accuracy < 0:
                raise Unreadable("a negative precision")
            place = SentPlace(lat, lon, PlaceKind.REPORT, datums.reports, accuracy_m=accuracy or None, fixed_at=at)
            return Incoming(Kind.EDIT, at, place=place)
        case events.SubscribeScanEvent() | events.ScanEvent():
            return Incoming(Kind.JOIN, at, text=word({"key": found.scene_id}, "key"))
        case events.SubscribeEvent():
            return Incoming(Kind.JOIN, at)
        case events.UnsubscribeEvent():
            return Incoming(Kind.LEAVE, at)
        case events.ClickEvent() if word(raw, "EventKey") in COMMANDS:
            return Incoming(Kind.TEXT, at, text=f"/{word(raw, 'EventKey')}")
        case UnknownMessage() if word(raw, "MsgType").lower() != "event":
            return Incoming(Kind.OTHER, at)
        case messages.BaseMessage() if not isinstance(found, BaseEvent | UnknownMessage):
            return Incoming(Kind.OTHER, at)
        case _:
            # A page opened, a template's fate, and location_select and pic_*, each of which comes with the very pin or
            # picture as a message of its own: that one counts, this one would be the same act twice.
            return Incoming(Kind.NOTICE, at)


def _text(raw: Mapping[str, Any], at: datetime) -> Incoming:
    """A click in a msgmenu comes as text with the id that we gave the entry: the data of a button."""
    words, tapped = word(raw, "Content"), word(raw, "bizmsgmenuid")
    if read_tap(tapped) is not None:
        return Incoming(Kind.TAP, at, tapped=tapped)
    invite = TYPED_INVITE.fullmatch(words.strip())
    if invite is not None:
        return Incoming(Kind.JOIN, at, text=invite[1])
    return Incoming(Kind.TEXT if words else Kind.OTHER, at, text=words)


def _answerable(found: Any, incoming: Incoming) -> str:
    """A position that the app reports must not be answered with a message, and nobody waits for one to a notice."""
    return "none" if incoming.kind in (Kind.EDIT, Kind.NOTICE, Kind.LEAVE) else "reply"


def _act(found: Any, incoming: Incoming, raw: Mapping[str, Any]) -> Act | None:
    """What counts for 客服消息: messages; clicks in the menu or a msgmenu, scans and following."""
    if incoming.kind in (Kind.EDIT, Kind.NOTICE, Kind.LEAVE):
        return None
    return "action" if isinstance(found, BaseEvent) or word(raw, "bizmsgmenuid") else "message"


def _outcomes(found: Any) -> tuple[Outcome, ...]:
    if isinstance(found, events.TemplateSendJobFinishEvent):
        status = word(found._data, "Status").lower()
        reason = "" if status == "success" else "unwanted" if "block" in status else "template"
        return (Outcome(word(found._data, "MsgID"), reason),)
    if isinstance(found, SubscribeMsgSentEvent):
        return tuple(
            Outcome(word(one, "MsgID"), _why_not_sent(word(one, "ErrorCode")))
            for one in _listed(found, "SubscribeMsgSentEvent")
        )
    return ()


def _why_not_sent(code: str) -> str:
    return "" if code in ("", "0") else "unwanted" if code in ("43101", "43108") else "template"


def _grants(found: Any) -> tuple[Grant, ...]:
    if isinstance(found, SubscribeMsgPopupEvent):
        listed = _listed(found, "SubscribeMsgPopupEvent")
        return tuple(
            Grant(word(one, "TemplateId")[:120], 1) for one in listed if word(one, "SubscribeStatusString") == "accept"
        )
    if isinstance(found, SubscribeMsgChangeEvent):
        listed = _listed(found, "SubscribeMsgChangeEvent")
        return tuple(
            Grant(word(one, "TemplateId")[:120], 0) for one in listed if word(one, "SubscribeStatusString") == "reject"
        )
    return ()


def _listed(found: Any, name: str) -> list[dict[str, Any]]:
    return [one for one in as_list(part(found._data, name).get("List")) if isinstance(one, dict)]


def _media(refs: tuple[str, ...], mime: str, name: str) -> Media:
    """`ref` holds every way to the file, the best first, with spaces between."""
    ways = [ref for ref in refs if ref and not re.search(r"\s", ref)]
    return Media(ref=" ".join(ways), mime=mime, name=name, problem="" if ways else "gone")


def _sent_at(raw: Mapping[str, Any], received_at: datetime) -> datetime:
    at = moment(raw)
    if at is None and word(raw, "CreateTime"):
        raise Unreadable("CreateTime is no time")
    return at or received_at


def _degrees(raw: Mapping[str, Any], name: str, limit: float) -> float:
    value = float(word(raw, name))
    if not math.isfinite(value) or abs(value) > limit:
        raise Unreadable(f"{name} is {value}")
    return value


def _storable(value: Any) -> Any:
    """The same without what a database refuses: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {str(_storable(str(key))): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value
