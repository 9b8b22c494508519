"""The audit trail: nothing in it can be changed or removed, what is done by force is found, and people can read it."""

import csv
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DatabaseError

from bot import console_trail
from bot.cli import main
from reports.audit_trail import COLUMNS, lines, write_csv
from rules.audit import START, Action, Entry, Stored, link
from rules.people import scope_of
from storage import audit, people
from storage.database import Database
from storage.tables.audit import AuditRow, AuditSealRow
from storage.tables.columns import plain
from tests.chatfirm import played
from tests.databases import POSTGRES, WHOLE, open_migrated
from tests.scopefirm import NOW, STAFF
from texts import load

ENTRIES, SEALS = plain(AuditRow), plain(AuditSealRow)
TEXT = st.text(max_size=8)
STORED = st.builds(Stored, st.integers(1, 9), st.just(NOW), TEXT, TEXT, TEXT, st.just("view"), TEXT, TEXT, TEXT, TEXT)


def entry(
    who: str = "M1", action: Action = Action.EXPORT, *whose: str, minutes: int = 0, old: str = "", new: str = ""
) -> Entry:
    return Entry(
        NOW + timedelta(minutes=minutes), who, "area_manager", "web", action, whose, {"visit": (1, 2)}, old, new
    )


@given(STORED, STORED, TEXT, TEXT)
def test_a_link_tells_every_difference_apart(one: Stored, other: Stored, before: str, after: str) -> None:
    assert (link(before, one) == link(after, other)) == ((before, one) == (after, other))


def force(database: Database, statement: object, trigger: str) -> None:
    """What somebody does who owns the database and means it."""
    with database.connection() as connection:
        if POSTGRES:
            connection.exec_driver_sql(f"alter table {trigger.partition('_row')[0]} disable trigger {trigger}")
            connection.exec_driver_sql("alter table audit disable row level security")
        else:
            connection.exec_driver_sql(f"drop trigger {trigger}")
        connection.execute(statement)  # type: ignore[call-overload]  # an UPDATE or DELETE


def sealed(database: Database, count: int = 5) -> None:
    with database.work(WHOLE) as work:
        people.save_employees(work, STAFF)
        for number in range(count):
            audit.add(work, entry("M1", Action.EXPORT, "R1", minutes=number))
        assert audit.seal(work) == count
        assert audit.seal(work) == 0


@pytest.mark.parametrize("row", [AuditRow, AuditSealRow])
def test_the_trail_is_append_only(tmp_path: Path, row: type[AuditRow | AuditSealRow]) -> None:
    database = open_migrated(tmp_path)
    sealed(database)
    first = next(iter(plain(row).c))
    everything = select(plain(row)).order_by(first)
    with database.read(WHOLE) as work:
        before = work.run(everything).all()
    for statement in (update(plain(row)).values({first: first + 100}), delete(plain(row))):
        try:
            with database.work(WHOLE) as work:
                work.run(statement)
        except DatabaseError as refused:
            assert "append-only" in str(refused)  # noqa: PT017 - on PostgreSQL no policy lets an entry be found at all
        else:
            assert POSTGRES
            assert row is AuditRow
        with database.read(WHOLE) as work:
            assert work.run(everything).all() == before
    database.close()


@pytest.mark.parametrize(
    ("change", "trigger", "why"),
    [
        (update(plain(AuditRow)).where(plain(AuditRow).c.id == 3).values(who="R2"), "audit_update", "changed"),
        (update(plain(AuditRow)).where(plain(AuditRow).c.id == 3).values(whose="[]"), "audit_update", "changed"),
        (
            update(plain(AuditSealRow)).where(plain(AuditSealRow).c.entry == 3).values(hash="0"),
            "audit_seal_update",
            "changed",
        ),
        (delete(plain(AuditSealRow)).where(plain(AuditSealRow).c.entry == 3), "audit_seal_delete", "order"),
    ],
    ids=["who", "whose", "a hash", "a link"],
)
def test_what_is_done_by_force_is_found_and_named(tmp_path: Path, change: object, trigger: str, why: str) -> None:
    database = open_migrated(tmp_path)
    sealed(database)
    force(database, change, trigger.rpartition("_")[0] + "_row" if POSTGRES else trigger)
    with database.read(WHOLE) as work:
        found = audit.verify(work)
    assert (found.broken, found.why, found.sealed) == (3 if why == "changed" else 4, why, 2)
    database.close()


def test_an_entry_committed_late_is_sealed_late(tmp_path: Path) -> None:
    database = open_migrated(tmp_path)
    sealed(database, 2)
    with database.work(WHOLE) as work:
        audit.add(work, entry())
        before = audit.verify(work)
        assert (before.sealed, before.unsealed) == (2, 1)
        audit.seal(work)
        after = audit.verify(work)
    assert (after.sealed, after.unsealed, after.broken) == (3, 0, None)
    assert after.head not in (before.head, START)
    database.close()


def test_a_look_at_the_own_data_is_none_and_the_same_look_is_told_once_an_hour(tmp_path: Path) -> None:
    database = open_migrated(tmp_path)
    with database.work(WHOLE) as work:
        people.save_employees(work, STAFF)
        audit.add(work, entry("R1", Action.VIEW, "R1"))
        for minutes in (0, 5, 59, 61):
            audit.add(work, entry("M1", Action.VIEW, "R1", minutes=minutes))
        found = list(audit.listed(work, NOW))
    assert [item.at for item in found] == [NOW + timedelta(minutes=61), NOW]
    database.close()


def test_each_reads_what_concerns_them(tmp_path: Path) -> None:
    database = open_migrated(tmp_path)
    with database.work(WHOLE) as work:
        people.save_employees(work, STAFF)
        for whose in ("R1", "R11", "R2"):
            audit.add(work, entry("M1", Action.EXPORT, whose))
    by_code = {person.code: person for person in STAFF}
    for code, expected in (("R1", ["R1"]), ("R11", ["R11"]), ("R3", []), ("M1", ["R2", "R11", "R1"]), ("M2", [])):
        with database.read(scope_of(by_code[code])) as work:
            assert [item.whose[0] for item in audit.listed(work, NOW)] == expected, code
    with database.read(WHOLE) as work:
        assert [item.whose for item in audit.listed(work, NOW, of="R1")] == [("R1",)]
        assert list(audit.listed(work, NOW, by="R1")) == []
    database.close()


def test_a_table_of_it_runs_no_formula(tmp_path: Path) -> None:
    made = entry("M1", Action.DROP, "R1", old="=1+1", new="@SUM(A1)")
    assert write_csv(tmp_path / "a.csv", lines([made], STAFF, load("zh-CN"), "Asia/Shanghai")) == 1
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        header, row = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert row[3:] == ["吴经理", "区域经理", "网页", "丢弃", "王建", "拜访 1, 2", "'=1+1", "'@SUM(A1)"]


def test_what_waits_for_the_bot_is_written_at_its_tick(tmp_path: Path) -> None:
    made = console_trail.entry(Action.RESTORE, new="备份.tar")
    console_trail.spool(tmp_path / "audit", made)
    (tmp_path / "audit" / "x.json").write_text("[]", encoding="utf-8")
    database = open_migrated(tmp_path)
    assert console_trail.take(database, tmp_path / "audit") == 1
    assert console_trail.take(database, tmp_path / "audit") == 0
    with database.read(WHOLE) as work:
        [found] = audit.listed(work, made.at)
    assert (found.who, found.action, found.new) == (made.who, Action.RESTORE, "备份.tar")
    database.close()


VISIT = """at: 2026-11-23 10:00
rep: [place 30.08218 120.49390 live accuracy=8]
rep: [photo 门头.jpg]
rep: 解决了送货迟到的问题，老板娘订了5箱小酥肉
rep: [tap 确认]
rep: [tap 竞品缺货]
rep: 谁看过我
bot: 最近 30 天没有别人看过您的数据。
"""


def test_a_rep_asks_who_saw_the_own_data(tmp_path: Path) -> None:
    alert = "at: 2026-11-23 18:00\nas 吴经理: [tap 柯桥区 拜访过短]\nas 王建: 谁看过我\n"
    with played(tmp_path, VISIT + alert) as replay:
        asked = [said.text for turn in replay.turns if turn.line.text == "谁看过我" for said in turn.said]
        with replay.database.read(WHOLE) as work:
            seen = list(audit.listed(work, NOW - timedelta(days=1), of="E101"))
    assert "没有别人看过" in asked[0]
    assert "吴经理：查看" in asked[1], asked[1]
    assert [(item.who, item.action) for item in seen if item.who != "E101"] == [("E002", Action.VIEW)]
    assert seen[0].rows is not None
    assert set(seen[0].rows) >= {"visit", "note"}


def test_the_commands_list_and_verify(tmp_path: Path) -> None:
    runner, home = CliRunner(), {"ZOUDIAN_DATA_DIR": str(tmp_path), "LOGNAME": "boss", "USER": "boss"}
    sample = Path(__file__).resolve().parent.parent / "bot" / "sample_firm"
    assert runner.invoke(main, ["import", str(sample)], env=home).exit_code == 0
    listed = runner.invoke(main, ["audit", "list"], env=home)
    assert "导入" in listed.output
    assert "boss" not in listed.output, "who it is says the machine, not the shell"
    whole = runner.invoke(main, ["audit", "verify"], env=home)
    assert whole.exit_code == 0, whole.output
    out = tmp_path / "审计.csv"
    assert runner.invoke(main, ["audit", "export", str(out)], env=home).exit_code == 0
    assert out.read_text(encoding="utf-8-sig").startswith('"编号",')
    assert runner.invoke(main, ["audit", "export", str(out)], env=home).exit_code == 2
    assert runner.invoke(main, ["audit", "list", "--of", "没有这人"], env=home).exit_code == 1
