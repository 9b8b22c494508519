"""Nothing outside of a scope comes back, whatever is asked: every query, every role, every region, on both databases.

What a query answers within a scope is compared with what it answers, without one, on a copy of the firm in which the
rows outside never were (tests.scopefirm): rows, counts, sums and the order alike. Every function of storage and reports
that works on a unit of work stands in a table below; a new one that does not fails the first test.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import delete, func, insert, make_url, select, update
from sqlalchemy.exc import DatabaseError, NoResultFound

import reports
import storage
from reports import day, grades, rules_report
from rules.anomalies import Anomaly
from rules.audit import Action, Entry
from rules.evidence import Photo, Place, PlaceKind
from rules.follow_up import FollowUp
from rules.limits import Limits
from rules.outlets import Outlet
from rules.people import Employee, Errand, Reach, Scope, scope_of
from rules.places import Point
from rules.visit import Visit
from rules.windows import Window
from storage import (
    alerts,
    audit,
    calibration,
    chats,
    check_ins,
    confirmations,
    evidence,
    figures,
    firm,
    firm_tables,
    follow_ups,
    gauges,
    health,
    people,
    photo_pieces,
    rep_figures,
    visits,
)
from storage.database import Database, Work
from storage.evidence import Appeal, Note
from storage.people import Question
from storage.scope import SCOPED, NoScope, OutOfScope, settings
from storage.tables import Base
from storage.tables.firm import OutletRow
from storage.tables.visits import VisitRow
from tests.databases import WHOLE, postgres_only, server
from tests.scopefirm import NOW, REPS, STAFF, ZONE, dump, only, seen_by, whole_firm

SINCE = datetime(2000, 1, 1, tzinfo=UTC)
DAY = NOW.date()
NUMBERS = range(1, 60)
CODES = [person.code for person in STAFF]
SHOPS = [*(f"C{rep.code}" for rep in REPS), "CX", "none"]
Call = Callable[[Work], Any]


def each(ask: Callable[[Work, Any], Any], keys: Any) -> Call:
    return lambda work: [_told(ask(work, key)) for key in keys]


def account_or_none(work: Work, number: int) -> Any:
    try:
        return people.account_by_id(work, number)
    except Exception as trouble:
        return type(trouble).__name__


def accounts_of_many(work: Work) -> Any:
    people.read_accounts(work, CODES)
    return [people.accounts_of(work, code) for code in CODES]


READS: dict[str, Call] = {
    "alerts.load": each(alerts.load, NUMBERS),
    "alerts.of_day": each(lambda work, code: alerts.of_day(work, code, DAY), CODES),
    "alerts.visits_told_of": lambda work: alerts.visits_told_of(work, Anomaly.NO_VISIT, DAY, date(2100, 1, 1)),
    "audit.listed": lambda work: [_told(audit.listed(work, SINCE, of=code)) for code in (None, *CODES)],
    "audit.last": each(audit.last, list(Action)),
    "calibration.pairs": lambda work: calibration.pairs(work, SINCE, timedelta(days=1)),
    "chats.answered": each(lambda work, number: chats.answered(work, number, list(NUMBERS)), range(1, 14)),
    "check_ins.closed_on": lambda work: list(check_ins.closed_on(work, DAY)),
    "confirmations.tallies": confirmations.tallies,
    "confirmations.mistakes": lambda work: confirmations.mistakes(work, "outcome", "rule", limit=99),
    "evidence.places": lambda work: evidence.places(work, NUMBERS),
    "evidence.last_place": each(lambda work, rep: evidence.last_place(work, rep, PlaceKind.PIN, SINCE, NOW), CODES),
    "evidence.photos": lambda work: evidence.photos(work, NUMBERS),
    "evidence.note": each(evidence.note, NUMBERS),
    "evidence.note_of_inbox": each(evidence.note_of_inbox, NUMBERS),
    "evidence.notes": lambda work: evidence.notes(work, NUMBERS),
    "evidence.notes_without_model": evidence.notes_without_model,
    "evidence.notes_waiting": lambda work: evidence.notes_waiting(work, NOW, SINCE),
    "evidence.appeal": each(evidence.appeal, NUMBERS),
    "evidence.appeals_of": each(evidence.appeals_of, NUMBERS),
    "figures.visits_on": lambda work: figures.visits_on(work, DAY),
    "figures.tallies_on": lambda work: figures.tallies_on(work, DAY),
    "figures.visit": each(figures.visit, NUMBERS),
    "figures.last_visits": lambda work: figures.last_visits(work, CODES),
    "figures.photo_file": each(figures.photo_file, NUMBERS),
    "figures.note_file": each(figures.note_file, NUMBERS),
    "firm.outlets": lambda work: [firm.outlets(work), firm.outlets(work, CODES)],
    "firm.each_outlet": lambda work: list(firm.each_outlet(work)),
    "firm.outlet_names": lambda work: sorted(firm.outlet_names(work).items()),
    "firm.codes_of": each(firm.codes_of, CODES),
    "firm.outlet": each(firm.outlet, SHOPS),
    "firm.outlets_by_code": lambda work: firm.outlets_by_code(work, SHOPS),
    "firm.products": firm.products,
    "firm.competitors": firm.competitors,
    "firm_tables.count": each(firm_tables.count, firm_tables.TableName.__args__),  # type: ignore[attr-defined]  # of a Literal
    "firm_tables.rows": each(firm_tables.rows, firm_tables.TableName.__args__),  # type: ignore[attr-defined]  # of a Literal
    "firm_tables.visits": firm_tables.visits,
    "firm_tables.changes": lambda work: [(one.visit, one.before, one.after) for one in firm_tables.changes(work)],
    "follow_ups.load": each(follow_ups.load, NUMBERS),
    "follow_ups.to_remind": lambda work: follow_ups.to_remind(work, NOW),
    "follow_ups.open_of": each(follow_ups.open_of, CODES),
    "follow_ups.open_at": each(follow_ups.open_at, SHOPS),
    "follow_ups.of_visit": each(follow_ups.of_visit, NUMBERS),
    "follow_ups.overdue_counts": lambda work: follow_ups.overdue_counts(work, CODES, DAY),
    "health.look": lambda work: health.look(work, NOW),
    "health.unbound_role": health.unbound_role,
    "people.staff": people.staff,
    "people.employee": each(people.employee, CODES),
    "people.employees": lambda work: people.employees(work, CODES),
    "people.employee_named": each(people.employee_named, CODES),
    "people.employee_of_login": each(lambda work, code: people.employee_of_login(work, "wecom", code), CODES),
    "people.knows": each(lambda work, code: people.knows(work, "web", f"u-{code}"), CODES),
    "people.account": each(lambda work, code: people.account(work, "web", f"u-{code}"), CODES),
    "people.account_by_id": each(account_or_none, NUMBERS),
    "people.accounts_of": each(people.accounts_of, CODES),
    "people.read_accounts": accounts_of_many,
    "people.accounts": people.accounts,
    "people.accounts_numbered": lambda work: people.accounts_numbered(work, NUMBERS),
    "people.unreachable": people.unreachable,
    "people.group_accounts": people.group_accounts,
    "people.question": each(lambda work, n: people.question(work, n, n), NUMBERS),
    "photo_pieces.near": lambda work: photo_pieces.near(work, "0" * 64, 100, "f" * 64, 30, SINCE, 0, few=0),
    "photo_pieces.of_others": lambda work: photo_pieces.of_others(work, SINCE, 0),
    "rep_figures.visits_of_reps": lambda work: rep_figures.visits_of_reps(work, CODES, DAY),
    "rep_figures.visits_with_a_used_photo": lambda work: rep_figures.visits_with_a_used_photo(work, CODES, DAY),
    "rep_figures.first_days": lambda work: rep_figures.first_days(work, CODES, ZoneInfo(ZONE)),
    "rep_figures.new_outlet_counts": lambda work: rep_figures.new_outlet_counts(work, CODES, date(2000, 1, 1), DAY),
    "visits.load": each(visits.load, NUMBERS),
    "visits.open_visits": each(visits.open_visits, CODES),
    "visits.latest": each(lambda work, rep: visits.latest(work, rep, 9), CODES),
    "visits.of_rep_on": each(lambda work, rep: visits.of_rep_on(work, rep, DAY), CODES),
    "visits.last_closed": each(lambda work, rep: visits.last_closed(work, rep, 9), CODES),
    "visits.last_at_outlet": each(visits.last_at_outlet, SHOPS),
    "visits.by_ids": lambda work: visits.by_ids(work, NUMBERS),
    "visits.last_change": each(lambda work, number: visits.last_change(work, number, SINCE), range(1, 14)),
    "visits.history": each(visits.history, NUMBERS),
    "day.visits_of_day": lambda work: day.visits_of_day(work, DAY),
    "day.counts_of_day": lambda work: day.counts_of_day(work, DAY),
    "day.out_of_reach": each(day.out_of_reach, STAFF),
    "day.last_visits": lambda work: day.last_visits(work, CODES),
    "day.visit_detail": each(day.visit_detail, NUMBERS),
    "day.undelivered_of_day": each(lambda work, who: day.undelivered_of_day(work, who, DAY, ZoneInfo(ZONE)), STAFF),
    "day.alerts_of_day": each(lambda work, who: day.alerts_of_day(work, who, DAY), STAFF),
    "day.finding_of": each(lambda work, who: [day.finding_of(work, who, number, 0) for number in NUMBERS[:9]], STAFF),
    "gauges.look": lambda work: gauges.look(work, NOW, ["web"]),
    "grades.grades_of_day": lambda work: list(grades.grades_of_day(work, DAY, Limits())),
    "rules_report.rules_report": rules_report.rules_report,
}

POINT = Point(30.0, 120.5)
TODO = FollowUp("R2", "CR2", 1, Window(DAY, DAY, None, ""), NOW, "")
# Each tries to write, at or for everybody, what is not the own.


def _own_accounts(work: Work, scope: Scope) -> list[int]:
    return [account.id for account in people.accounts_of(work, scope.who)]


WRITES: dict[str, Callable[[Work, Scope, Any], object]] = {
    "visits.add": lambda work, scope, row: visits.add(work, Visit(row, NOW), ZONE),
    "visits.save": lambda work, scope, row: visits.save(work, Visit(scope.who, NOW, id=row)),
    "visits.keep_change": lambda work, scope, row: visits.keep_change(
        work, None, Visit(scope.who, NOW, id=row), NOW, None, None
    ),
    "visits.mark_undone": lambda work, scope, row: visits.mark_undone(work, row, NOW),
    "confirmations.keep": lambda work, scope, row: confirmations.keep(work, row, NOW, []),
    "evidence.add_place": lambda work, scope, row: evidence.add_place(
        work, row, Place(POINT, PlaceKind.PIN, NOW, POINT, "wgs84"), None
    ),
    "evidence.add_photo": lambda work, scope, row: evidence.add_photo(
        work, scope.who, row, Photo("f" * 64, NOW), mime="", size=(1, 1), phash_quality=0, inbox=None
    ),
    "evidence.add_note": lambda work, scope, row: evidence.add_note(work, Note(scope.who, NOW, "typed", row), None),
    "evidence.heard": lambda work, scope, row: evidence.heard(work, row, NOW, state="heard", text="forged"),
    "evidence.not_heard_yet": lambda work, scope, row: evidence.not_heard_yet(work, row),
    "evidence.move_evidence": lambda work, scope, row: evidence.move_evidence(work, row, [*NUMBERS], [*NUMBERS]),
    "evidence.add_appeal": lambda work, scope, row: evidence.add_appeal(work, Appeal(row, scope.who, "forged", NOW)),
    "evidence.decide_appeal": lambda work, scope, row: evidence.decide_appeal(work, row, "upheld", "D1", NOW),
    "follow_ups.add": lambda work, scope, row: follow_ups.add(work, replace(TODO, rep=scope.who, visit=row)),
    "follow_ups.save": lambda work, scope, row: follow_ups.save(work, replace(TODO, rep=scope.who, id=row)),
    "follow_ups.reminded": lambda work, scope, row: follow_ups.reminded(work, [row], NOW),
    "follow_ups.void_of_visit": lambda work, scope, row: follow_ups.void_of_visit(work, row, NOW),
    "firm.add_outlet": lambda work, scope, row: firm.add_outlet(
        work, replace(_shop("N0001"), rep=row, district="别处")
    ),
    "firm.drop_outlet": lambda work, scope, row: firm.drop_outlet(work, row),
    "firm.save_outlets": lambda work, scope, row: firm.save_outlets(work, [replace(_shop(row), name="forged")]),
    "people.link": lambda work, scope, row: people.link(work, replace(_account(row), user_ref="forged"), NOW),
    "people.save_account": lambda work, scope, row: people.save_account(work, replace(_account("R1"), id=row)),
    "people.set_reachable": lambda work, scope, row: people.set_reachable(work, row, False),
    "people.out_of_reach": lambda work, scope, row: people.out_of_reach(work, row, "blocked", NOW),
    "people.ask": lambda work, scope, row: people.ask(work, Question(row, "visit", 1, "card", (), NOW)),
    "people.ask_each": lambda work, scope, row: people.ask_each(
        work, [Question(mine, "visit", 1, "card", (), NOW) for mine in (*_own_accounts(work, scope), row)]
    ),
    "people.await_answers": lambda work, scope, row: people.await_answers(work, {row: 1}),
    "people.answered": lambda work, scope, row: people.answered(work, row, NOW),
    "alerts.add": lambda work, scope, row: alerts.add(work, row, date(2026, 1, 1), NOW, []),
    "audit.add": lambda work, scope, row: audit.add(work, Entry(NOW, row, "rep", "web", Action.EXPORT)),
}
BY_CODE = {"visits.add", "evidence.add_place", "firm.add_outlet", "people.link", "alerts.add", "audit.add"}
BY_SHOP = {"firm.drop_outlet", "firm.save_outlets"}

# Ways out of the scope, each with an errand of its own (rules.people.Errand) and a test below.
CROSS = {"firm.outlets_around", "firm.sign", "firm.signs", "firm.next_outlet_code", "visits.uses_outlet"}
# Whole modules and functions that touch none of the firm's tables, or are for the whole firm by nature.
ENGINE_ROOM = {
    "inbox": "the post office: deliveries, addressed by the platform's own names",
    "outbox": "the post office: messages to a chat; a page shows the chat that its signed cookie names",
    "chats": "both sides of that one chat",
    "cards": "cards of the post office",
    "push_budget": "counters of the post office",
    "set_aside": "what was given up of the post office, without its content",
    "send_limits": "how much was sent to a chat, and until when it is held",
    "tokens": "access tokens",
    "leases": "which process is at what",
    "jobs": "which slow work is to be done",
    "job_table": "the same on SQLite",
    "job_procrastinate": "the same on PostgreSQL",
    "database": "the unit of work itself",
    "many": "spells a condition",
    "table_copy": "copies every table; for the whole firm",
    "simulated": "a firm that was made up, as a whole",
    "firm_import": "for the whole firm: needs a scope that is everything, and fails on any other",
    "export": "reads through firm_tables alone",
    "firm_rows_out": "reads through firm_tables alone",
}
UNSCOPED = {
    "firm.revision": "a number",
    "firm.save_products": "products are nobody's",
    "firm.save_competitors": "competitors are nobody's",
    "alerts.last_due": "schedules",
    "alerts.dealt_with": "schedules",
    "alerts.missed": "schedules",
    "alerts.occurred": "schedules",
    "audit.seal": "the chain, for the whole firm",
    "audit.verify": "the chain, for the whole firm",
    "gauges.prove_writing": "a row of its own, taken away again",
    "health.alive": "which other processes there are",
    "health.server_time": "a clock",
    "people.alone": "a lock",
    "people.save_employees": "the staff list; needs the whole firm for its accounts",
    "people.keep_invite": "invites",
    "people.make_invite": "invites",
    "people.use_invite": "invites",
    "photo_pieces.keep": "a part of the photo that was added, found through its row alone",
}
# Every table that is not in SCOPED, and why; docs/decisions/0018 has more on the last two.
UNSCOPED_TABLES = {
    **dict.fromkeys(("employee", "product", "competitor"), "the firm's common knowledge"),
    **dict.fromkeys(("inbox", "outbox", "card", "passive_answer"), "the post office, by chat"),
    **dict.fromkeys(("push_budget", "push_grant"), "counters of the post office"),
    **dict.fromkeys(("send_bucket", "send_window", "send_hold"), "limits of sending"),
    **dict.fromkeys(("job", "lease", "schedule", "occurrence", "revision", "api_token"), "the bot's own work"),
    "invite": "the hash of a token, and for whom; found by the token alone",
    "audit_seal": "hashes",
    "simulated": "that the firm is made up, and from which numbers",
    "photo_pieces": "an index of fingerprints: who, where and what for stand in the photo",
}


def _shop(code: str) -> Any:
    return Outlet(code, "forged", "", "柯桥区", "", POINT, "R1", None)


def _account(code: str) -> Any:
    return people.Account("web", f"u-{code}", "forged", code, language="en")


def _told(answer: Any) -> Any:
    return list(answer) if isinstance(answer, Iterator) else answer


def on_work() -> Iterator[str]:
    """Every public function of storage and reports whose first parameter is a unit of work."""
    for package in (storage, reports):
        for found in pkgutil.iter_modules(package.__path__):
            if found.name == "migrations":
                continue
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for name, one in vars(module).items():
                own = inspect.isfunction(one) and one.__module__ == module.__name__ and not name.startswith("_")
                if own and next(iter(inspect.signature(one).parameters), "") == "work":
                    yield f"{found.name}.{name}"


def test_every_function_that_asks_the_database_stands_in_a_table() -> None:
    known = {*READS, *WRITES, *CROSS, *UNSCOPED}
    missing = [name for name in on_work() if name not in known and name.partition(".")[0] not in ENGINE_ROOM]
    assert missing == [], "say in tests/test_scope.py what it may see, or why it is nobody's"
    assert known - set(on_work()) == set()


def test_every_table_is_the_firms_or_the_engine_rooms() -> None:
    assert set(Base.metadata.tables) - set(UNSCOPED_TABLES) == SCOPED
    assert not SCOPED & set(UNSCOPED_TABLES)


@pytest.mark.parametrize("person", STAFF, ids=lambda person: f"{person.code} {person.name}")
def test_no_row_outside_comes_back(tmp_path: Path, person: Employee) -> None:
    scope = scope_of(person)
    with whole_firm(tmp_path) as whole, only(tmp_path, whole, person) as part:
        for name, ask in READS.items():
            with whole.read(scope) as work:
                within = repr(_told(ask(work)))
            with part.read(WHOLE) as work:
                expected = repr(_told(ask(work)))
            assert within == expected, name


def test_every_table_by_itself_shows_what_may_be_seen(tmp_path: Path) -> None:
    with whole_firm(tmp_path) as whole:
        with whole.read(WHOLE) as work:
            rows = dump(work)
        assert all(rows.values()), "each has rows to be hidden"
        for person in STAFF:
            with whole.read(scope_of(person)) as work:
                shown = {name: set(found) for name, found in dump(work).items()}
            assert shown == seen_by(scope_of(person), rows), person


class Undo(Exception):
    """Ends a transaction whose outcome was looked at."""


REFUSALS = (OutOfScope, NoResultFound, DatabaseError)
LIMITED = [person for person in STAFF if scope_of(person).reach is not Reach.ALL]


@pytest.mark.parametrize("person", LIMITED, ids=lambda person: f"{person.code} {person.name}")
def test_nothing_outside_is_written(tmp_path: Path, person: Employee) -> None:
    """Refused, or nothing found to write to: whatever lies outside stays as it was, and nothing new lies there."""
    scope = scope_of(person)
    with whole_firm(tmp_path) as whole:
        with whole.read(WHOLE) as work:
            before = dump(work)
        inside = seen_by(scope, before)
        for name, write in WRITES.items():
            others = [code for code in CODES if code != scope.who]
            for key in others if name in BY_CODE else SHOPS if name in BY_SHOP else NUMBERS[:20:2]:
                after = before
                with suppress(Undo, *REFUSALS), whole.work(scope) as work:
                    write(work, scope, key)
                    work.flush()
                    work.act_for(WHOLE)
                    after = dump(work)
                    raise Undo
                now = seen_by(scope, after)
                for table, rows in after.items():
                    added = set(rows) - set(before[table]) - now[table]
                    assert not added, f"{name}({key}) made {table} {added}"
                    changed = [row for row in before[table] if rows.get(row) != before[table][row]]
                    assert set(changed) <= inside[table], f"{name}({key}) changed {table} {changed}"


def test_without_a_scope_the_firm_cannot_be_asked(tmp_path: Path) -> None:
    with whole_firm(tmp_path) as whole:
        for name in sorted(SCOPED):
            table = Base.metadata.tables[name]
            column = next(iter(table.c))
            for statement in (
                select(table),
                select(func.count()).select_from(table.alias("a")),
                select(select(column).exists()),
                update(table).values({column: column}),
                delete(table),
                insert(table).from_select([column], select(column)),
            ):
                with pytest.raises(NoScope, match=name), whole.work() as work:
                    work.run(statement)


REP = next(person for person in STAFF if person.code == "R1")


def test_the_wall_holds_however_a_statement_is_built(tmp_path: Path) -> None:
    """Joins, outer joins, aliases, subqueries, EXISTS, unions, CTEs and window functions, by Core and by the mapper."""
    visit, outlet = Base.metadata.tables["visit"], Base.metadata.tables["outlet"]
    one, two = visit.alias("one"), visit.alias("two")
    inner = select(visit.c.id, func.row_number().over(order_by=visit.c.id).label("nth")).subquery()
    cte = select(visit.c.rep).cte("c")
    with whole_firm(tmp_path) as whole, whole.read(scope_of(REP)) as work:
        own = work.run(select(func.count()).select_from(visit)).scalar_one()
        assert own == 3
        pairs = select(func.count()).select_from(one).join(two, one.c.rep != two.c.rep)
        assert work.run(pairs).scalar_one() == 0
        outer = select(visit.c.id, outlet.c.code).outerjoin(outlet, outlet.c.code == visit.c.outlet)
        assert len(work.run(outer).all()) == own, "a visit at another's outlet stays"
        assert sum(row.code is not None for row in work.run(outer)) == 1
        assert work.run(select(func.max(inner.c.nth))).scalar_one() == own
        assert set(work.run(select(cte.c.rep)).scalars()) == {"R1"}
        assert len(work.run(select(visit.c.id).union_all(select(visit.c.id))).all()) == 2 * own
        assert not work.run(select(select(visit).where(visit.c.rep == "R2").exists())).scalar_one()
        assert work.session.get(VisitRow, 1) is not None
        assert [row.rep for row in work.session.scalars(select(VisitRow))] == ["R1"] * own
        assert work.session.get(OutletRow, "CR2") is None


def test_a_scope_change_in_the_middle_takes_nothing_along(tmp_path: Path) -> None:
    with whole_firm(tmp_path) as whole, whole.work(WHOLE) as work:
        others = next(number for number in NUMBERS if (found := visits.load(work, number)) and found.rep == "R2")
        assert work.session.get(VisitRow, others) is not None
        work.act_for(scope_of(REP))
        assert visits.load(work, others) is None
        assert work.session.get(VisitRow, others) is None
        with work.beyond(Errand.SAME_PHOTO):
            assert visits.load(work, others) is not None
        assert visits.load(work, others) is None


def test_a_sign_tells_what_stands_on_it_and_no_more(tmp_path: Path) -> None:
    with whole_firm(tmp_path) as whole, whole.read(scope_of(REP)) as work:
        [sign] = firm.signs(work, ["CX"]).values()
        assert (sign.name, sign.district, sign.delivery, sign.aliases) == ("没人管的店", "越城区", "", ())
        around = firm.outlets_around(work, POINT, 2000)
        assert len(around) == len(REPS) + 1
        assert all(item.first_contact_on is None for item in around if item.rep != "R1")
        assert next(item for item in around if item.rep == "R1").first_contact_on is not None
        assert firm.outlet(work, "CX") is None
        assert visits.uses_outlet(work, "CR3")


def _sql(text: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*map(sql.Identifier, names))


@postgres_only
def test_the_second_wall_holds_for_raw_sql(tmp_path: Path) -> None:
    with whole_firm(tmp_path) as whole:
        with whole.read(WHOLE) as work:
            rows = dump(work)
        url = whole.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as raw:
            for name in sorted(SCOPED):
                assert raw.execute(_sql("select count(*) from {}", name)).fetchone() == (0,), name
            for person in STAFF:
                seen = seen_by(scope_of(person), rows)
                raw.rollback()
                for setting, value in zip(("scope", "who", "districts"), settings(scope_of(person)), strict=True):
                    raw.execute("select set_config(%s, %s, true)", [f"zoudian.{setting}", value])
                for name in sorted(SCOPED):
                    key = Base.metadata.tables[name].primary_key.columns.keys()[0]
                    found = {row[0] for row in raw.execute(_sql("select {} from {}", key, name))}
                    assert found == seen[name], (person.code, name)
            raw.rollback()
            assert raw.execute("select count(*) from visit").fetchone() == (0,), "a setting ends with its transaction"


@postgres_only
def test_the_tests_connect_as_a_role_that_the_second_wall_binds(tmp_path: Path) -> None:
    with whole_firm(tmp_path) as whole, whole.read(WHOLE) as work:
        assert health.unbound_role(work) is None
    name = make_url(server()).set(database=whole.url.database, drivername="postgresql+psycopg")
    superuser = Database(name.render_as_string(hide_password=False))
    with superuser.read(WHOLE) as work:
        assert health.unbound_role(work) == (name.username or "postgres")
    superuser.close()


@postgres_only
def test_the_second_wall_stands_where_the_first_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every reach spelt as if it were everything, the database itself lets nothing out."""
    with whole_firm(tmp_path) as whole:
        monkeypatch.setattr("storage.scope._Spelling._meet", lambda self, table: setattr(self, "touches", True))
        with whole.read(scope_of(REP)) as work:
            assert {visit.rep for visit in figures.visits_on(work, DAY)} == {"R1"}
