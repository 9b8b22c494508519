"""How the bot's cost grows with the firm: `python -m bench.growth --reps 1600 --postgres`.

The same made-up firm (`zoudian simulate`) is written at a sixteenth, a quarter and the whole of its size, reps and
outlets alike, and the bot is driven over its last day at each. Told are seconds on the wall, in brackets seconds of
processor of this process and of the database's server, and the exponent of both: cost goes as size to this power, 1 is
as fast as the data. What else the server does meanwhile counts too: give it nothing else to do.
Documented in docs/performance.md.
"""

import argparse
import gc
import math
import os
import resource
import tempfile
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter

from bot.__main__ import LOOK_FOR_CIRCLES
from bot.simulated.answers import compare
from bot.simulated.drive import Driven, Step, drive
from bot.simulated.firm import Plan, SimulatedFirm
from bot.simulated.writing import write_firm
from storage import simulated
from storage.database import Database
from storage.migrate import migrate
from tests.databases import WHOLE, postgres_url, sqlite_url, tidy

SIZES = (16, 4, 1)
TICK = 100  # of the kernel's clock, which counts the processor's time


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--reps", type=int, default=1600)
    parser.add_argument("--outlets", type=int, help="20 a rep without it")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--visits", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2, help="drives at each size; the quickest counts")
    parser.add_argument("--postgres", action="store_true", help="on the server that the tests bring along")
    parser.add_argument("--there", help="the URL of a made-up firm that is there already: drive over that alone")
    given = parser.parse_args()
    gc.set_threshold(*LOOK_FOR_CIRCLES)  # as the command does
    if given.there:
        tell([one(Database(given.there), given.rounds)])
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, tidy():
        found = []
        for part in SIZES:
            reps, outlets = given.reps // part, (given.outlets or 20 * given.reps) // part
            name = f"growth{part}.db"
            url = postgres_url(Path(folder), name) if given.postgres else sqlite_url(Path(folder), name)
            database = Database(url)
            migrate(database)
            plan = Plan(reps, outlets, given.days, given.visits, 1, date(2026, 11, 20))
            began = perf_counter()
            counts = write_firm(database, SimulatedFirm(plan), lambda: datetime.now(UTC), lambda steps: None)
            seconds = perf_counter() - began
            print(f"{reps} reps: {counts['visit']} visits, {sum(counts.values())} rows in {seconds:.0f} s", flush=True)
            found.append(one(database, given.rounds))
            database.close()
    tell(found)


def one(database: Database, rounds: int) -> tuple[Plan, list[Step]]:
    """The quickest of some drives over one firm."""
    with database.read(WHOLE) as work:
        there = simulated.simulated(work)
    assert there is not None, "no made-up firm"
    assert there.complete, "not whole"
    firm = SimulatedFirm(Plan.from_plain(there.plan))
    driven: list[Driven] = []
    for _ in range(rounds):
        driven.append(drive(database, firm, 1, lambda: None, lambda: server_seconds(database)))
    best = min(driven, key=lambda done: total(done.steps))
    missing, extra, answers = compare(database, firm, best)
    print(f"{firm.plan.reps} reps: {answers} answers, {len(missing)} missing, {len(extra)} too many", flush=True)
    return firm.plan, best.steps


def server_seconds(database: Database) -> float:
    """Processor seconds so far of a PostgreSQL server on this machine, its ended processes included; 0 without one."""
    if not database.shared:
        return 0.0
    with database.read(WHOLE) as work:
        pid = simulated.server_process(work)
    parent = _stat(pid)[1]
    ticks = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError):
                fields = _stat(int(folder.name))
                ticks += sum(fields[11:13]) if fields[1] == parent else 0
    return (ticks + sum(_stat(parent)[11:15])) / TICK


def _stat(pid: int) -> list[int]:
    """The numbers of /proc/PID/stat behind the name: state left out, parent at 1, times at 11 to 14."""
    rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *(int(field) for field in rest[1:])]


def tell(found: list[tuple[Plan, list[Step]]]) -> None:
    heads = [f"{plan.reps} reps × {plan.outlets} outlets × {plan.days} days" for plan, _ in found]
    print("| | " + " | ".join(f"{head}: s (CPU s: bot + server)" for head in heads) + " | exponent (CPU) |")
    print("| --- |" + " --- |" * (len(found) + 1))
    for number, name in enumerate([*(step.name for step in found[0][1]), "all"]):
        parts = [(plan, [steps[number]] if number < len(steps) else steps) for plan, steps in found]
        print(f"| {name} | " + " | ".join(_cell(steps) for _, steps in parts) + f" | {exponent(parts)} |")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print(f"load average {os.getloadavg()[0]:.1f}")


def _cell(steps: list[Step]) -> str:
    bot, server = sum(step.cpu for step in steps), sum(step.server for step in steps)
    return f"{sum(step.seconds for step in steps):.2f} ({bot:.2f} + {server:.2f})"


def total(steps: list[Step]) -> float:
    return sum(step.cpu + step.server for step in steps)


def exponent(found: list[tuple[Plan, list[Step]]]) -> str:
    """Between the smallest and the largest size."""
    (small, first), (large, last) = found[0], found[-1]
    grown = large.reps / small.reps
    if grown <= 1 or total(first) <= 0:
        return ""
    return f"{math.log(total(last) / total(first)) / math.log(grown):.2f}"


if __name__ == "__main__":
    main()
