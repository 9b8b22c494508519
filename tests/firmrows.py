"""What the test firms of all channels have in common: a look at their rows, and a callback that is really served."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol

from aiohttp import web
from sqlalchemy import select

from bot.app import App
from rules.visit import Visit
from storage import jobs, outbox, visits
from storage.database import Database
from storage.outbox import Outgoing
from storage.tables.post import InboxRow, OutboxRow
from storage.tables.visits import VisitRow
from tests.databases import WHOLE


class FirmRows:
    """The rows of a firm whose bot runs."""

    database: Database

    def left(self, due_by: datetime | None = None) -> bool:
        """Whether something waits; of the messages those alone that are due by then. A note is heard and its answer
        queued in one commit, so one look tells.
        """
        due = select(OutboxRow.id).where(OutboxRow.state == "due")
        if due_by is not None:
            due = due.where(OutboxRow.due_at <= due_by)
        with self.database.read(WHOLE) as work:
            busy = any(jobs.counts(work).get(state) for state in ("ready", "running"))
            queries = (select(InboxRow.id).where(InboxRow.state == "new"), due)
            return busy or any(work.session.scalar(query.limit(1)) is not None for query in queries)

    def inbox(self) -> list[InboxRow]:
        with self.database.read(WHOLE) as work:
            return list(work.session.scalars(select(InboxRow).order_by(InboxRow.id)))

    def outbox(self) -> list[Outgoing]:
        with self.database.read(WHOLE) as work:
            return outbox.after(work, 0)

    def visits(self) -> list[Visit]:
        with self.database.read(WHOLE) as work:
            return [visits.visit_of(row) for row in work.session.scalars(select(VisitRow).order_by(VisitRow.id))]


class Called(Protocol):
    """A firm whose platform calls it."""

    app: App
    database: Database
    url: str

    async def callback(self, request: web.Request) -> web.StreamResponse: ...


@asynccontextmanager
async def at_work(firm: Called, path: str) -> AsyncIterator[None]:
    """The bot runs, and its callback is served on this machine's loopback, at `firm.url`."""
    site = web.Application()
    site.router.add_route("*", path, firm.callback)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        firm.url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
        await firm.app.start()
        yield
    finally:
        await firm.app.stop()
        await runner.cleanup()
        firm.database.close()
