"""What is asked of the database all day stays cheap when the tables are long, and right at their edges."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Connection

from bot.replay import START
from rules.outlets import Outlet
from rules.places import Point, metres_between
from storage import firm, outbox
from storage.database import Database
from storage.outbox import Outgoing
from tests.chatfirm import fresh_firm
from tests.databases import WHOLE, open_migrated, sqlite_only


def found(code: str, point: Point | None = None) -> Outlet:
    return Outlet(code, f"{code}店", "", "柯桥区", "", point, None, None)


def say(database: Database, key: str, chat: str, *, minutes: int = 0) -> int:
    message = Outgoing(key, "telegram", chat, "reply", {}, START, START + timedelta(minutes=minutes))
    with database.work(WHOLE) as work:
        number = outbox.queue(work, message)
    assert number is not None
    return number


def test_after_n9999_comes_n10000_and_then_on(tmp_path: Path) -> None:
    database = open_migrated(tmp_path)
    with database.work(WHOLE) as work:
        firm.save_outlets(work, [found("N9998"), found("NORTH"), found("N12"), found("N9x99")])
        codes = []
        for _ in range(3):
            codes.append(firm.next_outlet_code(work))
            firm.add_outlet(work, found(codes[-1]))
    database.close()
    assert codes == ["N9999", "N10000", "N10001"]


def test_the_box_around_a_pin_holds_everything_so_near(tmp_path: Path) -> None:
    with fresh_firm(tmp_path) as (database, _):

        @settings(deadline=None, max_examples=50)
        @given(st.floats(-80, 80), st.floats(-179, 179), st.floats(-3, 3), st.floats(-3, 3), st.floats(50, 5000))
        def looked_at(lat: float, lon: float, north: float, east: float, reach: float) -> None:
            pin = Point(lat, lon)
            shop = Point(lat + north * reach / 111_195, lon + east * reach / 111_195)
            with database.work(WHOLE) as work:
                firm.save_outlets(work, [found("X1", shop)])
                seen = "X1" in [item.code for item in firm.outlets_around(work, pin, reach)]
            away = metres_between(pin, shop)
            assert seen if away <= reach else (not seen or away < 1.5 * reach)

        looked_at()


def test_the_first_message_of_each_chat_is_due_and_one_waiting_for_a_retry_holds_back_its_own_chat(
    tmp_path: Path,
) -> None:
    with fresh_firm(tmp_path) as (database, _):
        say(database, "a1", "1", minutes=5)
        say(database, "a2", "1")
        second, third = say(database, "b1", "2"), say(database, "c1", "3")
        say(database, "b2", "2")
        with database.read(WHOLE) as work:
            due = outbox.due(work, START, ["telegram"])
            assert [message.id for message in due] == [second, third]
            assert [message.id for message in outbox.due(work, START, ["telegram"], {"telegram:2"}, 1)] == [third]
            assert outbox.due(work, START, ["web"]) == []


@sqlite_only
def test_what_is_due_is_found_by_index_however_long_the_history(tmp_path: Path) -> None:
    """The plan of the statement as it is run: no walk through the whole table."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Connection, _cursor: object, statement: str, values: Any, *_rest: object) -> None:
        seen.append((statement, values))

    with fresh_firm(tmp_path) as (database, _), database.read(WHOLE) as work:
        event.listen(database.reader, "before_cursor_execute", note)
        assert outbox.due(work, START, ["telegram", "web"], {"web:1"}) == []
        event.remove(database.reader, "before_cursor_execute", note)
        (statement, values) = seen[-1]
        plan = work.session.connection().exec_driver_sql(f"explain query plan {statement}", values).all()
    told = " | ".join(row.detail for row in plan)
    assert "ix_outbox_due" in told
    assert "ix_outbox_chat" in told
    assert "SCAN" not in told
