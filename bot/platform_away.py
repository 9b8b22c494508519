"""Which platforms are away. After a message that did not arrive its platform is asked whether it is there at all.

While it does not answer nothing is to be sent there, which costs no message a try and repeats none.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from bot.channels import Asks, Channel
from bot.tasks import spawn

log = logging.getLogger(__name__)

ASK_SECONDS: Final = 2.0  # between two looks at whether a platform is back
ANSWER_SECONDS: Final = 2.5  # an answer that takes longer is none


class _Asked(Channel, Asks, Protocol):
    """A channel that can be asked."""


class PlatformsAway:
    """The names of the channels whose platform does not answer; one loop's, like the sender.

    `is_back` is awaited with a channel's name once its platform answers again, and before messages go there; `wake` is
    called after each asking, whatever came of it.
    """

    def __init__(self, is_back: Callable[[str], Awaitable[None]], wake: Callable[[], None]) -> None:
        self._is_back, self._wake = is_back, wake
        self._away: set[str] = set()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def __contains__(self, channel: str) -> bool:
        return channel in self._away

    def ask(self, channel: Channel) -> None:
        """Begin to ask, unless that is going on or the platform cannot be asked."""
        if isinstance(channel, Asks) and channel.name not in self._asking and not self._stopping:
            self._asking[channel.name] = spawn(self._until_there(channel), "is the platform there")

    async def stop(self) -> None:
        self._stopping = True
        for asking in self._asking.values():
            asking.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _until_there(self, channel: _Asked) -> None:
        try:
            while not await _answers(channel):
                if channel.name not in self._away:
                    log.warning("%s does not answer; what is to be sent there waits", channel.name)
                self._away.add(channel.name)
                await asyncio.sleep(ASK_SECONDS)
            if channel.name in self._away:
                log.info("%s answers again", channel.name)
                await self._is_back(channel.name)
        finally:
            self._away.discard(channel.name)
            del self._asking[channel.name]
            self._wake()


async def _answers(channel: Asks) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await channel.answers()
    except TimeoutError:
        return False
