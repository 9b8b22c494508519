"""A firm that lived on SQLite goes on living on PostgreSQL: everything comes along, whole or not at all."""

import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import inspect, select, text, update

import storage.move
from bot.cli import main
from bot.replay import Replay
from bot.script import read_script
from bot.script_check import check
from storage import evidence, inbox, jobs, outbox, table_copy
from storage.database import Database
from storage.engines import DatabaseAway, DatabaseBusy, DatabaseMoved, moved_mark
from storage.evidence import Note
from storage.migrate import migrate
from storage.move import InUse, NotEmpty, OtherRevision, move
from storage.outbox import Outgoing
from storage.table_copy import Differs, Unfit
from storage.tables.firm import ProductRow
from storage.tables.post import InboxRow, OutboxRow
from storage.tables.visits import NoteRow
from tests import databases
from tests.chatfirm import TRANSCRIPTS, tools_in
from tests.databases import WHOLE, sqlite_url
from tests.telegramfirm import delivery

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 6, 9, 0, tzinfo=UTC)
FILE = "zoudian.db"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the sample firm, to be copied."""
    folder = tmp_path_factory.mktemp("sample")
    assert zoudian_in(folder, "import", str(SAMPLE)).exit_code == 0
    return folder / "data" / FILE


SAMPLE = Path(__file__).resolve().parent.parent / "bot" / "sample_firm"


def zoudian_in(folder: Path, *arguments: str) -> Result:
    before = Path.cwd()
    (folder / "config.toml").touch()
    os.chdir(folder)
    try:
        return CliRunner().invoke(main, list(arguments))
    finally:
        os.chdir(before)


@pytest.fixture
def path(sample: Path, tmp_path: Path) -> Path:
    """The firm's SQLite file."""
    (tmp_path / "data").mkdir(mode=0o700)
    return Path(shutil.copy(sample, tmp_path / "data" / FILE))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(databases.postgres_url(tmp_path, "target"))) as database:
        yield database


def old(path: Path) -> Database:
    return Database(sqlite_url(path.parent, path.name))


def tables_in(database: Database) -> list[str]:
    with database.connection() as connection:
        return inspect(connection).get_table_names()


# --- life goes on


MOVED_IN_BETWEEN = (
    "happy_path", "undo_each", "two_visits", "todo_by_tap", "postpone_reminder", "daily_alert", "appeal_upheld",
    "no_model_then_model", "stale_buttons", "new_outlet", "correct_after_closing",
)  # fmt: skip


@pytest.mark.parametrize("name", MOVED_IN_BETWEEN)
def test_a_conversation_goes_on_as_if_nothing_had_happened(
    name: str, path: Path, target: Database, tmp_path: Path
) -> None:
    """Half of it is played on SQLite, half on PostgreSQL; what is said and saved is what the transcript says."""
    script_file = next(one for one in TRANSCRIPTS if one.stem == name)
    script = read_script(script_file.read_text(encoding="utf-8"), script_file)
    acting = [number for number, line in enumerate(script.lines) if line.acts]
    middle = acting[len(acting) // 2]
    tools = tools_in(tmp_path)
    with closing(old(path)) as database:
        replay = Replay(database, tools)
        for line in script.lines[:middle]:
            replay.play(line, script_file.parent)
    move(path, target, NOW)
    replay.database = target
    for line in script.lines[middle:]:
        replay.play(line, script_file.parent)
    assert [str(item) for item in check(replay, script)] == []


class NotListening(Replay):
    """Leaves voice notes and messages where they are."""

    def settle(self) -> None:
        return


MORNING = """
at: 2026-11-23 10:00
rep: [place 30.08218 120.49390 live accuracy=8]
rep: [photo 门头.jpg]
rep: 老板要了五箱小酥肉，竞品缺货，解决了出餐慢的问题，明天再来。
rep: 确认
at: 2026-11-23 14:00
rep: [place 29.93011 120.49827 live accuracy=10]
rep: [photo 兰亭.jpg]
"""
NOTE = "rep: [voice 小结.ogg 12s]\nheard: 解决了解冻的问题，老板要了五箱小酥肉，竞品缺货。"


def test_what_was_under_way_is_finished_there(path: Path, target: Database, tmp_path: Path) -> None:
    """An open visit, a voice note that waits to be heard, its answer not sent yet, a reminder to come, and an undo of
    what was done before.
    """
    tools = tools_in(tmp_path)
    with closing(old(path)) as database:
        before = Replay(database, tools)
        before.run(read_script(MORNING))
        busy = NotListening(database, tools, start=before.clock)
        busy._count, busy._begun = before._count, True
        for line in read_script(NOTE).lines:
            busy.play(line)
        with database.read(WHOLE) as work:
            assert jobs.counts(work) == {"ready": 1}
            unsent = work.session.scalars(select(OutboxRow.id).where(OutboxRow.state == "due")).all()
            assert len(unsent) == 1
    move(path, target, NOW)
    after = Replay(target, tools, start=before.clock)
    after._count, after._begun, after.ear = busy._count, True, busy.ear
    after.settle()
    heard = [said.text for turn in after.turns for said in turn.said if said.to == "王建"]
    assert "已收到 12 秒语音" in heard[0]
    assert "兰亭农家乐 · 拜访小结" in heard[1]
    assert "订单：金牌小酥肉 5箱" in heard[1]
    for lines, answer in (("rep: 撤销", "撤销"), (NOTE, "小结"), ("rep: 确认", "拜访已记录：兰亭农家乐")):
        for line in read_script(lines).lines:
            after.play(line)
        assert answer in " ".join(said.text for said in after.turns[-1].said), lines
    after.play(read_script("at: 2026-11-24 09:00").lines[0])
    assert any("跟进提醒：柯桥老灶台酒家" in said.text for said in after.turns[-1].said)


# --- what comes along


def test_slow_work_comes_with_its_tries_its_lock_and_its_time(path: Path, target: Database) -> None:
    later = datetime.now(UTC) + timedelta(days=3)
    with closing(old(path)) as database, database.work(WHOLE) as work:
        jobs.bring(
            work,
            [
                jobs.Kept(3, "transcribe", {"note": 1, "account": 2}, "visit:1", "running", LONG_AGO, 2),
                jobs.Kept(4, "transcribe", {"note": 2, "account": 2}, "visit:1", "ready", LONG_AGO, 0),
                jobs.Kept(5, "transcribe", {"note": 3, "account": 2}, "visit:2", "ready", later, 3, "why"),
                jobs.Kept(6, "transcribe", {"note": 4, "account": 2}, "visit:3", "dead", LONG_AGO, 5, "why"),
                jobs.Kept(7, "transcribe", {"note": 5, "account": 2}, None, "dropped", LONG_AGO, 5, "why"),
                jobs.Kept(9, "transcribe", {"note": 6, "account": 2}, "visit:4", "running", LONG_AGO, 5),
            ],
        )
    assert move(path, target, NOW)["job"].rows == 6
    with target.work(WHOLE) as work:
        (dead,) = jobs.dead(work)
        assert (dead.id, dead.tries, dead.at) == (6, 5, LONG_AGO)
        worker = jobs.enlist(work)
        assert [job.id for job in jobs.recover(work)] == [9], "its fifth try killed its process: the rep is told"
    now = datetime.now(UTC)
    with target.work(WHOLE) as work:
        taken = [jobs.claim(work, now, worker), jobs.claim(work, now, worker)]
        assert [(job.id, job.tries, job.lock) for job in taken if job] == [(3, 3, "visit:1")]
        assert taken[0] is not None
        jobs.finished(work, taken[0])
    with target.work(WHOLE) as work:
        following = jobs.claim(work, now, worker)
        assert following is not None
        assert following.id == 4
        assert jobs.claim(work, now, worker) is None
    with target.work(WHOLE) as work:
        assert {job.id: job.run_at for job in jobs.every(work)}[5] == later
        assert jobs.put(work, "transcribe", {}, now) == 10


def test_what_postgresql_cannot_hold_is_held_as_by_a_bot_that_runs_there(path: Path, target: Database) -> None:
    odd = {"lat": float("inf"), "lon": float("nan"), "name": "a\x00b 10\ud83d", "big": 10**30, "list": [1.50, -0.0]}
    with closing(old(path)) as database, database.work(WHOLE) as work:
        inbox.accept(work, delivery("501", "k", {"kind": "text", "text": "好"}, NOW))
        work.session.execute(update(InboxRow).values(raw=odd))
        unreadable = inbox.accept(work, delivery("501", "none", None, NOW))
        note = evidence.add_note(work, Note("E101", NOW, "typed", text="-"), None)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("update note set text = ? where id = ?", ("前\x00后", note))
        raw.execute("update inbox set message = null where id = ?", (unreadable,))
        raw.commit()
    move(path, target, NOW)
    with target.work(WHOLE) as work:
        work.session.add(InboxRow(**_inbox_values("again", odd)))
        work.session.flush()
        stored = work.session.execute(text("select raw::text from inbox where delivery_key in ('k', 'again')"))
        first, second = stored.scalars()
        assert first == second
        assert work.session.scalars(select(NoteRow.text)).one() == "前后"
        states = work.session.execute(text("select message is null from inbox order by id")).scalars().all()
        assert states == [False, True, False]


def _inbox_values(key: str, raw: dict[str, Any]) -> dict[str, Any]:
    return {
        "channel": "telegram",
        "account": "1",
        "delivery_key": key,
        "person": "telegram:501",
        "position": 0,
        "chat_ref": "501",
        "raw": raw,
        "message": None,
        "received_at": NOW,
        "state": "done",
        "tries": 0,
        "error": "",
    }


def test_new_rows_are_numbered_behind_the_highest(path: Path, target: Database) -> None:
    with closing(old(path)) as database, database.work(WHOLE) as work:
        for number in range(5):
            outbox.queue(work, Outgoing(str(number), "web", "E101", "reply", {}, NOW, NOW))
    move(path, target, NOW)
    with target.work(WHOLE) as work:
        assert outbox.queue(work, Outgoing("new", "web", "E101", "reply", {}, NOW, NOW)) == 6
        assert inbox.accept(work, delivery("501", "k", {}, NOW)) == 1


def test_more_rows_than_fit_into_memory_at_once(path: Path, target: Database) -> None:
    many = 2 * table_copy.PIECE + 1
    with closing(old(path)) as database, database.work(WHOLE) as work:
        for number in range(many):
            inbox.accept(work, delivery("501", str(number), {"kind": "text", "text": f"第 {number} 条"}, NOW))
    told: list[tuple[int, int]] = []
    moved = move(path, target, NOW, progress=lambda done, total: told.append((done, total)))
    assert moved["inbox"].rows == many
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 2 * many


# --- what is refused


def refused_with(path: Path, target: Database, expected: type[Exception]) -> str:
    """Nothing is left behind by what was refused."""
    there = tables_in(target)
    with pytest.raises(expected) as refused:
        move(path, target, NOW)
    assert tables_in(target) == there
    assert not moved_mark(path).exists()
    return str(refused.value)


def test_not_while_the_bot_runs(path: Path, target: Database) -> None:
    with closing(old(path)):
        refused_with(path, target, DatabaseBusy)


def test_not_into_a_database_that_holds_something(path: Path, target: Database) -> None:
    migrate(target)
    with target.work(WHOLE) as work:
        inbox.accept(work, delivery("501", "k", {}, NOW))
    assert "inbox" in refused_with(path, target, NotEmpty)


def test_not_into_somebody_elses_database(path: Path, target: Database) -> None:
    with target.connection() as connection:
        connection.exec_driver_sql("create table invoices (id int)")
    assert "invoices" in refused_with(path, target, NotEmpty)


def test_into_a_database_that_has_our_tables_and_no_rows(path: Path, target: Database) -> None:
    migrate(target)
    assert move(path, target, NOW)["employee"].rows == 11


@pytest.mark.parametrize(("revision", "newer"), [("0001", False), ("9999", True)])
def test_not_with_tables_of_another_version(path: Path, target: Database, revision: str, newer: bool) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("update alembic_version set version_num = ?", (revision,))
        raw.commit()
    with pytest.raises(OtherRevision) as refused:
        move(path, target, NOW)
    assert (refused.value.where, refused.value.newer) == ("source", newer)
    assert tables_in(target) == []


def test_a_target_of_a_newer_version_is_left_alone(path: Path, target: Database) -> None:
    migrate(target)
    with target.connection() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    refused_with(path, target, OtherRevision)


def test_a_row_that_does_not_fit_takes_everything_back_and_is_not_repeated(path: Path, target: Database) -> None:
    with closing(old(path)) as database, database.work(WHOLE) as work:
        work.session.execute(update(ProductRow).values(price_fen=10**10))
    told = refused_with(path, target, Unfit)
    assert "product" in told
    assert "out of range" in told
    assert "牛油" not in told


def test_what_comes_out_otherwise_than_it_went_in_is_noticed(path: Path, tmp_path: Path) -> None:
    trigger = (
        "create trigger t after insert on outlet when new.lat is not null "
        "begin update outlet set lat = lat + 0.0000001 where code = new.code; end"
    )
    with (
        closing(Database(sqlite_url(tmp_path, "equal.db"))) as equal,
        closing(Database(sqlite_url(tmp_path, "other.db"))) as other,
        closing(Database(sqlite_url(path.parent, path.name), reads_only=True)) as source,
    ):
        migrate(equal)
        migrate(other)
        with source.read(WHOLE) as reading, equal.work(WHOLE) as writing:
            table_copy.copy(reading, writing)
        with source.read(WHOLE) as reading, other.work(WHOLE) as writing:
            writing.run(text(trigger))
            with pytest.raises(Differs, match=r"^outlet$"):
                table_copy.copy(reading, writing)


# --- killed at any moment


def _move_and_die(path: Path, url: str, step: int) -> None:
    """In a process of its own: dies at that step of the progress, or between the mark and the commit for -1."""
    target, steps = Database(url), 0

    def die(done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    if step == -1:
        mark = storage.move._mark

        def mark_and_die(*arguments: Any) -> None:
            mark(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        vars(storage.move)["_mark"] = mark_and_die
    move(path, target, NOW, progress=die)


@pytest.mark.parametrize("step", [1, 4, 9, 11, -1])
def test_killed_at_any_moment_the_target_is_as_empty_as_before_and_it_can_be_done_again(
    path: Path, target: Database, step: int
) -> None:
    url = target.url.render_as_string(hide_password=False)
    child = multiprocessing.get_context("spawn").Process(target=_move_and_die, args=(path, url, step))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    assert tables_in(target) == []
    if step == -1:
        with pytest.raises(DatabaseMoved):
            old(path)
    assert move(path, target, NOW)["employee"].rows == 11
    with pytest.raises(DatabaseMoved):
        old(path)


@pytest.mark.parametrize("step", [1, 3])
def test_a_server_that_goes_away_meanwhile_is_told_as_that(path: Path, target: Database, step: int) -> None:
    steps = []

    def cut(done: int, total: int) -> None:
        steps.append(done)
        if len(steps) == step:
            with (
                closing(Database(target.url.render_as_string(hide_password=False))) as other,
                other.work(WHOLE) as work,
            ):
                ours = "zoudian-" + target.holder
                kill = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = :ours"
                work.run(text(kill), ours=ours)

    with pytest.raises(DatabaseAway):
        move(path, target, NOW, progress=cut)
    assert tables_in(target) == []
    assert not moved_mark(path).exists()


def test_not_while_somebody_has_the_tables_in_hand(path: Path, target: Database) -> None:
    migrate(target)
    with closing(Database(target.url.render_as_string(hide_password=False))) as other, other.work(WHOLE) as work:
        inbox.accept(work, delivery("501", "k", {}, NOW))
        refused_with(path, target, InUse)


# --- the command


@pytest.fixture
def url_file(target: Database, tmp_path: Path) -> Path:
    file = tmp_path / "url"
    secret = target.url.set(password="hunter2hunter2").render_as_string(hide_password=False)
    file.write_text(secret + "\n", encoding="utf-8")
    file.chmod(0o600)
    return file


@pytest.fixture
def zoudian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    (tmp_path / "config.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOUDIAN_DATA__URL", raising=False)
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


def test_the_command_tries_moves_and_says_what_is_next(
    path: Path, target: Database, url_file: Path, zoudian: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    tried = zoudian("move-to-postgres", "--to-url-file", str(url_file), "--dry-run")
    assert tried.exit_code == 0, tried.output
    assert "试搬通过" in tried.stdout
    assert tables_in(target) == []
    assert not moved_mark(path).exists()
    done = zoudian("move-to-postgres", "--to-url-file", str(url_file))
    assert done.exit_code == 0, done.output
    assert all(
        words in done.stdout for words in ("搬好了", "ZOUDIAN_DATA__URL", "照片和语音没有动", str(moved_mark(path)))
    )
    assert path.read_bytes() == before
    for command in (["run"], ["migrate"], ["dead", "list"], ["backup", "b.tar"], ["export", "out"]):
        refused = zoudian(*command)
        assert refused.exit_code == 3, command
        assert str(moved_mark(path)) in refused.stderr
    told = json.loads(zoudian("doctor", "--json").stdout)
    assert [one["level"] for one in told if one["name"] == "doctor.moved"] == ["bad"]
    assert "hunter2" not in tried.output + done.output + refused.output + moved_mark(path).read_text()
    again = zoudian("move-to-postgres", "--to-url-file", str(url_file))
    assert again.exit_code == 2
    assert "里已经有东西" in again.stderr
    monkeypatch.setenv("ZOUDIAN_DATA__URL", url_file.read_text().strip())
    assert zoudian("dead", "list").exit_code == 0
    monkeypatch.delenv("ZOUDIAN_DATA__URL")
    moved_mark(path).unlink()  # the way back
    assert zoudian("migrate").exit_code == 0


def test_the_way_back_that_loses_nothing_is_a_backup(
    path: Path, target: Database, url_file: Path, zoudian: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zoudian("move-to-postgres", "--to-url-file", str(url_file)).exit_code == 0
    with target.work(WHOLE) as work:
        inbox.accept(work, delivery("501", "since", {"kind": "text", "text": "搬家以后"}, NOW))
    monkeypatch.setenv("ZOUDIAN_DATA__URL", url_file.read_text().strip())
    assert zoudian("backup", "b.tar").exit_code == 0
    monkeypatch.delenv("ZOUDIAN_DATA__URL")
    assert zoudian("restore", "b.tar").exit_code == 2, "the old one and its mark are still there"
    (path.parent).rename(path.parent.with_name("old"))
    assert zoudian("restore", "b.tar").exit_code == 0
    with closing(old(path)) as database, database.read(WHOLE) as work:
        assert work.session.scalars(select(InboxRow.delivery_key)).all() == ["since"]


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        ([], "", 2, "不知道搬到哪里"),
        (["--to-url-file", "empty"], "", 2, "不知道搬到哪里"),
        ([], "postgresql://zoudian:hunter2hunter2@127.0.0.1:1/firm", 3, "连不上数据库"),
        ([], "mysql://zoudian:hunter2hunter2@127.0.0.1:1/firm", 2, "不知道搬到哪里"),
    ],
)
def test_a_slip_is_told_without_the_password(
    path: Path,
    zoudian: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: str,
    code: int,
    words: str,
) -> None:
    Path("empty").touch()
    if environment:
        monkeypatch.setenv("ZOUDIAN_DATA__URL", environment)
    result = zoudian("move-to-postgres", *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert "hunter2" not in result.output
    assert not moved_mark(path).exists()


def test_a_file_with_a_password_that_others_can_read_is_told(
    path: Path, url_file: Path, zoudian: Callable[..., Result]
) -> None:
    url_file.chmod(0o644)
    assert "chmod 600" in zoudian("move-to-postgres", "--to-url-file", str(url_file), "--dry-run").stderr


def test_nothing_to_move_is_told(url_file: Path, zoudian: Callable[..., Result]) -> None:
    result = zoudian("move-to-postgres", "--to-url-file", str(url_file))
    assert result.exit_code == 3
    assert "没有可以搬的" in result.stderr
