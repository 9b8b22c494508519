"""The vocabulary between channels and flows: what came in, and what to say.

A channel turns its payload into one `Incoming`; a flow answers with `Reply` data: text keys and values, never
sentences. `texts` makes sentences of them, `bot.rendering` makes buttons or numbered lists, the sender sends.
Both survive JSON, because both are stored: the inbox row holds the one, the outbox row the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from rules.evidence import PlaceKind
from rules.places import Datum


class Kind(StrEnum):
    TEXT = "text"
    TAP = "tap"
    PLACE = "place"
    PHOTO = "photo"
    VOICE = "voice"
    JOIN = "join"  # /start <token>: a person opens the chat, perhaps with an invite
    LEAVE = "leave"  # the person blocked or left the bot
    EDIT = "edit"  # an earlier text was edited, or a device reports where it is now: then `place` is set
    ENTER = "enter"  # the person opened the chat and said nothing
    NOTICE = "notice"  # the platform tells of something nobody waits for an answer to
    OTHER = "other"  # a sticker, a video, a file of another kind: answered politely, never dropped


@dataclass(frozen=True, slots=True)
class Media:
    """A file that came with a message. `ref` is the channel's handle; once it is fetched `file` is the content hash.

    `problem` says why there is no file: "too_big", "gone", "empty". `recognised`: what the channel itself made of a
    voice note (WeChat's Recognition); words a person wrote below it are no such thing, they are the message's text.
    """

    ref: str
    mime: str = ""
    name: str = ""
    size: int | None = None
    seconds: float | None = None
    unique: str = ""
    file: str = ""
    problem: str = ""
    recognised: str = ""


@dataclass(frozen=True, slots=True)
class SentPlace:
    """A position as the channel gave it, in the channel's own datum."""

    lat: float
    lon: float
    kind: PlaceKind
    datum: Datum
    accuracy_m: float | None = None
    fixed_at: datetime | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One thing a person did. `tapped` is the data of a button that this bot made earlier; see handlers.wire."""

    kind: Kind
    at: datetime
    text: str = ""
    tapped: str = ""
    place: SentPlace | None = None
    media: Media | None = None
    forwarded: bool = False
    album: str = ""
    person_name: str = ""
    source: int = 0  # the inbox row


@dataclass(frozen=True, slots=True)
class Say:
    """A sentence by key. Values may be plain, a nested Say, or a list of Say (one a line)."""

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to tap. `value` is what the flow understands; the label is a Say or the firm's own words."""

    value: str
    label: Say | str


@dataclass(frozen=True, slots=True)
class Reply:
    """What to say, and what may be chosen. `about` and `subject` bind the choices: visit 12, follow_up 3, alert 5.

    `step` names the question within it. `later`: more follows by itself, which not every channel can deliver.
    `attach` is an image to send along (a content hash), or with an `attach_name` a file. `again`: a second choice is as
    welcome as the first, so what shows the choices stays open after one.
    """

    say: Say
    choices: tuple[Choice, ...] = ()
    about: str = ""
    subject: int = 0
    step: str = ""
    multi: bool = False
    again: bool = False
    wants_place: bool = False
    attach: str = ""
    attach_name: str = ""
    later: bool = False


class NotUnderstood(Exception):
    """The message does not answer the question; the reply to give instead."""

    def __init__(self, key: str, **values: Any) -> None:
        super().__init__(key)
        self.say = Say(key, values)
