"""The drill: a backup taken while the bot writes comes back whole in an empty place, and a bad one is refused.

On both databases, and from each to the other.
"""

import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from bot.cli import SAMPLE_FIRM, main
from bot.replay import Replay
from bot.script import read_script
from bot.script_check import check
from bot.stand_in import made_photo
from storage import evidence, inbox, jobs, table_copy
from storage.database import Database
from storage.evidence import Note
from storage.files import LocalFiles
from storage.migrate import current
from storage.tables.post import InboxRow
from tests.chatfirm import TRANSCRIPTS, template, tools_in
from tests.databases import POSTGRES, WHOLE, database_url, postgres_only, postgres_url, sqlite_only, sqlite_url
from tests.telegramfirm import delivery

LONG_AGO = datetime(2020, 1, 6, 9, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def zoudian(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def open_place(folder: Path, monkeypatch: pytest.MonkeyPatch, *, postgres: bool = POSTGRES) -> Path:
    """A folder to work in whose settings name a database that is not there yet, or an empty one on the server."""
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ZOUDIAN_DATA__URL", url_of(folder, postgres=postgres))
    return folder


def open_firm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `open_place`, with the sample firm there."""
    (folder / "data").mkdir(mode=0o700, parents=True)
    database_url(folder / "data", "zoudian.db", like=template())
    return open_place(folder, monkeypatch)


def url_of(folder: Path, *, postgres: bool = POSTGRES) -> str:
    return (postgres_url if postgres else sqlite_url)(folder / "data", "zoudian.db")


def held_in(url: str) -> dict[str, object]:
    """What every table holds, and the slow work."""
    with closing(Database(url, reads_only=True)) as database, database.read(WHOLE) as work:
        tables = {table.name: table_copy.content(work, table, "sqlite") for table in table_copy.tables()}
        work_left = [replace(job, run_at=NOW, error="") for job in jobs.every(work)]
        return {**tables, "job": work_left}


def nothing_is_in(url: str) -> bool:
    """Nothing was put in place: no file, or a database without a table."""
    if url.startswith("sqlite"):
        return not Path(url.removeprefix("sqlite:///")).exists()
    with closing(Database(url)) as database:
        return current(database) is None


def jobs_in(url: str) -> list[jobs.Kept]:
    with closing(Database(url, reads_only=True)) as database, database.read(WHOLE) as work:
        return jobs.every(work)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A firm with three voice notes and a login key."""
    home = open_firm(tmp_path / "firm", monkeypatch)
    (home / "data" / "cookie.key").write_bytes(b"k" * 32)
    files = LocalFiles(home / "data" / "files")
    with closing(Database(url_of(home))) as database:
        fill(database, files)
    return home


def fill(database: Database, files: LocalFiles) -> None:
    """Three notes whose jobs wait, are under way, and were given up."""
    with database.work(WHOLE) as work:
        for number in range(3):
            key = files.put(made_photo(f"门头{number}"))
            note = evidence.add_note(work, Note("E101", NOW, "waiting", file=key, mime="audio/ogg"), None)
            jobs.put(work, "transcribe", {"note": note, "account": 1}, LONG_AGO, f"visit:{number}")
        worker = jobs.enlist(work)
    for _ in range(jobs.MAX_TRIES):
        with database.work(WHOLE) as work:
            job = jobs.claim(work, datetime.now(UTC) + timedelta(days=2), worker)
            assert job is not None
            jobs.failed(work, job, LONG_AGO - timedelta(days=1), "why")
    with database.work(WHOLE) as work:
        assert jobs.claim(work, datetime.now(UTC), worker) is not None


@pytest.fixture
def elsewhere(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backup of the firm was made, and we stand in an empty place."""
    assert zoudian("backup", str(tmp_path / "b.tar")).exit_code == 0
    return open_place(tmp_path / "elsewhere", monkeypatch)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_firm_comes_back_as_it_was(home: Path, elsewhere: Path, tmp_path: Path) -> None:
    result = zoudian("restore", str(tmp_path / "b.tar"))
    assert result.exit_code == 0, result.stderr
    assert "3 个文件" in result.stdout
    assert held_in(url_of(elsewhere)) == held_in(url_of(home))
    assert files_in(elsewhere / "data" / "files") == files_in(home / "data" / "files")
    assert (elsewhere / "data" / "cookie.key").read_bytes() == b"k" * 32
    assert zoudian("migrate").stdout.startswith("数据库已经是最新")
    assert [one.state for one in jobs_in(url_of(elsewhere))] == ["dead", "running", "ready"]
    modes = {path.stat().st_mode & 0o077 for path in [tmp_path / "b.tar", *(elsewhere / "data").iterdir()]}
    assert modes <= {0, 0o044}, "only the lock file may be seen by others"
    assert (elsewhere / "data").stat().st_mode & 0o077 == 0


def test_a_backup_beside_the_writing_bot_is_one_moment(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer puts two rows into each transaction; a backup in between holds pairs only, and none of what was
    acknowledged before it began is missing.
    """
    database = Database(url_of(home))
    stop, written = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            with database.work(WHOLE) as work:
                for half in "ab":
                    inbox.accept(work, delivery("501", f"{written[0]}{half}", {"kind": "text", "text": "在"}, NOW))
            written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        archives: list[tuple[int, Path]] = []
        for number in range(3):
            while written[0] < 20 * (number + 1):
                stop.wait(0.01)
            archives.append((written[0], tmp_path / f"{number}.tar"))
            assert zoudian("backup", str(archives[-1][1])).exit_code == 0
    finally:
        stop.set()
        writer.join()
        database.close()
    for number, (acknowledged, archive) in enumerate(archives):
        place = open_place(tmp_path / f"place{number}", monkeypatch)
        assert zoudian("restore", str(archive)).exit_code == 0
        with closing(Database(url_of(place))) as restored, restored.read(WHOLE) as work:
            keys = set(work.session.scalars(select(InboxRow.delivery_key)))
        assert {f"{one}{half}" for one in range(acknowledged) for half in "ab"} <= keys
        assert {key[:-1] for key in keys if key[-1] == "a"} == {key[:-1] for key in keys if key[-1] == "b"}


def test_nothing_is_overwritten(home: Path, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    assert zoudian("backup", str(archive)).exit_code == 0
    before, rows = archive.read_bytes(), held_in(url_of(home))
    assert zoudian("backup", str(archive)).exit_code == 2
    assert archive.read_bytes() == before
    refused = zoudian("restore", str(archive))
    assert refused.exit_code == 2
    assert "不会覆盖" in refused.stderr
    assert held_in(url_of(home)) == rows


@sqlite_only
def test_nothing_is_restored_under_a_running_bot(elsewhere: Path, tmp_path: Path) -> None:
    (elsewhere / "data").mkdir()
    database = Database(f"sqlite:///{elsewhere / 'data' / 'zoudian.db'}")
    result = zoudian("restore", str(tmp_path / "b.tar"))
    database.close()
    assert result.exit_code == 3
    assert "正被另一个走店进程使用" in result.stderr


@pytest.mark.parametrize(
    "left", [pytest.param("zoudian.db-wal", marks=sqlite_only), "files/ab/cd/" + "ab" * 32], ids=["wal", "file"]
)
def test_what_another_database_left_is_no_empty_place(elsewhere: Path, tmp_path: Path, left: str) -> None:
    path = elsewhere / "data" / left
    path.parent.mkdir(parents=True)
    path.write_bytes(b"somebody else's")
    assert zoudian("restore", str(tmp_path / "b.tar")).exit_code == 2
    assert nothing_is_in(url_of(elsewhere))


def test_without_files_they_are_named_and_may_come_later(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zoudian("backup", "--without-files", str(tmp_path / "b.tar")).exit_code == 0
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert tar.getnames() == ["manifest.json", "zoudian.db", "cookie.key"]
        packed = tar.extractfile("manifest.json")
        assert packed is not None
        assert sorted(json.load(packed)["files"]) == sorted(files_in(home / "data" / "files"))
    open_place(tmp_path / "elsewhere", monkeypatch)
    result = zoudian("restore", str(tmp_path / "b.tar"))
    assert result.exit_code == 0
    assert "还缺 3 个" in result.stderr


def test_a_rotten_file_is_told_and_stops_no_backup(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rotten, gone, _ = sorted(path for path in (home / "data" / "files").rglob("*") if path.is_file())
    rotten.write_bytes(b"rotten")
    gone.unlink()
    result = zoudian("backup", str(tmp_path / "b.tar"))
    assert result.exit_code == 1
    assert "2 个" in result.stderr
    assert rotten.name in result.stderr
    place = open_place(tmp_path / "elsewhere", monkeypatch)
    result = zoudian("restore", str(tmp_path / "b.tar"))
    assert result.exit_code == 0
    assert "还缺 2 个" in result.stderr
    assert len(files_in(place / "data" / "files")) == 1


def repacked(archive: Path, change: Callable[[str, bytes], Iterator[tuple[str, bytes]]]) -> None:
    """Write an archive anew with each member changed."""
    with tarfile.open(archive) as tar:
        members = [(one.name, tar.extractfile(one)) for one in tar.getmembers()]
        content = [(name, packed.read()) for name, packed in members if packed is not None]
    with tarfile.open(archive, "w") as tar:
        for name, data in content:
            for new_name, new_data in change(name, data):
                member = tarfile.TarInfo(new_name)
                member.size = len(new_data)
                tar.addfile(member, io.BytesIO(new_data))


def flipped(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, data[:5000] + bytes([data[5000] ^ 1]) + data[5001:] if name == "zoudian.db" else data


def rotten(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, data + b"x" if name.startswith("files/") else data


def outside(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, data
    if name == "zoudian.db":
        yield "../../stolen", b"x"


def miscounted(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if name == "manifest.json":
        manifest = json.loads(data)
        manifest["counts"]["employee"] += 1
        data = json.dumps(manifest).encode()
    yield name, data


def from_the_future(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if name == "manifest.json":
        data = json.dumps({**json.loads(data), "revision": "9999"}).encode()
    yield name, data


def without_one(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if not name.startswith("files/"):
        yield name, data


def without_manifest(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if name != "manifest.json":
        yield name, data


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (flipped, "里的数据库坏了"),
        (rotten, "坏了，没有恢复"),
        (outside, "不是 zoudian backup 做的"),
        (miscounted, "行数和备份时记下的不一样"),
        (from_the_future, "更新的版本"),
        (without_one, "不完整"),
        (without_manifest, "不是 zoudian backup 做的"),
    ],
)
def test_a_bad_backup_is_refused_and_nothing_is_put_in_place(
    elsewhere: Path,
    tmp_path: Path,
    change: Callable[[str, bytes], Iterator[tuple[str, bytes]]],
    told: str,
) -> None:
    repacked(tmp_path / "b.tar", change)
    result = zoudian("restore", str(tmp_path / "b.tar"))
    assert result.exit_code == 1
    assert told in result.stderr
    assert nothing_is_in(url_of(elsewhere))
    assert not list((elsewhere / "data").glob("*.restoring"))
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize("left", [0, 100, 512, 3000, 200_000])
def test_a_backup_that_was_cut_off_is_refused(elsewhere: Path, tmp_path: Path, left: int) -> None:
    archive = tmp_path / "b.tar"
    archive.write_bytes(archive.read_bytes()[:left])
    result = zoudian("restore", str(archive))
    assert result.exit_code == 1
    assert result.stderr.strip()
    assert nothing_is_in(url_of(elsewhere))


def test_a_restore_that_failed_may_be_run_again(elsewhere: Path, tmp_path: Path) -> None:
    whole = (tmp_path / "b.tar").read_bytes()
    repacked(tmp_path / "b.tar", miscounted)
    assert zoudian("restore", str(tmp_path / "b.tar")).exit_code == 1
    (tmp_path / "b.tar").write_bytes(whole)
    assert zoudian("restore", str(tmp_path / "b.tar")).exit_code == 0


@sqlite_only
def test_a_damaged_database_is_not_backed_up_in_silence(home: Path, tmp_path: Path) -> None:
    path = home / "data" / "zoudian.db"
    data = bytearray(path.read_bytes())
    data[8192:12288] = b"\x07" * 4096
    path.write_bytes(bytes(data))
    result = zoudian("backup", str(tmp_path / "b.tar"))
    assert result.exit_code == 1
    assert "已经坏了" in result.stderr
    assert not (tmp_path / "b.tar").exists()
    assert [one.name for one in tmp_path.iterdir()] == ["firm"]


@sqlite_only
def test_no_database_is_no_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_place(tmp_path / "empty", monkeypatch)
    assert zoudian("backup", str(tmp_path / "b.tar")).exit_code == 3
    assert not (tmp_path / "empty" / "data" / "zoudian.db").exists()


@postgres_only
def test_a_database_without_tables_is_no_backup_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_place(tmp_path / "empty", monkeypatch)
    refused = zoudian("backup", str(tmp_path / "b.tar"))
    assert refused.exit_code == 3
    assert "zoudian migrate" in refused.stderr
    assert not (tmp_path / "b.tar").exists()


@pytest.mark.parametrize("name", ["undo_each", "two_visits", "postpone_reminder"])
def test_after_a_restore_the_bot_goes_on_where_it_was(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a conversation, a backup, everything gone, a restore, and the other half as it is written."""
    file = next(one for one in TRANSCRIPTS if one.stem == name)
    script = read_script(file.read_text(encoding="utf-8"), file)
    middle = [number for number, line in enumerate(script.lines) if line.acts]
    half = middle[len(middle) // 2]
    home = open_firm(tmp_path / "firm", monkeypatch)
    tools = tools_in(home / "data")
    with closing(Database(url_of(home))) as database:
        replay = Replay(database, tools)
        for line in script.lines[:half]:
            replay.play(line, file.parent)
    made = zoudian("backup", str(tmp_path / "b.tar"))
    assert made.exit_code == 0, made.stderr
    place = open_place(tmp_path / "elsewhere", monkeypatch)
    assert zoudian("restore", str(tmp_path / "b.tar")).exit_code == 0
    with closing(Database(url_of(place))) as database:
        replay.database, replay.tools = database, tools_in(place / "data")
        for line in script.lines[half:]:
            replay.play(line, file.parent)
        assert [str(item) for item in check(replay, script)] == []


@pytest.mark.parametrize("to_postgres", [False, True], ids=["to-sqlite", "to-postgres"])
@pytest.mark.parametrize("from_postgres", [False, True], ids=["from-sqlite", "from-postgres"])
def test_a_backup_of_either_database_comes_back_on_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, from_postgres: bool, to_postgres: bool
) -> None:
    """And back again: the bot finds what it left, gives on what was under way, and numbers on."""
    here = open_place(tmp_path / "here", monkeypatch, postgres=from_postgres)
    assert zoudian("import", str(SAMPLE_FIRM)).exit_code == 0
    with closing(Database(url_of(here, postgres=from_postgres))) as database:
        fill(database, LocalFiles(here / "data" / "files"))
    assert zoudian("backup", str(tmp_path / "b.tar")).exit_code == 0
    there = open_place(tmp_path / "there", monkeypatch, postgres=to_postgres)
    result = zoudian("restore", str(tmp_path / "b.tar"))
    assert result.exit_code == 0, result.stderr
    there_url = url_of(there, postgres=to_postgres)
    assert held_in(there_url) == held_in(url_of(here, postgres=from_postgres))
    assert zoudian("restore", str(tmp_path / "b.tar")).exit_code == 2
    with closing(Database(there_url)) as database:
        with database.work(WHOLE) as work:
            (dead,) = jobs.dead(work)
            assert (dead.tries, dead.args["note"]) == (jobs.MAX_TRIES, 1)
            worker = jobs.enlist(work)
            assert jobs.recover(work) == []
        with database.work(WHOLE) as work:
            under_way = jobs.claim(work, datetime.now(UTC), worker)
            assert under_way is not None
            assert (under_way.args["note"], under_way.tries) == (2, 2)
        with database.work(WHOLE) as work:
            assert jobs.put(work, "transcribe", {}, NOW) == 4
            assert evidence.add_note(work, Note("E101", NOW, "waiting", file="0" * 64, mime="audio/ogg"), None) == 4
