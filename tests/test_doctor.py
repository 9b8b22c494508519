"""zoudian doctor says what is wrong and what to do next, beside the bot that runs, and changes nothing."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from bot.cli import SAMPLE_FIRM, main
from bot.doctor import examine
from bot.settings import load_settings
from storage import inbox, jobs, leases, outbox, tokens
from storage.database import Database
from storage.health import has_wal_reset_bug, holder
from storage.outbox import Outgoing
from tests.databases import POSTGRES, WHOLE, database_url, open_database, postgres_only, sqlite_only
from tests.telegramfirm import delivery

ROOT = Path(__file__).resolve().parent.parent
WORDS = "老板说的不许别人看见"


def zoudian(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def found() -> dict[str, str]:
    """Level of each finding."""
    return {one["name"].removeprefix("doctor."): one["level"] for one in json.loads(zoudian("doctor", "--json").stdout)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOUDIAN_DATA__URL", database_url(tmp_path / "data", "zoudian.db"))
    assert zoudian("import", str(SAMPLE_FIRM)).exit_code == 0
    return tmp_path


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    """The firm's, held as a running bot holds it."""
    with closing(open_database(home / "data", "zoudian.db")) as database:
        yield database


def test_a_healthy_bot_has_no_fault(database: Database) -> None:
    result = zoudian("doctor", "--deep")
    assert result.exit_code == 0
    assert "✗" not in result.stdout
    assert POSTGRES or f"进程 {os.getpid()}" in result.stdout
    assert ("整个数据库都读得出来" if POSTGRES else "数据库文件完好") in result.stdout
    assert found()["outbox"] == "fine"


@sqlite_only
def test_no_database_is_a_fault_and_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = zoudian("doctor")
    assert result.exit_code == 1
    assert "✗ 还没有数据库" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("minutes", "level"), [(0, "fine"), (2, "hint"), (11, "bad")])
def test_what_waits_too_long_is_told(database: Database, minutes: int, level: str) -> None:
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    with database.work(WHOLE) as work:
        inbox.accept(work, delivery("501", "k", {"kind": "text", "text": WORDS}, since))
        outbox.queue(work, Outgoing("d", "telegram", "501", "reply", {"text": WORDS}, since, since))
    levels = found()
    late = "" if level == "fine" else "_late"
    assert (levels[f"inbox{late}"], levels[f"outbox{late}"]) == (level, level)
    told = zoudian("doctor")
    assert told.exit_code == (1 if level == "bad" else 0)
    assert WORDS not in told.stdout


def test_what_waits_while_nothing_runs_is_no_fault(home: Path) -> None:
    since = datetime.now(UTC) - timedelta(days=1)
    with closing(open_database(home / "data", "zoudian.db")) as database, database.work(WHOLE) as work:
        outbox.queue(work, Outgoing("d", "telegram", "501", "reply", {}, since, since))
    assert found()["stands_still"] == "hint"
    assert zoudian("doctor").exit_code == 0


def test_what_was_given_up_and_a_refused_token_are_told(database: Database) -> None:
    with database.work(WHOLE) as work:
        inbox.accept(work, delivery("501", "k", None, datetime.now(UTC)))
        tokens.make_row(work, "wecom:ww1:secret-part")
        tokens.give_up(work, "wecom:ww1:secret-part", 40001, "invalid credential", datetime.now(UTC))
    told = zoudian("doctor").stdout
    assert "! 有 1 条试了几次都没成" in told
    assert "✗ wecom 的接口令牌取不到：invalid credential" in told
    assert "secret-part" not in told


def test_a_job_that_nobody_begins_is_told(database: Database) -> None:
    with database.work(WHOLE) as work:
        since = datetime.now(UTC) - timedelta(minutes=11)
        jobs.bring(work, [jobs.Kept(1, "transcribe", {}, None, "ready", since, 0)])
    assert found()["jobs_late"] == "hint"


def test_it_tells_where_the_page_for_the_exact_position_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CORP_ID", "ww1"), ("AGENT_ID", "7"), ("SECRET", "s" * 20), ("TOKEN", "t" * 8)):
        monkeypatch.setenv(f"ZOUDIAN_WECOM__{name}", value)
    monkeypatch.setenv("ZOUDIAN_WECOM__AES_KEY", "a" * 43)
    assert not {"here_page", "here_page_not"} & set(found())
    monkeypatch.setenv("ZOUDIAN_WEB__PUBLIC_URL", "http://visits.example.test")
    assert found()["here_page_not"] == "hint"
    monkeypatch.setenv("ZOUDIAN_WEB__PUBLIC_URL", "https://visits.example.test")
    assert found()["here_page"] == "fine"
    assert "https://visits.example.test/wecom/here" in zoudian("doctor").stdout


def test_a_clock_that_was_put_back_is_told(database: Database) -> None:
    with database.work(WHOLE) as work:
        inbox.accept(work, delivery("501", "k", {}, datetime.now(UTC) + timedelta(hours=1)))
    assert found()["clock_back"] == "bad"


@pytest.mark.parametrize(("day", "told"), [("2026-11-26", False), ("2040-12-05", True)])
def test_a_year_whose_holidays_nobody_knows_is_told_a_month_before(home: Path, day: str, told: bool) -> None:
    now = datetime.fromisoformat(f"{day}T10:00:00+08:00")
    keys = {one.key: one.level for one in examine(load_settings(), now)}
    assert (keys.get("doctor.holidays") == "hint") is told


@sqlite_only
def test_a_damaged_or_foreign_database_is_told(home: Path) -> None:
    path = home / "data" / "zoudian.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.commit()
        assert "newer" not in found(), "a version that only widened the tables is no fault: an upgrade is under way"
        raw.execute("UPDATE revision SET number = 9999 WHERE name = 'oldest program'")
        raw.commit()
    assert found()["newer"] == "bad"
    path.write_bytes(b"this is no database at all" * 1000)
    assert found()["unreachable"] == "bad"


def test_a_folder_that_others_can_read_is_told(home: Path) -> None:
    (home / "data").chmod(0o755)
    assert found()["others_can_read"] == "hint"


def test_secrets_are_never_shown(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "123456789:" + "A" * 35
    monkeypatch.setenv("ZOUDIAN_TELEGRAM__TOKEN", token)
    monkeypatch.setenv("ZOUDIAN_TELGRAM__TOKEN", token)
    told = zoudian("doctor").stdout
    assert "ZOUDIAN_TELGRAM__TOKEN" in told
    assert "已接上：Telegram" in told
    assert "A" * 35 not in told


@pytest.mark.parametrize(
    ("version", "has"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 1), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 1), False),
        ((4, 0, 0), False),
    ],
)
def test_the_sqlite_versions_with_the_wal_reset_bug(version: tuple[int, int, int], has: bool) -> None:
    assert has_wal_reset_bug(version) is has


@sqlite_only
def test_everything_works_beside_zoudian_run(home: Path, tmp_path: Path) -> None:
    """The real bot in a process of its own: examined, its dead message retried, backed up, restored elsewhere."""
    with closing(Database(f"sqlite:///{home / 'data' / 'zoudian.db'}")) as database, database.work(WHOLE) as work:
        late = Outgoing("d", "web", "nobody", "reply", {}, datetime.now(UTC), datetime.now(UTC))
        row = outbox.queue(work, late)
        assert row is not None
        outbox.give_up(work, row, "failed", "why")
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", "run"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "ZOUDIAN_WEB__PORT": "0"},
            stdout=log,
            stderr=log,
        )
    try:
        began, pause = time.monotonic(), threading.Event()
        while "走店已启动" not in (tmp_path / "log").read_text(encoding="utf-8"):
            assert process.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")
            assert time.monotonic() - began < 60
            pause.wait(0.1)
        assert holder(home / "data" / "zoudian.db") == process.pid
        told = zoudian("doctor")
        assert re.search(rf"^✓ 机器人在运行（进程 {process.pid}）", told.stdout, re.M)
        assert told.exit_code == 0
        assert "约 10 秒后生效" in zoudian("dead", "drop", f"out-{row}", "--reason", "试试").stdout
        while "out-" in zoudian("dead", "list").stdout:
            assert time.monotonic() - began < 90
            pause.wait(0.3)
        assert zoudian("backup", str(tmp_path / "b.tar")).exit_code == 0
        refused = zoudian("restore", str(tmp_path / "b.tar"))
        assert refused.exit_code == 3
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert "约" not in zoudian("dead", "retry", "--all").stdout


@postgres_only
def test_who_works_on_the_server_is_told(database: Database) -> None:
    assert found()["no_worker"] == "hint"
    with database.work(WHOLE) as work:
        worker = jobs.enlist(work)
        assert leases.take(work, ["polling:telegram:123456789", "person:telegram:501"], database.holder)
    levels = found()
    assert "no_worker" not in levels
    assert {levels[name] for name in ("server", "server_clock", "revision", "alive", "polling")} == {"fine"}
    told = zoudian("doctor", "--deep").stdout
    assert "PostgreSQL 18" in told
    assert "走店进程有 1 个，在处理任务的有 1 个" in told
    assert "123456789" not in told
    with database.work(WHOLE) as work:
        jobs.put(work, "transcribe", {}, datetime.now(UTC))
        assert jobs.claim(work, datetime.now(UTC), worker) is not None
        work.session.execute(text("update procrastinate_workers set last_heartbeat = now() - interval '2 minutes'"))
    levels = found()
    assert (levels["jobs_stuck"], levels["no_worker"]) == ("bad", "hint")


@postgres_only
def test_a_server_on_which_nobody_works_stands_still(home: Path) -> None:
    with closing(open_database(home / "data", "zoudian.db")) as database, database.work(WHOLE) as work:
        jobs.put(work, "transcribe", {}, datetime.now(UTC))
    assert found()["nobody"] == "fine"
    assert found()["stands_still"] == "hint"


@postgres_only
@pytest.mark.parametrize(
    ("seconds", "name", "level"),
    [(0, "server_clock", "fine"), (5, "server_clock_off", "hint"), (-60, "server_clock_off", "bad")],
)
def test_a_server_with_another_clock_is_told(home: Path, seconds: int, name: str, level: str) -> None:
    now = datetime.now(UTC) + timedelta(seconds=seconds)
    levels = {one.key.removeprefix("doctor."): one.level for one in examine(load_settings(), now)}
    assert levels[name] == level


@postgres_only
def test_a_server_that_is_not_there_is_told_without_the_password(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOUDIAN_DATA__URL", "postgresql://zoudian:hunter2hunter2@127.0.0.1:1/firm")
    told = zoudian("doctor")
    assert told.exit_code == 1
    assert "✗ 连不上数据库 postgresql://zoudian:***@127.0.0.1:1/firm" in told.stdout
    assert "hunter2" not in told.output
