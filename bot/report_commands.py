"""Commands that print reports: rules report."""

import json
from collections.abc import Iterator
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import click

from bot.cli import USAGE, readable_database, say, settings_of, stop
from handlers.rules_watch import mistake_say
from handlers.sentences import sentence
from reports.rules_report import RulesReport, rules_report, to_json
from rules.confirmations import ENOUGH, GOOD, Tally
from rules.people import Part, system
from texts import DEFAULT, load


@click.group()
def rules() -> None:
    """理解语音和文字的规则：准不准。"""


@rules.command()
@click.option("--since", "since_text", help="从哪一天算起，例如 2026-11-01；默认是全部。")
@click.option("--json", "as_json", is_flag=True, help="输出 JSON。")
@click.pass_context
def report(context: click.Context, since_text: str | None, as_json: bool) -> None:
    """按栏目和规则，列出业务员确认、更正了多少，准确率是多少。"""
    settings = settings_of(context)
    since = _begin_of(since_text, ZoneInfo(settings.limits.time_zone)) if since_text else None
    with readable_database(settings) as (database, _), database.read(system(Part.CONSOLE)) as work:
        found = rules_report(work, since)
    if as_json:
        click.echo(json.dumps(to_json(found), ensure_ascii=False, indent=2))
        return
    for line in _lines(found, since_text):
        click.echo(line)


def _begin_of(text: str, zone: ZoneInfo) -> datetime:
    """The first moment of a local day."""
    try:
        return datetime.combine(date.fromisoformat(text), time(0), zone)
    except ValueError:
        stop(USAGE, "cli.bad_time", value=text)


def _lines(found: RulesReport, since: str | None) -> Iterator[str]:
    if not found.rules:
        yield say("learning.report.nothing")
        return
    yield say("learning.report.span", since=since) if since else say("learning.report.all")
    for title, tallies in (("learning.report.fields", found.fields), ("learning.report.rules", found.rules)):
        yield ""
        yield say(title)
        yield say("learning.report.columns")
        yield from (_line(one) for one in tallies)
    if found.weak:
        yield ""
        yield say("learning.report.weak", good=round(100 * GOOD), enough=ENOUGH)
        yield from (sentence(load(DEFAULT), mistake_say(one)) for one in found.mistakes)


def _line(one: Tally) -> str:
    precision = say("learning.report.unknown") if one.precision is None else f"{100 * one.precision:.0f}%"
    return say(
        "learning.report.line",
        mark=say("learning.report.mark") if one.weak and one.rule else "",
        precision=precision,
        judged=one.judged,
        confirmed=one.confirmed,
        corrected=one.corrected,
        removed=one.removed,
        unjudged=one.unjudged,
        field=say(f"field.{one.field}"),
        rule=one.rule,
    ).rstrip()
