"""zoudian doctor, backup, restore: for whoever looks after the machine."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from bot.cli import DATA_PROBLEM, SURROUNDINGS, USAGE, opening, say, settings_of, stop
from bot.console_trail import entry, keep
from bot.copying import progress_bars, told_copying
from bot.doctor import examine
from bot.settings import Settings
from rules.audit import Action
from storage import backup as archives
from storage.backup import BadBackup, Manifest, NotEmpty
from storage.database import Database
from storage.engines import DatabaseBusy
from storage.files import keys_in, open_files

_MARKS = {"fine": "✓", "hint": "!", "bad": "✗"}


@click.command()
@click.option("--deep", is_flag=True, help="把整个数据库读一遍，看文件有没有坏（大的库要几分钟）。")
@click.option("--json", "as_json", is_flag=True, help="输出 JSON。")
@click.pass_context
def doctor(context: click.Context, *, deep: bool, as_json: bool) -> None:
    """体检：一项一行，有问题的写明下一步怎么做。机器人在不在运行都可以做，什么都不改。

    ✓ 正常，! 提醒，✗ 有问题；有 ✗ 时退出码为 1。
    """
    settings = settings_of(context)
    found = list(examine(settings, datetime.now(UTC), deep=deep))
    if as_json:
        plain = [{"name": one.key, "level": one.level, "text": say(one.key, **one.values)} for one in found]
        click.echo(json.dumps(plain, ensure_ascii=False, indent=2))
    else:
        for one in found:
            click.echo(f"{_MARKS[one.level]} {say(one.key, **one.values)}")
        bad, hints = (sum(one.level == level for one in found) for level in ("bad", "hint"))
        click.echo("\n" + say("doctor.sum", bad=bad, hints=hints))
    if any(one.level == "bad" for one in found):
        raise click.exceptions.Exit(DATA_PROBLEM)


@click.command()
@click.argument("target", metavar="文件", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--without-files", is_flag=True, help="不打包照片和语音，只列出它们的 SHA-256。")
@click.pass_context
def backup(context: click.Context, target: Path, *, without_files: bool) -> None:
    """把数据库、照片和语音、网页登录密钥备份成一个 tar 文件。机器人不用停。SQLite 和 PostgreSQL 一样，可以互相恢复。

    里面是公司的全部内容，请像数据目录一样保管。令牌和密码不在里面。语音模型也不在里面，可以重新下载。
    """
    settings = settings_of(context)
    path = settings.sqlite_path
    if target.exists():
        stop(USAGE, "backup.exists", file=target)
    if path is not None and not path.is_file():
        stop(SURROUNDINGS, "backup.no_database", file=path)
    try:
        with _opened(settings) as database, told_copying(database), progress_bars() as bars:
            manifest = archives.make(
                database,
                open_files(settings.files),
                target,
                datetime.now(UTC),
                with_files=not without_files,
                cookie_key=settings.data_dir / archives.COOKIE_KEY,
                progress=bars("backup.packing"),
                copying=bars("backup.reading"),
            )
    except BadBackup as bad:
        stop(DATA_PROBLEM, "backup.damaged", file=path, detail=bad.detail)
    except OSError as error:
        stop(SURROUNDINGS, "cli.cannot_write", path=target, detail=error.strerror or error)
    keep(settings, None, entry(Action.BACKUP, new=target.name))
    _tell("backup.done", target, manifest)
    if manifest.lost:
        click.echo(say("backup.lost", count=len(manifest.lost), names=list(manifest.lost[:3])), err=True)
        raise click.exceptions.Exit(DATA_PROBLEM)


@click.command()
@click.argument("archive", metavar="文件", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.pass_context
def restore(context: click.Context, archive: Path) -> None:
    """从备份恢复。只恢复到没有数据库的数据目录（或空的 PostgreSQL 数据库），机器人要停着。

    先核对每个文件和每张表的行数，全对了才放进去。
    """
    settings = settings_of(context)
    kept = settings.files
    path = settings.sqlite_path or settings.data_dir
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        present = keys_in(kept.folder) if kept.kind == "local" else set()
        key = settings.data_dir / archives.COOKIE_KEY
        with progress_bars() as bars:
            moving = bars("restore.unpacking")
            if settings.sqlite_path is not None:
                done = archives.restore(archive, settings.sqlite_path, open_files(kept), present, key, moving)
            else:
                with _opened(settings) as database, told_copying(database):
                    done = archives.restore_to_server(
                        archive,
                        database,
                        settings.data_dir,
                        open_files(kept),
                        present,
                        key,
                        moving,
                        bars("restore.writing"),
                    )
        manifest, missing = done
    except DatabaseBusy as busy:
        stop(SURROUNDINGS, "cli.busy", file=busy)
    except NotEmpty as refused:
        stop(USAGE, "restore.not_empty", path=refused, folder=settings.data_dir)
    except BadBackup as bad:
        stop(DATA_PROBLEM, f"restore.bad.{bad.reason}", file=archive, detail=bad.detail)
    except OSError as error:
        stop(SURROUNDINGS, "cli.cannot_write", path=error.filename or path, detail=error.strerror or error)
    keep(settings, None, entry(Action.RESTORE, new=archive.name))
    _tell("restore.done", archive, manifest)
    if missing:
        click.echo(say("restore.missing", count=len(missing), names=missing[:3]), err=True)


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    """The database as it is: beside the bot where it runs, and with the file to ourselves where it does not."""
    with opening(settings):
        try:
            database = Database(settings.database_url)
        except DatabaseBusy:
            database = Database(settings.database_url, reads_only=True)
    with closing(database):
        yield database


def _tell(key: str, file: Path, manifest: Manifest) -> None:
    click.echo(
        say(
            key,
            file=file,
            rows=manifest.rows,
            tables=len(manifest.counts),
            files=len(manifest.files) - len(manifest.lost) if manifest.with_files else 0,
            at=f"{manifest.made_at:%Y-%m-%d %H:%M} UTC",
        )
    )
