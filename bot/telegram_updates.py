"""A Telegram update, as JSON, becomes one delivery for the inbox. Nothing here does I/O, and nothing raises.

Each update is read alone: the library itself reads a batch at once, and one update that it cannot read holds up all
behind it. Such an update becomes a delivery without a message, which says why.
"""

import hashlib
import json
import math
import mimetypes
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

# The library's own switch for giving periods as timedelta, which the next major version does anyway.
os.environ.setdefault("PTB_TIMEDELTA", "1")

import bot.lean_telegram  # noqa: F401 - first

# isort: split
from telegram import CallbackQuery, ChatMemberUpdated, Document, Message, Update, User
from telegram.constants import ChatMemberStatus, ChatType

from handlers.messages import Incoming, Kind, Media, SentPlace
from handlers.wire import incoming_to_plain
from rules.evidence import PlaceKind
from storage.inbox import Delivery

CHANNEL: Final = "telegram"
ALLOWED_UPDATES: Final = ("message", "edited_message", "callback_query", "my_chat_member")
MAX_FILE: Final = 20 * 1024 * 1024  # bytes; the Bot API gives out no larger file
MAX_ID: Final = 2**63 - 1
_DIRT: Final = re.compile("[\0\ud800-\udfff]")
MAX_DEPTH: Final = 40  # levels of JSON; Telegram's own go about ten deep

# What Telegram itself says in a private chat; nobody waits for an answer to it.
SERVICE: Final = ("pinned_message", "message_auto_delete_timer_changed", "write_access_allowed", "chat_background_set")


@dataclass(frozen=True, slots=True)
class Heard:
    """What one update asks of the channel: a delivery to store (None: not for us) and a button press to answer."""

    delivery: Delivery | None
    callback_id: str = ""


class Unreadable(ValueError):
    """The update parses but says something that cannot be, like a latitude of 200."""


def read_update(raw: Any, account: str, received_at: datetime) -> Heard:
    """Read one update. `account` is the bot's id, `received_at` aware. Unreadable ones carry `error` and no message."""
    clean = scrub(raw)
    update_id = update_id_of(clean)
    try:
        update = Update.de_json(_as_dict(clean))
        found = _served(update, received_at)
        if found is None:
            return Heard(None)
        user, incoming = found
        message: dict[str, Any] | None = incoming_to_plain(incoming)
        person, error = _id(user.id), ""
    except Exception as trouble:  # the library raises TypeError, KeyError, AttributeError and more on what is malformed
        person, ours = _unreadable_chat(clean)
        if not ours:
            return Heard(None)
        message, error = None, f"{type(trouble).__name__}: {trouble}"[:500]
    delivery = Delivery(
        channel=CHANNEL,
        account=account,
        delivery_key=str(update_id) if update_id is not None else _fingerprint(clean),
        person=f"{CHANNEL}:{person}" if person else "",
        chat_ref=person,
        raw=clean if isinstance(clean, dict) else {"update": clean},
        message=message,
        received_at=received_at,
        position=update_id or 0,
        error=error,
    )
    return Heard(delivery, _callback_id(clean))


def update_id_of(raw: Any) -> int | None:
    value = raw.get("update_id") if isinstance(raw, Mapping) else None
    return value if type(value) is int and 0 <= value <= MAX_ID else None


def group_joined(raw: Any) -> str:
    """The id of a group that the bot was added to with this update, or nothing."""
    try:
        change = raw["my_chat_member"]
        here = change["new_chat_member"]["status"] in (ChatMemberStatus.MEMBER, ChatMemberStatus.ADMINISTRATOR)
        return str(int(change["chat"]["id"])) if here and change["chat"]["type"] != ChatType.PRIVATE else ""
    except (KeyError, TypeError, ValueError, OverflowError):
        return ""


def scrub(value: Any, depth: int = 0) -> Any:
    """The same JSON without what a database refuses: NUL, half of a surrogate pair, NaN, infinity, endless depth."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if _dirty(value) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list) and depth >= MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {scrub(key): scrub(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [scrub(item, depth + 1) for item in value]
    return value


def _dirty(text: str) -> bool:
    return _DIRT.search(text) is not None


def _served(update: Update, received_at: datetime) -> tuple[User, Incoming] | None:
    """Who did what; None for what this bot does not serve: groups, channels, and Telegram's own notices."""
    if update.message is not None:
        return _from_message(update.message)
    if update.edited_message is not None:
        return _from_edit(update.edited_message)
    if update.callback_query is not None:
        return _from_tap(update.callback_query, received_at)
    if update.my_chat_member is not None:
        return _from_change(update.my_chat_member)
    return None


def _from_message(message: Message) -> tuple[User, Incoming] | None:
    if not _is_private(message) or message.from_user is None or any(getattr(message, name) for name in SERVICE):
        return None
    forwarded = message.forward_origin is not None
    text = _text(message.text or message.caption)
    media = None
    place = None
    if message.venue is not None or message.location is not None:
        kind, place = Kind.PLACE, _place(message)
    elif message.photo:
        kind, media = Kind.PHOTO, _photo(message)
    elif message.voice is not None or message.audio is not None:
        kind, media = Kind.VOICE, _sound(message)
    elif message.document is not None and message.animation is None:
        kind, media = _document(message.document)
    elif message.text is None:
        kind = Kind.OTHER
    elif not forwarded and (text == "/start" or text.startswith("/start ")):
        kind, text = Kind.JOIN, text.removeprefix("/start").strip()
    else:
        kind = Kind.TEXT
    return message.from_user, Incoming(
        kind=kind,
        at=message.date,
        text=text,
        place=place,
        media=media,
        forwarded=forwarded,
        album=_text(message.media_group_id),
        person_name=_text(message.from_user.full_name),
    )


def _from_edit(message: Message) -> tuple[User, Incoming] | None:
    """An edited text or caption, or the next point of a live location: then `place` is set."""
    if not _is_private(message) or message.from_user is None:
        return None
    return message.from_user, Incoming(
        kind=Kind.EDIT,
        at=message.edit_date or message.date,
        text=_text(message.text or message.caption),
        place=_track_point(message) if message.location is not None else None,
        forwarded=message.forward_origin is not None,
        person_name=_text(message.from_user.full_name),
    )


def _from_tap(query: CallbackQuery, received_at: datetime) -> tuple[User, Incoming] | None:
    """A button press. Telegram gives it no time of its own, so it is the time of arrival."""
    if query.message is not None and query.message.chat.type != ChatType.PRIVATE:
        return None
    name = _text(query.from_user.full_name)
    return query.from_user, Incoming(Kind.TAP, received_at, tapped=_text(query.data), person_name=name)


def _from_change(change: ChatMemberUpdated) -> tuple[User, Incoming] | None:
    """The person blocked the bot. Coming back is no message: it is followed by a /start."""
    if change.chat.type != ChatType.PRIVATE or change.new_chat_member.status != ChatMemberStatus.BANNED:
        return None
    return change.from_user, Incoming(Kind.LEAVE, change.date, person_name=_text(change.from_user.full_name))


def _is_private(message: Message) -> bool:
    return message.chat.type == ChatType.PRIVATE


def _place(message: Message) -> SentPlace:
    """A pin as sent. Through an inline bot anything may be sent as "live", so that counts as a pin set by hand.

    A live location that ended before it was delivered comes without `live_period`, exactly like a pin.
    """
    if message.forward_origin is not None:
        kind = PlaceKind.FORWARDED
    elif message.venue is not None:
        kind = PlaceKind.VENUE
    elif message.location is not None and message.location.live_period is not None and message.via_bot is None:
        kind = PlaceKind.LIVE
    else:
        kind = PlaceKind.PIN
    return _sent_place(message, kind, message.date if kind is PlaceKind.LIVE else None)


def _track_point(message: Message) -> SentPlace:
    """Only live locations can be edited. The edit that ends one repeats the last point, so it dates no fix."""
    if message.forward_origin is not None or message.via_bot is not None:
        return _place(message)
    running = message.location is not None and message.location.live_period is not None
    return _sent_place(message, PlaceKind.LIVE, message.edit_date if running else None)


def _sent_place(message: Message, kind: PlaceKind, fixed_at: datetime | None) -> SentPlace:
    location = message.venue.location if message.venue is not None else message.location
    if location is None:
        raise Unreadable("a place without a position")
    lat, lon = _number(location.latitude), _number(location.longitude)
    accuracy = None if location.horizontal_accuracy is None else _number(location.horizontal_accuracy)
    if abs(lat) > 90 or abs(lon) > 180 or (accuracy is not None and accuracy < 0):
        raise Unreadable(f"no place on earth: {lat}, {lon} ± {accuracy}")
    title = _text(message.venue.title) if message.venue is not None else ""
    return SentPlace(lat, lon, kind, "wgs84", accuracy_m=accuracy, fixed_at=fixed_at, title=title)


def _photo(message: Message) -> Media:
    """The largest of the sizes Telegram made. It re-encoded them all, so there is no EXIF left."""
    largest = max(message.photo, key=lambda size: (_number(size.width) * _number(size.height), size.file_size or 0))
    return _media(largest.file_id, largest.file_unique_id, largest.file_size, mime="image/jpeg")


def _sound(message: Message) -> Media:
    sound = message.voice or message.audio
    if sound is None:
        raise Unreadable("a voice note without sound")
    return _media(
        sound.file_id,
        sound.file_unique_id,
        sound.file_size,
        mime=_text(sound.mime_type) or "audio/ogg",
        name=_text(message.audio.file_name) if message.audio is not None else "",
        seconds=_seconds(sound.duration),
    )


def _document(document: Document) -> tuple[Kind, Media | None]:
    """A picture sent as a file keeps its EXIF; a sound file is as good as a voice note; the rest is not for us."""
    name = _text(document.file_name)
    mime = (_text(document.mime_type) or mimetypes.guess_type(name)[0] or "").lower()
    if mime.startswith("image/"):
        kind = Kind.PHOTO
    elif mime.startswith("audio/") or mime == "application/ogg":
        kind = Kind.VOICE
    else:
        return Kind.OTHER, None
    return kind, _media(document.file_id, document.file_unique_id, document.file_size, mime=mime, name=name)


def _media(
    ref: str, unique: str, size: int | None, *, mime: str, name: str = "", seconds: float | None = None
) -> Media:
    whole = None if size is None else int(_number(size))
    return Media(
        ref=_text(ref),
        mime=mime,
        name=name,
        size=whole,
        seconds=seconds,
        unique=_text(unique),
        problem="too_big" if whole is not None and whole > MAX_FILE else "",
    )


def _seconds(period: int | float | timedelta) -> float:
    return _number(period.total_seconds() if isinstance(period, timedelta) else period)


# The library checks no types: what it was given is what it has.


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"text expected, not {type(value).__name__}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MAX_ID:
        raise Unreadable(f"a number expected, not {str(value)[:40]}")
    return value


def _id(value: Any) -> str:
    if type(value) is not int or not 0 < value <= MAX_ID:
        raise Unreadable("a user's id expected")
    return str(value)


def _as_dict(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict) or update_id_of(raw) is None:
        raise Unreadable("not an update with an id")
    return raw


def _unreadable_chat(raw: Any) -> tuple[str, bool]:
    """Whose private chat an unreadable update came from, as far as it can be told, and whether it is for us at all."""
    for body in raw.values() if isinstance(raw, dict) else ():
        try:
            chat = (body.get("message") or body)["chat"]
            if chat["type"] in (ChatType.GROUP, ChatType.SUPERGROUP, ChatType.CHANNEL):
                return "", False
            return _id(chat["id"]), True
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    return "", True


def _callback_id(raw: Any) -> str:
    query = raw.get("callback_query") if isinstance(raw, dict) else None
    found = query.get("id") if isinstance(query, dict) else None
    return found if isinstance(found, str) else ""


def _fingerprint(raw: Any) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(raw, sort_keys=True, default=str).encode()).hexdigest()
