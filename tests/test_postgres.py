"""What is true of PostgreSQL alone: addresses that lead nowhere, transactions side by side, several bots on one."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from procrastinate.schema import migrations_path
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import InternalError

from bot.cli import main
from bot.stand_in import made_photo
from handlers.messages import Incoming, Kind, Media, Reply, Say
from handlers.receive import receive
from handlers.wire import incoming_to_plain, reply_to_plain
from reports.firm_import import read_firm, save_firm
from rules.outlets import Outlet
from rules.people import Employee, Role
from storage import firm, inbox, leases, outbox, people, visits
from storage.database import Database
from storage.engines import DatabaseAway
from storage.migrate import current, migrate, newest
from storage.outbox import Outgoing
from storage.people import Account
from storage.tables.post import InboxRow
from tests import databases
from tests.chatfirm import SAMPLE_FIRM
from tests.databases import WHOLE
from tests.telegramfirm import EAR, START, delivery, firm_tools

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
REP = Employee("E101", "王建", Role.REP, ("柯桥区",))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return databases.postgres_url(tmp_path)


@pytest.fixture
def two(url: str) -> Iterator[tuple[Database, Database]]:
    """The same database as two processes have it open."""
    one = Database(url)
    migrate(one)
    other = Database(url)
    yield one, other
    one.close()
    other.close()


def test_a_server_that_does_not_answer_is_told_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOUDIAN_DATA__URL", "postgresql://zoudian:hunter2hunter2@127.0.0.1:1/firm")
    result = CliRunner().invoke(main, ["migrate"])
    assert result.exit_code == 3
    assert "连不上数据库 postgresql://zoudian:***@127.0.0.1:1/firm" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("wrong", ["mysql://a:secretsecret@b/c", "no url at all secretsecret"])
def test_another_kind_of_database_is_refused_without_repeating_what_was_set(wrong: str) -> None:
    with pytest.raises(DatabaseAway) as refused:
        Database(wrong)
    assert "secretsecret" not in str(refused.value)


@pytest.mark.parametrize("command", ["receiver", "worker"])
def test_the_parts_of_the_bot_need_postgresql(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOUDIAN_DATA__URL", f"sqlite:///{tmp_path / 'firm.db'}")
    result = CliRunner().invoke(main, [command])
    assert (result.exit_code, "zoudian run" in result.stderr) == (2, True)


def test_sqlite_firms_load_nothing_of_postgresql(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom bot.wiring import make_app\nfrom storage.database import Database\n"
        "from storage.migrate import migrate\nfrom storage import jobs\nfrom rules.people import Part, system\n"
        f"database = Database('sqlite:///{tmp_path / 'firm.db'}')\nmigrate(database)\n"
        "with database.read(system(Part.CONSOLE)) as work:\n    assert jobs.counts(work) == {}\n"
        "assert not {'psycopg', 'procrastinate'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=True)


def test_a_look_cannot_write(two: tuple[Database, Database]) -> None:
    with pytest.raises(InternalError, match="read-only"), two[0].read(WHOLE) as work:
        people.save_employees(work, [REP])


def test_a_long_look_is_not_cut_off_and_a_transaction_nobody_goes_on_with_is(two: tuple[Database, Database]) -> None:
    """The latter lets go of what a stopped process had locked, within less than a lease."""
    query = text("show idle_in_transaction_session_timeout")
    with two[0].read(WHOLE, long=True) as work:
        assert work.session.scalar(query) == "0"
    with two[0].work(WHOLE) as work:
        assert work.session.scalar(query) == "20s"
    assert leases.SECONDS > 20


def test_several_that_start_at_once_migrate_once(url: str) -> None:
    opened = [Database(url) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(migrate, opened))
    assert {current(database) for database in opened} == {newest()}
    for database in opened:
        database.close()


def test_the_tables_are_those_of_the_procrastinate_that_is_installed() -> None:
    """A newer one brings scripts of its own, which have to go into a migration of ours."""
    scripts = sorted(path.name for path in Path(migrations_path).glob("*.sql"))
    assert scripts[-1] == NEWEST_SCRIPT


NEWEST_SCRIPT = "03.04.00_50_post_add_retry_failed_job_procedure.sql"


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to that"
        threading.Event().wait(0.05)


def side_by_side(*acts: Callable[[], object]) -> list[object]:
    """Runs all of them at the same moment."""
    together = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        together.wait(5)
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_an_invite_is_used_once(two: tuple[Database, Database]) -> None:
    with two[0].work(WHOLE) as work:
        people.save_employees(work, [REP])
        token = people.make_invite(work, REP.code, NOW)

    def use(database: Database) -> str | None:
        with database.work(WHOLE) as work:
            return people.use_invite(work, token, NOW)

    used = side_by_side(*(partial(use, at) for at in two * 4))
    assert sorted(map(str, used)) == ["E101", *["None"] * 7]


def test_an_account_is_tied_once(two: tuple[Database, Database]) -> None:
    with two[0].work(WHOLE) as work:
        people.save_employees(work, [REP])

    def link(database: Database) -> int:
        with database.work(WHOLE) as work:
            return people.link(work, Account("telegram", "501", "501", REP.code), NOW).id

    assert len(set(side_by_side(*(partial(link, at) for at in two * 4)))) == 1


def test_two_reps_who_find_an_outlet_at_once_get_different_codes(two: tuple[Database, Database]) -> None:

    def find(database: Database, name: str) -> str:
        with database.work(WHOLE) as work:
            code = firm.next_outlet_code(work)
            firm.add_outlet(work, Outlet(code, name, "餐饮", "柯桥区", "", None, None, None))
            return code

    codes = side_by_side(*(partial(find, at, f"店{n}") for n, at in enumerate(two * 4)))
    assert sorted(map(str, codes)) == [f"N{number:04d}" for number in range(1, 9)]


def test_within_a_chat_ids_grow_in_the_order_of_the_commits(two: tuple[Database, Database]) -> None:
    """A page that has seen a message never finds an earlier one later."""
    started, go_on = threading.Event(), threading.Event()

    def say(database: Database, key: str, hold: bool) -> int | None:
        with database.work(WHOLE) as work:
            body = reply_to_plain(Reply(Say("help.short")), None, "zh-CN")
            row = outbox.queue(work, Outgoing(key, "web", "E101", "reply", body, NOW, NOW))
            if hold:
                started.set()
                assert go_on.wait(5)
            return row

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(say, two[0], "first", True)
        assert started.wait(5)
        second = pool.submit(say, two[1], "second", False)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.3)
        go_on.set()
        assert (first.result(5) or 0) < (second.result(5) or 0)


def test_one_rep_on_two_phones_at_once_makes_one_visit_with_everything(tmp_path: Path) -> None:
    """Each process has a message of another account of the same rep; on a doorstep both arrive within a moment."""
    each, phones = 6, 4
    tools = firm_tools(tmp_path)
    url = databases.postgres_url(tmp_path)
    opened = [Database(url) for _ in range(phones)]
    migrate(opened[0])
    with opened[0].work(WHOLE) as work:
        save_firm(work, read_firm(SAMPLE_FIRM))
        for phone in range(phones):
            people.link(work, Account("telegram", str(phone), str(phone), "E101"), START)
    EAR.of(opened[0])

    def hand_in(phone: int) -> None:
        for number in range(each):
            key = f"{phone}-{number}"
            photo = Media(key, mime="image/jpeg", file=tools.files.put(made_photo(key)))
            message = incoming_to_plain(Incoming(Kind.PHOTO, START, media=photo))
            with opened[phone].work(WHOLE) as work:
                row = inbox.accept(work, delivery(str(phone), key, message, START))
            assert row is not None
            receive(opened[phone], tools, row, START)

    side_by_side(*(partial(hand_in, phone) for phone in range(phones)))
    with opened[0].read(WHOLE) as work:
        (visit,) = visits.open_visits(work, "E101")
        states = {row.state for row in work.session.scalars(select(InboxRow))}
    for database in opened:
        database.close()
    assert states == {"done"}
    assert len(visit.ids("photo")) == each * phones


def test_a_lease_is_anothers_when_it_is_given_back_or_ends_or_its_holder_is_gone(url: str) -> None:
    one, two, three = Database(url), Database(url), Database(url)
    migrate(one)

    def take(database: Database, *names: str, seconds: float = 25.0) -> set[str]:
        with database.work(WHOLE) as work:
            return leases.take(work, names, database.holder, seconds)

    assert take(one, "a", "b", "c") == {"a", "b", "c"}
    assert take(two, "a", "b", "c", "d") == {"d"}
    assert take(one, "a") == {"a"}
    with one.work(WHOLE) as work:
        leases.give_back(work, ["a"], one.holder)
    assert take(two, "a", "b", "c") == {"a"}
    with one.work(WHOLE) as work:
        assert leases.renew(work, one.holder, seconds=-1.0) == {"b", "c"}
    assert take(two, "b") == {"b"}
    with one.work(WHOLE) as work:
        assert leases.renew(work, one.holder) == {"c"}
    assert take(three, "c") == set()
    one.close()  # as when its process is killed: its connections are gone
    until(lambda: take(three, "c", "b") == {"c"})
    for database in (two, three):
        database.close()


def test_the_password_is_in_no_message_of_the_database(url: str) -> None:
    secret = make_url(url).set(password="hunter2hunter2").render_as_string(hide_password=False)
    database = Database(secret)
    assert "hunter2" not in f"{database.url} {database.url!r} {database.version}"
    assert re.match(r"PostgreSQL \d+", database.version)
    database.close()


def test_a_transaction_that_outlives_its_database_leaves_no_connection_behind(two: tuple[Database, Database]) -> None:
    """A thread may be within one when the bot stops: it ends, and the server is rid of it."""
    one, other = two
    with one.work(WHOLE) as work:
        number = work.session.execute(text("select pg_backend_pid()")).scalar_one()
        one.close()
        people.save_employees(work, [REP])
    with other.read(WHOLE) as work:
        assert people.employee(work, REP.code) == REP
    gone = text("select count(*) from pg_stat_activity where pid = :pid")
    for _ in range(100):
        with other.read(WHOLE) as work:
            if not work.session.execute(gone, {"pid": number}).scalar_one():
                return
        threading.Event().wait(0.05)
    raise AssertionError("the server still holds its connection")
