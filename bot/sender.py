"""The sender: the only one who sends. It takes due outbox rows, renders them for their channel, sends, marks them.

One chat's messages go out in order, chats side by side, no faster than the channel allows. A message is marked right
after the platform took it; only a death between the two repeats it. Where nothing may be sent until the person writes
again, the row waits for that, and says then that it comes late.

Where several processes share the database, a message is sent by who has the lease on its chat.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

from bot.channels import (
    Abilities,
    Channel,
    HoldOff,
    MaybeSent,
    NotSent,
    Refused,
    Rendered,
    SendError,
    Shut,
    Unreachable,
)
from bot.pacing import calm_moment
from bot.platform_away import PlatformsAway
from bot.rendering import details, fits, render
from bot.send_limits import SendLimits
from bot.tasks import in_pool, spawn
from bot.watch import Watch
from rules.people import Part, system
from storage import leases, outbox, people
from storage.database import Database, Work, will_pass
from storage.files import Files
from storage.outbox import SHUT, Outgoing
from texts import load

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
GATHER_SECONDS = 0.003  # what is queued or sent within this time is dealt with by one look at the database
AT_ONCE = 32  # chats sent to side by side
PATIENCE = timedelta(days=1)  # while nothing gets through at all, a message is not given up
SLOWLY = timedelta(minutes=1)  # how often it is tried then
SURE_SECONDS = 5.0  # a process that was stopped for longer on the way looks again whether a message is still its own


class Sender:
    """`wake` it whenever something was queued; it also looks by itself once a second."""

    def __init__(
        self,
        database: Database,
        files: Files,
        channels: Mapping[str, Channel],
        now: Callable[[], datetime],
        zone: tzinfo = UTC,
        watch: Watch | None = None,
    ) -> None:
        self._watch = watch or Watch()
        self._database, self._files, self._channels, self._now, self._zone = database, files, channels, now, zone
        self._left: set[str] = set()  # chats whose lease is to be given back
        self._looked_at = 0.0  # on the monotonic clock, which goes on while a process is stopped
        self._pool = ThreadPoolExecutor(2, "sender")
        self._limits = SendLimits(database, channels, now, self._pool)
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0  # the loop's
        self._main: asyncio.Task[None] | None = None
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._done: list[tuple[int, datetime, str, asyncio.Future[None]]] = []
        self._marking: asyncio.Task[None] | None = None
        self._away = PlatformsAway(self._try_now, self._wake.set)
        self._got_through: dict[str, datetime] = {}  # when a message last arrived
        self._stopping = False

    async def start(self) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._main = spawn(self._run(), "sender")

    async def stop(self) -> None:
        """Let what is being sent arrive and be marked."""
        self._stopping = True
        if self._main is not None:
            self._main.cancel()
            with suppress(asyncio.CancelledError):
                await self._main
        await self._away.stop()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        self._pool.shutdown(wait=True)

    @property
    def runs(self) -> bool:
        return self._main is not None and not self._main.done()

    def wake(self) -> None:
        """May be called from any thread."""
        if self._loop is None or self._loop.is_closed():
            return
        if self._thread == threading.get_ident():
            self._wake.set()
        else:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def send_due(self) -> None:
        """Send everything that is due now; for a clock that is moved by hand."""
        while self._start_due(await self._due()) or self._busy:
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                self._start_due(await self._due())
            except Exception:
                log.exception("looking for messages to send failed")
            # Every message that was dealt with wakes us too. Not wait_for: on Python 3.11 it swallows a cancellation
            # that meets the wake-up in the same tick.
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wake.wait()
                await asyncio.sleep(GATHER_SECONDS)

    async def _due(self) -> list[Outgoing]:
        room = AT_ONCE - len(self._busy)
        if room <= 0:
            return []
        busy = frozenset(self._busy)
        self._looked_at = time.monotonic()
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read_due, busy, room)

    def _read_due(self, busy: frozenset[str], room: int) -> list[Outgoing]:
        if self._database.shared:
            return self._take_due(busy, room)
        with self._database.read() as work:
            return outbox.due(work, self._now(), self._open(work), busy, room)

    def _open(self, work: Work) -> list[str]:
        return [name for name in self._limits.open_channels(work) if name not in self._away]

    def _take_due(self, busy: frozenset[str], room: int) -> list[Outgoing]:
        """What is due in chats that nobody else is sending to. Looked at twice: the lease may come after the message
        was sent by who had it before.
        """
        with self._database.read() as work:
            found = outbox.due(work, self._now(), self._open(work), busy, room)
        left, self._left = self._left, set()
        if not found and not left:
            return []
        with self._database.work(shares=True) as work:
            leases.give_back(work, [f"chat:{chat}" for chat in left], self._database.holder)
            taken = leases.take(work, {f"chat:{_chat(message)}" for message in found}, self._database.holder)
            still = outbox.still_due(
                work, self._now(), [message.id for message in found if f"chat:{_chat(message)}" in taken]
            )
        self._left |= {name.removeprefix("chat:") for name in taken} - {_chat(message) for message in still}
        return still

    def _still_ours(self, batch: list[Outgoing]) -> bool:
        with self._database.work() as work:
            if not leases.take(work, [f"chat:{_chat(batch[0])}"], self._database.holder):
                return False
            return len(outbox.still_due(work, self._now(), [one.id for one in batch])) == len(batch)

    def _start_due(self, due: list[Outgoing]) -> int:
        started = 0
        for message in due:
            chat = _chat(message)
            if chat not in self._busy:
                self._busy[chat] = spawn(self._send_to(chat, message, self._looked_at), "send")
                started += 1
        return started

    async def _send_to(self, chat: str, message: Outgoing, looked_at: float) -> None:
        try:
            with self._watch.outgoing(message):
                await self._send(message, looked_at)
        except Exception:
            log.exception("outbox %s could not be dealt with", message.id)
            await asyncio.sleep(IDLE_SECONDS)
        finally:
            del self._busy[chat]
            if self._database.shared:
                self._left.add(chat)
            self._wake.set()

    async def _send(self, message: Outgoing, looked_at: float) -> None:
        loop = asyncio.get_running_loop()
        if message.not_after is not None and self._now() > message.not_after:
            await loop.run_in_executor(self._pool, self._give_up, message, "dropped", "too late to be of use")
            return
        channel = self._channels[message.channel]
        if message.intent == "notice" and channel.abilities.shuns_half_hours:
            calm = calm_moment(self._now(), message.chat_ref)
            if calm > self._now():
                await loop.run_in_executor(self._pool, self._put_off, message, calm)
                return
        batch, began = [message], time.time()
        try:
            if message.body.get("attach") or _cares_what_is_around(channel.abilities):
                batch, rendered = await in_pool(self._pool, self._rendered, message, channel.abilities)
            else:  # nothing to be read for it: a thread's turn would take longer than the rendering
                batch, rendered = self._rendered(message, channel.abilities)
            parts = len(rendered.texts) + (rendered.image is not None)
            if not await self._limits.turn(message.channel, message.chat_ref, parts):
                return  # all of the channel has to wait, and the message with it
            if message.channel in self._away:
                return
            late = self._database.shared and time.monotonic() - looked_at > SURE_SECONDS
            if late and not await loop.run_in_executor(self._pool, self._still_ours, batch):
                return
            began = time.time()
            provider_id = await channel.send(message.chat_ref, rendered)
        except SendError as trouble:
            self._watch.not_sent(message, trouble, began)
            await in_pool(self._pool, self._failed, batch, trouble)
            if isinstance(trouble, NotSent | MaybeSent):
                self._away.ask(channel)
        else:
            self._got_through[message.channel] = self._now()
            await asyncio.gather(*(self._mark_sent(one.id, provider_id) for one in batch))
            self._watch.sent(batch, provider_id, began)

    async def _try_now(self, channel: str) -> None:
        """Its platform is back: everything that waits for another try goes at once."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._make_due, channel)

    def _make_due(self, channel: str) -> None:
        with self._database.work() as work:
            outbox.try_now(work, channel, self._now())

    def _rendered(self, message: Outgoing, abilities: Abilities) -> tuple[list[Outgoing], Rendered]:
        """What goes out as one: the message, and where the channel may answer but once all that fits behind it."""
        asked, behind = self._around(message, abilities)
        whole = self._one(message, abilities, asked)
        batch = [message]
        for row in behind:
            if not (_may_join(message) and _may_join(row)):
                break
            next_one = self._one(row, abilities, asked)
            texts = (*whole.texts, *next_one.texts)
            joined = "\n\n".join(texts)
            if (
                len(texts) > 2
                or whole.image
                or next_one.image
                or whole.file
                or next_one.file
                or not fits(joined, abilities)
            ):
                break
            intent = whole.intent if whole.intent == next_one.intent else "reply"
            whole = replace(whole, texts=(joined,), intent=intent)
            batch.append(row)
        return batch, replace(whole, more=len(behind) >= len(batch))

    def _around(self, message: Outgoing, abilities: Abilities) -> tuple[int | None, list[Outgoing]]:
        """The question that a typed number answers now, and what is due behind a message, where the channel cares."""
        if not _cares_what_is_around(abilities):
            return None, []
        with self._database.read(system(Part.SENDER)) as work:
            account = people.account_by_id(work, message.account) if message.account is not None else None
            now = self._now()
            behind = outbox.due_behind(work, message, now) if abilities.one_answer else []
            behind = [
                row for row in behind if row.not_after is None or now <= row.not_after
            ]  # else dropped in its turn
            return account.current_question if account is not None else None, behind

    def _one(self, message: Outgoing, abilities: Abilities, asked: int | None) -> Rendered:
        plain_numbers = self._is_asked(message, abilities, asked)
        rendered = render(message.body, abilities, plain_numbers=plain_numbers)
        texts = rendered.texts[message.body.get("arrived", 0) :] or rendered.texts[-1:]
        if message.error.startswith(SHUT) and (message.intent != "reply" or abilities.push != "none"):
            texts = (f"{self._why_late(message)}\n{texts[0]}", *texts[1:])  # the channel's limit leaves room for it
        rendered = replace(rendered, texts=texts, intent=message.intent, key=f"zoudian-{message.id}")
        if message.intent in ("reminder", "alert"):
            rendered = replace(rendered, details=details(message.body))
        key, name = message.body.get("attach", ""), message.body.get("attach_name", "")
        if key and name:
            return replace(rendered, file=self._files.get(key), file_name=name)
        return replace(rendered, image=self._files.get(key), image_name="photo.jpg") if key else rendered

    def _is_asked(self, message: Outgoing, abilities: Abilities, asked: int | None) -> bool:
        """Whether a typed 1 means this message's first choice, where its choices may be numbered at all."""
        shows_buttons = abilities.buttons and not abilities.whole_labels
        return bool(shows_buttons) or message.account is None or message.body.get("question") == asked

    def _why_late(self, message: Outgoing) -> str:
        words = load(message.body.get("language", ""))
        reason = message.error.removeprefix(SHUT).partition(":")[0]
        known = words.knows(f"undelivered.{reason}")
        made = message.made_at.astimezone(self._zone)
        return words.say(
            "push.late",
            {
                "at": f"{made.month}月{made.day}日 {made:%H:%M}"
                if words.language == "zh-CN"
                else f"{made:%d %b %H:%M}",
                "why": words.say(f"undelivered.{reason}" if known else "undelivered.failed"),
            },
        )

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
        with self._database.work(shares=True) as work:
            for message_id, at, provider_id in marks:
                outbox.sent(work, message_id, at, provider_id)

    def _put_off(self, message: Outgoing, until: datetime) -> None:
        with self._database.work() as work:
            outbox.hold_until(work, message.id, until, "away from :00 and :30")

    def _give_up(self, message: Outgoing, state: str, why: str) -> None:
        with self._database.work() as work:
            outbox.give_up(work, message.id, state, why)

    def _failed(self, batch: list[Outgoing], trouble: SendError) -> None:
        log.warning("outbox %s: %s", ", ".join(str(message.id) for message in batch), trouble)
        with self._database.work(system(Part.SENDER)) as work:
            for message in batch:
                self._note_failure(work, message, trouble, self._now())

    def _note_failure(self, work: Work, message: Outgoing, trouble: SendError, now: datetime) -> None:
        if trouble.sent:
            outbox.arrived(work, message.id, trouble.sent)
        said = message.error if message.error.startswith(SHUT) else str(trouble)  # it is still as late as it was
        match trouble:
            case Shut():
                outbox.shut(work, message.id, str(trouble))
            case HoldOff(seconds=seconds):
                until = now + timedelta(seconds=seconds)
                outbox.hold_until(work, message.id, until, said)
                if not trouble.ours:
                    self._limits.told_to_wait(work, message.channel, message.chat_ref, until)
            case Unreachable():
                outbox.give_up(work, message.id, "failed", str(trouble))
                if message.account is not None:
                    people.out_of_reach(work, message.account, trouble.reason, now)
            case Refused():
                outbox.give_up(work, message.id, "failed", str(trouble))
            case NotSent() | MaybeSent() | _:
                # An answer is promised at least once: one whose fate is unknown goes out again.
                if message.tries + 1 >= outbox.MAX_TRIES and self._nothing_gets_through(message, now):
                    outbox.hold_until(work, message.id, now + SLOWLY, said)
                    return
                pause = timedelta(seconds=min(300, 2 ** (message.tries + 1)))
                outbox.retry_at(work, message.id, now + pause, said)

    def _nothing_gets_through(self, message: Outgoing, now: datetime) -> bool:
        """Then it is the platform's trouble and not this message's."""
        arrived = self._got_through.get(message.channel)
        return now - message.made_at < PATIENCE and (arrived is None or arrived < message.made_at)


def _cares_what_is_around(abilities: Abilities) -> bool:
    """Whether what a message looks like depends on the question that is open, or on what is due behind it."""
    return not abilities.buttons or abilities.one_answer or bool(abilities.whole_labels)


def _may_join(message: Outgoing) -> bool:
    """A reminder or alert that nobody asked for may have to go as a template, which tells of one thing. Once it has
    waited for the person to write, it is part of the answer.
    """
    return message.intent not in ("reminder", "alert") or message.error.startswith(SHUT)


def _chat(message: Outgoing) -> str:
    return f"{message.channel}:{message.chat_ref}"
