"""zoudian move-to-postgres: a firm that has outgrown one process."""

import stat
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click

from bot.cli import SURROUNDINGS, USAGE, opening, say, settings_of, stop
from bot.copying import progress_bars, told_copying
from bot.settings import Settings
from storage.database import Database
from storage.engines import DatabaseBusy, moved_mark
from storage.move import move


@click.command("move-to-postgres")
@click.option(
    "--to-url-file",
    "url_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="写着 PostgreSQL 地址的文件（第一行）。默认用 ZOUDIAN_DATA__URL。密码不要写在命令行上。",
)
@click.option("--dry-run", is_flag=True, help="全部搬一遍、核对一遍，再撤回：什么都不留下。")
@click.pass_context
def move_to_postgres(context: click.Context, url_file: Path | None, *, dry_run: bool) -> None:
    """把公司从 SQLite 搬到 PostgreSQL：所有的表、没做完的任务、没发出去的消息。机器人要停着，目标要是空的数据库。

    在一个事务里写完、再读回来按行数和摘要逐表核对，全对了才算；中途断了，目标还是空的，可以再来。
    照片和语音留在原处。SQLite 文件不动，只在旁边放一个标记，免得有人又启动旧的。
    """
    settings = settings_of(context)
    path = settings.sqlite_path or settings.data_dir / "zoudian.db"
    if not path.is_file():
        stop(SURROUNDINGS, "move.no_database", file=path)
    url = _target(settings, url_file)
    with opening(settings), closing(Database(url)) as target, told_copying(target), progress_bars() as bars:
        try:
            moved = move(path, target, datetime.now(UTC), dry_run=dry_run, progress=bars("move.copying"))
        except DatabaseBusy as busy:
            stop(SURROUNDINGS, "cli.busy", file=busy)
        shown = target.url.render_as_string(hide_password=True)
    rows = sum(one.rows for one in moved.values())
    key = "move.tried" if dry_run else "move.done"
    click.echo(say(key, url=shown, tables=len(moved), rows=rows, jobs=moved["job"].rows))
    if dry_run:
        return
    next_steps = ["move.next_started"] if settings.sqlite_path is None and url_file is None else ["move.next_set"]
    next_steps += ["move.next_files_s3" if settings.files.kind == "s3" else "move.next_files", "move.next_old"]
    for step in next_steps:
        click.echo(say(step, folder=settings.files.folder, file=path, mark=moved_mark(path)))


def _target(settings: Settings, url_file: Path | None) -> str:
    url = settings.database_url
    if url_file is not None:
        lines = url_file.read_text(encoding="utf-8").strip().splitlines()
        url = lines[0].strip() if lines else ""
        if stat.S_IMODE(url_file.stat().st_mode) & 0o077:
            click.echo(say("move.others_can_read", file=url_file), err=True)
    if not url.startswith(("postgresql:", "postgresql+")):
        stop(USAGE, "move.no_target")
    return url
