"""The command line: which commands there are, and what all of them share. A command's module is loaded when it runs."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

import texts

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from bot.config_file import SettingsRefused
    from bot.settings import Settings
    from storage.database import Database

DATA_PROBLEM: Final = 1
USAGE: Final = 2
SURROUNDINGS: Final = 3
INTERRUPTED: Final = 130

SAMPLE_FIRM: Final = Path(__file__).parent / "sample_firm"

# name: (module, attribute, the line in --help)
_COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "demo": ("bot.chat_commands", "demo", "用示例公司试用：先自动演示一次拜访，再打开本机网页"),
    "run": ("bot.run_commands", "run", "启动机器人：本机网页；有令牌就同时启动 Telegram"),
    "receiver": ("bot.run_commands", "receiver", "只收消息：网页和 webhook，验证、存下、应答（PostgreSQL）"),
    "worker": ("bot.run_commands", "worker", "只干活：处理存下的消息、转写、提醒、发送（PostgreSQL）"),
    "chat": ("bot.chat_commands", "chat", "在终端里和机器人对话"),
    "replay": ("bot.chat_commands", "replay", "在全新的数据库上重放一份对话脚本"),
    "transcript": ("bot.chat_commands", "transcript", "把存下的一段对话打印成脚本"),
    "summarize": ("bot.speech_commands", "summarize", "从文字或语音小结里读出拜访内容，或按标注打分"),
    "import": ("bot.firm_commands", "import_", "导入客户、产品、业务员、竞品"),
    "export": ("bot.firm_commands", "export", "把所有表导出成 Excel 和 CSV"),
    "invite": ("bot.firm_commands", "invite", "给同事生成一次性的邀请链接和二维码"),
    "wecom": ("bot.wechat_commands", "wecom", "企业微信：检查应用、建菜单，列出还差什么"),
    "mp": ("bot.wechat_commands", "mp", "公众号：检查账号、建菜单、核对模板，列出还差什么"),
    "calibrate": ("bot.calibrate_command", "calibrate", "微信的定位是哪个坐标系：用定位和准确位置比一比"),
    "migrate": ("bot.firm_commands", "migrate", "把数据库升级到这个版本"),
    "doctor": ("bot.upkeep_commands", "doctor", "体检：数据库、磁盘、没发出去的、模型、令牌、时钟"),
    "health": ("bot.health_command", "health", "问正在运行的走店准备好了没有（HEALTHCHECK 用）"),
    "dead": ("bot.dead_commands", "dead", "放弃了的消息、任务、发送：列出、重试、丢弃"),
    "backup": ("bot.upkeep_commands", "backup", "备份成一个文件，机器人不用停"),
    "restore": ("bot.upkeep_commands", "restore", "从备份恢复到一个空的数据目录，或空的 PostgreSQL"),
    "move-to-postgres": ("bot.move_command", "move_to_postgres", "把公司从 SQLite 搬到 PostgreSQL：先核对，全对了才算"),
    "audit": ("bot.audit_commands", "audit", "审计：谁看了、改了、导出了什么；核对记录有没有被动过"),
    "check-config": ("bot.firm_commands", "check_config", "检查设置，列出正在生效的每一项"),
    "model": ("bot.speech_commands", "model", "语音模型：下载、检查"),
    "simulate": ("bot.simulate_command", "simulate", "造一家任意大小的模拟公司，已知答案，让机器人跑一遍并计时"),
    "rules": ("bot.report_commands", "rules", "理解小结的规则准不准：按业务员的确认和更正统计"),
}
_EPILOG: Final = "退出码：0 正常；1 数据有问题；2 用法或设置不对；3 环境不具备（没有模型、数据库被占用…）；130 被中断。"


class _Late(click.Group):
    """A group that imports a command's module when that command is asked for, and not for the list of commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is no command")
        command.epilog = command.epilog or _EPILOG
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("命令"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _COMMANDS.items()])


@click.group(cls=_Late, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zoudian")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ZOUDIAN_CONFIG",
    help="配置文件；默认用当前文件夹里的 config.toml。",
)
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """走店：聊着天记拜访。定位、照片、语音发过来，机器人写好小结，点一下确认。"""
    context.obj = config


def say(key: str, /, **values: object) -> str:
    """A sentence for the terminal. A list becomes an enumeration."""
    shown = {name: _shown(value) for name, value in values.items()}
    return texts.load(texts.DEFAULT).say(key, shown)


def _shown(value: object) -> object:
    if isinstance(value, list | tuple):
        return texts.load(texts.DEFAULT).say("between").join(str(item) for item in value)
    return "" if value is None else value


def stop(code: int, key: str, /, **values: object) -> NoReturn:
    """Say why on the error stream and end with this exit code."""
    click.echo(say(key, **values), err=True)
    raise click.exceptions.Exit(code)


def progress_bar(length: int, label: str) -> "ProgressBar[int]":
    """A bar on the error stream, so that what a command prints can be piped; not drawn where nobody looks."""
    return click.progressbar(length=length, label=say(label), file=sys.stderr)


def settings_of(context: click.Context) -> "Settings":
    """The settings in force; ends with exit code 2 and every problem when there are any."""
    from bot.config_file import SettingsRefused  # noqa: PLC0415  only commands that need settings pay for them
    from bot.settings import load_settings  # noqa: PLC0415

    path: Path | None = context.find_root().obj
    try:
        return load_settings(path)
    except SettingsRefused as refused:
        problems = list(_problem_lines(refused))
        click.echo(say("settings.refused", count=len(problems), path=path or Path("config.toml")), err=True)
        for line in problems:
            click.echo(say("settings.item", text=line), err=True)
        raise click.exceptions.Exit(USAGE) from None


@contextmanager
def database_of(settings: "Settings") -> Iterator["Database"]:
    """The firm's database in the shape of this version, closed afterwards; ends with exit code 3 when it is in use."""
    from storage.migrate import MadeByNewer, migrate  # noqa: PLC0415

    with unmigrated_database(settings) as database:
        try:
            migrate(database)
        except MadeByNewer as newer:
            stop(SURROUNDINGS, "cli.made_by_newer", revision=newer)
        yield database


@contextmanager
def unmigrated_database(settings: "Settings") -> Iterator["Database"]:
    """The firm's database as it is."""
    from storage.database import Database  # noqa: PLC0415
    from storage.engines import DatabaseBusy  # noqa: PLC0415

    with opening(settings):
        try:
            database = Database(settings.database_url)
        except DatabaseBusy as busy:
            stop(SURROUNDINGS, "cli.busy", file=busy)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def opening(settings: "Settings") -> Iterator[None]:
    """Makes the data folder; ends with exit code 3 and what to do where the database cannot be opened."""
    from storage.engines import DatabaseAway, DatabaseMoved, NoDriver  # noqa: PLC0415

    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    except OSError as error:
        stop(SURROUNDINGS, "cli.no_database", file=settings.data_dir, detail=error.strerror)
    except DatabaseAway as away:
        stop(SURROUNDINGS, "cli.server_away", url=away)
    except DatabaseMoved as moved:
        mark, to = moved.args
        stop(SURROUNDINGS, "cli.moved", mark=mark, to=to)
    except NoDriver:
        stop(SURROUNDINGS, "cli.no_driver")


@contextmanager
def readable_database(settings: "Settings") -> Iterator[tuple["Database", bool]]:
    """The database for looking at, and whether a running bot has it: then nothing can be written."""
    from storage.database import Database  # noqa: PLC0415
    from storage.engines import DatabaseBusy  # noqa: PLC0415
    from storage.migrate import MadeByNewer, migrate  # noqa: PLC0415

    with opening(settings):
        try:
            database, running = Database(settings.database_url), False
            migrate(database)
        except DatabaseBusy:
            database, running = Database(settings.database_url, reads_only=True), True
        except MadeByNewer as newer:
            stop(SURROUNDINGS, "cli.made_by_newer", revision=newer)
    try:
        yield database, running
    finally:
        database.close()


def _problem_lines(refused: "SettingsRefused") -> Iterator[str]:
    for problem in refused.problems:
        yield _sentence(problem.key, problem.values)


def _sentence(key: str, values: Mapping[str, Any]) -> str:
    """A problem's sentence; its values may be problems of their own."""
    filled = {
        name: _sentence(value.key, value.values) if hasattr(value, "key") else value for name, value in values.items()
    }
    if "table" in filled:
        filled["table"] = say("settings.in_table", name=filled["table"]) if filled["table"] else ""
    return say(key, **filled)
