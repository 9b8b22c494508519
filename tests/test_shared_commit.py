"""Several threads' short transactions in one commit: each as alone and as safe as with a commit of its own."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from storage.database import Database, Work, will_pass
from storage.shared_commit import UndoneWithOthers
from tests.databases import sqlite_url

PATIENCE = 20.0


class Firm:
    """A database of one table, the commits that were made in it, and threads that come in a known order."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(sqlite_url(folder))
        self.commits = 0
        with self.database.connection() as connection:
            connection.exec_driver_sql("create table said (word text primary key)")
        event.listen(self.database.writer, "commit", self._count)
        self.pool = ThreadPoolExecutor(8)

    def _count(self, _connection: object) -> None:
        self.commits += 1

    def words(self) -> list[str]:
        with self.database.read() as work:
            return sorted(work.run(text("select word from said")).scalars())

    def say(self, word: str, *, then: Callable[[Work], None] = lambda _: None, shares: bool = True) -> None:
        with self.database.work(shares=shares) as work:
            work.run(text("insert into said values (:word)"), word=word)
            then(work)

    def together(self, *members: Callable[[], None]) -> list[Future[None]]:
        """Run them in this order, all of them waiting while the first is at work."""
        gate = threading.Event()
        begun = threading.Event()

        def first() -> None:
            def hold(_work: Work) -> None:
                begun.set()
                assert gate.wait(PATIENCE)

            self.say("first", then=hold)

        futures = [self.pool.submit(first)]
        assert begun.wait(PATIENCE)
        shared = self.database._one_by_one
        assert shared is not None
        for number, member in enumerate(members, start=1):
            futures.append(self.pool.submit(member))
            waiting = threading.Event()
            for _ in range(2000):
                if len(shared._waiting) >= number:
                    break
                waiting.wait(0.005)
        gate.set()
        return futures


@contextmanager
def firm_in(folder: Path) -> Iterator[Firm]:
    firm = Firm(folder)
    try:
        yield firm
    finally:
        firm.pool.shutdown()
        firm.database.close()


@pytest.fixture
def firm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Firm]:
    monkeypatch.setattr("storage.shared_commit.SECONDS", PATIENCE)  # a busy machine must not part them
    with firm_in(tmp_path) as made:
        yield made


def outcome(future: "Future[None]") -> BaseException | None:
    return future.exception(PATIENCE)


def test_who_comes_meanwhile_shares_the_commit(firm: Firm) -> None:
    futures = firm.together(*(lambda word=word: firm.say(word) for word in "abcde"))
    assert [outcome(one) for one in futures] == [None] * 6
    assert firm.words() == [*"abcde", "first"]
    assert firm.commits == 1


def test_nobody_is_let_go_and_nobody_sees_anything_before_the_commit(firm: Firm) -> None:
    seen: list[tuple[bool, list[str]]] = []

    def last() -> None:
        firm.say("last", then=lambda _: seen.append((futures[0].done(), firm.words())))

    futures: list[Future[None]] = []
    begun = firm.together(last)
    futures += begun
    assert [outcome(one) for one in begun] == [None, None]
    assert seen == [(False, [])]
    assert firm.words() == ["first", "last"]


def test_one_that_fails_takes_nothing_of_the_others_with_it(firm: Firm) -> None:
    def stumbles() -> None:
        def stumble(_work: Work) -> None:
            raise ValueError("no")

        firm.say("lost", then=stumble)

    futures = firm.together(lambda: firm.say("a"), stumbles, lambda: firm.say("a"), lambda: firm.say("b"), stumbles)
    told = [type(outcome(one)) for one in futures]
    assert told == [type(None), type(None), ValueError, IntegrityError, type(None), ValueError]
    assert firm.words() == ["a", "b", "first"]
    assert firm.commits == 1


def test_when_the_first_fails_the_others_begin_anew(firm: Firm) -> None:
    begun, gate = threading.Event(), threading.Event()

    def stumbles() -> None:
        def stumble(_work: Work) -> None:
            begun.set()
            assert gate.wait(PATIENCE)
            raise ValueError("no")

        firm.say("lost", then=stumble)

    first = firm.pool.submit(stumbles)
    assert begun.wait(PATIENCE)
    second = firm.pool.submit(lambda: firm.say("kept"))
    gate.set()
    assert isinstance(outcome(first), ValueError)
    assert outcome(second) is None
    assert firm.words() == ["kept"]


def test_a_commit_that_fails_is_told_to_each_and_nothing_is_kept(firm: Firm) -> None:
    def full(_connection: object) -> None:
        event.remove(firm.database.writer, "commit", full)
        raise OperationalError("COMMIT", None, sqlite3.OperationalError("database or disk is full"))

    def last() -> None:
        firm.say("last", then=lambda _: event.listen(firm.database.writer, "commit", full))

    futures = firm.together(lambda: firm.say("a"), last)
    told = [outcome(one) for one in futures]
    assert [type(one) for one in told] == [UndoneWithOthers, UndoneWithOthers, OperationalError]
    assert all(one is not None and will_pass(one) for one in told)
    assert firm.words() == []
    firm.say("again")
    assert firm.words() == ["again"]


def test_a_transaction_that_sqlite_gave_up_is_told_to_each(firm: Firm) -> None:
    def given_up(work: Work) -> None:
        work.run(text("insert or rollback into said values ('first')"))

    def lives_with_it() -> None:
        with firm.database.work(shares=True) as work, pytest.raises(IntegrityError):
            given_up(work)

    for last, kind in ((lambda: firm.say("b", then=given_up), IntegrityError), (lives_with_it, UndoneWithOthers)):
        futures = firm.together(lambda: firm.say("a"), last, lambda: firm.say("after"))
        told = [type(outcome(one)) for one in futures]
        assert told == [UndoneWithOthers, UndoneWithOthers, kind, type(None)]
        assert firm.words() == ["after"]
        with firm.database.work() as work:
            work.run(text("delete from said"))


def test_the_object_mapper_s_trouble_is_its_own(firm: Firm) -> None:
    def stumbles() -> None:
        with firm.database.work(shares=True) as work:
            work.session.execute(text("insert into said values ('lost')"))
            work.session.execute(text("insert into said values ('a')"))

    futures = firm.together(lambda: firm.say("a"), stumbles, lambda: firm.say("b"))
    assert [type(outcome(one)) for one in futures] == [type(None), type(None), IntegrityError, type(None)]
    assert firm.words() == ["a", "b", "first"]


def test_who_wants_the_database_alone_is_not_kept_out_by_those_who_share(tmp_path: Path) -> None:
    with firm_in(tmp_path) as firm:
        stop = threading.Event()

        def busy(name: str) -> None:
            number = 0
            while not stop.is_set():
                firm.say(f"{name}{number}")
                number += 1

        running = [firm.pool.submit(busy, name) for name in "abcd"]
        try:
            for number in range(5):
                firm.pool.submit(firm.say, f"alone{number}", shares=False).result(PATIENCE)
        finally:
            stop.set()
        assert [outcome(one) for one in running] == [None] * 4


def test_who_waited_too_long_is_told_and_the_next_one_is_let_in(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun = threading.Event(), threading.Event()

    def holds(_work: Work) -> None:
        begun.set()
        assert gate.wait(PATIENCE)

    first = firm.pool.submit(firm.say, "first", then=holds, shares=False)
    assert begun.wait(PATIENCE)
    monkeypatch.setattr("storage.shared_commit.PATIENCE", 0.05)
    with pytest.raises(NoConnection, match="writing") as caught:
        firm.say("late")
    assert will_pass(caught.value)
    monkeypatch.setattr("storage.shared_commit.PATIENCE", PATIENCE)
    second = firm.pool.submit(firm.say, "second")
    gate.set()
    assert (outcome(first), outcome(second)) == (None, None)
    assert firm.words() == ["first", "second"]


def test_who_does_not_share_is_alone_and_in_order(firm: Firm) -> None:
    order: list[str] = []

    def says(word: str, *, shares: bool) -> Callable[[], None]:
        return lambda: firm.say(word, shares=shares, then=lambda _: order.append(f"{word} after {firm.commits}"))

    ways = [("a", True), ("import", False), ("b", True), ("c", True), ("upkeep", False)]
    futures = firm.together(*(says(word, shares=shares) for word, shares in ways))
    assert [outcome(one) for one in futures] == [None] * 6
    assert order == ["a after 0", "import after 1", "b after 2", "c after 2", "upkeep after 3"]


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    with firm_in(tmp_path) as firm:

        def some(name: int) -> list[str]:
            kept = []
            for number in range(40):
                word = f"{name}-{number}"

                def trip(_work: Work, number: int = number) -> None:
                    if number % 7 == 3:
                        raise ValueError("no")

                try:
                    firm.say(word, then=trip, shares=number % 11 != 5)
                except ValueError:
                    continue
                kept.append(word)
            return kept

        kept = [word for one in [firm.pool.submit(some, name) for name in range(8)] for word in one.result(PATIENCE)]
        assert firm.words() == sorted(kept)
        assert firm.commits <= len(kept)
