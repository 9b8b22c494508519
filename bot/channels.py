"""What a channel is to the rest: it delivers what people do, fetches media, and sends what was rendered.

A channel states its abilities; flows never ask which channel they talk through.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from handlers.messages import Media
from rules.places import Datum
from storage.inbox import Delivery


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` messages at once, and `per_second` more: never more than `burst` + `per_second` x t within t seconds."""

    per_second: float
    burst: int

    def cost(self, messages: int) -> float:
        """Seconds until so many have come back."""
        return messages / self.per_second

    def wait(self, full_in: float, messages: int) -> float:
        """Seconds until so many may go together, where as many as ever could in `full_in` seconds (0: now).

        The generic cell rate algorithm (ITU-T I.371); what is more than a burst waits for a rest before it.
        """
        return max(0.0, full_in + (messages - self.burst) / self.per_second)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a platform lets a bot send: to all together, to one chat, and to a group, whose name has a prefix."""

    whole: Rate
    chat: Rate
    group: Rate | None = None
    group_prefix: str = "-"

    def of(self, chat: str) -> Rate:
        return self.group if self.group is not None and chat.startswith(self.group_prefix) else self.chat


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a channel can show and take. `buttons` 0 means numbered choices (回复数字) only.

    `one_answer`: a message of the person may be answered once, so what waits for a chat goes out joined. `push`: "any"
    at any time, "window" only for a while after the person wrote, "none" as the answer to a message alone.
    `whole_labels`: choices with a label too long for a button are numbered, where it would else be cut. `answers` is
    false where nobody can answer, so that nothing is offered. `shuns_half_hours`: what hurries nobody goes out some
    minutes away from :00 and :30, when all the platform's users send.
    """

    buttons: int
    button_label: int  # characters that stay readable
    button_data: int  # bytes
    text_limit: int
    text_unit: Literal["utf16", "bytes"]
    datum: Datum
    place_button: bool = False  # can ask the device for its position with one tap
    push: Literal["any", "window", "none"] = "any"
    reply_deadline_s: float | None = None  # a passive reply must be given within this
    images: bool = True
    one_answer: bool = False
    whole_labels: bool = False
    answers: bool = True
    shuns_half_hours: bool = False
    pace: Pace | None = None  # None: as fast as it goes


@dataclass(frozen=True, slots=True)
class Button:
    """`data` comes back as `Incoming.tapped` when it is pressed."""

    data: str
    label: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A reply as one channel can show it. Buttons and the picture belong to the last text.

    What a channel may want to know besides: `intent` (reply, reminder, alert), the `language`, a `key` that no other
    message ever had, whether `more` waits behind it, and for templates the `details` (see rendering.details). Of the
    buttons: whether several may be ticked (`multi`), and whether they stay of use after one was pressed (`again`).
    """

    texts: tuple[str, ...]
    buttons: tuple[tuple[Button, ...], ...] = ()  # rows
    wants_place: bool = False
    place_label: str = "📍"  # on the button that asks the device for its position, where the channel has one
    image: bytes | None = None
    image_name: str = ""
    file: bytes | None = None  # a document: sent as such, or where that is impossible as a link
    file_name: str = ""
    intent: str = "reply"
    language: str = ""
    key: str = ""
    more: bool = False
    multi: bool = False
    again: bool = False
    details: Mapping[str, str] = field(default_factory=dict)


class SendError(Exception):
    """A message could not be sent; the text is for the operator and holds no secret.

    `sent` counts the texts that did arrive before the trouble; a repeat leaves them out where that is told.
    """

    sent: int = 0


class NotSent(SendError):
    """It surely did not arrive, or repeating it is harmless: try again."""


class MaybeSent(SendError):
    """It may have arrived, the answer was lost: repeat only what is harmless to repeat."""


class HoldOff(SendError):
    """Not now: the platform told us to wait this many seconds, or nothing gets through until somebody acts (`why`).

    `ours`: nobody told us; we know the platform's limit, and keep it.
    """

    def __init__(self, seconds: float, why: str = "", *, ours: bool = False) -> None:
        super().__init__(why or f"asked to wait {seconds:.0f} s")
        self.seconds, self.ours = seconds, ours


class Unreachable(SendError):
    """The person blocked the bot or is gone; no retry will help. `reason` is a key under `undelivered.`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Shut(SendError):
    """Nothing can be sent to this person until they write again. `reason` is a key under `undelivered.`: window
    (too long silent), count (as much sent as is allowed), passive (this account may answer only), no_right, unwanted.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Refused(SendError):
    """The platform refuses this message for good (malformed, too long)."""


class MediaProblem(Exception):
    """A file could not be fetched for good: `reason` is too_big, gone or empty. Passing trouble is another one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Accept = Callable[[Delivery], Awaitable[bool]]
"""Stores a delivery durably; True when it was new. A channel acknowledges only after this returned.

Calls that run side by side are stored in the order in which they began.
"""


class Channel(Protocol):
    """One way in and out. `account` names the bot's own account there (a bot id), for telling deliveries apart."""

    name: str
    account: str
    abilities: Abilities

    async def start(self, accept: Accept) -> None:
        """Begin to receive. Returns once receiving has begun."""

    async def stop(self) -> None:
        """Stop receiving; nothing that was accepted is lost."""

    async def fetch(self, media: Media) -> bytes:
        """The bytes of a file, at most 20 MB. Raises MediaProblem when it will never be had."""

    async def send(self, chat_ref: str, message: Rendered) -> str:
        """Send, and return the platform's id of the last message. Raises a SendError."""

    def invite_link(self, token: str) -> str:
        """The address that a new colleague opens to be tied to the account."""


@runtime_checkable
class Asks(Protocol):
    """A channel whose platform can be asked whether it is there, without anybody noticing."""

    async def answers(self) -> bool:
        """Whether the platform answers at all, be it with a refusal. Never raises for want of an answer."""


@runtime_checkable
class TakesTurns(Protocol):
    """A channel that can send while another process receives for it, as where several share one database."""

    @property
    def receives_alone(self) -> bool:
        """Whether only one process at a time may receive, because it asks the platform for what there is."""

    async def connect(self) -> None:
        """Be ready to fetch and send, without receiving."""

    async def pause(self) -> None:
        """Stop receiving, until `start`; fetching and sending go on."""
