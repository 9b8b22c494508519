"""zoudian demo, chat, replay, transcript: talking with the bot on this machine, and what was talked."""

import asyncio
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bot.app import App, utc_now
from bot.cli import (
    DATA_PROBLEM,
    SAMPLE_FIRM,
    USAGE,
    database_of,
    readable_database,
    say,
    settings_of,
    stop,
)
from bot.console_trail import entry, keep
from bot.logs import set_up_logging
from bot.replay import REP, Replay, TurnLog
from bot.run_commands import serve
from bot.script import BadScript, Line, Script, read_script
from bot.script_check import as_json, check
from bot.settings import Settings
from bot.stored_chat import NoSuchConversation, accounts_meant, stored_script
from bot.tour import tour_start
from bot.wiring import TEST_MODEL, has_model, tools_of, web_channel
from handlers.tools import Tools
from nlp.speech_process import SpeechProcess
from nlp.transcribe import Transcriber
from reports.firm_import import ImportRefused, read_firm, save_firm
from rules.audit import Action
from rules.people import Part, system
from storage.database import Database
from storage.files import LocalFiles, open_files
from storage.migrate import migrate


@click.command()
@click.option("--tour", "only_tour", is_flag=True, help="只放自动演示，放完就结束。")
@click.option("--no-tour", is_flag=True, help="跳过自动演示，直接打开网页。")
@click.option("--port", type=click.IntRange(0, 65535), help="网页端口（默认用设置里的）。")
@click.option("--fast", is_flag=True, help="演示时不停顿。")
@click.option("--wechat", is_flag=True, help="在本机模拟的企业微信和公众号里各演示一次拜访，放完就结束。")
@click.option("--open/--no-open", "open_browser", default=True, help="是否自动打开浏览器。")
@click.pass_context
def demo(
    context: click.Context,
    *,
    only_tour: bool,
    no_tour: bool,
    port: int | None,
    fast: bool,
    wechat: bool,
    open_browser: bool,
) -> None:
    """用示例公司试用：先自动演示一次完整拜访，再打开本机网页，您可以当业务员王建，也可以当吴经理。

    数据放在临时文件夹里，结束后自动删除。
    """
    settings = settings_of(context)
    set_up_logging(settings)
    logging.getLogger().setLevel(logging.WARNING)
    if wechat:
        _wechat_tour(settings)
        return
    with throw_away_firm(settings, SAMPLE_FIRM) as (database, tools), speech(settings) as transcriber:
        if not no_tour:
            _tour(database, tools, transcriber, fast=fast)
        if only_tour:
            return
        site = web_channel(settings, database, tools, demo=True, port=port)
        app = App(database, tools, transcriber, [site])
        asyncio.run(serve(app, "", site, open_browser=open_browser))


@click.command()
@click.option("--as", "who", default=REP, show_default=True, help="以谁的身份说话（姓名或工号）。")
@click.option(
    "--firm", type=click.Path(path_type=Path, exists=True, file_okay=False), help="用这份资料建一个临时公司。"
)
@click.pass_context
def chat(context: click.Context, who: str, firm: Path | None) -> None:
    """在终端里和机器人对话。

    直接打字；定位写 [place 纬度 经度 live]，照片写 [photo 文件]，语音写 [voice 文件]，
    点按钮写数字。空行或 Ctrl-D 结束。
    """
    settings = settings_of(context)
    set_up_logging(settings)
    with _firm_or_own(settings, firm) as (database, tools), speech(settings) as transcriber:
        try:
            replay = Replay(
                database,
                tools,
                transcriber=transcriber,
                media=(Path.cwd(), SAMPLE_FIRM / "clips"),
                start=utc_now(),
                rep=who,
            )
        except LookupError as trouble:
            stop(USAGE, "chat.nobody", detail=trouble)
        click.echo(say("chat.hello", name=replay.rep.name))
        for number, typed in enumerate(_typed(), 1):
            replay.clock = utc_now()
            before = len(replay.turns)
            try:
                replay.play(Line(number, "rep", "", typed), Path.cwd())
            except (BadScript, ValueError, IndexError, LookupError, FileNotFoundError) as trouble:
                click.echo(say("chat.unclear", detail=trouble), err=True)
                continue
            for turn in replay.turns[before:]:
                _print_turn(turn, replay, with_line=False)


@click.command()
@click.argument("script", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--firm", type=click.Path(path_type=Path, exists=True, file_okay=False), help="公司资料文件夹（默认示例公司）。"
)
@click.option(
    "--channel",
    type=click.Choice(["terminal", "telegram", "web", "mp", "wecom"]),
    default="terminal",
    show_default=True,
    help="按哪个渠道的能力显示。",
)
@click.option("--rep", default=REP, show_default=True, help="「rep:」是谁。")
@click.option("--json", "as_data", is_flag=True, help="输出 JSON：每一轮的输入、回复、选项和键，最后是所有记录。")
@click.pass_context
def replay(context: click.Context, script: Path, firm: Path | None, channel: str, rep: str, *, as_data: bool) -> None:
    """在全新的数据库上，经由真实入口重放一份对话脚本（写法见 docs/transcripts.md）。

    脚本里写了 bot: manager: saved: 的，会逐行核对；对不上退出码为 1。
    """
    settings = settings_of(context)
    set_up_logging(settings)
    logging.getLogger().setLevel(logging.WARNING)
    with throw_away_firm(settings, firm or SAMPLE_FIRM) as (database, tools), speech(settings) as transcriber:
        try:
            read = read_script(script.read_text(encoding="utf-8"), script)
            player = Replay(
                database, tools, channel=channel, transcriber=transcriber, media=(SAMPLE_FIRM / "clips",), rep=rep
            )
            player.run(read)
        except UnicodeDecodeError:
            stop(USAGE, "replay.not_utf8", file=script)
        except (BadScript, LookupError) as bad:
            stop(DATA_PROBLEM, "replay.bad", detail=bad)
        if as_data:
            click.echo(json.dumps(as_json(player), ensure_ascii=False, indent=2))
        else:
            for turn in player.turns:
                _print_turn(turn, player)
        _report_mismatches(player, read)


@click.command()
@click.argument("conversation")
@click.option("--media", type=click.Path(path_type=Path, file_okay=False), help="把照片和语音也存到这个文件夹。")
@click.pass_context
def transcript(context: click.Context, conversation: str, media: Path | None) -> None:
    """把存下的一段对话打印成可以重放的脚本。CONVERSATION 是姓名、工号，或「渠道:用户号」。"""
    settings = settings_of(context)
    with readable_database(settings) as (database, running):
        with database.read(system(Part.CONSOLE)) as work:
            whose = sorted({account.employee for account in accounts_meant(work, conversation)})
        seen: dict[str, tuple[int | str, ...]] = {"chat": (conversation,)}
        keep(settings, database, entry(Action.VIEW, whose=whose, rows=seen), running=running)
        try:
            for line in stored_script(database, open_files(settings.files), settings.limits, conversation, media):
                click.echo(line)
        except NoSuchConversation:
            stop(DATA_PROBLEM, "transcript.nobody", name=conversation)


@contextmanager
def throw_away_firm(settings: Settings, folder: Path) -> Iterator[tuple[Database, Tools]]:
    """A fresh database in a temporary folder with a firm's files imported; gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="zoudian-"))
    try:
        database = Database(f"sqlite:///{home / 'zoudian.db'}")
        try:
            migrate(database)
            try:
                data = read_firm(folder)
            except ImportRefused as refused:
                problem = refused.problems[0]
                stop(DATA_PROBLEM, "replay.bad_firm", folder=folder, detail=problem)
            with database.work(system(Part.CONSOLE)) as work:
                save_firm(work, data)
            yield database, tools_of(settings, LocalFiles(home / "files"))
        finally:
            database.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def speech(settings: Settings) -> Iterator[Transcriber]:
    """The firm's own recogniser where its model is on this machine, else the small test model, which says so itself."""
    process = SpeechProcess(settings.transcribe if has_model(settings.transcribe) else TEST_MODEL)
    try:
        yield process
    finally:
        process.close()


@contextmanager
def _firm_or_own(settings: Settings, firm: Path | None) -> Iterator[tuple[Database, Tools]]:
    if firm is not None:
        with throw_away_firm(settings, firm) as made:
            yield made
        return
    with database_of(settings) as database:
        yield database, tools_of(settings, open_files(settings.files))


def _tour(database: Database, tools: Tools, transcriber: Transcriber, *, fast: bool) -> None:
    """One whole visit, played by itself through the real door and the real recogniser, shown as it happens."""
    path = SAMPLE_FIRM / "tour.txt"
    script = read_script(path.read_text(encoding="utf-8"), path)
    start = tour_start(utc_now(), tools.zone)
    replay = Replay(
        database, tools, channel="web", transcriber=transcriber, media=(SAMPLE_FIRM / "clips",), start=start
    )
    click.echo(say("demo.head"))
    for line in script.lines:
        before = len(replay.turns)
        replay.play(line, path.parent)
        for turn in replay.turns[before:]:
            _print_turn(turn, replay, watch=(replay.rep.name, replay.area_manager()))
        if not fast:
            asyncio.run(asyncio.sleep(0.8))
    click.echo(say("demo.tour_done"))


def _wechat_tour(settings: Settings) -> None:
    """The same visit through both WeChat products, whose platforms run on this machine."""
    from bot.wechat_tour import CLIP, mp_tour, wecom_tour  # noqa: PLC0415  two platforms, only for this tour

    recording = (SAMPLE_FIRM / "clips" / CLIP).read_bytes()
    with speech(settings) as transcriber:
        for product, tour in (("wecom", wecom_tour), ("mp", mp_tour)):
            name = say(f"wechat_product.{product}")
            click.echo(say("demo.wechat_head", product=name))
            with throw_away_firm(settings, SAMPLE_FIRM) as (database, tools):
                start = tour_start(utc_now(), tools.zone)
                acts = asyncio.run(
                    tour(database, tools, transcriber, start, recording, say("card.confirm"), _show_said)
                )
            click.echo(say("demo.wechat_done", product=name, count=acts))


def _show_said(who: str, text: str) -> None:
    first, *rest = text.split("\n")
    click.echo(click.style(f"rep: {first}", fg="green") if who == "rep" else f"bot: {first}")
    for line in rest:
        click.echo(f"    {line.strip()}")


def _print_turn(turn: TurnLog, replay: Replay, *, with_line: bool = True, watch: tuple[str, ...] | None = None) -> None:
    local = turn.at.astimezone(replay.zone)
    if with_line and turn.line.word == "at":
        click.echo(f"at: {local:%Y-%m-%d %H:%M}")
    elif with_line:
        who = "rep" if turn.who == replay.rep.name else f"as {turn.who}"
        typed = "again:" if turn.line.word == "again" else f"{who}: {turn.line.text}"
        click.echo(click.style(typed, fg="green"))
    for said in turn.said:
        if watch is not None and said.to not in watch:
            continue
        to = "bot" if said.to == (turn.who or replay.rep.name) else _name_of(said.to, replay)
        first, *rest = said.text.split("\n")
        click.echo(f"{to}: {first}")
        for line in rest:
            click.echo(f"    {line.strip()}")


def _name_of(name: str, replay: Replay) -> str:
    if name == replay.rep.name:
        return "bot"
    return "manager" if name == replay.area_manager() else f"to {name}"


def _report_mismatches(player: Replay, script: Script) -> None:
    found = check(player, script)
    for item in found:
        click.echo(str(item), err=True)
    if found:
        raise click.exceptions.Exit(DATA_PROBLEM)


def _typed() -> Iterator[str]:
    while True:
        try:
            typed = input("> ").strip()
        except EOFError:
            return
        if not typed:
            return
        yield typed
