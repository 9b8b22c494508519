"""Messages as plain data, for the inbox and the outbox rows, and back."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from handlers.messages import Choice, Incoming, Kind, Media, Reply, Say, SentPlace
from rules.evidence import PlaceKind


def incoming_to_plain(message: Incoming) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": message.kind.value, "at": message.at.isoformat()}
    for name in ("text", "tapped", "forwarded", "album", "person_name"):
        if value := getattr(message, name):
            data[name] = value
    if message.place is not None:
        fixed = message.place.fixed_at
        data["place"] = {**asdict(message.place), "fixed_at": fixed.isoformat() if fixed else None}
    if message.media is not None:
        data["media"] = asdict(message.media)
    return data


def incoming_from_plain(data: dict[str, Any], source: int = 0) -> Incoming:
    place = data.get("place")
    media = data.get("media")
    return Incoming(
        kind=Kind(data["kind"]),
        at=datetime.fromisoformat(data["at"]),
        text=data.get("text", ""),
        tapped=data.get("tapped", ""),
        place=None if place is None else _place(place),
        media=None if media is None else Media(**media),
        forwarded=data.get("forwarded", False),
        album=data.get("album", ""),
        person_name=data.get("person_name", ""),
        source=source,
    )


def reply_to_plain(reply: Reply, question: int | None, language: str) -> dict[str, Any]:
    """A reply with the number of the question its choices answer."""
    data: dict[str, Any] = {"say": _say_to_plain(reply.say), "language": language}
    if reply.choices:
        data["question"] = question
        data["choices"] = [[choice.value, _label_to_plain(choice.label)] for choice in reply.choices]
        data["multi"] = reply.multi
        if reply.again:
            data["again"] = True
    if reply.wants_place:
        data["wants_place"] = True
    if reply.attach:
        data["attach"] = reply.attach
    if reply.attach_name:
        data["attach_name"] = reply.attach_name
    if reply.later:
        data["later"] = True
    return data


def reply_from_plain(data: dict[str, Any]) -> Reply:
    return Reply(
        say=_say_from_plain(data["say"]),
        choices=tuple(Choice(value, _label_from_plain(label)) for value, label in data.get("choices", [])),
        multi=data.get("multi", False),
        again=data.get("again", False),
        wants_place=data.get("wants_place", False),
        attach=data.get("attach", ""),
        attach_name=data.get("attach_name", ""),
        later=data.get("later", False),
    )


def tap_data(question: int, *indexes: int) -> str:
    """What a button carries: the question's number and the place of the choice in it. Under 64 bytes, for Telegram.

    Where several may be ticked and sent at once, their places stand in one: q57.0,2.
    """
    return f"q{question}.{','.join(map(str, indexes))}"


def read_taps(data: str) -> tuple[int, tuple[int, ...]] | None:
    """(question, indexes) of a button's data, or None when this bot never made such a button."""
    number, dot, indexes = data.removeprefix("q").partition(".")
    parts = indexes.split(",")
    if not (data.startswith("q") and dot and _small_number(number) and all(map(_small_number, parts))):
        return None
    return int(number), tuple(map(int, parts))


def read_tap(data: str) -> tuple[int, int] | None:
    """(question, index) of a button that stands for one choice."""
    taps = read_taps(data)
    return (taps[0], taps[1][0]) if taps is not None and len(taps[1]) == 1 else None


def _small_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _place(data: dict[str, Any]) -> SentPlace:
    fixed = data.get("fixed_at")
    return SentPlace(
        lat=data["lat"],
        lon=data["lon"],
        kind=PlaceKind(data["kind"]),
        datum=data["datum"],
        accuracy_m=data.get("accuracy_m"),
        fixed_at=datetime.fromisoformat(fixed) if fixed else None,
        title=data.get("title", ""),
    )


def _say_to_plain(say: Say) -> dict[str, Any]:
    return {"key": say.key, "values": {name: _value_to_plain(value) for name, value in say.values.items()}}


def _value_to_plain(value: Any) -> Any:
    if isinstance(value, Say):
        return {"say": _say_to_plain(value)}
    if isinstance(value, list | tuple):
        return [_value_to_plain(item) for item in value]
    return value


def _say_from_plain(data: dict[str, Any]) -> Say:
    return Say(data["key"], {name: _value_from_plain(value) for name, value in data["values"].items()})


def _value_from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return _say_from_plain(value["say"])
    if isinstance(value, list):
        return [_value_from_plain(item) for item in value]
    return value


def _label_to_plain(label: Say | str) -> Any:
    return {"say": _say_to_plain(label)} if isinstance(label, Say) else label


def _label_from_plain(label: Any) -> Say | str:
    return _say_from_plain(label["say"]) if isinstance(label, dict) else str(label)
