"""A firm of three districts with rows in every table, and who may see which of them, worked out in plain Python."""

import atexit
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg
from sqlalchemy import make_url, select

from rules.anomalies import Anomaly, Finding
from rules.audit import Action, Entry
from rules.confirmations import Settled, Verdict
from rules.evidence import Photo, Place, PlaceKind
from rules.follow_up import FollowUp
from rules.outlets import Outlet
from rules.people import Employee, Reach, Role, Scope, scope_of
from rules.places import Point
from rules.visit import Answer, Source, State, Trace, Visit
from rules.windows import Window
from storage import alerts, audit, confirmations, evidence, firm, follow_ups, inbox, outbox, people, visits
from storage.database import Database, Work
from storage.evidence import Appeal, Note
from storage.inbox import Delivery
from storage.migrate import migrate
from storage.outbox import Outgoing
from storage.people import Account, Question
from storage.scope import SCOPED
from storage.tables import Base
from tests.databases import POSTGRES, WHOLE, database_url, server

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
ZONE = "Asia/Shanghai"
EAST, WEST, NORTH = "柯桥区", "越城区", "上虞区"
STAFF = (
    Employee("D1", "钱总", Role.DIRECTOR, ()),
    Employee("O1", "运营", Role.OPERATIONS, ()),
    Employee("M1", "吴经理", Role.AREA_MANAGER, (EAST,), "D1"),
    Employee("M2", "郑经理", Role.AREA_MANAGER, (WEST, NORTH), "D1"),
    Employee("M3", "新经理", Role.AREA_MANAGER, (), "D1"),
    Employee("M4", "前经理", Role.AREA_MANAGER, (EAST,), "D1", active=False),
    Employee("R1", "王建", Role.REP, (EAST,), "M1"),
    Employee("R11", "孙浩", Role.REP, (EAST,), "M1"),
    Employee("R2", "李敏", Role.REP, (WEST,), "M2"),
    Employee("R3", "陈涛", Role.REP, (NORTH,), "M2"),
    Employee("R4", "两区", Role.REP, (EAST, WEST), "M1"),
    Employee("R5", "赵走", Role.REP, (EAST,), "M1", active=False),
)
REPS = [person for person in STAFF if person.role is Role.REP]
BY_CODE = {person.code: person for person in STAFF}


@dataclass
class Firm:
    """The ids of every row by table, and the rows as they stand."""

    ids: dict[str, list[Any]] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def build(work: Work) -> None:
    """Each rep visits the own outlet, that of a rep of another district, and no outlet that is known."""
    people.save_employees(work, STAFF)
    shops = [
        Outlet(
            f"C{rep.code}", f"{rep.name}的店", "餐饮", district, "路", Point(30 + n / 1e4, 120.5), rep.code, NOW.date()
        )
        for n, rep in enumerate(REPS)
        for district in rep.districts[:1]
    ]
    shops.append(Outlet("CX", "没人管的店", "餐饮", WEST, "路", Point(30.0, 120.5), None, None, "冷链", ("小店",)))
    firm.save_outlets(work, shops)
    for number, person in enumerate(STAFF):
        account = people.link(work, Account("web", f"u-{person.code}", f"c-{person.code}", person.code), NOW)
        question = people.ask(work, Question(account.id, "visit", number, "outlet", ("CR1",), NOW))
        people.save_account(work, Account(**{**_fields(account), "current_question": question}))
        body = {"text": person.name, "question": question}
        said = Outgoing(f"k{number}", "web", account.chat_ref, "reply", body, NOW, NOW, account.id)
        row = outbox.queue(work, said)
        assert row is not None
        outbox.give_up(work, row, "failed", "refused")
        message = {"kind": "text", "text": person.name}
        inbox.accept(
            work, Delivery("web", "web", str(number), f"web:u-{person.code}", account.chat_ref, {}, message, NOW)
        )
        if number % 2:
            people.out_of_reach(work, account.id, "blocked", NOW)
        if person.manages:
            alerts.add(work, person.code, NOW.date(), NOW, [Finding(Anomaly.NO_VISIT, EAST, ("R1", "R2"), 2)])
        whose = ("R1", "R2") if person.manages else ("R11",)
        audit.add(work, Entry(NOW, person.code, person.role.value, "web", Action.EXPORT, whose, {"visit": (number,)}))
        if person.role is Role.REP:
            for where in (f"C{person.code}", f"C{REPS[(REPS.index(person) + 2) % len(REPS)].code}", None):
                _visit(work, person, account, where)


def _visit(work: Work, rep: Employee, account: Account, outlet: str | None) -> None:
    point = Point(30.0, 120.5)
    began = NOW - timedelta(hours=2)
    place = evidence.add_place(work, rep.code, Place(point, PlaceKind.PIN, began, point, "wgs84"), None)
    fix = Place(point, PlaceKind.REPORT, began, point, "wgs84")
    evidence.add_place(work, rep.code, fix, None)  # sent while nothing was open: nobody else's business
    said = {"place": Answer(place, Source.PIN), "outcome": Answer("won", Source.REP)}
    if outlet is not None:
        said["outlet"] = Answer(outlet, Source.PIN)
    state = State.CLOSED if outlet else State.OPEN
    opened = Visit(rep.code, began, state, said, touched_at=began, left_at=NOW, closed_at=NOW if outlet else None)
    number = visits.add(work, opened, ZONE)
    visit = visits.load(work, number)
    assert visit is not None
    key = f"{rep.code}{outlet or ''}".encode().hex().ljust(64, "0")
    shot = Photo(key, began, phash="0" * 64)
    picture: dict[str, Any] = {"mime": "image/png", "size": (1, 1), "phash_quality": 100, "inbox": None}
    photo = evidence.add_photo(work, rep.code, number, shot, **picture)
    evidence.add_photo(work, rep.code, None, shot, **picture)
    heard = Note(rep.code, began, "heard", number, key, "audio/ogg", 5.0, f"{rep.name}说{outlet}")
    note = evidence.add_note(work, heard, None)
    for other, of in (("waiting", number), ("no_model", None)):
        evidence.add_note(work, Note(rep.code, began, other, of, key, "audio/ogg"), None)
    after = visit.put("photo", Answer([photo], Source.REP)).put("report", Answer([note], Source.REP))
    visits.save(work, after)
    change = visits.keep_change(work, visit, after, NOW, account.id, None)
    trace = Trace("rule", "老板说", 0.9)
    confirmations.keep(
        work, change, NOW, [Settled(number, rep.code, "outcome", 0, trace, "won", "lost", Verdict.CORRECTED)]
    )
    evidence.add_appeal(work, Appeal(number, rep.code, f"{rep.name}不服", NOW))
    if outlet is not None:
        window = Window(NOW.date() - timedelta(days=3), NOW.date() - timedelta(days=2), None, f"{rep.name}说下周")
        follow_ups.add(work, FollowUp(rep.code, outlet, number, window, NOW - timedelta(days=1), "送样"))


def _fields(account: Account) -> dict[str, Any]:
    names = ("channel", "user_ref", "chat_ref", "employee", "language", "reachable", "id")
    return {name: getattr(account, name) for name in names}


def dump(work: Work) -> dict[str, dict[Any, dict[str, Any]]]:
    """Every row of the scoped tables as the whole firm sees it, by table and key."""
    tables = {name: Base.metadata.tables[name] for name in sorted(SCOPED)}
    return {
        name: {
            next(iter(row.values())): dict(row)
            for row in work.run(select(table).order_by(*table.primary_key)).mappings()
        }
        for name, table in tables.items()
    }


def seen_by(scope: Scope, rows: dict[str, dict[Any, dict[str, Any]]]) -> dict[str, set[Any]]:
    """The keys of the rows inside a scope, by what rules.people says and nothing else."""
    if scope.reach is Reach.ALL:
        return {name: set(found) for name, found in rows.items()}
    visit_ok = {key for key, row in rows["visit"].items() if _visit_seen(scope, row, rows["outlet"])}
    seen = [row["answers"] for key, row in rows["visit"].items() if key in visit_ok]
    places = {answers["place"]["value"] for answers in seen if answers}
    own_accounts = {key for key, row in rows["account"].items() if scope.who and row["employee"] == scope.who}

    def ok(name: str, key: Any, row: dict[str, Any]) -> bool:
        match name:
            case "visit":
                return key in visit_ok
            case "outlet":
                return scope.holds(row["district"], row["rep"] or "")
            case "visit_change" | "confirmation" | "appeal":
                return row["visit"] in visit_ok
            case "follow_up":
                return scope.holds(rows["outlet"][row["outlet"]]["district"], row["rep"])
            case "photo" | "note":
                return row["visit"] in visit_ok if row["visit"] is not None else _team(scope, row["rep"])
            case "place":
                return row["rep"] == scope.rep or key in places
            case "alert":
                return bool(scope.who) and row["manager"] == scope.who
            case "account":
                return key in own_accounts or _team(scope, row["employee"])
            case "question":
                return row["account"] in own_accounts
            case "unreachable":
                return ok("account", key, rows["account"][key])
            case "audit":
                return bool(scope.who) and (row["who"] == scope.who or f'"{scope.who}"' in row["whose"])
        raise AssertionError(f"who sees {name}?")

    return {name: {key for key, row in found.items() if ok(name, key, row)} for name, found in rows.items()}


def _visit_seen(scope: Scope, row: dict[str, Any], outlets: dict[Any, dict[str, Any]]) -> bool:
    if row["outlet"] is None:
        return _team(scope, row["rep"])
    return scope.holds(outlets[row["outlet"]]["district"], row["rep"])


def _team(scope: Scope, rep: str) -> bool:
    return any(scope.holds(district, rep) for district in BY_CODE[rep].districts or ("",))


@cache
def _template() -> str:
    """The URL of a closed database with the firm in it, to be copied."""
    folder = Path(mkdtemp(prefix="zoudian-scope-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    url = database_url(folder, keep=True)
    database = Database(url)
    migrate(database)
    with database.work(WHOLE) as work:
        build(work)
    database.close()
    return url


@contextmanager
def whole_firm(folder: Path) -> Iterator[Database]:
    database = Database(database_url(folder, "whole.db", like=_template()))
    try:
        yield database
    finally:
        database.close()


@contextmanager
def only(folder: Path, whole: Database, person: Employee) -> Iterator[Database]:
    """A copy of the firm in which the rows outside of somebody's scope never were."""
    with whole.read(WHOLE) as work:
        rows = dump(work)
    kept = seen_by(scope_of(person), rows)
    gone = {table: [key for key in found if key not in kept[table]] for table, found in rows.items()}
    url = database_url(folder, "only.db", like=_template())
    key = {table: Base.metadata.tables[table].primary_key.columns.keys()[0] for table in gone}
    if POSTGRES:
        admin = make_url(server()).set(database=make_url(url).database).render_as_string(hide_password=False)
        with psycopg.connect(admin, autocommit=True) as raw:
            raw.execute("set session_replication_role = replica")
            for table, keys in gone.items():
                raw.execute(f"delete from {table} where {key[table]} = any(%s)".encode(), [keys])  # noqa: S608 - our own names
    else:
        with sqlite3.connect(make_url(url).database or "") as file:
            file.execute("drop trigger audit_delete")
            for table, keys in gone.items():
                file.executemany(f"delete from {table} where {key[table]} = ?", [(one,) for one in keys])  # noqa: S608 - our own names
        file.close()
    database = Database(url)
    try:
        yield database
    finally:
        database.close()
