"""How fast a bot may send: a token bucket for all of a channel, and one for each chat. Kept in memory only."""

import time
from collections.abc import Callable

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
