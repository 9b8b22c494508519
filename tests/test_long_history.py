"""What a message, the clock and the page ask costs as much in a firm with five times the visits.

SQLite counts the steps of its virtual machine, so this is no matter of seconds. What is walked through instead of found
by an index shows as steps that grow with the firm.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, insert, select

from bot.replay import Replay
from bot.script import read_script
from bot.simulated.firm import Plan, SimulatedFirm
from bot.simulated.writing import write_firm
from scheduler.clock import tick
from storage import chats, inbox, outbox
from storage.database import Database
from storage.tables.firm import OutletRow
from storage.tables.people import AccountRow, QuestionRow
from storage.tables.post import InboxRow, OutboxRow
from storage.tables.visits import FollowUpRow, VisitRow
from tests.chatfirm import tools_in
from tests.databases import WHOLE, open_migrated, sqlite_only

UNTIL = date(2026, 11, 20)
SMALL = Plan(reps=24, outlets=240, days=30, visits=4, seed=1, until=UNTIL)  # more photos than are looked through
LARGE = Plan(reps=48, outlets=480, days=90, visits=4, seed=1, until=UNTIL)
VISIT = """at: 2026-11-23 10:00
rep: 开始
rep: [place {lat} {lon} live accuracy=8]
rep: [photo 门头.jpg]
rep: 解决了送货迟到的问题，老板娘订了5箱黑椒牛柳，周五再来
rep: 1
rep: 竞品缺货
rep: 我的拜访
rep: 我的待办
"""
PAGE = 50


@contextmanager
def steps_counted(database: Database, into: Counter[str]) -> Iterator[list[str]]:
    """Counts the steps of every statement, under the word that the list holds at the time."""
    now = [""]

    def step() -> int:
        into[now[0]] += 1
        return 0

    def watch(connection: Any, *_rest: object) -> None:
        connection.set_progress_handler(step, 1)

    engines = (database.reader, database.writer)
    for engine in engines:
        event.listen(engine, "checkout", watch)
    yield now
    for engine in engines:
        event.remove(engine, "checkout", watch)


def talk_of_a_year(database: Database, visits: int) -> None:
    """A message a visit, answered; of the answers every tenth waits for a person who never writes again. Half of
    the people are on the page. The younger half of the reps never answered a reminder.
    """
    with database.work(WHOLE) as work:
        accounts = work.session.execute(select(AccountRow.id, AccountRow.employee)).all()
        heard, said, asked = [], [], []
        for number in range(visits):
            account, code = accounts[number % len(accounts)]
            channel = "web" if number // len(accounts) % 2 else "terminal"
            chat, at = f"{channel}-{code}", datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=number)
            heard.append(
                dict(channel=channel, account="bot", delivery_key=f"k{number}", person=f"{channel}:{chat}")
                | dict(position=number, chat_ref=chat, raw={}, message={"kind": "text"}, received_at=at)
                | dict(state="done", tries=1, done_at=at, error="")
            )
            said.append(
                dict(dedupe_key=f"k{number}", account=account, channel=channel, chat_ref=chat, intent="reply", body={})
                | dict(made_at=at, due_at=at, state="waiting" if number % 10 == 1 else "sent", tries=1, sent_at=at)
                | dict(provider_id="", error="")
            )
            asked.append(
                dict(account=account, about="visit", subject=number, step="outcome", options=[], multi=False)
                | dict(asked_at=at, answered_at=at)
            )
        for table, rows in ((InboxRow, heard), (OutboxRow, said), (QuestionRow, asked)):
            work.session.execute(insert(table), rows)
        middle = accounts[len(accounts) // 2].employee
        theirs = select(VisitRow.id, VisitRow.rep, VisitRow.outlet, VisitRow.opened_at).where(VisitRow.rep >= middle)
        promised = [
            dict(rep=rep, outlet=outlet, visit=visit, first=at.date(), last=at.date(), quote="", what="", state="open")
            | dict(remind_at=at, reminded_at=at, made_by_itself=True, postponed=0)
            for visit, rep, outlet, at in work.session.execute(theirs)
        ]
        work.session.execute(insert(FollowUpRow), promised)


def costs(folder: Path, plan: Plan) -> tuple[int, Counter[str]]:
    """How many visits there are, and the steps of each message of one more, of a look of the clock, the sender, the
    sweep of the inbox and the page.
    """
    folder.mkdir()
    database, firm, found = open_migrated(folder), SimulatedFirm(plan), Counter[str]()
    visits = write_firm(database, firm, lambda: datetime(2026, 11, 21, tzinfo=UTC), lambda steps: None)["visit"]
    talk_of_a_year(database, visits)
    with database.read(WHOLE) as work:
        open_ones = set(work.session.scalars(select(VisitRow.rep).where(VisitRow.state == "open")))
        rep = next(one for one in firm.reps if one.code not in open_ones and one.left is None)
        spot = select(OutletRow.lat, OutletRow.lon).where(OutletRow.rep == rep.code).order_by(OutletRow.code)
        lat, lon = work.session.execute(spot).first() or (0, 0)
    tools = tools_in(folder)
    tools.ear.of(database)
    replay = Replay(database, tools, channel="terminal", rep=rep.code)
    at, hello, *lines = (line for line in read_script(VISIT.format(lat=lat, lon=lon)).lines if line.acts)
    replay.play(at)
    replay.play(hello)  # reads all that was ever said, as a replay does once
    person, chat = f"web:web-{rep.code}", f"web-{rep.code}"
    with steps_counted(database, found) as now:
        for line in lines:
            now[0] = line.text.partition(" 3")[0]
            replay.play(line)
        now[0] = "clock"
        tick(database, tools, replay.clock + timedelta(seconds=10))
        with database.read(WHOLE) as work:
            now[0] = "sender"
            outbox.due(work, replay.clock, ["terminal", "web"])
            now[0] = "sweep"
            inbox.waiting(work, replay.clock)
            now[0] = "page"
            assert len(chats.heard_from(work, person, PAGE)) > 20
            since = chats.page_start(work, chat, PAGE)
            assert len(chats.said_to(work, chat, replay.clock, since)) > 20
    said = [turn.said[0].plain for turn in replay.turns[-7:-2]]
    for answer, wanted in zip(
        said, ("📍 已到店", "📷 门头照已收", "📋 ", "本次成交的关键", "✅ 拜访已记录"), strict=True
    ):
        assert answer.startswith(wanted), said
    database.close()
    return visits, found


@sqlite_only
def test_nothing_that_is_asked_all_day_costs_more_in_a_larger_and_older_firm(tmp_path: Path) -> None:
    visits, small = costs(tmp_path / "small", SMALL)
    many_visits, large = costs(tmp_path / "large", LARGE)
    assert many_visits > 4.5 * visits > 10_000
    assert len(small) == 11
    for what, steps in small.items():
        assert large[what] < 1.3 * steps + 50, what
