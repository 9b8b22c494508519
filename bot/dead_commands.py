"""zoudian dead: what was given up, with when and why; tried again or dropped, beside the running bot too."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import click

from bot import spooled_requests
from bot.cli import DATA_PROBLEM, USAGE, readable_database, say, settings_of, stop
from bot.console_trail import entry, keep
from bot.settings import Settings
from bot.spooled_requests import Request
from rules.audit import Action
from rules.people import Part, system
from storage import alerts, set_aside
from storage.alerts import Missed
from storage.set_aside import Item

_ERROR_SHOWN = 120
MISSED_LISTED = timedelta(days=30)
Names = click.argument("names", metavar="[编号]...", nargs=-1)
All = click.option("--all", "everything", is_flag=True, help="全部。")


@click.group()
def dead() -> None:
    """放弃了的：试了几次都没处理成的消息（in-）、没做成的任务（job-）、没发出去的消息（out-）。"""


@dead.command("list")
@click.option("--json", "as_json", is_flag=True, help="输出 JSON。")
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """列出每一条：编号、是什么、谁的、什么时候、试了几次、为什么。不显示消息内容。

    停机太久、过了时限没有补发的定时推送列在后面，只供知道。
    """
    settings = settings_of(context)
    with readable_database(settings) as (database, _), database.read(system(Part.CONSOLE)) as work:
        found = set_aside.listed(work)
        missed = alerts.missed(work, datetime.now(UTC) - MISSED_LISTED)
    if as_json:
        plain = [_plain(item) for item in found] + [_plain_missed(one) for one in missed]
        click.echo(json.dumps(plain, ensure_ascii=False, indent=2))
        return
    for line in _lines(found, missed, ZoneInfo(settings.limits.time_zone)):
        click.echo(line)


@dead.command()
@Names
@All
@click.pass_context
def retry(context: click.Context, names: tuple[str, ...], everything: bool) -> None:
    """从头再试：写编号（in-12 job-3 out-7），或者 --all。

    消息会排在这个人后来发的内容之后处理。读不懂的消息重试也没有用，只能丢弃。
    """
    settings = settings_of(context)
    _act(settings, names, everything=everything, reason="")


@dead.command()
@Names
@All
@click.option("--reason", required=True, help="为什么丢弃，会记在那一行里。")
@click.pass_context
def drop(context: click.Context, names: tuple[str, ...], everything: bool, reason: str) -> None:
    """不再处理：写编号，或者 --all，并写明原因。记录还在，只是不再提起。"""
    settings = settings_of(context)
    if not reason.strip():
        stop(USAGE, "dead.needs_reason")
    _act(settings, names, everything=everything, reason=reason.strip()[:200])


def _act(settings: Settings, names: Sequence[str], *, everything: bool, reason: str) -> None:
    if bool(names) == everything:
        stop(USAGE, "dead.which")
    with readable_database(settings) as (database, running):
        with database.read(system(Part.CONSOLE)) as work:
            known = {item.name: item for item in set_aside.listed(work)}
        unknown = [name for name in names if name not in known]
        if unknown:
            stop(DATA_PROBLEM, "dead.unknown", names=unknown)
        chosen = [known[name] for name in dict.fromkeys(names)] or list(known.values())
        if not reason:
            unreadable = [item.name for item in chosen if not item.readable]
            if unreadable:
                click.echo(say("dead.unreadable", names=unreadable), err=True)
            chosen = [item for item in chosen if item.readable]
        if not chosen:
            click.echo(say("dead.none_chosen"))
            return
        request = Request(tuple((item.kind, item.id) for item in chosen), reason)
        rows: dict[str, tuple[int | str, ...]] = {"dead": tuple(item.name for item in chosen)}
        done_by = entry(Action.DROP if reason else Action.RETRY, rows=rows, new=reason)
        keep(settings, database, done_by, running=running)
        if running:
            spooled_requests.spool(settings.data_dir / "requests", request)
            click.echo(say("dead.soon", count=len(chosen)))
            return
        with database.work(system(Part.CONSOLE)) as work:
            done = spooled_requests.carry_out(work, request, datetime.now(UTC))
    click.echo(say("dead.dropped" if reason else "dead.retried", count=done))


def _lines(found: Sequence[Item], missed: Sequence[Missed], zone: ZoneInfo) -> Iterator[str]:
    if not found:
        yield say("dead.nothing")
    for item in found:
        yield say(
            "dead.line",
            name=item.name,
            what=item.what,
            whose=item.whose,
            at=f"{item.at.astimezone(zone):%Y-%m-%d %H:%M}",
            tries=item.tries,
            error=" ".join(item.error.split())[:_ERROR_SHOWN],
        )
    if found:
        yield ""
        yield say("dead.next")
    if missed:
        yield ""
        yield say("dead.missed_head")
    for one in missed:
        at = f"{one.due_at.astimezone(zone):%Y-%m-%d %H:%M}"
        yield say("dead.missed", at=at, what=say(f"missed_push.{one.schedule}"), hours=_hours_late(one))


def _hours_late(one: Missed) -> int:
    return round((one.found_at - one.due_at).total_seconds() / 3600)


def _plain_missed(one: Missed) -> dict[str, object]:
    return {
        "name": f"missed-{one.schedule}-{one.due_at:%Y-%m-%d}",
        "what": one.schedule,
        "at": one.due_at.isoformat(),
        "found_at": one.found_at.isoformat(),
        "can_retry": False,
    }


def _plain(item: Item) -> dict[str, object]:
    return {
        "name": item.name,
        "what": item.what,
        "whose": item.whose,
        "at": item.at.isoformat(),
        "tries": item.tries,
        "error": item.error,
        "can_retry": item.readable,
    }
