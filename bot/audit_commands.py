"""zoudian audit: who saw and changed what, and whether the trail is whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from bot.cli import DATA_PROBLEM, SURROUNDINGS, USAGE, readable_database, say, settings_of, stop
from bot.settings import Settings
from reports.audit_trail import lines, write_csv
from rules.people import Employee, Part, system
from storage import audit as trail
from storage import people
from storage.database import Work
from texts import load

Of = click.option("--of", "of", metavar="姓名或工号", help="只看涉及这个人的数据的。")
By = click.option("--by", "by", metavar="姓名或工号", help="只看这个人做的；命令行做的写系统用户名。")
Days = click.option("--days", type=click.IntRange(1, 3650), default=7, show_default=True, help="最近几天。")


@click.group()
def audit() -> None:
    """审计记录：谁在什么时候看了、改了、导出了什么。只增不改，环环相扣。"""


@audit.command("list")
@Of
@By
@Days
@click.pass_context
def list_(context: click.Context, of: str | None, by: str | None, days: int) -> None:
    """列出审计记录，最新的在前。只有记录的编号，没有内容。"""
    settings = settings_of(context)
    with _found(settings, of, by, days) as rows:
        count = 0
        for _, at, _, who, role, channel, action, whose, records, old, new in rows:
            count += 1
            changed = say("audit.changed", old=old, new=new) if old or new else ""
            click.echo(
                say(
                    "audit.line",
                    at=at,
                    who=who,
                    role=role,
                    channel=channel,
                    action=action,
                    whose=whose,
                    records=records,
                    changed=changed,
                ).rstrip(" ·")
            )
    if not count:
        click.echo(say("audit.nothing", days=days))


@audit.command()
@click.argument("target", metavar="文件", type=click.Path(path_type=Path, dir_okay=False))
@Of
@By
@Days
@click.pass_context
def export(context: click.Context, target: Path, of: str | None, by: str | None, days: int) -> None:
    """把审计记录写成一个 CSV 文件，中文列名，可以用 Excel 打开。"""
    settings = settings_of(context)
    with _found(settings, of, by, days) as rows:
        try:
            count = write_csv(target, rows)
        except FileExistsError:
            stop(USAGE, "audit.exists", file=target)
        except OSError as error:
            stop(SURROUNDINGS, "cli.cannot_write", path=target, detail=error.strerror or error)
    click.echo(say("audit.exported", file=target, count=count))


@audit.command()
@click.pass_context
def verify(context: click.Context) -> None:
    """从头到尾核对哈希链：有没有哪一条被改过、删过。断了就说断在哪一条，退出码为 1。"""
    settings = settings_of(context)
    with readable_database(settings) as (database, _), database.read(system(Part.CONSOLE), long=True) as work:
        found = trail.verify(work)
    if found.broken is not None:
        stop(DATA_PROBLEM, f"audit.broken_{found.why}", entry=found.broken, count=found.sealed)
    click.echo(say("audit.whole", count=found.sealed, unsealed=found.unsealed, head=found.head))


@contextmanager
def _found(settings: Settings, of: str | None, by: str | None, days: int) -> Iterator[Iterator[tuple[str, ...]]]:
    since = datetime.now(UTC) - timedelta(days=days)
    with readable_database(settings) as (database, _), database.read(system(Part.CONSOLE), long=True) as work:
        concerned = _person(work, of).code if of else None
        doer = people.employee_named(work, by) if by else None
        entries = trail.listed(work, since, of=concerned, by=doer.code if doer is not None else by)
        yield lines(entries, people.staff(work), load(settings.language), settings.limits.time_zone)


def _person(work: Work, wanted: str) -> Employee:
    person = people.employee_named(work, wanted)
    if person is None:
        stop(DATA_PROBLEM, "audit.nobody", name=wanted)
    return person
