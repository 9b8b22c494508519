"""The threads of a process at SQLite's one writing connection: in order of arrival, short ones sharing a commit.

Each commit waits for the disk, one after another (PostgreSQL's server makes one wait of several by itself). Who comes
while another works goes on in the same transaction, within a savepoint of its own, and nobody is let go before the
commit they share is on the disk. So each is as alone and as safe as with a commit of its own: one that fails is rolled
back by itself, and until the commit nobody else sees what was written.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.base import NestedTransaction
from sqlalchemy.exc import TimeoutError as NoConnection

MOST = 32  # members of one commit
SECONDS = 0.05  # so long after its beginning others may join
PATIENCE = 60.0  # seconds for which somebody waits to be let in


class UndoneWithOthers(Exception):
    """Nothing was wrong with this transaction, but the commit that it shared did not come about: to be done again."""


class SharedCommit:
    """Of the one connection that writes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._busy = False
        self._waiting: deque[_Seat] = deque()

    @contextmanager
    def member(self, *, shares: bool) -> Iterator[Connection]:
        """The connection, for this block alone; on a clean exit what it did is on the disk. Raises what the commit
        raises, UndoneWithOthers where that was another's to be told, and NoConnection who waited too long.
        """
        group = self._turn(shares)
        savepoint: NestedTransaction | None = None
        try:
            if group.members > 1:
                savepoint = group.connection.begin_nested()
            yield group.connection
            if not group.intact:
                raise UndoneWithOthers  # of an error that the block took for its own
            if savepoint is not None:
                savepoint.commit()
        except BaseException as trouble:
            self._failed(group, savepoint, trouble)
            raise
        self._leave(group)
        group.over.wait()
        if group.trouble is not None:
            raise UndoneWithOthers from group.trouble

    def _turn(self, shares: bool) -> "_Group":
        with self._lock:
            seat = _Seat(shares) if self._busy else None
            if seat is None:
                self._busy = True
            else:
                self._waiting.append(seat)
        group = self._called(seat) if seat is not None else None
        if group is not None:
            return group
        try:
            return _Group(self._engine.connect(), MOST if shares else 1)
        except BaseException:
            self._next_begins()
            raise

    def _called(self, seat: "_Seat") -> "_Group | None":
        if not seat.called.wait(PATIENCE):
            with self._lock:
                if seat in self._waiting:  # else it was called at the last moment
                    self._waiting.remove(seat)
                    raise NoConnection(f"others were writing for {PATIENCE:g} s")
            seat.called.wait()
        return seat.group

    def _failed(self, group: "_Group", savepoint: NestedTransaction | None, trouble: BaseException) -> None:
        """Take back what this one did, and let the others go on."""
        if savepoint is None:  # nobody was before, so the whole transaction is this one's
            self._end(group, trouble)
            return
        try:
            if savepoint.is_active:
                savepoint.rollback()
        except Exception:  # SQLite had given up the whole transaction, as it may when the disk is full
            self._end(group, trouble)
            return
        with suppress(Exception):  # the others are told of it; this one has its own trouble to tell of
            self._leave(group)

    def _leave(self, group: "_Group") -> None:
        """Let the next one go on, or commit for all."""
        with self._lock:
            joins = self._waiting and self._waiting[0].shares and group.open
            seat = self._waiting.popleft() if joins else None
        if seat is not None:
            group.members += 1
            seat.call(group)
            return
        try:
            group.root.commit()
        except BaseException as commit_trouble:
            self._end(group, commit_trouble)
            raise
        self._end(group, None)

    def _end(self, group: "_Group", trouble: BaseException | None) -> None:
        group.trouble = trouble
        try:
            group.close()
        finally:
            group.over.set()
            self._next_begins()

    def _next_begins(self) -> None:
        with self._lock:
            seat = self._waiting.popleft() if self._waiting else None
            self._busy = seat is not None
        if seat is not None:
            seat.call(None)


class _Group:
    """A transaction with its members, of whom one at a time has the connection."""

    def __init__(self, connection: Connection, most: int) -> None:
        self.connection = connection
        self._most = most
        try:
            self.root = connection.begin()
        except BaseException:
            connection.close()
            raise
        self._driver: Any = connection.connection.driver_connection
        self._began = time.monotonic()
        self.members = 1
        self.over = threading.Event()
        self.trouble: BaseException | None = None

    @property
    def intact(self) -> bool:
        """Whether SQLite still has the transaction: some errors end it as a whole."""
        return bool(self._driver.in_transaction)

    @property
    def open(self) -> bool:
        """Whether another may join."""
        return self.members < self._most and time.monotonic() - self._began < SECONDS

    def close(self) -> None:
        """Give the connection back; what was not committed is gone."""
        try:
            if self.intact:
                self._driver.rollback()  # a commit that failed leaves the transaction open, and SQLAlchemy lets it be
        finally:
            self.connection.close()


class _Seat:
    """Somebody who waits: for the transaction of others, or (None) to begin one."""

    def __init__(self, shares: bool) -> None:
        self.shares = shares
        self.called = threading.Event()
        self.group: _Group | None = None

    def call(self, group: _Group | None) -> None:
        self.group = group
        self.called.set()
