"""How fast a bot may send: the arithmetic of buckets, which let bursts pass, and of windows that hold no more than so
many messages. Where they are kept is the affair of bot.send_limits.
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.channels import Rate

FORGET_OVER = 10_000  # chats remembered before those that are at rest are forgotten


class Buckets:
    """What is left of some limits, in one process. `clock` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full: dict[str, float] = {}  # when as many as ever may go at once again

    def wait(self, name: str, rate: Rate, messages: int = 1) -> float:
        """Take `messages` from a bucket, and say how many seconds to wait before they go."""
        now = self._clock()
        if len(self._full) > FORGET_OVER:
            self._full = {one: full for one, full in self._full.items() if full > now}
        full = max(now, self._full.get(name, now))
        self._full[name] = full + rate.cost(messages)
        return rate.wait(full - now, messages)

    def remember(self, name: str, rate: Rate, seconds_ago: float) -> None:
        """One message went before the start; to be told in the order of time."""
        at = self._clock() - seconds_ago
        self._full[name] = max(at, self._full.get(name, at)) + rate.cost(1)


@dataclass(frozen=True, slots=True)
class Window:
    """At most `count` messages to one chat in any `seconds`."""

    count: int
    seconds: float


def window_wait(moments: Sequence[tuple[int, int]], windows: Sequence[Window], now: float, messages: int = 1) -> float:
    """Seconds until so many more may go without any window ever holding more than it may; 0 for now.

    `moments` are (second, how many), oldest first, each counted to the end of its second. More messages than a window
    holds count as a full one.
    """
    wait = 0.0
    for window in windows:
        free = window.count - min(messages, window.count)
        newer = 0
        for second, count in reversed(moments):
            newer += count
            if newer > free:  # this one has to be out of the window first
                wait = max(wait, second + 1 + window.seconds - now)
                break
    return wait


def taken(
    moments: Sequence[tuple[int, int]], windows: Sequence[Window], now: float, messages: int
) -> list[tuple[int, int]]:
    """The moments with so many messages now, without those that no window can hold any more."""
    longest = max(window.seconds for window in windows)
    second = math.floor(now)
    kept = [(min(at, second), count) for at, count in moments if at + 1 + longest > now]
    before = kept.pop()[1] if kept and kept[-1][0] == second else 0
    return [*kept, (second, before + messages)]


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
