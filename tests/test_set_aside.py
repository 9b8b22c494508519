"""What was given up is listed with when and why, tried again or dropped, with the bot running and without."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

import bot.intake
import bot.sender
from bot.cli import SAMPLE_FIRM, main
from bot.spooled_requests import Request, spool, take
from handlers import set_aside as handling
from handlers.receive import apply
from nlp.transcribe import Transcript
from storage import inbox, jobs, outbox, set_aside
from storage.database import Database
from storage.outbox import Outgoing
from storage.tables.post import InboxRow, OutboxRow
from storage.tables.visits import NoteRow
from tests.databases import WHOLE, database_url, open_database, postgres_only, sqlite_only
from tests.telegramfirm import WANG_JIAN, delivery, running

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
SECRET_WORDS = "老板说的不许别人看见"


def zoudian(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.toml").write_text('"数据"."目录" = "库"', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOUDIAN_DATA__URL", database_url(tmp_path / "库", "zoudian.db"))
    assert zoudian("import", str(SAMPLE_FIRM)).exit_code == 0
    return tmp_path


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    """The firm's own, with one of each kind given up; closed by the test where a command is to have it."""
    database = open_database(home / "库", "zoudian.db")
    give_up_one_of_each(database)
    yield database
    database.close()


def give_up_one_of_each(database: Database) -> None:
    with database.work(WHOLE) as work:
        broken = delivery("501", "k1", {"kind": "text", "text": SECRET_WORDS}, NOW)
        row = inbox.accept(work, broken)
        assert row is not None
        for _ in range(inbox.MAX_TRIES):
            inbox.failed(work, row, NOW, "ZeroDivisionError")
        inbox.accept(work, delivery("501", "k2", None, NOW))
        args = {"note": 1, "account": 1}
        jobs.bring(work, [jobs.Kept(1, "transcribe", args, "visit:1", "dead", NOW, 5, "RuntimeError")])
        late = Outgoing("d1", "telegram", "501", "reply", {"text": SECRET_WORDS}, NOW, NOW)
        sent = outbox.queue(work, late)
        assert sent is not None
        outbox.give_up(work, sent, "failed", "Bad Request: chat not found")


def states(database: Database) -> list[tuple[str, str]]:
    with database.read(WHOLE) as work:
        return [
            *(("in", one) for one in work.session.scalars(select(InboxRow.state).order_by(InboxRow.id))),
            *(("job", one.state) for one in jobs.every(work)),
            *(("out", one) for one in work.session.scalars(select(OutboxRow.state))),
        ]


def test_the_list_says_what_when_and_why_and_no_word_of_anybody(database: Database) -> None:
    database.close()
    told = zoudian("dead", "list")
    assert told.exit_code == 0
    assert "in-1  2026-11-23 10:00  试了 5 次  telegram  telegram:501  ZeroDivisionError" in told.stdout
    assert "job-1  2026-11-23 10:00  试了 5 次  transcribe  visit:1" in told.stdout
    assert "chat not found" in told.stdout
    assert SECRET_WORDS not in told.stdout
    plain = zoudian("dead", "list", "--json")
    assert SECRET_WORDS not in plain.stdout
    assert [(one["name"], one["can_retry"]) for one in json.loads(plain.stdout)] == [
        ("in-1", True),
        ("in-2", False),
        ("job-1", True),
        ("out-1", True),
    ]


def test_all_is_retried_but_what_nobody_can_read(database: Database) -> None:
    database.close()
    result = zoudian("dead", "retry", "--all")
    assert "3 条已放回" in result.stdout
    assert "in-2" in result.stderr
    assert states(database) == [("in", "new"), ("in", "dead"), ("job", "ready"), ("out", "due")]
    assert "in-2" in zoudian("dead", "list").stdout


def test_what_is_dropped_keeps_the_reason_and_is_listed_no_more(database: Database) -> None:
    database.close()
    assert "已丢弃 2 条" in zoudian("dead", "drop", "in-2", "out-1", "--reason", "客户已删号").stdout
    assert states(database) == [("in", "dead"), ("in", "dropped"), ("job", "dead"), ("out", "dropped")]
    with database.read(WHOLE) as work:
        error = work.session.scalars(select(OutboxRow.error)).one()
    assert error == "客户已删号 | Bad Request: chat not found"
    database.close()
    assert zoudian("dead", "drop", "out-1", "--reason", "again").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["retry"], 2),
        (["retry", "in-1", "--all"], 2),
        (["retry", "in-99"], 1),
        (["retry", "../x"], 1),
        (["drop", "in-1"], 2),
        (["drop", "in-1", "--reason", "  "], 2),
    ],
)
def test_a_slip_changes_nothing(database: Database, arguments: list[str], code: int) -> None:
    before = states(database)
    database.close()
    result = zoudian("dead", *arguments)
    assert result.exit_code == code
    assert result.stderr.strip()
    assert states(database) == before


@postgres_only
def test_beside_a_running_bot_on_a_server_it_is_done_at_once(database: Database, home: Path) -> None:
    assert "3 条已放回" in zoudian("dead", "retry", "--all").stdout
    assert states(database) == [("in", "new"), ("in", "dead"), ("job", "ready"), ("out", "due")]
    assert "已丢弃 1 条" in zoudian("dead", "drop", "in-2", "--reason", "读不懂").stdout
    assert not (home / "库" / "requests").exists()
    with database.work(WHOLE) as work:
        job = jobs.claim(work, NOW + timedelta(days=1), jobs.enlist(work))
        assert job is not None
        assert (job.id, job.args, job.tries) == (1, {"note": 1, "account": 1}, 1)


@sqlite_only
def test_beside_a_running_bot_it_waits_for_the_next_tick(database: Database, home: Path) -> None:
    result = zoudian("dead", "retry", "in-1", "out-1")  # `database` has the file, as a running bot has
    assert "约 10 秒后生效" in result.stdout
    assert states(database)[0] == ("in", "dead")
    folder = home / "库" / "requests"
    assert take(database, folder, NOW) == 2
    assert states(database) == [("in", "new"), ("in", "dead"), ("job", "dead"), ("out", "due")]
    assert list(folder.iterdir()) == []


def test_a_request_carried_out_twice_does_it_once(database: Database, tmp_path: Path) -> None:
    request = Request((("out", 1),))
    for _ in range(2):
        spool(tmp_path / "requests", request)
    assert take(database, tmp_path / "requests", NOW) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"rows": [["x", 1]], "reason": ""}', '{"rows": [["in", "1"]]}'])
def test_a_broken_request_stops_nothing(database: Database, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "requests"
    folder.mkdir()
    (folder / "a.json").write_text(text)
    spool(folder, Request((("out", 1),)))
    assert take(database, folder, NOW) == 1
    assert [path.name for path in folder.iterdir()] == ["a.bad"]


def given_up_jobs(database: Database) -> list[jobs.Dead]:
    with database.read(WHOLE) as work:
        return jobs.dead(work)


class Mended:
    """A recogniser that fails until it is mended."""

    broken = True

    def transcribe(self, audio: bytes, hints: object) -> Any:
        if self.broken:
            raise RuntimeError("the recogniser is broken")
        return Transcript("解决了送货迟到的问题，老板娘订了5箱小酥肉，价格有优势", (), 0.9, "mended", 5.0, ())


async def test_a_note_given_up_after_five_tries_is_heard_when_it_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.sender, "IDLE_SECONDS", 0.05)
    ear = Mended()
    async with running(tmp_path, ear, speed=200) as firm:
        rep = firm.link(WANG_JIAN, 501)
        await rep.sends(rep.live_place(), rep.voice())
        await firm.api.until(lambda: bool(given_up_jobs(firm.database)), 20)
        with firm.database.read(WHOLE) as work:
            (item,) = set_aside.listed(work)
            assert work.session.scalars(select(NoteRow.state)).one() == "broken"
        assert (item.kind, item.tries) == ("job", 5)
        ear.broken = False
        with firm.database.work(WHOLE) as work:
            assert handling.again(work, item.kind, item.id, firm.clock())
        firm.app.worker.wake()
        assert "5箱" in await rep.hears("拜访小结")
        with firm.database.read(WHOLE) as work:
            assert set_aside.listed(work) == []
            assert work.session.scalars(select(NoteRow.state)).one() == "heard"


async def test_a_message_set_aside_is_applied_when_it_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.intake, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(bot.sender, "IDLE_SECONDS", 0.05)
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)

        def faulty(*arguments: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(bot.intake, "apply", faulty)
        await firm.api.give(rep.live_place())
        await firm.api.until(lambda: _moved_on(firm.clock) and ("in", "dead") in states(firm.database), 20)
        monkeypatch.setattr(bot.intake, "apply", apply)
        with firm.database.work(WHOLE) as work:
            (item,) = set_aside.listed(work)
            assert handling.again(work, item.kind, item.id, firm.clock())
        assert "柯桥老灶台酒家" in await rep.hears("已到店")
        assert states(firm.database)[0] == ("in", "done")


def _moved_on(clock: Any) -> bool:
    clock.moved += timedelta(seconds=5)
    return True


def test_nothing_given_up_is_said_so(home: Path) -> None:
    assert zoudian("dead", "list").stdout == "没有放弃了的消息、任务或发送。\n"
    assert zoudian("dead", "retry", "--all").exit_code == 0
    with closing(open_database(home / "库", "zoudian.db")) as database, database.read(WHOLE) as work:
        assert work.session.scalars(select(InboxRow.id)).all() == []
