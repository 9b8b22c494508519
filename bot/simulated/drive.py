"""The bot's own paths over the last days of a made-up firm, timed: what the clock brings, what managers ask for."""

import gc
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time

from bot.simulated.firm import LIMITS, ZONE, Manager, SimulatedFirm
from handlers import alerts as alert_talk
from handlers.tools import Tools, make_tools
from handlers.turn import Turn
from nlp.firm_words import FirmWords
from nlp.understand import Understander
from reports.export import export_firm
from reports.grades import grades_of_day
from reports.rules_report import rules_report
from rules.people import Employee, Part, scope_of, system
from scheduler.clock import tick
from storage import alerts, people, simulated
from storage.database import Database
from storage.files import LocalFiles
from texts import DEFAULT, load
from web.manager import day_of

DRILLED = 20  # managers whose findings are opened one after another


@dataclass(slots=True)
class Step:
    """One part of the drive: how many it dealt with, seconds on the wall, seconds of this process's processor and of
    the database server's, where somebody measures those.
    """

    name: str
    count: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    server: float = 0.0


@dataclass(slots=True)
class Driven:
    """What was done, and what came of it. `grades`: (level, reasons' codes) by visit, of the last day."""

    days: list[int]
    steps: list[Step] = field(default_factory=list)
    grades: dict[int, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    weak_rules: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    reminded: int = 0
    exported: dict[str, int] = field(default_factory=dict)
    of_server: Callable[[], float] = lambda: 0.0  # the server's processor seconds so far

    @contextmanager
    def timed(self, name: str) -> Iterator[Step]:
        """Parts of the same name are added up."""
        step = next((one for one in self.steps if one.name == name), None)
        if step is None:
            step = Step(name)
            self.steps.append(step)
        server, wall, cpu = self.of_server(), perf_counter(), process_time()
        yield step
        step.seconds += perf_counter() - wall
        step.cpu += process_time() - cpu
        step.server += self.of_server() - server


def drive(
    database: Database,
    firm: SimulatedFirm,
    last: int,
    progress: Callable[[], None],
    of_server: Callable[[], float] = lambda: 0.0,
) -> Driven:
    """The last days that are worked, as they would have gone. What an earlier drive pushed is taken back before."""
    days = [number for number, worked in enumerate(firm.worked) if worked][-last:]
    driven = Driven(days, of_server=of_server)
    folder = Path(tempfile.mkdtemp(prefix="zoudian-simulate-"))
    gc.collect()
    gc.freeze()  # the plan of the made-up firm is no part of the bot, whose garbage is not to be looked for in it
    try:
        tools = make_tools(LIMITS, LocalFiles(folder / "files"))
        with database.work(system(Part.CONSOLE)) as work:
            simulated.forget_pushes(work, firm.moment(days[0], 0))
        for day in days:
            _pushes(database, tools, firm, day, driven)
            progress()
        _looks(database, tools, firm, days[-1], folder, driven)
    finally:
        gc.unfreeze()
        shutil.rmtree(folder, ignore_errors=True)
    return driven


def _pushes(database: Database, tools: Tools, firm: SimulatedFirm, day: int, driven: Driven) -> None:
    """Morning and evening of one day: reminders, the daily alert, the groups' summaries, the word about rules."""
    # A schedule seen for the first time owes nothing of the past, hence a look before it is due.
    tick(database, tools, firm.moment(day, 8 * 3600))
    with driven.timed("reminders") as step:
        driven.reminded = tick(database, tools, firm.moment(day, 9 * 3600 + 30))
        step.count += driven.reminded
    with driven.timed("alerts") as step:
        step.count += tick(database, tools, firm.moment(day, 18 * 3600 + 5))
    with driven.timed("evening") as step:
        step.count += tick(database, tools, firm.moment(day, 18 * 3600 + 30 * 60 + 5))


def _looks(database: Database, tools: Tools, firm: SimulatedFirm, day: int, folder: Path, driven: Driven) -> None:
    """What managers and operations ask for on the last day."""
    today, now = firm.days[day], firm.moment(day, 18 * 3600 + 40 * 60)
    with database.read(system(Part.CONSOLE)) as work:
        staff = {person.code: person for person in people.staff(work)}
    with driven.timed("drill") as step:
        step.count = sum(
            _drill(database, tools, staff[manager.code], today, now) for manager in _largest(firm)[:DRILLED]
        )
    with driven.timed("page") as step:
        for manager in (firm.managers[0], _largest(firm)[0]):
            step.count += _page(database, staff[manager.code], today, driven.counts)
    with driven.timed("grades") as step, database.read(system(Part.CONSOLE), long=True) as work:
        for one in grades_of_day(work, today, LIMITS):
            driven.grades[one.visit.id] = (one.now.level.value, tuple(reason.code for reason in one.now.reasons))
        step.count = len(driven.grades)
    with driven.timed("rules") as step, database.read(system(Part.CONSOLE)) as work:
        report = rules_report(work, since=now - timedelta(days=30))
        driven.weak_rules = [(one.field, one.rule) for one in report.weak]
        step.count = sum(one.judged for one in report.rules)
    with driven.timed("export") as step, database.read(system(Part.CONSOLE), long=True) as work:
        driven.exported = export_firm(
            work, folder / "export", load(DEFAULT), LIMITS.time_zone, days=(today, today), only_csv=True
        )
        step.count = sum(driven.exported.values())


def _largest(firm: SimulatedFirm) -> list[Manager]:
    """Area managers, those with most districts first."""
    area = [manager for manager in firm.managers if manager.districts is not None]
    return sorted(area, key=lambda manager: -len(manager.districts or ()))


def _drill(database: Database, tools: Tools, manager: Employee, day: date, now: datetime) -> int:
    """Every finding of a manager's alert opened by a tap: the last three visits of each rep; how many findings."""
    with database.work(scope_of(manager)) as work:
        account = people.accounts_of(work, manager.code)[0]
        found = alerts.of_day(work, manager.code, day)
        for alert in found:
            for number in range(len(alert.findings)):
                turn = Turn(work, tools, _NO_WORDS, now, now, account, manager)
                alert_talk.drill(turn, alert.id, str(number))
        return sum(len(alert.findings) for alert in found)


def _page(database: Database, manager: Employee, day: date, counts: dict[str, int]) -> int:
    """The manager's page of a day, as the browser gets it; its bytes."""
    with database.read(scope_of(manager)) as work:
        shown, _ = day_of(work, manager, day, load(DEFAULT), ZONE)
    counts[manager.code] = shown["counts"]["visits"]
    return len(json.dumps(shown, ensure_ascii=False).encode())


_NO_WORDS = Understander(FirmWords((), (), (), (), ()))  # a tap on a finding has nothing to be understood
