"""`python -m tests.chaos`: what `make chaos` runs. `kills` kills the bot at its fault points and at any instant.

`--database postgres`, or the URL of a PostgreSQL server, does the same there.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

import click

from tests.figures import FILE, figure

if TYPE_CHECKING:
    from tests.chaos.kills import Kill, Outcome, Pace, Template


ON_SQLITE = tuple(
    f"tests/test_{name}.py" for name in ("outages", "disk_full", "hostile_updates", "hostile_media", "export")
)
ON_POSTGRES = tuple(f"tests/test_{name}.py" for name in ("database_away", "dead_machine", "many_processes"))
MOST_MISSES = 5


@click.group()
def main() -> None:
    """The runs that take hours. Each prints its figures and ends with 1 when something was not as promised."""


@main.command()
@click.option("--runs", default=1000, show_default=True)
@click.option("--seed", type=int, default=None, help="Repeat the runs of a seed.")
@click.option("--only", type=int, default=None, help="Only this run of the seed.")
@click.option(
    "--plan", "plans", multiple=True, help='Only this: kills as a failing run prints them, "0:after a send#3".'
)
@click.option("--database", default="sqlite", show_default=True, help="sqlite, postgres, or a PostgreSQL URL.")
@click.option("--real-ear", is_flag=True, help="The real recogniser, in its process.")
@click.option("--at-once", default=2, show_default=True, help="So many runs side by side.")
@click.option("--minutes", type=float, default=None, help="Stop after so long.")
def kills(
    runs: int,
    seed: int | None,
    only: int | None,
    plans: tuple[str, ...],
    database: str,
    real_ear: bool,
    at_once: int,
    minutes: float | None,
) -> None:
    """Kill the whole bot at its fault points and at any instant; 0 lost, 0 twice, or the exit code is 1."""
    choose(database)
    seed = SystemRandom().randrange(10**6) if seed is None else seed
    killing = Killing(runs, seed, database, real_ear, at_once, minutes)
    sys.exit(asyncio.run(killing.all([only] if only is not None else range(1 if plans else runs), plans)))


@main.command()
@click.option("--messages", default=100_000, show_default=True, help="Of the run that looks at memory.")
def rows(messages: int) -> None:
    """Everything but the kills, as long as it was promised: outages of a minute, 20,000 fuzzed messages, memory."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "figures"
        long = {**os.environ, "ZOUDIAN_OUTAGE_SECONDS": "60", "ZOUDIAN_FUZZ_UPDATES": "20000", FILE: str(table)}
        python = [sys.executable, "-m"]
        runs = [
            ([*python, "pytest", "-q", *ON_SQLITE], long),
            ([*python, "pytest", "-q", *ON_POSTGRES], {**long, "ZOUDIAN_TEST_DATABASE": "postgres"}),
            ([*python, "tests.hostile_media"], long),
            ([*python, "bench.soak", "--messages", str(messages)], long),
        ]
        ends = [subprocess.run(run, env=environment, check=False).returncode for run, environment in runs]
        click.echo("| test | figure |\n| --- | --- |")
        click.echo(table.read_text(encoding="utf-8") if table.exists() else "")
    sys.exit(1 if any(ends) else 0)


def choose(database: str) -> None:
    """Which database the tests use is settled when their modules are read: before any of them is."""
    if database != "sqlite":
        os.environ["ZOUDIAN_TEST_DATABASE"] = "postgres"
        if database != "postgres":
            os.environ["ZOUDIAN_TEST_POSTGRES_URL"] = database


@dataclass
class Killing:
    """Many runs against one that nobody disturbed."""

    runs: int
    seed: int
    database: str
    real_ear: bool = False
    at_once: int = 2
    minutes: float | None = None
    count: int = 0
    killed: int = 0
    bad: int = 0
    twice: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)

    async def all(self, numbers: "list[int] | range", plans: tuple[str, ...]) -> int:
        from tests.chaos.kills import Pace, Template, rng_of, run  # noqa: PLC0415 - see `choose`

        with tempfile.TemporaryDirectory() as folder:
            template = Template(Path(folder))
            rng = rng_of(self.seed)
            first = await run(template, [], rng, None, real_ear=self.real_ear)  # it is slow, and may see too little
            clean = await run(template, [], rng, first, real_ear=self.real_ear)
            if faults := first.verdict.faults + clean.verdict.faults:
                click.echo(f"without a kill: {faults}")
                return 1
            points = [point for found in clean.points for point in found]
            kinds, seconds = len({point.name for point in points}), sum(clean.seconds)
            click.echo(
                f"seed {self.seed}, {self.database}: {len(points)} points of {kinds} kinds, {seconds:.1f} s a run"
            )
            left = iter(numbers)
            # Asked to stop, by Ctrl-C or a signal, the runs under way end and the figures are printed.
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self._stop)
            pace = Pace(clean)
            await asyncio.gather(*(self._some(template, clean, left, plans, pace) for _ in range(self.at_once)))
        told = (
            f"{self.count} runs, {self.killed} kills, {self.bad} bad; runs with a message sent twice, "
            f"by first kill: {dict(self.twice.most_common()) or 0}; {time.monotonic() - self.began:.0f} s; "
            f"seed {self.seed}"
        )
        click.echo(f"{self.database}: {told}")
        figure(f"kill -9, {self.database}", told)
        return 1 if self.bad else 0

    async def _some(
        self, template: "Template", clean: "Outcome", left: Iterator[int], plans: tuple[str, ...], pace: "Pace"
    ) -> None:
        from tests.chaos.kills import Kill, plan, rng_of  # noqa: PLC0415 - see `choose`

        for number in left:  # all share it
            if self.minutes is not None and time.monotonic() - self.began > 60 * self.minutes:
                return
            rng = rng_of(self.seed, number)
            for _ in range(MOST_MISSES):  # a run that was over before its kill does not count
                chosen = [Kill.of(text) for text in plans] or plan(rng, self.seed, number, self.runs, clean, pace)
                if await self._one(template, clean, number, chosen, pace):
                    break
            self.count += 1
            if self.count % 50 == 0:
                passed = time.monotonic() - self.began
                click.echo(f"{self.count} runs, {self.killed} kills, {self.bad} bad, {passed:.0f} s")

    def _stop(self) -> None:
        self.minutes = 0

    async def _one(
        self, template: "Template", clean: "Outcome", number: int, chosen: "list[Kill]", pace: "Pace"
    ) -> bool:
        """Whether anything was killed, or went wrong."""
        from tests.chaos.kills import rng_of, run  # noqa: PLC0415 - see `choose`

        shown = " ".join(f'--plan "{kill}"' for kill in chosen)
        try:
            outcome = await run(template, chosen, rng_of(self.seed, number), clean, real_ear=self.real_ear)
        except AssertionError as trouble:
            self.bad += 1
            click.echo(f"run {number} ({shown}): {trouble}")
            return True
        pace.note(chosen, outcome)
        self.killed += outcome.kills
        if outcome.verdict.faults:
            self.bad += 1
            click.echo(f"run {number} ({shown}):")
            for fault in outcome.verdict.faults:
                click.echo(f"    {fault}")
        if outcome.verdict.sent_twice:
            self.twice[_kind(chosen[0])] += 1
        return outcome.kills > 0 or bool(outcome.verdict.faults)


def _kind(kill: "Kill") -> str:
    return str(kill).partition(":")[2].partition("#")[0] if "#" in str(kill) else "an instant"


if __name__ == "__main__":
    main()
