"""`zoudian simulate`: a made-up firm of any size in a database of its own, and the bot driven over it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter

import click

from bot.cli import DATA_PROBLEM, INTERRUPTED, SURROUNDINGS, USAGE, progress_bar, say, settings_of, stop
from bot.simulated.answers import compare
from bot.simulated.drive import Driven, drive
from bot.simulated.firm import LEAST_OUTLETS, MOST_DAYS, MOST_VISITS, Plan, SimulatedFirm
from bot.simulated.writing import steps, write_firm
from rules.people import Part, system
from storage import simulated
from storage.database import Database
from storage.engines import DatabaseAway, DatabaseBusy, NoDriver
from storage.migrate import current, migrate, newest

_FILE = "simulated.db"
_SHOWN = 20


@click.command()
@click.option("--reps", type=click.IntRange(1, 100_000), default=50, show_default=True, help="业务员人数。")
@click.option("--outlets", type=click.IntRange(1, 5_000_000), help="客户数；默认每个业务员 20 家。")
@click.option("--days", type=click.IntRange(2, MOST_DAYS), default=10, show_default=True, help="多少天（日历日）。")
@click.option(
    "--visits", type=click.IntRange(3, MOST_VISITS), default=8, show_default=True, help="每人每天约几次拜访。"
)
@click.option("--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="同一个种子，同一家公司。")
@click.option("--until", default="2026-11-20", show_default=True, help="最后一天。")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), help="写进这个新文件夹里的 SQLite 文件。")
@click.option("--database", "url", help="写进这个空的数据库（网址含密码时放进环境变量 ZOUDIAN_DATA__URL 更好）。")
@click.option("--drive", "driving", is_flag=True, help="让机器人在上面跑最后一天：预警、评级、日报、提醒，并计时。")
@click.option("--check", "checking", is_flag=True, help="把机器人发现的和已知答案比一比（包含 --drive）。")
@click.option("--last", type=click.IntRange(1, 60), default=1, show_default=True, help="跑最后几天。")
@click.pass_context
def simulate(
    context: click.Context,
    reps: int,
    outlets: int | None,
    days: int,
    visits: int,
    seed: int,
    until: str,
    into: Path | None,
    url: str | None,
    driving: bool,
    checking: bool,
    last: int,
) -> None:
    """造一家公司，每个数字都由种子决定，所以机器人该发现什么是已知的。

    只写进空的数据库：--into 指定的新文件夹（SQLite），或者设置里的 PostgreSQL。真实公司的数据库绝不会被写。
    已经造好的，再加 --drive 或 --check 就只跑不造。
    """
    plan = Plan(reps, outlets or 20 * reps, days, visits, seed, _day(until))
    if plan.outlets < LEAST_OUTLETS * reps:
        stop(USAGE, "simulate.few_outlets", least=LEAST_OUTLETS * reps)
    with _database(_url(context, into, url)) as database:
        made = _there(database)
        if made is None:
            _write(database, plan)
        elif not (driving or checking):
            stop(USAGE, "simulate.made_before")
        else:
            plan = Plan.from_plain(made.plan)
        if driving or checking:
            _drive(database, SimulatedFirm(plan), last, checking)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        stop(USAGE, "cli.bad_time", value=text)


def _url(context: click.Context, into: Path | None, url: str | None) -> str:
    if into is not None and url is not None:
        stop(USAGE, "simulate.not_both")
    if into is not None:
        try:
            into.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            stop(SURROUNDINGS, "cli.cannot_write", path=into, detail=error.strerror)
        if any(path for path in into.iterdir() if not path.name.startswith(_FILE)):
            stop(USAGE, "simulate.folder_used", folder=into)
        return f"sqlite:///{into / _FILE}"
    found = url or settings_of(context).database_url
    if url is None and found.startswith("sqlite"):
        stop(USAGE, "simulate.where")
    return found


@contextmanager
def _database(url: str) -> Iterator[Database]:
    try:
        database = Database(url)
    except DatabaseBusy as busy:
        stop(SURROUNDINGS, "cli.busy", file=busy)
    except DatabaseAway as away:
        stop(SURROUNDINGS, "cli.server_away", url=away)
    except NoDriver:
        stop(SURROUNDINGS, "cli.no_driver")
    try:
        yield database
    finally:
        database.close()


def _there(database: Database) -> simulated.Simulated | None:
    """The made-up firm that is there already; None for an empty database. Ends with exit code 2 for anything else."""
    known = current(database)
    if known is not None and known != newest():
        stop(USAGE, "simulate.not_empty")
    migrate(database)
    with database.read(system(Part.CONSOLE)) as work:
        made, empty = simulated.simulated(work), simulated.empty(work)
    if made is None:
        if not empty:
            stop(USAGE, "simulate.not_empty")
        return None
    if not made.complete:
        stop(DATA_PROBLEM, "simulate.incomplete")
    return made


def _write(database: Database, plan: Plan) -> None:
    began, firm = perf_counter(), SimulatedFirm(plan)
    try:
        with progress_bar(steps(database, firm), "simulate.writing") as bar:
            counts = write_firm(database, firm, lambda: datetime.now(UTC), bar.update)
    except KeyboardInterrupt:
        stop(INTERRUPTED, "simulate.broken_off")
    seconds, visits = perf_counter() - began, counts.get("visit", 0)
    click.echo(
        say(
            "simulate.done",
            visits=visits,
            rows=sum(counts.values()),
            seconds=round(seconds, 1),
            rate=round(visits / max(seconds, 0.001)),
        )
    )


def _drive(database: Database, firm: SimulatedFirm, last: int, checking: bool) -> None:
    with progress_bar(last, "simulate.driving") as bar:
        driven = drive(database, firm, last, lambda: bar.update(1))
    _tell(driven)
    if not checking:
        return
    missing, extra, looked_at = compare(database, firm, driven)
    for key, lines in (("simulate.missing", missing), ("simulate.extra", extra)):
        for line in lines[:_SHOWN]:
            click.echo(say(key, what=line), err=True)
    click.echo(say("simulate.checked", count=looked_at, missing=len(missing), extra=len(extra)))
    if missing or extra:
        raise click.exceptions.Exit(DATA_PROBLEM)


def _tell(driven: Driven) -> None:
    for step in driven.steps:
        click.echo(
            say(
                "simulate.step",
                what=say(f"simulate.what.{step.name}"),
                count=step.count,
                seconds=f"{step.seconds:.2f}",
                cpu=f"{step.cpu:.2f}",
            )
        )
    total, cpu = sum(step.seconds for step in driven.steps), sum(step.cpu for step in driven.steps)
    click.echo(say("simulate.total", seconds=f"{total:.1f}", cpu=f"{cpu:.1f}"))
