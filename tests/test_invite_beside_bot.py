"""Operations invite a colleague, print and export while the bot is running and has the database to itself."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from bot.invite_spool import spool, take
from rules.people import Employee, Role
from storage import people
from storage.database import Database
from storage.engines import DatabaseBusy
from tests.databases import WHOLE, open_migrated, sqlite_only

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
WANG = Employee("E101", "王建", Role.REP, ("柯桥区",))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_migrated(tmp_path)
    with database.work(WHOLE) as work:
        people.save_employees(work, [WANG])
    yield database
    database.close()


def test_an_invite_made_beside_the_running_bot_works_after_its_next_tick(database: Database, tmp_path: Path) -> None:
    token, invite = people.new_invite("E101", NOW)
    spool(tmp_path / "invites", invite)
    assert take(database, tmp_path / "invites") == 1
    assert list((tmp_path / "invites").iterdir()) == []
    with database.work(WHOLE) as work:
        assert people.use_invite(work, token, NOW + timedelta(hours=1)) == "E101"
    with database.work(WHOLE) as work:
        assert people.use_invite(work, token, NOW + timedelta(hours=1)) is None


def test_an_invite_spooled_twice_is_not_made_valid_again(database: Database, tmp_path: Path) -> None:
    token, invite = people.new_invite("E101", NOW)
    with database.work(WHOLE) as work:
        people.keep_invite(work, invite)
        people.use_invite(work, token, NOW)
    spool(tmp_path / "invites", invite)
    take(database, tmp_path / "invites")
    with database.work(WHOLE) as work:
        assert people.use_invite(work, token, NOW) is None


def test_the_token_itself_is_nowhere_on_the_disk(database: Database, tmp_path: Path) -> None:
    token, invite = people.new_invite("E101", NOW)
    spool(tmp_path / "invites", invite)
    assert all(token.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_broken_or_foreign_file_stops_nothing(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "invites"
    folder.mkdir()
    (folder / "a.json").write_text("{}")
    (folder / "b.json").write_text("not json")
    _, stranger = people.new_invite("E999", NOW)
    spool(folder, stranger)
    assert take(database, folder) == 0
    assert {path.suffix for path in folder.iterdir()} == {".bad"}


@sqlite_only
def test_a_second_process_may_look_but_neither_write_nor_take_over(database: Database, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'firm.db'}"
    with pytest.raises(DatabaseBusy):
        Database(url)
    beside = Database(url, reads_only=True)
    with beside.read(WHOLE) as work:
        assert people.employee(work, "E101") == WANG
    with pytest.raises(OperationalError, match="readonly"), beside.work(WHOLE) as work:
        people.save_employees(work, [Employee("E102", "孙浩", Role.REP, ())])
    beside.close()
