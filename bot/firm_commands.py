"""Commands of whoever runs the firm's data: import, export, invite, migrate, check-config."""

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import segno

import texts
from bot import console_trail, invite_spool
from bot.cli import (
    DATA_PROBLEM,
    SURROUNDINGS,
    USAGE,
    database_of,
    progress_bar,
    readable_database,
    say,
    settings_of,
    stop,
    unmigrated_database,
)
from bot.settings import InForce, Settings, unknown_variables
from reports.columns import COLUMNS
from reports.export import WouldOverwrite, export_firm, may_write
from reports.firm_import import Change, FirmData, ImportRefused, compare, read_firm, save_firm
from reports.firm_rows import RowProblem
from rules.audit import Action, plain
from rules.people import Employee, Part, system
from storage import indexes, people
from storage import migrate as migrations
from storage.database import Database, Work

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_SHOWN_PROBLEMS = 50
_ORIGINS = {"default": "default", "file": "file", "secret": "secret_file", "environment": "environment"}

Folder = click.Path(path_type=Path, file_okay=False)


@click.command("import")
@click.argument("folder", metavar="文件夹", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--dry-run", is_flag=True, help="只检查和预览，不保存。")
@click.pass_context
def import_(context: click.Context, folder: Path, dry_run: bool) -> None:
    """导入文件夹里的 客户、产品、业务员、竞品（.csv 或 .xlsx，可以只有其中几张）。

    编码 UTF-8 或 GB18030 都行，列的顺序随意。有一处不对就什么都不导入，并列出每一处。
    再次导入会更新同编码的行；业务员自己登记的客户（N 开头）和文件里没有的行都保留。
    """
    with database_of(settings_of(context)) as database:
        data = _read(database, folder)
        if not len(data):
            stop(DATA_PROBLEM, "import.nothing")
        if dry_run:
            with database.read(system(Part.CONSOLE)) as work:
                changes = compare(work, data)
        else:
            with (
                database.work(system(Part.CONSOLE)) as work,
                progress_bar(len(data), "import.saving") as bar,
            ):
                changes = save_firm(work, data, lambda done, total: bar.update(done - bar.pos))
                counted = {one.table: {"new": one.new, "changed": one.changed} for one in changes}
                console_trail.write(work, console_trail.entry(Action.IMPORT, new=plain(counted)))
        _tell_changes("import.preview" if dry_run else "import.done", changes)
        _tell_who_left(data)


def _read(database: Database, folder: Path) -> FirmData:
    with database.read(system(Part.CONSOLE)) as work:
        staff = people.staff(work)
    try:
        return read_firm(folder, staff)
    except ImportRefused as refused:
        tell_problems(refused)
        raise click.exceptions.Exit(DATA_PROBLEM) from None


def tell_problems(refused: ImportRefused) -> None:
    """Every problem with its place, or the first fifty and how many more."""
    click.echo(say("import.refused", count=len(refused.problems)), err=True)
    for problem in refused.problems[:_SHOWN_PROBLEMS]:
        click.echo(_problem_line(problem), err=True)
    if len(refused.problems) > _SHOWN_PROBLEMS:
        click.echo(say("import.more", count=len(refused.problems) - _SHOWN_PROBLEMS), err=True)


def _problem_line(problem: RowProblem) -> str:
    values = dict(problem.values)
    if problem.key == "unknown_person":
        values["near"] = _near(values["near"])
    text = say(f"import_problem.{problem.key}", **values)
    if not problem.line:
        return say("import_problem.file", file=problem.file, text=text)
    if not problem.column:
        return say("import_problem.row", file=problem.file, line=problem.line, text=text)
    return say("import_problem.cell", file=problem.file, line=problem.line, column=problem.column, text=text)


def _near(names: Sequence[str]) -> str:
    return say("import_problem.near_person", name=names[0]) if names else ""


def _tell_changes(head: str, changes: Sequence[Change]) -> None:
    click.echo(say(head))
    for one in changes:
        click.echo(
            say("import.change", table=one.table, new=one.new, changed=one.changed, same=one.same, kept=one.kept)
        )


def _tell_who_left(data: FirmData) -> None:
    """Outlets that still belong to somebody who left: nobody visits those."""
    gone = {person.code: person.name for person in data.employees if not person.active}
    orphans = [outlet for outlet in data.outlets if outlet.rep in gone]
    if orphans:
        names = sorted({gone[outlet.rep or ""] for outlet in orphans})
        click.echo(say("import.left", count=len(orphans), names=names), err=True)


@click.command()
@click.argument("folder", metavar="文件夹", type=Folder)
@click.option("--force", is_flag=True, help="覆盖上一次的导出。")
@click.option("--since", "first", type=click.DateTime(["%Y-%m-%d"]), help="拜访等只要这一天起的，例如 2026-11-01。")
@click.option("--until", "last", type=click.DateTime(["%Y-%m-%d"]), help="拜访等只到这一天（含）。")
@click.option("--csv", "only_csv", is_flag=True, help="只写 CSV，不写 全部.xlsx：大公司快十倍。")
@click.pass_context
def export(
    context: click.Context, folder: Path, force: bool, first: datetime | None, last: datetime | None, only_csv: bool
) -> None:
    """把所有表导出到文件夹：一个 全部.xlsx，加上每张表一个 CSV，列名是公司自己的叫法，时间是当地时间。

    客户、产品、业务员、竞品 四个 CSV 可以原样再导入。
    """
    settings = settings_of(context)
    days = (first.date() if first else date.min, last.date() if last else date(9000, 1, 1)) if first or last else None
    _check_room(folder, force)
    with (
        readable_database(settings) as (database, running),
        progress_bar(len(COLUMNS), "export.writing") as bar,
    ):
        made = console_trail.entry(Action.EXPORT, new=folder.name)
        console_trail.keep(settings, database, made, running=running)  # before anything can leave
        with database.read(system(Part.CONSOLE), long=True) as work:
            counts = _exported(work, folder, settings, bar, force=force, days=days, only_csv=only_csv)
    tables = [say("export.table", name=name, count=count) for name, count in counts.items()]
    click.echo(say("export.done", folder=folder, tables=tables))


def _exported(
    work: Work,
    folder: Path,
    settings: Settings,
    bar: "ProgressBar[int]",
    *,
    force: bool,
    days: tuple[date, date] | None,
    only_csv: bool,
) -> dict[str, int]:
    words, zone = texts.load(settings.language), settings.limits.time_zone
    try:
        return export_firm(
            work,
            folder,
            words,
            zone,
            force=force,
            days=days,
            only_csv=only_csv,
            progress=lambda table, rows: bar.update(1),
        )
    except OSError as error:
        stop(SURROUNDINGS, "cli.cannot_write", path=folder, detail=error.strerror)


def _check_room(folder: Path, force: bool) -> None:
    try:
        may_write(folder, force=force)
    except WouldOverwrite as refused:
        if refused.foreign:
            stop(USAGE, "export.foreign", folder=folder, names=refused.foreign[:3])
        stop(USAGE, "export.exists", folder=folder)


@click.command()
@click.argument("who", metavar="[姓名或工号]", required=False)
@click.option("--channel", type=click.Choice(["telegram", "mp", "web"]), help="默认：设置了哪个就是哪个。mp 是公众号。")
@click.option("--bot", "bot_name", help="telegram 机器人的用户名；默认用 config.toml 里的。")
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="二维码另存为这个 PNG 文件。")
@click.option("--hours", type=click.IntRange(1, 24 * 30), default=72, show_default=True, help="多少小时内有效。")
@click.option("--all", "folder", type=Folder, metavar="文件夹", help="给所有在职员工各写一张 PNG 到这个文件夹。")
@click.pass_context
def invite(
    context: click.Context,
    who: str | None,
    channel: str | None,
    bot_name: str | None,
    png: Path | None,
    hours: int,
    folder: Path | None,
) -> None:
    """生成邀请：打印链接和二维码，同事扫一下，聊天账号就和本人绑定了。链接只能用一次。"""
    settings = settings_of(context)
    if folder is None and not who:
        stop(USAGE, "invite.needs_one")
    if folder is not None and (who or png):
        stop(USAGE, "invite.not_both")
    now = datetime.now(UTC)
    with _links(settings, channel, bot_name, hours) as link_of, readable_database(settings) as (database, running):
        with database.read(system(Part.CONSOLE)) as work:
            if folder is None:
                invited = [_person(work, who or "")]
            else:
                invited = [person for person in people.staff(work) if person.active]
        made: list[people.Invite] = []
        try:
            if folder is None:
                _invite_one(invited[0], png, link_of, now, hours, made)
            else:
                _invite_all(invited, folder, link_of, now, hours, made)
            _keep(database, settings, made, running=running)
        except OSError as error:
            stop(SURROUNDINGS, "cli.cannot_write", path=error.filename or folder or png, detail=error.strerror)


def _keep(database: Database, settings: Settings, made: Sequence[people.Invite], *, running: bool) -> None:
    """Store invites, or hand them to the bot that has the database."""
    whose = [invite.employee for invite in made]
    if made:
        console_trail.keep(settings, database, console_trail.entry(Action.INVITE, whose=whose), running=running)
    if running:
        for invite in made:
            invite_spool.spool(settings.data_dir / "invites", invite)
        click.echo(say("invite.soon"))
        return
    with database.work(system(Part.CONSOLE)) as work:
        for invite in made:
            people.keep_invite(work, invite)


@contextmanager
def _links(settings: Settings, channel: str | None, bot_name: str | None, hours: int) -> Iterator[Callable[[str], str]]:
    """What makes an invite's link of its token. That of a 公众号 is made over there, and may be a line to send."""
    name = (bot_name or settings.telegram.bot_name).removeprefix("@")
    wanted = channel or (
        "telegram"
        if name or settings.telegram.token.get_secret_value()
        else "mp"
        if settings.mp.token.get_secret_value()
        else "web"
    )
    if wanted == "mp":
        yield from _mp_links(settings, hours)
        return
    if wanted == "telegram" and not name:
        stop(USAGE, "invite.needs_bot")
    start = f"https://t.me/{name}?start=" if wanted == "telegram" else _web_address(settings)
    yield lambda token: start + token


def _mp_links(settings: Settings, hours: int) -> Iterator[Callable[[str], str]]:
    from bot.mp_invites import account_of, code_maker  # noqa: PLC0415  WeChat's client, only for its own invites
    from bot.wechat_errors import ApiError  # noqa: PLC0415

    if not settings.mp.app_id:
        stop(USAGE, "invite.needs_mp")
    try:
        with code_maker(account_of(settings), hours) as make:
            yield make
    except ApiError as error:
        stop(SURROUNDINGS, "invite.mp_refused", detail=error)


def _web_address(settings: Settings) -> str:
    from web.site import WebSettings  # noqa: PLC0415  the web framework, only to say its address

    web = settings.web
    return f"{WebSettings(host=web.host, port=web.port, public_url=web.public_url).address}/join/"


def _invite_one(
    person: Employee,
    png: Path | None,
    link_of: Callable[[str], str],
    now: datetime,
    hours: int,
    made: list[people.Invite],
) -> None:
    token, kept = people.new_invite(person.code, now, hours)
    link = link_of(token)
    made.append(kept)
    code = segno.make_qr(link, error="m")
    if png is not None:
        code.save(str(png), kind="png", scale=8)
    click.echo(say("invite.link", name=person.name, code=person.code, hours=hours))
    click.echo(link)
    if "://" not in link:
        click.echo(say("invite.to_send"))
    code.terminal(sys.stdout, compact=True)
    if png is not None:
        click.echo(say("invite.png", path=png))


def _invite_all(
    everybody: Sequence[Employee],
    folder: Path,
    link_of: Callable[[str], str],
    now: datetime,
    hours: int,
    made: list[people.Invite],
) -> None:
    if not everybody:
        stop(DATA_PROBLEM, "invite.nobody")
    folder.mkdir(parents=True, exist_ok=True)
    with progress_bar(len(everybody), "invite.working") as bar:
        for person in everybody:
            token, kept = people.new_invite(person.code, now, hours)
            link = link_of(token)
            made.append(kept)
            name = re.sub(r"[^\w-]", "_", f"{person.code}-{person.name}")
            segno.make_qr(link, error="m").save(str(folder / f"{name}.png"), kind="png", scale=8)
            bar.update(1)
    click.echo(say("invite.all", count=len(everybody), folder=folder, hours=hours))


def _person(work: Work, who: str) -> Employee:
    person = people.employee_named(work, who)
    if person is None:
        staff = people.staff(work)
        same = [one.code for one in staff if one.name == who]
        if same:
            stop(DATA_PROBLEM, "invite.ambiguous", value=who, codes=same)
        words = [word for one in staff for word in (one.name, one.code)]
        near = _near(difflib.get_close_matches(who, words, 1, cutoff=0.5))
        stop(DATA_PROBLEM, "invite.unknown", value=who, near=near)
    if not person.active:
        stop(DATA_PROBLEM, "invite.left", name=person.name)
    return person


@click.command()
@click.pass_context
def migrate(context: click.Context) -> None:
    """把数据库升级到这个版本。run 和 demo 启动时会自动做；可以重复运行。"""
    with unmigrated_database(settings_of(context)) as database:
        before = migrations.current(database)
        migrations.migrate(database, tell=_tell_of_index)
        after = migrations.current(database)
        whole = after != migrations.newest() or not indexes.lacking(database)  # of newer tables this knows too little
        if not whole and not indexes.build(database, _tell_of_index):
            click.echo(say("migrate.elsewhere"))
    key = "migrate.nothing" if before == after else "migrate.done"
    click.echo(say(key, before=before or say("migrate.none"), after=after))


def _tell_of_index(name: str, number: int, of: int) -> None:
    click.echo(say("migrate.index", name=name, number=number, of=of))


@click.command("check-config")
@click.option("--env", "variables", is_flag=True, help="同时列出每一项的环境变量名。")
@click.pass_context
def check_config(context: click.Context, variables: bool) -> None:
    """检查 config.toml 和环境变量，列出正在生效的每一项和它的来源。密钥显示为 ●●●。"""
    settings = settings_of(context)
    click.echo(say("settings.head", path=settings.path or say("settings.nowhere")))
    table = ""
    for one in settings.in_force():
        if one.table != table:
            table = one.table
            click.echo("\n" + say("settings.table", name=table))
        click.echo(_setting_line(one, variables))
    unused = unknown_variables(os.environ)
    if unused:
        click.echo("\n" + say("settings.unused_variables", names=unused), err=True)
    click.echo("\n" + say("settings.fine"))


def _setting_line(one: InForce, variables: bool) -> str:
    origin = say(f"settings.{_ORIGINS[one.origin]}")
    key = "settings.line_variable" if variables else "settings.line"
    return say(key, key=one.key, value=_as_written(one.value), origin=origin, variable=one.variable)


def _as_written(value: object) -> str:
    """A value as it would stand in config.toml."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_as_written(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else f'"{value}"' if isinstance(value, str) else str(value)
