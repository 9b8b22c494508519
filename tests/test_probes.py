"""/metrics, /healthz and /readyz: what they say, that they never hang, and that they are well again soon after."""

import asyncio
import os
import re
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import event

from bot.monitor import Monitor
from bot.probes import Asked, Probes
from rules.limits import Limits
from scheduler.clock import tick
from scheduler.daily import overdue
from storage import gauges, inbox, jobs, outbox, people
from storage.database import Database
from tests import databases
from tests.botapi.troubles import Trouble
from tests.databases import WHOLE, open_migrated, postgres_only, sqlite_only
from tests.telegramfirm import START, SUN_HAO, WANG_JIAN, TelegramFirm, delivery, running, sample_database
from tests.test_database_away import Server

WITHIN_S = 2.0
BACK_S = 5.0


class Watched:
    """A running bot with its page."""

    def __init__(self, firm: TelegramFirm, probes: Probes, monitor: Monitor, http: aiohttp.ClientSession) -> None:
        self.firm, self.probes, self._monitor, self._http = firm, probes, monitor, http

    async def asks(self, path: str) -> tuple[int, dict[str, Any], float]:
        """Status, what is said, and how long it took."""
        began = time.monotonic()
        async with self._http.get(f"http://127.0.0.1:{self._monitor.port}{path}") as answer:
            return answer.status, await answer.json(), time.monotonic() - began

    async def until(self, status: int, seconds: float) -> dict[str, Any]:
        ends = time.monotonic() + seconds
        while True:
            found, said, _ = await self.asks("/readyz")
            if found == status:
                return said
            assert time.monotonic() < ends, said
            await asyncio.sleep(0.1)

    async def metrics(self) -> dict[str, float]:
        async with self._http.get(f"http://127.0.0.1:{self._monitor.port}/metrics") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/plain"
            return figures(await answer.text())


def figures(page: str) -> dict[str, float]:
    rows = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in rows}


def probes_of(firm: TelegramFirm, folder: Path, *, works: bool = True, free_mb: int = 1) -> Probes:
    return Probes(
        firm.database,
        firm.tools.limits,
        folder,
        list(firm.app.channels),
        firm.app.watch.meters,
        firm.clock,
        works=works,
        free_mb=free_mb,
        parts=firm.app.ended,
        ticked=lambda: firm.app.clock.ticked,
    )


@asynccontextmanager
async def watched(folder: Path, **how: Any) -> AsyncIterator[Watched]:
    async with running(folder) as firm, aiohttp.ClientSession() as http:
        probes = probes_of(firm, folder, **how)
        monitor = Monitor(probes, "127.0.0.1", 0)
        await monitor.start()
        probes.start()
        probes.begun()
        try:
            yield Watched(firm, probes, monitor, http)
        finally:
            await monitor.stop()
            await probes.stop()


async def test_a_bot_that_is_well_is_alive_and_ready(tmp_path: Path) -> None:
    async with watched(tmp_path) as bot:
        status, said, _ = await bot.asks("/healthz")
        assert (status, said["ok"], said["wrong"], said["stopped"]) == (200, True, [], [])
        said = await bot.until(200, 10)
        assert said["database"] == "ok"
        assert said["oldest_unsent_s"] == 0
        assert said["schedule_lag_s"] < 30
        assert said["disk_free_mb"] > 0


async def test_it_is_not_ready_before_it_has_started_nor_while_it_stops(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        probes = probes_of(firm, tmp_path)
        assert "starting" in (await probes.ready()).wrong
        probes.begun()
        assert (await probes.ready()).fine
        probes.ending()
        assert (await probes.ready()).wrong == ("stopping",)
        await probes.stop()


async def test_a_full_disk_is_named(tmp_path: Path) -> None:
    async with watched(tmp_path, free_mb=10**9) as bot:
        status, said, _ = await bot.asks("/readyz")
        assert (status, said["wrong"]) == (503, ["disk"])
        assert (await bot.asks("/healthz"))[0] == 200, "to start it again would not help"


async def test_a_part_that_ended_by_itself_is_named(tmp_path: Path) -> None:
    async with watched(tmp_path) as bot:
        await asyncio.to_thread(bot.firm.app.clock.stop)
        status, said, _ = await bot.asks("/healthz")
        assert (status, said["wrong"], said["stopped"]) == (503, ["stopped"], ["clock"])


async def test_a_loop_that_stood_still_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.probes.STUCK_SECONDS", 0.2)
    async with watched(tmp_path) as bot:
        await asyncio.sleep(0.01)
        time.perf_counter()
        ends = time.monotonic() + 1.2
        while time.monotonic() < ends:  # as something that never awaits would
            pass
        await asyncio.sleep(0.6)
        status, said, _ = await bot.asks("/healthz")
        assert (status, said["wrong"]) == (503, ["loop"])
        assert said["loop_lag_s"] > 0.2


# --- what should have been sent


def due(firm: TelegramFirm, employee: str, key: str, ago: timedelta) -> int:
    """A message to somebody that has been due for so long."""
    with firm.database.work(WHOLE) as work:
        [account] = people.accounts_of(work, employee)
        row = outbox.queue(
            work,
            outbox.Outgoing(
                dedupe_key=key,
                channel=account.channel,
                chat_ref=account.chat_ref,
                intent="reply",
                body={},
                made_at=firm.clock() - ago,
                due_at=firm.clock() - ago,
                account=account.id,
            ),
        )
    assert row is not None
    return row


def late_by(firm: TelegramFirm) -> timedelta:
    with firm.database.read(WHOLE) as work:
        seen = gauges.look(work, firm.clock(), ["telegram"])
    return firm.clock() - seen.unsent_since if seen.unsent_since is not None else timedelta(0)


async def test_what_is_held_back_on_purpose_is_not_late(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        for employee, number in ((WANG_JIAN, 501), (SUN_HAO, 502)):
            firm.link(employee, number)
        await firm.app.sender.stop()
        first = due(firm, WANG_JIAN, "first", timedelta(minutes=10))
        due(firm, WANG_JIAN, "behind", timedelta(minutes=9))
        assert late_by(firm) >= timedelta(minutes=10)
        with firm.database.work(WHOLE) as work:
            outbox.hold_until(work, first, firm.clock() + timedelta(minutes=5), "asked to wait 300 s")
        assert late_by(firm) == timedelta(0), "the platform asked to wait, and the other stands behind it"
        due(firm, SUN_HAO, "other", timedelta(minutes=3))
        assert timedelta(minutes=3) <= late_by(firm) < timedelta(minutes=4)
        with firm.database.work(WHOLE) as work:
            row = due_rows(firm)[-1]
            outbox.shut(work, row, "window")
        assert late_by(firm) == timedelta(0), "it waits for its person"


def due_rows(firm: TelegramFirm) -> list[int]:
    return [message.id for message in firm.outbox() if message.state == "due"]


async def test_a_message_to_a_channel_that_nobody_serves_is_not_late(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        firm.link(WANG_JIAN, 501)
        await firm.app.sender.stop()
        due(firm, WANG_JIAN, "first", timedelta(minutes=10))
        with firm.database.read(WHOLE) as work:
            assert gauges.look(work, firm.clock(), ["web"]).unsent_since is None


async def test_late_messages_make_it_unready_and_a_receiver_does_not_care(tmp_path: Path) -> None:
    async with watched(tmp_path) as bot:
        bot.firm.link(WANG_JIAN, 501)
        await bot.firm.app.sender.stop()
        due(bot.firm, WANG_JIAN, "first", timedelta(minutes=2))
        said = await bot.until(503, 5)
        assert "unsent" in said["wrong"]
        assert said["oldest_unsent_s"] >= 120
        receiver = probes_of(bot.firm, tmp_path, works=False)
        receiver.begun()
        verdict = await receiver.ready()
        await receiver.stop()
        assert "unsent" not in verdict.wrong
        assert "oldest_unsent_s" not in verdict.details
        assert "schedule_lag_s" not in verdict.details


def test_a_push_is_overdue_from_its_moment_until_somebody_deals_with_it(tmp_path: Path) -> None:
    database = sample_database(tmp_path)
    from tests.telegramfirm import firm_tools  # noqa: PLC0415 - beside its only use

    tools = firm_tools(tmp_path)
    tick(database, tools, START)
    with database.read(WHOLE) as work:
        dealt_with = gauges.look(work, START, []).schedules
    assert "daily_alert" in dealt_with
    limits = Limits()
    at_six = START.replace(hour=18, minute=0)
    assert overdue(limits, dealt_with, at_six - timedelta(minutes=1)) == timedelta(0)
    assert overdue(limits, dealt_with, at_six + timedelta(minutes=3)) == timedelta(minutes=3)
    tick(database, tools, at_six + timedelta(minutes=3))
    with database.read(WHOLE) as work:
        dealt_with = gauges.look(work, START, []).schedules
    assert overdue(limits, dealt_with, at_six + timedelta(minutes=4)) == timedelta(0)
    assert overdue(limits, {}, at_six + timedelta(minutes=3)) == timedelta(0), "never started, nothing owed"
    database.close()


# --- the database is locked, or away


@sqlite_only
@pytest.mark.chaos
async def test_a_locked_database_is_told_in_time_and_forgotten_in_time(tmp_path: Path) -> None:
    async with watched(tmp_path) as bot:
        await bot.until(200, 10)
        other = sqlite3.connect(str(bot.firm.database.url.database), isolation_level=None)
        try:
            other.execute("begin immediate")
            await asyncio.sleep(1.1)
            for _ in range(4):
                status, said, took = await bot.asks("/readyz")
                assert (status, said["wrong"], said["database"]) == (503, ["database"], "TimeoutError")
                assert took < WITHIN_S + 1, "and one second for a busy machine"
            assert (await bot.asks("/healthz"))[0] == 200, "to start it again would not help"
            read = await bot.metrics()
            assert read["zoudian_database_up"] == 1, "it can be read"
            other.execute("rollback")
        finally:
            other.close()
        await bot.until(200, BACK_S)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A server of the test's own, with the tables made; what the test opens in `tmp_path` is on it."""
    from storage.migrate import migrate  # noqa: PLC0415 - for this server alone

    own = Server()
    with monkeypatch.context() as patched:
        patched.setattr(databases, "server", lambda: own.url)
        with closing(Database(databases.postgres_url(tmp_path))) as database:
            migrate(database)
        yield own
    own.remove()


@postgres_only
@pytest.mark.chaos
async def test_a_database_that_is_away_is_told_in_time_and_forgotten_in_time(server: Server, tmp_path: Path) -> None:
    async with watched(tmp_path) as bot:
        await bot.until(200, 10)
        await asyncio.to_thread(server.crash)
        await asyncio.sleep(1.1)
        for _ in range(4):
            status, said, took = await bot.asks("/readyz")
            assert status == 503
            assert "database" in said["wrong"]
            assert took < WITHIN_S + 1
        assert (await bot.metrics())["zoudian_database_up"] == 0
        assert (await bot.asks("/healthz"))[0] == 200
        await asyncio.to_thread(server.start)
        await bot.until(200, BACK_S)


@postgres_only
@pytest.mark.chaos
async def test_a_database_that_hangs_is_told_in_time(server: Server, tmp_path: Path) -> None:
    """Stopped, as a machine that is out of breath: connections stand and nothing answers."""
    async with watched(tmp_path) as bot:
        await bot.until(200, 10)
        with bot.firm.database.read(WHOLE) as work:
            backend = work.session.connection().exec_driver_sql("select pg_backend_pid()").scalar_one()
        numbers = processes_of(server)
        assert backend in numbers
        for number in numbers:
            os.kill(number, 19)
        try:
            await asyncio.sleep(1.1)
            for _ in range(3):
                status, said, took = await bot.asks("/readyz")
                assert (status, "database" in said["wrong"]) == (503, True)
                assert took < WITHIN_S + 1
        finally:
            for number in numbers:
                os.kill(number, 18)
        await bot.until(200, BACK_S)


def processes_of(server: Server) -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and is_child_of(path, server)]


def is_child_of(process: Path, server: Server) -> bool:
    """Whether it is the server of this folder or one of its own processes."""
    main = (server.folder / "postmaster.pid").read_text().splitlines()[0]
    try:
        parent = re.search(r"^PPid:\s+(\d+)", (process / "status").read_text(), re.M)
    except OSError:
        return False
    return process.name == main or (parent is not None and parent[1] == main)


async def test_a_question_is_not_asked_by_more_than_two_threads_and_a_failure_is_told() -> None:
    asked = 0

    def refuse() -> None:
        nonlocal asked
        asked += 1
        raise OSError(28, "no space")

    question = Asked(refuse)
    try:
        for _ in range(20):
            with pytest.raises(OSError, match="no space"):
                await question.answer()
        assert asked == 1, "who asks again at once is given the same answer"
    finally:
        question.close()


def test_proving_that_the_database_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    database = open_migrated(tmp_path)
    for _ in range(2):
        with database.work(WHOLE) as work:
            gauges.prove_writing(work, "0123456789abcdef01234567")
    with database.read(WHOLE) as work:
        from storage.tables.firm import RevisionRow  # noqa: PLC0415 - beside its only use

        assert work.session.get(RevisionRow, "0123456789abcdef0123") is None
    database.close()


# --- the figures


async def test_every_figure_is_what_the_database_and_the_platform_say(tmp_path: Path) -> None:
    async with watched(tmp_path) as bot:
        firm = bot.firm
        rep = firm.link(WANG_JIAN, 501)
        firm.api.trouble("sendMessage", Trouble(500, "Internal Server Error"))
        await rep.sends(rep.text("/help"))
        await rep.sends(rep.text("/todos"))
        await firm.idle()
        page = await bot.metrics()
        assert page['zoudian_received_total{channel="telegram"}'] == len(firm.inbox()) == 2
        assert page['zoudian_applied_total{channel="telegram"}'] == 2
        assert page['zoudian_sent_total{channel="telegram"}'] == len(rep.texts()) == 2
        assert page['zoudian_failed_total{channel="telegram",stage="send"}'] == 1
        assert page['zoudian_provider_errors_total{channel="telegram",kind="MaybeSent"}'] == 1
        assert page["zoudian_turn_seconds_count"] == 2
        assert page["zoudian_transaction_seconds_count"] >= 4
        assert page['zoudian_polling{channel="telegram"}'] == 1
        assert page["zoudian_database_up"] == 1
        assert page["zoudian_inbox_waiting"] == 0
        assert page["zoudian_unreachable_people"] == 0


async def test_the_gauges_of_the_database(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        firm.link(WANG_JIAN, 501)
        await firm.app.sender.stop()
        await firm.app.intake.stop()
        await asyncio.to_thread(firm.app.worker.stop)
        now = firm.clock()
        due(firm, WANG_JIAN, "one", timedelta(minutes=2))
        tried = due(firm, WANG_JIAN, "two", timedelta(minutes=1))
        given_up = due(firm, WANG_JIAN, "three", timedelta(0))
        waits = due(firm, WANG_JIAN, "four", timedelta(0))
        with firm.database.work(WHOLE) as work:
            inbox.accept(work, delivery("501", "1", {"kind": "text"}, now - timedelta(minutes=7)))
            inbox.accept(work, delivery("501", "2", None, now))
            outbox.retry_at(work, tried, now, "no connection")
            outbox.give_up(work, given_up, "failed", "refused")
            outbox.shut(work, waits, "window")
            jobs.put(work, "transcribe", {"note": 1, "account": 1}, now - timedelta(minutes=1), lock="visit:1")
            jobs.put(work, "transcribe", {"note": 2, "account": 1}, now, lock="visit:1")
            dead = jobs.put(work, "transcribe", {"note": 3, "account": 1}, now, lock="visit:3")
            [account] = people.accounts_of(work, WANG_JIAN)
            people.set_reachable(work, account.id, False)
        set_aside(firm.database, dead, firm)
        with firm.database.read(WHOLE) as work:
            seen = gauges.look(work, now, ["telegram"])
        assert (seen.waiting, seen.waiting_since) == (1, now - timedelta(minutes=7))
        assert seen.unsent == {"telegram": (2, 1)}
        assert seen.for_their_person == 1
        assert seen.dead == {"in": 1, "job": 1, "out": 1}
        assert seen.unreachable == 1
        by_state = {(depth.task, depth.state): depth for depth in seen.jobs}
        assert by_state["transcribe", "ready"].count == 2
        assert by_state["transcribe", "ready"].since is not None
        assert by_state["transcribe", "dead"].count == 1


def set_aside(database: Database, job_id: int, firm: TelegramFirm) -> None:
    """Fail this job until it is given up; jobs of another lock are left alone."""
    later = firm.clock()
    with database.work(WHOLE) as work:
        worker = jobs.enlist(work)
    held: list[jobs.Job] = []
    for _ in range(40):
        later += timedelta(hours=2)
        with database.work(WHOLE) as work:
            job = jobs.claim(work, later, worker)
            if job is None:
                break
            if job.id != job_id:
                held.append(job)
            elif jobs.failed(work, job, later, "broken"):
                break
    with database.work(WHOLE) as work:
        for job in held:
            job_again = jobs.Job(job.task, job.args, job.lock, 1, job.id, job.worker)
            jobs.failed(work, job_again, firm.clock(), "not this one")


@postgres_only
async def test_leases_are_counted(tmp_path: Path) -> None:
    async with watched(tmp_path) as bot:
        assert (await bot.metrics())['zoudian_leases{kind="polling"}'] == 1


async def test_what_is_asked_of_the_database_at_a_scrape_is_asked_once_a_second(tmp_path: Path) -> None:
    async with watched(tmp_path) as bot:
        looks: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if "min(inbox.received_at)" in statement:
                looks.append(statement)

        await asyncio.sleep(1.1)
        event.listen(bot.firm.database.reader, "before_cursor_execute", note)
        await asyncio.gather(*(bot.metrics() for _ in range(10)))
        event.remove(bot.firm.database.reader, "before_cursor_execute", note)
        assert len(looks) == 1


# --- the whole command


@pytest.mark.chaos
async def test_the_command_answers_on_both_ports_and_says_nothing_to_strangers(
    tmp_path: Path, unused_ports: list[int]
) -> None:
    web_port, port = unused_ports
    environment = {
        **os.environ,
        "ZOUDIAN_WEB__PORT": str(web_port),
        "ZOUDIAN_METRICS__PORT": str(port),
        "ZOUDIAN_METRICS__FREE_MB": "1",
        "ZOUDIAN_DATA__URL": databases.database_url(tmp_path),
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    bot = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "run", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with aiohttp.ClientSession() as http:
            await comes_up(http, f"http://127.0.0.1:{web_port}/readyz")
            async with http.get(f"http://127.0.0.1:{web_port}/readyz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")
            async with http.get(f"http://127.0.0.1:{web_port}/healthz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")
            async with http.get(f"http://127.0.0.1:{web_port}/metrics") as answer:
                assert answer.status == 404
            async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                assert (await answer.json())["wrong"] == []
            async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                page = await answer.text()
            assert figures(page)["zoudian_database_up"] == 1
            assert re.search(r'^zoudian_database_info\{engine="\w+",version="\d', page, re.M)
            assert "Of the whole database" in page
    finally:
        bot.terminate()
        await asyncio.wait_for(bot.communicate(), 30)


@pytest.fixture
def unused_ports() -> list[int]:
    import socket  # noqa: PLC0415 - beside its only use

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    found = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return found


async def comes_up(http: aiohttp.ClientSession, url: str, seconds: float = 90.0) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            async with http.get(url) as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.2)
    raise AssertionError(f"{url} did not answer")
