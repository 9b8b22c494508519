"""A rendered reply becomes Telegram messages, and Telegram's refusals become the errors the sender acts on."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import bot.lean_telegram  # noqa: F401 - first

# isort: split
from telegram import (
    Bot,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputFile,
    KeyboardButton,
    LinkPreviewOptions,
    ReplyKeyboardMarkup,
)
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, RetryAfter

from bot.channels import HoldOff, MaybeSent, NotSent, Refused, Rendered, SendError, Unreachable
from bot.no_secrets import NoSecrets
from bot.telegram_transport import NotConnected

CAPTION_LIMIT: Final = 1024  # UTF-16 units under a picture

Markup = InlineKeyboardMarkup | ReplyKeyboardMarkup | None


@dataclass(frozen=True, slots=True)
class Part:
    """One Telegram message of a reply."""

    text: str
    image: bytes | None = None
    image_name: str = ""
    markup: Markup = None


async def send(bot: Bot, chat_ref: str, message: Rendered, no_secrets: NoSecrets) -> str:
    """Send part by part; the id of the last message. Raises a SendError that counts the texts already there."""
    if not re.fullmatch(r"-?\d{1,19}", chat_ref):
        raise Refused(f"no telegram chat: {chat_ref!r}")
    message_id = ""
    arrived = 0
    for part in parts_of(message):
        try:
            message_id = await _send_part(bot, int(chat_ref), part)
        except Exception as error:
            trouble = as_send_error(error, no_secrets)
            trouble.sent = arrived
            raise trouble from None
        arrived += bool(part.text)
    return message_id


def parts_of(message: Rendered) -> list[Part]:
    """The picture carries the last text as its caption; a text too long for that follows the picture."""
    *earlier, last = message.texts or ("",)
    parts = [Part(text) for text in earlier]
    markup = _markup(message)
    if message.image is None:
        return [*parts, Part(last, markup=markup)]
    if len(last.encode("utf-16-le")) // 2 <= CAPTION_LIMIT:
        return [*parts, Part(last, message.image, message.image_name, markup)]
    return [*parts, Part("", message.image, message.image_name), Part(last, markup=markup)]


def as_send_error(error: Exception, no_secrets: NoSecrets) -> SendError:
    text = no_secrets.clean(f"{type(error).__name__}: {error}")
    match error:
        case RetryAfter():
            return HoldOff(seconds_of(error.retry_after))
        case Forbidden() if "deactivated" in error.message:
            return Unreachable("deactivated", text)
        case Forbidden():
            return Unreachable("blocked", text)
        case BadRequest() if re.search("chat not found|user not found|PEER_ID_INVALID", error.message, re.IGNORECASE):
            return Unreachable("no_chat", text)
        case BadRequest() | ChatMigrated():
            return Refused(text)
        case NotConnected() | InvalidToken():  # a rejected token is mended by the operator, not by this message
            return NotSent(text)
        case _:  # no answer, half an answer, or one that the library cannot read
            return MaybeSent(text)


def seconds_of(period: int | float | timedelta) -> float:
    """The library gives periods as a number or as timedelta, by its version and setting."""
    return period.total_seconds() if isinstance(period, timedelta) else float(period)


async def _send_part(bot: Bot, chat_id: int, part: Part) -> str:
    """Plain text always: no parse mode, so nothing a rep writes can break or forge formatting."""
    if part.image is None:
        no_preview = LinkPreviewOptions(is_disabled=True)
        sent = await bot.send_message(chat_id, part.text, reply_markup=part.markup, link_preview_options=no_preview)
    else:
        photo = InputFile(part.image, filename=part.image_name or "photo.png")
        sent = await bot.send_photo(chat_id, photo, caption=part.text or None, reply_markup=part.markup)
    return str(sent.message_id)


def _markup(message: Rendered) -> Markup:
    """Inline buttons, or else the button for the position: Telegram shows one kind under a message."""
    if message.buttons:
        rows = [[InlineKeyboardButton(one.label, callback_data=one.data) for one in row] for row in message.buttons]
        return InlineKeyboardMarkup(rows)
    if message.wants_place:
        place = KeyboardButton(message.place_label, request_location=True)
        return ReplyKeyboardMarkup([[place]], resize_keyboard=True, one_time_keyboard=True)
    return None
