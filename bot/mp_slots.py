"""The answer in the same breath: 公众号 lets a message be answered in the HTTP answer to it, within 5 s, at no cost.

A slot stands for one message of a person that may still be answered so. The callback's handler holds it open, the
channel's `send` puts a text into it, and learns whether that really went out. The platform repeats a delivery that it
got no answer to, 5 s after it sent it and three times in all: the repeat takes over the slot, or gets what was put in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

WINDOW_S: Final = 4.0  # of the 5 s that the platform waits
CUT_S: Final = 6.0  # after so long the platform has hung up, whatever we do
REPEAT_S: Final = 7.0  # within so long of an attempt's end its repeat has come
ATTEMPTS: Final = 3
REMEMBERED: Final = 200  # answers given lately

Held = Literal["written", "nothing", "gone"]
"""How an attempt ended: answered, with nothing to say to a platform that still listens, or without a listener."""

Write = Callable[[str], Awaitable[bool]]
"""Write a text as the HTTP answer; whether the connection took it."""


@dataclass(eq=False)
class Slot:
    """One message of one chat that waits for its answer. `text` is what was put in."""

    chat_ref: str
    key: str
    attempts: int = 0
    text: str | None = None
    closed: bool = False
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)  # the newest attempt: a repeat came, or the end
    written: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    timer: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of up to three HTTP requests that bring the same delivery. `over` is set when the next one came."""

    slot: Slot
    number: int
    over: asyncio.Event


class Slots:
    """All slots of a channel; lives in one event loop. `patient`: where there is no other way to answer, a message is
    not acknowledged before it is answered, so that the platform's repeats give it 15 s; else after `window` it is.
    """

    def __init__(
        self, *, patient: bool = False, window: float = WINDOW_S, cut: float = CUT_S, repeat: float = REPEAT_S
    ) -> None:
        self.patient, self._window, self._cut, self._repeat = patient, window, cut, repeat
        self._open: dict[str, Slot] = {}
        self._answered: dict[str, str] = {}

    def open(self, chat_ref: str, key: str) -> Attempt:
        """An attempt at a delivery begins: in a new slot, or in the one that an earlier attempt left."""
        slot = self._open.get(key)
        if slot is None:
            slot = self._open[key] = Slot(chat_ref, key)
        slot.attempts += 1
        if slot.timer is not None:
            slot.timer.cancel()
            slot.timer = None
        slot.over.set()  # lets an earlier attempt go, whose caller has hung up
        slot.over = asyncio.Event()
        return Attempt(slot, slot.attempts, slot.over)

    def answered(self, key: str) -> str | None:
        """What a delivery was answered with a moment ago."""
        return self._answered.get(key)

    def waiting(self, chat_ref: str) -> Slot | None:
        """The oldest slot of a chat that has no answer yet."""
        return next((slot for slot in self._open.values() if slot.chat_ref == chat_ref and slot.text is None), None)

    async def put(self, slot: Slot, text: str) -> bool:
        """Answer with this text. True once it was written to the platform; False when the slot closed without."""
        if slot.closed or slot.text is not None:
            return False
        slot.text = text
        slot.filled.set()
        return await asyncio.shield(slot.written)

    async def hold(self, attempt: Attempt, began: float, write: Write, nothing_yet: str) -> Held:
        """Serve one attempt, whose request came at `began` (loop time): wait for the answer and write it.

        Where there is none in time, the caller acknowledges without a message; in the patient mode the last attempt
        writes `nothing_yet` instead.
        """
        slot, loop = attempt.slot, asyncio.get_running_loop()
        if not attempt.over.is_set():
            await _until(slot.filled, began + self._window - loop.time())
        if attempt.over.is_set():
            return "gone"  # a repeat has taken over, or we are stopping
        if slot.text is None and self.patient and attempt.number < ATTEMPTS:
            self._expect_repeat(slot, began)
            # Whatever is said now may be heard as the answer, so nothing is until the platform has hung up.
            await _until(attempt.over, began + self._cut - loop.time())
            return "gone"
        if slot.text is None:
            self._close(slot, written=False)
            return "written" if self.patient and await write(nothing_yet) else "nothing"
        if await write(slot.text):
            self._remember(slot)
            self._close(slot, written=True)
            return "written"
        if attempt.number < ATTEMPTS:
            self._expect_repeat(slot, began)
        else:
            self._close(slot, written=False)
        return "gone"

    def drop(self, slot: Slot) -> None:
        """This delivery will not be answered here after all."""
        slot.filled.set()
        self._close(slot, written=False)

    def close(self) -> None:
        """Nothing more is answered here: whoever waits goes another way."""
        for slot in list(self._open.values()):
            self.drop(slot)

    def _expect_repeat(self, slot: Slot, began: float) -> None:
        ends = began + self._cut + self._repeat
        slot.timer = asyncio.get_running_loop().call_at(ends, self._close, slot, False)

    def _close(self, slot: Slot, written: bool) -> None:
        if slot.timer is not None:
            slot.timer.cancel()
            slot.timer = None
        slot.closed = True
        slot.over.set()
        self._open.pop(slot.key, None)
        if not slot.written.done():
            slot.written.set_result(written)

    def _remember(self, slot: Slot) -> None:
        self._answered[slot.key] = slot.text or ""
        while len(self._answered) > REMEMBERED:
            del self._answered[next(iter(self._answered))]


async def _until(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
