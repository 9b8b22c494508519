"""`python -m tests.chaos`: kill the bot at its fault points and at any instant, and judge what is left.

`--database postgres`, or the URL of a PostgreSQL server, does the same there.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import SystemRandom

import click


@click.command()
@click.option("--runs", default=1000, show_default=True)
@click.option("--seed", type=int, default=None, help="Repeat the runs of a seed.")
@click.option("--only", type=int, default=None, help="Only this run of the seed.")
@click.option(
    "--plan", "kills", multiple=True, help='Only this: kills as a failing run prints them, "0:after a send#3".'
)
@click.option("--database", default="sqlite", show_default=True, help="sqlite, postgres, or a PostgreSQL URL.")
@click.option("--real-ear", is_flag=True, help="The real recogniser, in its process.")
@click.option("--minutes", type=float, default=None, help="Stop after so long.")
def main(
    runs: int, seed: int | None, only: int | None, kills: tuple[str, ...], database: str, real_ear: bool, minutes: float
) -> None:
    """Kill the whole bot at its fault points and at any instant; 0 lost, 0 twice, or the exit code is 1."""
    if database != "sqlite":
        os.environ["ZOUDIAN_TEST_DATABASE"] = "postgres"
        if database != "postgres":
            os.environ["ZOUDIAN_TEST_POSTGRES_URL"] = database
    seed = SystemRandom().randrange(10**6) if seed is None else seed
    sys.exit(asyncio.run(_all(runs, seed, only, kills, database, real_ear, minutes)))


async def _all(
    runs: int, seed: int, only: int | None, kills: tuple[str, ...], database: str, real_ear: bool, minutes: float | None
) -> int:
    # Which database the tests use is settled when their modules are read.
    from tests.chaos.kills import Kill, Template, plan, rng_of, run  # noqa: PLC0415

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        template = Template(Path(folder))
        await run(template, [], rng_of(seed), None, real_ear=real_ear)  # the first one is slow
        clean = await run(template, [], rng_of(seed), None, real_ear=real_ear)
        points = [point for found in clean.points for point in found]
        if clean.verdict.faults:
            click.echo(f"without a kill: {clean.verdict.faults}")
            return 1
        names = len({point.name for point in points})
        click.echo(f"seed {seed}, {database}: {len(points)} points of {names} kinds, {sum(clean.seconds):.1f} s a run")
        count, killed, bad, twice = 0, 0, 0, Counter[str]()
        for number in range(runs) if only is None else [only]:
            if minutes is not None and time.monotonic() - began > 60 * minutes:
                break
            rng = rng_of(seed, number)
            chosen = [Kill.of(kill) for kill in kills] or plan(rng, seed, number, runs, clean)
            shown = " ".join(f'--plan "{kill}"' for kill in chosen)
            try:
                outcome = await run(template, chosen, rng, clean.seen, real_ear=real_ear)
            except AssertionError as trouble:
                bad += 1
                click.echo(f"run {number} ({shown}): {trouble}")
                continue
            finally:
                count += 1
            killed += outcome.kills
            if outcome.verdict.faults:
                bad += 1
                click.echo(f"run {number} ({shown}):")
                for fault in outcome.verdict.faults:
                    click.echo(f"    {fault}")
            if outcome.verdict.sent_twice:
                twice[str(chosen[0]).split(":")[1].split("#")[0] if "#" in str(chosen[0]) else "an instant"] += 1
            if count % 50 == 0:
                click.echo(f"{count} runs, {killed} kills, {bad} bad, {time.monotonic() - began:.0f} s")
            if kills:
                break
        click.echo(
            f"{database}: {count} runs, {killed} kills, {bad} bad; runs with a message sent twice, by first kill: "
            f"{dict(twice.most_common()) or 0}; {time.monotonic() - began:.0f} s; seed {seed}"
        )
    return 1 if bad else 0


if __name__ == "__main__":
    main()
