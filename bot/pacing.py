"""How fast a bot may send: a token bucket for all of a channel and for each chat, or windows that hold no more than so
many messages. Kept in memory only.
"""

import hashlib
import time
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.channels import Pace

FORGET_OVER = 10_000  # chats remembered before those that are at rest are forgotten


class Pacer:
    """Gives out moments to send at. `clock` counts seconds and never goes back."""

    def __init__(self, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._clock = pace, clock
        self._all = 0.0
        self._chats: dict[str, float] = {}

    def wait(self, chat: str, messages: int = 1) -> float:
        """Reserve `messages` sends to a chat, and say how many seconds to wait before the first.

        A bucket is kept as the moment when it is full again (the generic cell rate algorithm, ITU-T I.371): whoever
        takes from it moves that moment on, and may go as soon as it is less than a burst away.
        """
        now, pace = self._clock(), self._pace
        if len(self._chats) > FORGET_OVER:
            self._chats = {name: full for name, full in self._chats.items() if full > now}
        full_all = max(now, self._all)
        full_chat = max(now, self._chats.get(chat, now))
        wait = max(
            0.0,
            full_all - now - (pace.burst - 1) / pace.per_second,
            full_chat - now - (pace.chat_burst - 1) / pace.chat_per_second,
        )
        self._all = full_all + messages / pace.per_second
        self._chats[chat] = full_chat + messages / pace.chat_per_second
        return wait


@dataclass(frozen=True, slots=True)
class Window:
    """At most `count` messages to one chat in any `seconds`."""

    count: int
    seconds: float


class Windows:
    """Several limits at once for each chat, kept exactly: a platform that drops what is over a limit forgives nothing.

    Kept in memory; `remember` tells of what was sent before a start. `clock` counts seconds and never goes back.
    """

    def __init__(self, windows: Sequence[Window], clock: Callable[[], float] = time.monotonic) -> None:
        self._windows, self._clock = tuple(windows), clock
        self._longest = max(window.seconds for window in windows)
        self._most = max(window.count for window in windows)
        self._sent: dict[str, list[float]] = {}

    def wait(self, chat: str, messages: int = 1) -> float:
        """Seconds until so many more may go to a chat; 0 for now. More than a window holds count as a full one."""
        now = self._clock()
        sent = self._sent.get(chat, [])
        wait = 0.0
        for window in self._windows:
            free = window.count - min(messages, window.count)
            if len(sent) > free:
                wait = max(wait, sent[len(sent) - 1 - free] + window.seconds - now)
        return wait

    def take(self, chat: str) -> None:
        """One message goes out now."""
        self.remember(chat, 0.0)

    def remember(self, chat: str, seconds_ago: float) -> None:
        now = self._clock()
        if len(self._sent) > FORGET_OVER:
            self._sent = {name: sent for name, sent in self._sent.items() if sent[-1] > now - self._longest}
        sent = self._sent.setdefault(chat, [])
        insort(sent, now - seconds_ago)
        del sent[: max(0, len(sent) - self._most)]


def calm_moment(now: datetime, key: str) -> datetime:
    """The next moment that is not within three minutes of :00 or :30; by `key` some go earlier and some later.

    企业微信 asks for this, as everybody's timers go off then (developer.work.weixin.qq.com/document/path/90236).
    """
    half = timedelta(minutes=30)
    hour = now.replace(minute=0, second=0, microsecond=0)
    nearest = hour + half * round((now - hour) / half)
    if abs(now - nearest) > timedelta(minutes=3):
        return now
    spread = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 600
    return nearest + timedelta(minutes=4, seconds=spread)
