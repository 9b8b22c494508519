"""Telegram's flood control: how much a bot may send to all, to a person and to a group, counted where it arrives."""

from collections import defaultdict
from dataclasses import dataclass, field

# (at most so many, in so many seconds). To a person about one a second, in bursts.
TO_ALL = (30, 1.0)
TO_A_PERSON = (10, 5.0)
TO_A_GROUP = (20, 60.0)


@dataclass
class FloodControl:
    """`refused` counts what came too fast; `most` is the most that ever came within a second."""

    refused: int = 0
    most: int = 0
    _all: list[float] = field(default_factory=list)
    _chats: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def takes(self, chat: int, now: float) -> bool:
        """Whether a message that arrives now is let through."""
        limits = ((self._all, TO_ALL), (self._chats[chat], TO_A_GROUP if chat < 0 else TO_A_PERSON))
        for times, (count, seconds) in limits:
            if sum(at > now - seconds for at in times[-count:]) >= count:
                self.refused += 1
                return False
        self._all.append(now)
        self._chats[chat].append(now)
        self.most = max(self.most, sum(at > now - 1.0 for at in self._all[-100:]))
        return True
