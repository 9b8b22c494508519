"""From a delivery to its turn: stored before it is acknowledged, then applied in order of each person.

People run side by side; one person's messages run one after another. Media are fetched and stored before the turn.

Where several processes share the database, each stores what it receives, and whoever gets the lease on a person takes
that person's messages, whoever stored them.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from bot.channels import Channel, MediaProblem
from bot.tasks import in_pool, spawn
from bot.watch import Watch
from handlers.receive import apologise, apply
from handlers.tools import Tools
from handlers.wire import incoming_from_plain, incoming_to_plain
from rules.people import Part, system
from storage import inbox, leases, people
from storage.database import Database, Work, will_pass
from storage.inbox import Delivery

log = logging.getLogger(__name__)

SWEEP_SECONDS = 2.0  # how often what waits for a second try is looked for
SHARED_SWEEP_SECONDS = 0.5  # and what other processes stored; or where the last look did not see all
AT_ONE_LOOK = 20  # people
GIVE_UP_FETCHING = timedelta(hours=24)  # Telegram forgets a file's address; the platforms keep media for days


class Intake:
    """`accept` is what channels call; `after` is called whenever something may be waiting to be sent or heard."""

    def __init__(
        self,
        database: Database,
        tools: Tools,
        channels: Mapping[str, Channel],
        now: Callable[[], datetime],
        after: Callable[[], None],
        threads: int = 4,
        *,
        works: bool = True,
        watch: Watch | None = None,
    ) -> None:
        """Unless it `works` it only stores."""
        self._watch = watch or Watch()
        self._database, self._tools, self._channels = database, tools, channels
        self._now, self._after = now, after
        self._works = works
        self._pool = ThreadPoolExecutor(threads, "turn")
        self._new: list[tuple[Delivery, float, asyncio.Future[bool]]] = []
        self._storing: asyncio.Task[None] | None = None
        self._queues: dict[str, deque[Delivery]] = {}
        # People of whom more may be stored than is lined up: what a death, a hold or a fault left. On SQLite alone.
        self._behind: set[str] = set()
        self._counted = database.shared  # until then it may be anybody
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Take up what was accepted before the last stop, then look for second tries now and then."""
        if self._works:
            self._sweeper = spawn(self._sweep(), "inbox sweep")

    async def stop(self) -> None:
        """Let running turns end. What comes from now on is stored, until `close`, and waits for the next start."""
        self._stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """After `stop`, once no channel receives any more."""
        if self._storing is not None:
            await asyncio.gather(self._storing, return_exceptions=True)
        self._pool.shutdown(wait=True)

    @property
    def runs(self) -> bool:
        """Whether it looks for second tries, where that is its work."""
        return not self._works or (self._sweeper is not None and not self._sweeper.done())

    async def accept(self, delivery: Delivery) -> bool:
        """Store one delivery; True when it was new. Deliveries that come together share one commit."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._new.append((delivery, time.time(), future))
        if self._storing is None or self._storing.done():
            self._storing = spawn(self._store(), "inbox store")
        return await future

    async def idle(self) -> None:
        """Wait until nothing that was accepted is still being worked on."""
        while self._tasks or self._new or (self._storing is not None and not self._storing.done()):
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)

    async def _store(self) -> None:
        loop = asyncio.get_running_loop()
        while self._new:
            batch, self._new = self._new, []
            try:
                ids = await loop.run_in_executor(self._pool, self._store_all, [item for item, *_ in batch])
            except Exception as trouble:
                for *_, future in batch:
                    if not future.done():
                        future.set_exception(trouble)
                continue
            for (delivery, came, future), row in zip(batch, ids, strict=True):
                self._watch.received(delivery, row, came)
                if not future.done():
                    future.set_result(row is not None)
                if row is not None and delivery.message is not None and self._works and not self._stopping:
                    self._line_up(replace(delivery, id=row))

    def _store_all(self, deliveries: list[Delivery]) -> list[int | None]:
        with self._database.work(shares=True) as work:
            return [inbox.accept(work, delivery) for delivery in deliveries]

    def _line_up(self, delivery: Delivery) -> None:
        queue = self._queues.get(delivery.person)
        if queue is None:
            self._queues[delivery.person] = deque([delivery])
            task = spawn(self._work_off(delivery.person), "turns")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif all(delivery.id != other.id for other in queue):
            queue.append(delivery)

    async def _work_off(self, person: str) -> None:
        """Apply one person's messages one after another; a failing one keeps the later ones waiting for its retry."""
        queue = self._queues[person]
        try:
            if self._database.shared:
                await self._work_off_shared(person)
                return
            while not self._stopping and (delivery := await self._first(person, queue)) is not None:
                if not await self._one(delivery):
                    self._behind.add(person)
                    return
        finally:
            del self._queues[person]

    async def _first(self, person: str, queue: deque[Delivery]) -> Delivery | None:
        """What is lined up; of somebody who is behind what is stored, for what came just now must not overtake it."""
        if person in self._behind or not self._counted:
            queue.clear()  # all of it is stored
            waits, delivery = await asyncio.get_running_loop().run_in_executor(self._pool, self._first_stored, person)
            if waits:
                return delivery
            self._behind.discard(person)
        return queue.popleft() if queue else None

    def _first_stored(self, person: str) -> tuple[bool, Delivery | None]:
        """Whether anything waits, and the first of it if its time has come."""
        with self._database.read() as work:
            delivery = inbox.next_of(work, person, self._now())
            return delivery is not None or inbox.waits(work, person), delivery

    async def _work_off_shared(self, person: str) -> None:
        """The same, of everything that is stored of the person, while nobody else is at it."""
        loop = asyncio.get_running_loop()
        delivery = await loop.run_in_executor(self._pool, self._begin, person)
        try:
            while delivery is not None and not self._stopping and await self._one(delivery):
                delivery = await loop.run_in_executor(self._pool, self._go_on, person)
        finally:
            if delivery is not None:  # else the lease is given back already
                await loop.run_in_executor(self._pool, self._leave, person)

    async def _one(self, delivery: Delivery) -> bool:
        """Fetch what is to be fetched and run the turn. False when it must be tried again later."""
        with self._watch.message(delivery):
            return await self._fetch_and_apply(delivery)

    async def _fetch_and_apply(self, delivery: Delivery) -> bool:
        loop = asyncio.get_running_loop()
        try:
            fetched = await self._fetch(delivery)
            if fetched is None:
                return False
            with self._watch.turn(delivery):
                await in_pool(self._pool, apply, self._database, self._tools, fetched, self._now())
        except Exception as trouble:
            if will_pass(trouble):
                log.warning("inbox %s waits for the database or the disk: %s", delivery.id, type(trouble).__name__)
                return False
            log.exception("inbox %s failed", delivery.id)
            aside = await loop.run_in_executor(self._pool, self._note_failure, delivery.id, type(trouble).__name__)
            self._after()
            return aside
        self._after()
        return True

    async def _fetch(self, delivery: Delivery) -> Delivery | None:
        """The delivery with its file in our own store. None when the channel has trouble that will pass."""
        if delivery.message is None or "media" not in delivery.message:
            return delivery
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self._pool, self._is_wanted, delivery):
            return delivery
        row = delivery.id
        message = incoming_from_plain(delivery.message)
        media = message.media
        if media is None or media.file or media.problem:
            return delivery
        try:
            data = await self._channels[delivery.channel].fetch(media)
        except MediaProblem as problem:
            self._watch.not_fetched(delivery, problem)
            media = replace(media, problem=problem.reason)
        except Exception as trouble:
            self._watch.not_fetched(delivery, trouble)
            if self._now() - delivery.received_at < GIVE_UP_FETCHING:
                log.warning("inbox %s: its file is not to be had yet (%s)", row, type(trouble).__name__)
                await loop.run_in_executor(self._pool, self._wait_for_file, row)
                return None
            media = replace(media, problem="gone")
        else:
            file = await loop.run_in_executor(self._pool, self._tools.files.put, data)
            media = replace(media, file=file, size=len(data))
        plain = incoming_to_plain(replace(message, media=media))
        await loop.run_in_executor(self._pool, self._keep, row, plain)
        return replace(delivery, message=plain)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            found: list[Delivery] = []
            try:
                if not self._counted:
                    self._behind |= await loop.run_in_executor(self._pool, self._left_waiting)
                    self._counted = True
                busy = frozenset(self._queues)
                found = await loop.run_in_executor(self._pool, self._waiting, busy)
                for delivery in found:
                    if not self._database.shared:
                        self._behind.add(delivery.person)
                    self._line_up(delivery)
            except Exception:
                log.exception("looking for waiting messages failed")
            soon = self._database.shared or len(found) == AT_ONE_LOOK
            await asyncio.sleep(SHARED_SWEEP_SECONDS if soon else SWEEP_SECONDS)

    def _waiting(self, busy: frozenset[str]) -> list[Delivery]:
        with self._database.read() as work:
            return inbox.waiting(work, self._now(), busy, AT_ONE_LOOK)

    def _left_waiting(self) -> set[str]:
        with self._database.read() as work:
            return inbox.waiting_people(work)

    def _begin(self, person: str) -> Delivery | None:
        """The first delivery of a person to apply, with the lease on them; None when somebody else is at it."""
        with self._database.work() as work:
            if not leases.take(work, [f"person:{person}"], self._database.holder):
                return None
            return self._next_or_leave(work, person)

    def _go_on(self, person: str) -> Delivery | None:
        with self._database.work() as work:
            return self._next_or_leave(work, person)

    def _next_or_leave(self, work: Work, person: str) -> Delivery | None:
        """What is to be applied next; with None the lease is given back, in this transaction."""
        delivery = inbox.next_of(work, person, self._now())
        if delivery is None:
            leases.give_back(work, [f"person:{person}"], self._database.holder)
        return delivery

    def _leave(self, person: str) -> None:
        with self._database.work() as work:
            leases.give_back(work, [f"person:{person}"], self._database.holder)

    def _is_wanted(self, delivery: Delivery) -> bool:
        """Whether it still waits and is of somebody we know; of a stranger nothing is fetched, let alone kept."""
        with self._database.read(system(Part.INTAKE)) as work:
            known = people.knows(work, delivery.channel, delivery.person.partition(":")[2])
            return known and inbox.load(work, delivery.id) is not None

    def _keep(self, row: int, message: dict[str, object]) -> None:
        with self._database.work(shares=True) as work:
            inbox.keep_message(work, row, message)

    def _wait_for_file(self, row: int) -> None:
        with self._database.work() as work:
            inbox.hold(work, row, self._now() + timedelta(seconds=20))

    def _note_failure(self, row: int, error: str) -> bool:
        with self._database.work() as work:
            aside = inbox.failed(work, row, self._now(), error)
        if aside:
            apologise(self._database, row, self._now())
        return aside
