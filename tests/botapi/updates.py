"""Updates as Telegram writes them, one builder a kind: what the official server sends for a private chat.

Each returns the update without its `update_id`, which `BotApi.give` (or `numbered`) adds. Dates are Unix seconds.
"""

import itertools
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

NOON = 1_772_424_000  # 2026-03-02 12:00 in Shanghai
_message_ids = itertools.count(100)
_query_ids = itertools.count(4_382_000_000_000_000_001)


@dataclass(frozen=True, slots=True)
class Person:
    """A Telegram user; the id of the private chat with a user is the user's id."""

    id: int
    first_name: str = "建"
    last_name: str = "王"

    def user(self) -> Json:
        return {
            "id": self.id,
            "is_bot": False,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "language_code": "zh-hans",
        }

    def chat(self) -> Json:
        return {"id": self.id, "first_name": self.first_name, "last_name": self.last_name, "type": "private"}


WANG = Person(5_000_000_001)


def numbered(update: Json, update_id: int = 700_000_001) -> Json:
    return {"update_id": update_id, **update}


def message(person: Person = WANG, date: int = NOON, **content: Any) -> Json:
    body = {"message_id": next(_message_ids), "from": person.user(), "chat": person.chat(), "date": date, **content}
    return {"message": body}


def text(words: str, person: Person = WANG, **more: Any) -> Json:
    return message(person, text=words, **more)


def start(token: str = "", person: Person = WANG) -> Json:
    words = f"/start {token}".strip()
    return text(words, person, entities=[{"offset": 0, "length": 6, "type": "bot_command"}])


def photo(person: Person = WANG, caption: str = "", file_id: str = "AgACphoto", **more: Any) -> Json:
    """Four sizes of one picture, the smallest first; `file_id` is the largest's."""
    sizes = [
        {
            "file_id": file_id if width == 1280 else f"{file_id}-{width}",
            "file_unique_id": f"AQAD{width}",
            "width": width,
            "height": width * 3 // 4,
            "file_size": width * 90,
        }
        for width in (90, 320, 800, 1280)
    ]
    if caption:
        more["caption"] = caption
    return message(person, photo=sizes, **more)


def album(count: int, person: Person = WANG, caption: str = "门头和货架") -> list[Json]:
    """Several photos sent at once: messages of their own with one group id, the caption only on the first."""
    group = str(13_900_000_000_000_000 + next(_message_ids))
    return [
        photo(person, caption if place == 0 else "", file_id=f"AgACalbum{place}", media_group_id=group)
        for place in range(count)
    ]


def document(
    person: Person = WANG,
    file_id: str = "BQACdocument",
    mime: str | None = "image/jpeg",
    name: str = "门头.jpg",
    size: int = 3_145_728,
    **more: Any,
) -> Json:
    body = {"file_name": name, "file_id": file_id, "file_unique_id": "AgADdocument", "file_size": size}
    return message(person, document=body if mime is None else {**body, "mime_type": mime}, **more)


def voice(
    person: Person = WANG, seconds: int = 12, file_id: str = "AwACvoice", size: int = 48_000, **more: Any
) -> Json:
    body = {
        "duration": seconds,
        "mime_type": "audio/ogg",
        "file_id": file_id,
        "file_unique_id": "AgADvoice",
        "file_size": size,
    }
    return message(person, voice=body, **more)


def audio(person: Person = WANG, file_id: str = "CQACaudio", **more: Any) -> Json:
    body = {
        "duration": 31,
        "file_name": "录音.m4a",
        "mime_type": "audio/mp4",
        "title": "录音",
        "file_id": file_id,
        "file_unique_id": "AgADaudio",
        "file_size": 250_000,
    }
    return message(person, audio=body, **more)


def pin(lat: float = 30.0806, lon: float = 120.4938, person: Person = WANG, **more: Any) -> Json:
    """A static location. `accuracy` in metres, where the client gave it."""
    accuracy = more.pop("accuracy", None)
    location = {"latitude": lat, "longitude": lon}
    return message(
        person, location=location if accuracy is None else {**location, "horizontal_accuracy": accuracy}, **more
    )


def live(lat: float = 30.0806, lon: float = 120.4938, person: Person = WANG, **more: Any) -> Json:
    location = {"latitude": lat, "longitude": lon, "live_period": 900, "horizontal_accuracy": 12.5, "heading": 187}
    return message(person, location=location, **more)


def live_edit(first: Json, lat: float, lon: float, after_s: int = 30, ended: bool = False) -> Json:
    """The next point of a live location, or the edit that ends it."""
    location = {"latitude": lat, "longitude": lon, "horizontal_accuracy": 9.0}
    if not ended:
        location["live_period"] = 900
    earlier = first["message"]
    return {"edited_message": {**earlier, "location": location, "edit_date": earlier["date"] + after_s}}


def venue(person: Person = WANG, **more: Any) -> Json:
    location = {"latitude": 30.0806, "longitude": 120.4938}
    body = {"location": location, "title": "鲜丰水果(柯桥店)", "address": "笛扬路 1 号"}
    return message(person, location=location, venue=body, **more)


def forwarded(update: Json, sender: Person | None = None, date: int = NOON - 86_400) -> Json:
    """The same message, passed on from somebody (None: somebody who hides the account)."""
    origin: Json = {"type": "hidden_user", "sender_user_name": "老李", "date": date}
    if sender is not None:
        origin = {"type": "user", "sender_user": sender.user(), "date": date}
    return {"message": {**update["message"], "forward_origin": origin}}


def edited(update: Json, words: str, after_s: int = 20) -> Json:
    earlier = update["message"]
    return {"edited_message": {**earlier, "text": words, "edit_date": earlier["date"] + after_s}}


def tap(data: str, person: Person = WANG, shown: str = "请确认") -> Json:
    """A press on an inline button of the bot's own message."""
    return {
        "callback_query": {
            "id": str(next(_query_ids)),
            "from": person.user(),
            "message": {
                "message_id": next(_message_ids),
                "from": {"id": 123456, "is_bot": True, "first_name": "走店", "username": "zoudian_bot"},
                "chat": person.chat(),
                "date": NOON - 60,
                "text": shown,
                "reply_markup": {"inline_keyboard": [[{"text": "确认", "callback_data": data}]]},
            },
            "chat_instance": "-3895733893829382910",
            "data": data,
        }
    }


def sticker(person: Person = WANG) -> Json:
    body = {
        "width": 512,
        "height": 512,
        "emoji": "👍",
        "set_name": "hi",
        "is_animated": False,
        "is_video": False,
        "type": "regular",
        "file_id": "CAACsticker",
        "file_unique_id": "AgADsticker",
        "file_size": 21_000,
    }
    return message(person, sticker=body)


def contact(person: Person = WANG) -> Json:
    return message(person, contact={"phone_number": "+8613800000000", "first_name": "李老板"})


def member_change(new: str, person: Person = WANG, chat: Json | None = None) -> Json:
    """The bot's own standing in a chat: "kicked" is how a person who blocks the bot shows."""
    bot = {"id": 123456, "is_bot": True, "first_name": "走店", "username": "zoudian_bot"}
    states: dict[str, Json] = {
        "kicked": {"user": bot, "status": "kicked", "until_date": 0},
        "member": {"user": bot, "status": "member"},
        "left": {"user": bot, "status": "left"},
    }
    old = "kicked" if new == "member" else "member"
    body = {"chat": chat or person.chat(), "from": person.user(), "date": NOON}
    return {"my_chat_member": {**body, "old_chat_member": states[old], "new_chat_member": states[new]}}


def group_chat(chat_id: int = -1_001_234_567_890) -> Json:
    return {"id": chat_id, "title": "绍兴一部", "type": "supergroup"}


def in_group(update: Json, chat: Json | None = None) -> Json:
    return {"message": {**update["message"], "chat": chat or group_chat()}}


def poison(person: Person = WANG) -> Json:
    """A message that the library cannot read: a field it requires is not there, as when server and library differ."""
    body = {"duration": 3, "file_id": "AwACvoice"}
    return message(person, voice=body)
