"""Statements that go past SQLAlchemy say and find what they do through it."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, strategies
from sqlalchemy import bindparam, event, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError, MultipleResultsFound, NoResultFound

from rules.outlets import Outlet
from rules.people import Scope
from rules.places import Point
from storage import firm
from storage.database import Database, Work
from storage.engines import from_json
from storage.many import one_of
from storage.plans import Rows
from storage.scope import NoScope
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


def test_a_stream_finds_what_a_query_finds_also_where_it_takes_several_parts(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.database.AT_A_TIME", 3)
    with database.work(WHOLE) as work:
        for number in range(10):
            add(work, f"k{number}", message={"number": number})
    few = select(INBOX).where(one_of(INBOX.c.delivery_key, "which")).order_by(INBOX.c.id)
    with database.read(WHOLE) as work:
        every = [tuple(row) for row in work.run(ALL)]
        streamed = list(work.stream(ALL))
        assert [tuple(row) for row in streamed] == every
        assert [row.message["number"] for row in streamed] == list(range(10))
        assert [row.delivery_key for row in work.stream(few, which=["k4", "k9", "k1"])] == ["k1", "k4", "k9"]
        assert list(work.stream(few, which=[])) == []
        begun = work.stream(ALL)
        assert next(begun).delivery_key == "k0"
        assert len(work.run(ALL).all()) == 10  # something else may be asked meanwhile
        assert len(list(begun)) == 9


def test_a_stream_is_within_the_scope(database: Database) -> None:
    shops = [Outlet(f"C{n}", f"店{n}", "店", "柯桥区", "", None, None, None) for n in range(3)]
    with database.work(WHOLE) as work:
        firm.save_outlets(work, [*shops, Outlet("D", "别处", "店", "越城区", "", None, None, None)])
    for heard in (False, True):  # past SQLAlchemy, and through it
        if heard:
            event.listen(database.reader, "after_cursor_execute", lambda *_: None)
        with database.read(Scope(districts=frozenset({"柯桥区"}), who="M")) as work:
            assert [outlet.code for outlet in firm.each_outlet(work)] == ["C0", "C1", "C2"]
        with database.read() as work, pytest.raises(NoScope):
            list(firm.each_outlet(work))


@pytest.mark.parametrize("values", [["a", "b'\"", "\\,{}", "客户"], [], ["nobody"]])
def test_one_of_many_values_is_one_parameter(database: Database, values: list[str]) -> None:
    query = select(INBOX.c.delivery_key).where(one_of(INBOX.c.delivery_key, "which")).order_by(INBOX.c.id)
    with database.work(WHOLE) as work:
        there = ["a", "b'\"", "\\,{}", "客户", "z"]
        for key in there:
            add(work, key)
        through, past = both(work, query, which=values)
        assert through == past == [(key,) for key in there if key in values]


JSONS = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats(allow_nan=False)
    | strategies.text(strategies.characters(codec=None)),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
)


@given(JSONS, strategies.booleans())
@example("\ud800", False)
def test_json_is_read_as_python_reads_it(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert from_json(text) == json.loads(text)
    with suppress(UnicodeEncodeError):  # half a surrogate pair has no UTF-8
        assert from_json(text.encode()) == json.loads(text)
