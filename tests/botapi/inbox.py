"""A real inbox in a SQLite file, for what a channel hands over."""

import asyncio
from pathlib import Path

from sqlalchemy import select

from handlers.messages import Incoming
from handlers.wire import incoming_from_plain
from storage import inbox
from storage.inbox import Delivery
from storage.tables.post import InboxRow
from tests.databases import WHOLE, open_migrated


class StoredInbox:
    """`accept` is what a channel calls. While `broken`, storing fails as it does when the disk is full."""

    def __init__(self, folder: Path) -> None:
        self.broken = False
        self.refused = 0
        self._in_turn = asyncio.Lock()  # calls side by side are stored in the order in which they began
        self._database = open_migrated(folder, "inbox.db")

    async def accept(self, delivery: Delivery) -> bool:
        if self.broken:
            self.refused += 1
            raise OSError("no space left on device")
        async with self._in_turn:
            return await asyncio.to_thread(self._store, delivery)

    def _store(self, delivery: Delivery) -> bool:
        with self._database.work(WHOLE) as work:
            return inbox.accept(work, delivery) is not None

    def rows(self) -> list[InboxRow]:
        with self._database.read(WHOLE) as work:
            return list(work.session.scalars(select(InboxRow).order_by(InboxRow.id)))

    def keys(self) -> list[int]:
        return [int(row.delivery_key) for row in self.rows()]

    def messages(self) -> list[Incoming]:
        return [incoming_from_plain(row.message) for row in self.rows() if row.message is not None]

    def close(self) -> None:
        self._database.close()
