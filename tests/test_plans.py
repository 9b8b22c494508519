"""Statements that go past SQLAlchemy say and find what they do through it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, event, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError, MultipleResultsFound, NoResultFound

from rules.outlets import Outlet
from rules.places import Point
from storage import firm
from storage.database import Database, Work
from storage.plans import Rows
from storage.tables.columns import plain
from storage.tables.post import InboxRow
from tests.databases import WHOLE, open_migrated

INBOX = plain(InboxRow)
AT = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=timezone(timedelta(hours=8)))
ADD = insert(INBOX)
ALL = select(INBOX).order_by(INBOX.c.id)
ONE = select(INBOX).where(INBOX.c.delivery_key == bindparam("which"))
SOME = select(INBOX).where(INBOX.c.delivery_key.in_(bindparam("which", expanding=True)))
CHANGE = update(INBOX).where(INBOX.c.delivery_key == bindparam("which"))
SHOW = CHANGE.values(state="done", done_at=bindparam("at")).returning(INBOX.c.id, INBOX.c.done_at)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_migrated(tmp_path)
    yield opened
    opened.close()


def new(key: str, **other: Any) -> dict[str, Any]:
    return {
        "channel": "web",
        "account": "",
        "delivery_key": key,
        "person": "web:1",
        "position": 7,
        "chat_ref": "1",
        "raw": {"text": "您好\0", "list": [1, 2.5, None, True]},
        "message": None,
        "received_at": AT,
        "state": "new",
        "tries": 0,
        "error": "",
        **other,
    }


def add(work: Work, key: str, **other: Any) -> int:
    key_of = work.run(ADD, **new(key, **other)).inserted_primary_key
    assert key_of is not None
    return int(key_of[0])


def both(work: Work, statement: Any, **values: Any) -> tuple[list[Any], list[Any]]:
    """What is found through SQLAlchemy, which has the first of every statement, and past it."""
    first = work.run(statement, **values)
    assert not isinstance(first, Rows)
    found = first.all()
    second = work.run(statement, **values)
    assert isinstance(second, Rows)
    return [tuple(row) for row in found], [tuple(row) for row in second]


def test_rows_are_the_same_with_times_json_and_nothing(database: Database) -> None:
    with database.work(WHOLE) as work:
        numbers = [add(work, "a"), add(work, "b", message={"kind": "text"}), add(work, "c\0d")]
        assert numbers == sorted(set(numbers))
    with database.read(WHOLE) as work:
        through, past = both(work, ALL)
        assert through == past
        assert [row.delivery_key for row in work.run(ALL)] == ["a", "b", "cd"]
        row = work.run(ALL).all()[0]
        assert row.received_at == AT
        assert row.received_at.tzinfo == UTC
        assert row.raw["list"] == [1, 2.5, None, True]
        assert row.message is None


def test_a_change_is_told_by_what_it_returns(database: Database) -> None:
    with database.work(WHOLE) as work:
        add(work, "a")
        for hour in range(3):
            at = AT + timedelta(hours=hour)
            assert work.run(SHOW, which="a", at=at).one().done_at == at
        assert work.run(SHOW, which="b", at=AT).one_or_none() is None


def test_one_statement_with_other_names_changes_other_columns(database: Database) -> None:
    with database.work(WHOLE) as work:
        add(work, "a")
        for number in range(3):
            work.run(CHANGE, which="a", tries=number)
            work.run(CHANGE, which="a", error=f"e{number}", state="dead")
        row = work.run(ONE, which="a").one()
        assert (row.tries, row.error, row.state) == (2, "e2", "dead")


def test_lists_of_any_length_are_found(database: Database) -> None:
    with database.work(WHOLE) as work:
        for key in "abc":
            add(work, key)
        for keys in (["a"], ["a", "b"], [], ["a", "b", "c"]):
            assert [row.delivery_key for row in work.run(SOME, which=keys)] == keys


def test_one_is_one(database: Database) -> None:
    with database.work(WHOLE) as work:
        add(work, "a")
        add(work, "b")
        for _ in range(3):
            with pytest.raises(MultipleResultsFound):
                work.run(ALL).one_or_none()
            with pytest.raises(NoResultFound):
                work.run(ONE, which="z").one()
            assert work.run(ONE, which="z").scalar_one_or_none() is None
            assert len(list(work.run(ALL).scalars())) == 2


def test_trouble_is_sqlalchemys_and_tells_no_values(database: Database) -> None:
    def twice(key: str) -> None:
        with database.work(WHOLE) as work:
            add(work, key)
            add(work, key)

    for number in range(3):
        with pytest.raises(IntegrityError) as caught:
            twice(f"key {number}")
        assert "[parameters" not in str(caught.value)


def test_several_at_once_are_kept_the_same(database: Database) -> None:
    with database.work(WHOLE) as work:
        for time in range(3):  # the first through SQLAlchemy
            work.run_each(ADD, [new(f"{time} {key}", message={"n": key} if key else None) for key in range(3)])
        work.run_each(ADD, [])
        kept = [(row.delivery_key, row.message, row.raw, row.received_at) for row in work.run(ALL)]
    assert [(key, message, at) for key, message, _, at in kept] == [
        (f"{time} {key}", {"n": key} if key else None, AT) for time in range(3) for key in range(3)
    ]
    assert [found for _, _, found, _ in kept] == [kept[0][2]] * 9
    assert kept[0][2]["list"] == [1, 2.5, None, True]


def test_one_of_several_that_cannot_be_kept_is_told_without_its_values(database: Database) -> None:
    for time in range(3):
        with pytest.raises(IntegrityError) as caught, database.work(WHOLE) as work:
            work.run_each(ADD, [new(f"a {time}"), new(f"b {time}"), new(f"a {time}")])
        assert "[parameters" not in str(caught.value)
    with database.read(WHOLE) as work:
        assert work.run(ALL).all() == []


def test_who_listens_to_statements_hears_them_all(database: Database) -> None:
    seen: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(database.reader, "before_cursor_execute", note)
    try:
        with database.read(WHOLE) as work:
            for _ in range(3):
                work.run(ALL)
    finally:
        event.remove(database.reader, "before_cursor_execute", note)
    assert sum("FROM inbox" in statement for statement in seen) == 3


def test_a_row_without_a_number_is_added_too(database: Database) -> None:
    with database.work(WHOLE) as work:
        for _ in range(3):
            firm.save_competitors(work, [])
        assert firm.revision(work) == 3


def test_numbers_with_a_point_are_found(database: Database) -> None:
    outlet = Outlet("A1", "老灶台", "餐饮", "柯桥区", "", Point(30.5, 120.25), None, None)
    with database.work(WHOLE) as work:
        firm.save_outlets(work, [outlet])
        for _ in range(3):
            work.forget()
            assert firm.outlets_around(work, Point(30.5, 120.25), 200.0) == [outlet]
