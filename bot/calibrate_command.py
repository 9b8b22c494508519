"""zoudian calibrate: which datum the pins of a channel are in, told by what people have sent already."""

from datetime import UTC, datetime, timedelta

import click

from bot.cli import DATA_PROBLEM, readable_database, say, settings_of, stop
from bot.console_trail import entry, keep
from rules.audit import Action
from rules.calibration import calibrate as compare
from rules.people import Part, system
from storage import calibration


@click.command()
@click.option("--minutes", type=click.IntRange(1, 120), default=15, show_default=True, help="两者最多相隔多久。")
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="看最近几天的。")
@click.option("--channel", help="只看这个渠道：wecom、mp、telegram、web。")
@click.pass_context
def calibrate(context: click.Context, minutes: int, days: int, channel: str | None) -> None:
    """微信发来的定位是哪个坐标系：拿同一个人在同一地点发的定位和设备给的准确位置比一比。

    先站在室外不动，用手机打开网页聊天发一次位置（或者打开「准确定位」），再在企业微信或公众号里发一次定位，然后运行它。
    """
    settings = settings_of(context)
    now = datetime.now(UTC)
    with readable_database(settings) as (database, running):
        with database.read(system(Part.CONSOLE)) as work:
            found = calibration.pairs(work, now - timedelta(days=days), timedelta(minutes=minutes))
        whose = sorted({pair.rep for pair in found})
        if whose:
            keep(settings, database, entry(Action.VIEW, whose=whose, rows={"place": ()}), running=running)
    newest: dict[str, calibration.Pair] = {}
    for pair in found:
        if channel in (None, pair.channel):
            newest.setdefault(pair.channel, pair)
    if not newest:
        stop(DATA_PROBLEM, "calibrate.no_pair", minutes=minutes, days=days)
    results = [_calibrated(pair) for pair in newest.values()]
    if not all(results):
        raise click.exceptions.Exit(DATA_PROBLEM)


def _calibrated(pair: calibration.Pair) -> bool:
    """Print what one pair says; whether the setting in force fits it."""
    result = compare(pair.pin, pair.fix)
    apart = abs(pair.fix_at - pair.pin_at).total_seconds() / 60
    accuracy = say("calibrate.accuracy", metres=f"{pair.accuracy_m:.0f}") if pair.accuracy_m is not None else ""
    name = say(f"calibrate.channel.{pair.channel}")
    click.echo(say("calibrate.pair", channel=name, who=pair.who, minutes=f"{apart:.0f}", accuracy=accuracy))
    click.echo(say("calibrate.distances", gcj02=f"{result.as_gcj02_m:.0f}", wgs84=f"{result.as_wgs84_m:.0f}"))
    if pair.fix_kind.value == "report":
        click.echo(say("calibrate.report_only"))
    if result.fits is None:
        click.echo(say("calibrate.unclear"))
        return False
    key = "calibrate.fits" if result.fits == pair.datum else "calibrate.change"
    click.echo(say(key, channel=name, datum=result.fits))
    return result.fits == pair.datum
