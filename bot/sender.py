"""The sender: the only one who sends. It takes due outbox rows, renders them for their channel, sends, marks them.

One chat's messages go out in order, chats side by side, no faster than the channel allows. A message is marked right
after the platform took it; only a death between the two repeats it.

Where several processes share the database, a message is sent by who has the lease on its chat.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from bot.channels import Channel, HoldOff, MaybeSent, NotSent, Refused, Rendered, SendError, Unreachable
from bot.pacing import Pacer
from bot.rendering import render
from bot.tasks import spawn
from storage import leases, outbox, people
from storage.database import Database, will_pass
from storage.files import Files
from storage.outbox import Outgoing

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
AT_ONCE = 32  # chats sent to side by side


class Sender:
    """`wake` it whenever something was queued; it also looks by itself once a second."""

    def __init__(
        self,
        database: Database,
        files: Files,
        channels: Mapping[str, Channel],
        now: Callable[[], datetime],
    ) -> None:
        self._database, self._files, self._channels, self._now = database, files, channels, now
        self._left: set[str] = set()  # chats whose lease is to be given back
        self._pacers = {
            name: Pacer(pace) for name, channel in channels.items() if (pace := channel.abilities.pace) is not None
        }
        self._pool = ThreadPoolExecutor(2, "sender")
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._done: list[tuple[int, datetime, str, asyncio.Future[None]]] = []
        self._marking: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = spawn(self._run(), "sender")

    async def stop(self) -> None:
        """Let what is being sent arrive and be marked."""
        self._stopping = True
        if self._main is not None:
            self._main.cancel()
            with suppress(asyncio.CancelledError):
                await self._main
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        self._pool.shutdown(wait=True)

    def wake(self) -> None:
        """May be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def send_due(self) -> None:
        """Send everything that is due now; for a clock that is moved by hand."""
        while self._start_due(await self._due()) or self._busy:
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                started = self._start_due(await self._due())
            except Exception:
                log.exception("looking for messages to send failed")
                started = 0
            if not started:
                # Not wait_for: on Python 3.11 it swallows a cancellation that meets the wake-up in the same tick.
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._wake.wait()

    async def _due(self) -> list[Outgoing]:
        room = AT_ONCE - len(self._busy)
        if room <= 0:
            return []
        busy = frozenset(self._busy)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read_due, busy, room)

    def _read_due(self, busy: frozenset[str], room: int) -> list[Outgoing]:
        if self._database.shared:
            return self._take_due(busy, room)
        with self._database.read() as work:
            return outbox.due(work, self._now(), list(self._channels), busy, room)

    def _take_due(self, busy: frozenset[str], room: int) -> list[Outgoing]:
        """What is due in chats that nobody else is sending to. Looked at twice: the lease may come after the message
        was sent by who had it before.
        """
        with self._database.read() as work:
            found = outbox.due(work, self._now(), list(self._channels), busy, room)
        left, self._left = self._left, set()
        if not found and not left:
            return []
        with self._database.work() as work:
            leases.give_back(work, [f"chat:{chat}" for chat in left], self._database.holder)
            taken = leases.take(work, {f"chat:{_chat(message)}" for message in found}, self._database.holder)
            still = outbox.still_due(
                work, self._now(), [message.id for message in found if f"chat:{_chat(message)}" in taken]
            )
        self._left |= {name.removeprefix("chat:") for name in taken} - {_chat(message) for message in still}
        return still

    def _start_due(self, due: list[Outgoing]) -> int:
        started = 0
        for message in due:
            chat = _chat(message)
            if chat not in self._busy:
                self._busy[chat] = spawn(self._send_to(chat, message), "send")
                started += 1
        return started

    async def _send_to(self, chat: str, message: Outgoing) -> None:
        try:
            await self._send(message)
        except Exception:
            log.exception("outbox %s could not be dealt with", message.id)
            await asyncio.sleep(IDLE_SECONDS)
        finally:
            del self._busy[chat]
            if self._database.shared:
                self._left.add(chat)
            self._wake.set()

    async def _send(self, message: Outgoing) -> None:
        loop = asyncio.get_running_loop()
        if message.not_after is not None and self._now() > message.not_after:
            await loop.run_in_executor(self._pool, self._give_up, message, "dropped", "too late to be of use")
            return
        channel = self._channels[message.channel]
        try:
            rendered = await loop.run_in_executor(self._pool, self._rendered, message, channel)
            if (pacer := self._pacers.get(message.channel)) is not None:
                await asyncio.sleep(pacer.wait(message.chat_ref, len(rendered.texts)))
            provider_id = await channel.send(message.chat_ref, rendered)
        except SendError as trouble:
            await loop.run_in_executor(self._pool, self._failed, message, trouble)
        else:
            await self._mark_sent(message.id, provider_id)

    def _rendered(self, message: Outgoing, channel: Channel) -> Rendered:
        rendered = render(message.body, channel.abilities)
        key = message.body.get("attach", "")
        return replace(rendered, image=self._files.get(key), image_name="photo.jpg") if key else rendered

    async def _mark_sent(self, message_id: int, provider_id: str) -> None:
        """Marks that come together share one commit. While the database is away they wait, and so do their chats: to
        look at such a message again would send it again.
        """
        marked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.append((message_id, self._now(), provider_id, marked))
        if self._marking is None or self._marking.done():
            self._marking = spawn(self._mark_all(), "mark sent")
        await marked

    async def _mark_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._done:
            batch, self._done = self._done, []
            try:
                await loop.run_in_executor(self._pool, self._write_marks, [item[:3] for item in batch])
            except Exception as trouble:
                if will_pass(trouble) and not self._stopping:
                    log.warning(
                        "%s messages were sent and cannot be marked yet: %s", len(batch), type(trouble).__name__
                    )
                    self._done = batch + self._done
                    await asyncio.sleep(IDLE_SECONDS)
                    continue
                for *_, marked in batch:
                    marked.set_exception(trouble)
                continue
            for *_, marked in batch:
                marked.set_result(None)

    def _write_marks(self, marks: list[tuple[int, datetime, str]]) -> None:
        with self._database.work() as work:
            for message_id, at, provider_id in marks:
                outbox.sent(work, message_id, at, provider_id)

    def _give_up(self, message: Outgoing, state: str, why: str) -> None:
        with self._database.work() as work:
            outbox.give_up(work, message.id, state, why)

    def _failed(self, message: Outgoing, trouble: SendError) -> None:
        log.warning("outbox %s: %s", message.id, trouble)
        now = self._now()
        with self._database.work() as work:
            match trouble:
                case HoldOff(seconds=seconds):
                    outbox.hold_until(work, message.id, now + timedelta(seconds=seconds), str(trouble))
                case Unreachable():
                    outbox.give_up(work, message.id, "failed", str(trouble))
                    if message.account is not None:
                        people.set_reachable(work, message.account, False)
                case Refused():
                    outbox.give_up(work, message.id, "failed", str(trouble))
                case NotSent() | MaybeSent() | _:
                    # An answer is promised at least once: one whose fate is unknown goes out again.
                    pause = timedelta(seconds=min(300, 2 ** (message.tries + 1)))
                    outbox.retry_at(work, message.id, now + pause, str(trouble))


def _chat(message: Outgoing) -> str:
    return f"{message.channel}:{message.chat_ref}"
