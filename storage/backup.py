"""A firm's database and files as one archive, made while the bot runs, and brought back with everything checked.

The archive is a plain tar: `manifest.json` first, then the database, the cookie key, and each file under its SHA-256;
`lost.json` comes last where a file turned out to be damaged.
The database is copied first and in one piece; a file is durable before a row names it and is never changed, so every
file that the copy names is there to be packed.
"""

import hashlib
import io
import json
import os
import re
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from storage import server_copy
from storage.database import Database
from storage.engines import kept_out, moved_mark
from storage.files import FileLost, Files, force, key_of
from storage.migrate import knows
from storage.move import check_empty

FORM: Final = 1
MANIFEST: Final = "manifest.json"
DATABASE: Final = "zoudian.db"
COOKIE_KEY: Final = "cookie.key"
LOST: Final = "lost.json"
_FILE = re.compile(r"files/([0-9a-f]{64})")
_LONGEST_MANIFEST: Final = 256 * 1024 * 1024

Progress = Callable[[int, int], object]


class BadBackup(Exception):
    """The archive is not one of ours, or damaged. `reason` is the end of a text key, `detail` names the place."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class NotEmpty(Exception):
    """Something is where the backup is to go. The argument is its path."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`counts`: rows of each table. `files`: keys that the database names; `lost`: those of them that were missing."""

    made_at: datetime
    revision: str | None
    counts: dict[str, int]
    database_sha256: str
    with_files: bool
    files: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def rows(self) -> int:
        return sum(self.counts.values())


def make(
    database: Database,
    files: Files,
    target: Path,
    now: datetime,
    *,
    with_files: bool,
    cookie_key: Path | None = None,
    progress: Progress = lambda done, total: None,
    copying: Progress = lambda done, total: None,
) -> Manifest:
    """Write the archive; whole or not at all. `database` may be one that a running bot has for writing. On PostgreSQL
    `copying` is told of the rows, `progress` of the files.

    Raises OSError where it cannot be written, BadBackup where the database itself is damaged, and on PostgreSQL what
    server_copy.dump raises.
    """
    copy, part = Path(f"{target}.copy"), Path(f"{target}.part")
    try:
        _copy(database, copy, copying)
        manifest = _manifest(copy, files, now, with_files=with_files)
        with _private(part) as out, tarfile.open(fileobj=out, mode="w") as tar:
            _add(tar, MANIFEST, json.dumps(_plain(manifest), ensure_ascii=False, indent=1).encode())
            tar.add(copy, DATABASE)
            if cookie_key is not None and cookie_key.is_file():
                _add(tar, COOKIE_KEY, cookie_key.read_bytes())
            damaged = _add_files(tar, manifest, files, progress) if with_files else []
        os.replace(part, target)
        force(target.parent)
        return replace(manifest, lost=tuple(sorted({*manifest.lost, *damaged})))
    finally:
        for left in (copy, part, Path(f"{copy}-journal")):
            left.unlink(missing_ok=True)


def restore(
    archive: Path, target: Path, files: Files, present: set[str], cookie_key: Path, progress: Progress
) -> tuple[Manifest, list[str]]:
    """Bring an archive back into an empty place: (what it held, keys of files that are named and not there).

    `target` is the database's file to be. `present` are the files that are there already: they must be the backup's,
    so that an interrupted restore can be run again and files may be brought back by other means. The database comes
    last, when everything else is in place and checked. Raises BadBackup, NotEmpty, DatabaseBusy or OSError.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with kept_out(target):
        for path in (target, Path(f"{target}-wal"), Path(f"{target}-journal"), moved_mark(target)):
            if path.exists() and path.stat().st_size:
                raise NotEmpty(str(path))
        arriving = Path(f"{target}.restoring")
        try:
            manifest = _arrive(archive, arriving, files, present, cookie_key, progress)
            os.replace(arriving, target)
            force(target.parent)
        finally:
            arriving.unlink(missing_ok=True)
    return manifest, [name for name in manifest.files if not files.exists(name)]


def restore_to_server(
    archive: Path,
    database: Database,
    room: Path,
    files: Files,
    present: set[str],
    cookie_key: Path,
    progress: Progress,
    copying: Progress,
) -> tuple[Manifest, list[str]]:
    """As `restore`, into an empty PostgreSQL database. `room` is a folder with space for the database on its way.

    The rows come last, in one transaction, and are read again and compared before it ends. Raises what `restore`
    raises, and what server_copy.fill raises.
    """
    room.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_empty(database)
    arriving = room / f"{DATABASE}.restoring"
    with kept_out(arriving):
        try:
            manifest = _arrive(archive, arriving, files, present, cookie_key, progress)
        except BaseException:
            arriving.unlink(missing_ok=True)
            raise
    server_copy.fill(arriving, database, copying)
    return manifest, [name for name in manifest.files if not files.exists(name)]


def _arrive(
    archive: Path, arriving: Path, files: Files, present: set[str], cookie_key: Path, progress: Progress
) -> Manifest:
    """Everything but the database is in place afterwards, and that lies in `arriving`, checked."""
    with _opened(archive) as tar:
        manifest = _read_manifest(tar)
        foreign = present - set(manifest.files)
        if foreign:
            raise NotEmpty(sorted(foreign)[0])
        key = _unpack(tar, manifest, arriving, files, progress)
    _check(arriving, manifest)
    if key and not cookie_key.exists():
        with _private(cookie_key) as out:
            out.write(key)
    return manifest


def _copy(database: Database, copy: Path, copying: Progress) -> None:
    """One consistent moment, and the bot writes on: SQLite's online backup in one step, PostgreSQL's snapshot."""
    copy.unlink(missing_ok=True)
    with _private(copy):
        pass
    if database.shared:
        server_copy.dump(database, copy, copying)
    else:
        _copy_file(database, copy)
    with copy.open("rb") as file:
        os.fsync(file.fileno())


def _copy_file(database: Database, copy: Path) -> None:
    source: Any = database.reader.raw_connection()
    try:
        with closing(sqlite3.connect(copy)) as made:
            source.driver_connection.backup(made)
            made.execute("PRAGMA journal_mode=DELETE")  # one file, without a -wal beside it
    finally:
        source.close()


def _manifest(copy: Path, files: Files, now: datetime, *, with_files: bool) -> Manifest:
    with closing(sqlite3.connect(copy)) as made:
        damage = _damage(made)
        if damage:
            raise BadBackup("damaged", damage)
        counts, revision, keys = _counts(made), _revision(made), tuple(sorted(_keys(made)))
    lost = tuple(key for key in keys if not files.exists(key))
    return Manifest(now, revision, counts, _sha256(copy), with_files, keys, lost)


def _damage(connection: sqlite3.Connection) -> str:
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == ["ok"] else "; ".join(found)


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    return {
        name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - the schema's own names
        for (name,) in names.fetchall()
    }


def _revision(connection: sqlite3.Connection) -> str | None:
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    return None if row is None else str(row[0])


def _keys(connection: sqlite3.Connection) -> set[str]:
    """Every file that photos, notes and messages still to be applied speak of."""
    found = {
        key
        for table in ("photo", "note")
        for (key,) in connection.execute(f"SELECT DISTINCT file FROM {table}")  # noqa: S608 - two names of ours
    }
    for (message,) in connection.execute("SELECT message FROM inbox WHERE message IS NOT NULL"):
        media = (json.loads(message) or {}).get("media") or {}
        found.add(media.get("file") or "")
    return {key for key in found if _FILE.fullmatch(f"files/{key}")}


def _add_files(tar: tarfile.TarFile, manifest: Manifest, files: Files, progress: Progress) -> list[str]:
    """Pack every file that is there; which of them were damaged."""
    there = sorted(set(manifest.files) - set(manifest.lost))
    damaged = []
    for number, key in enumerate(there, 1):
        try:
            _add(tar, f"files/{key}", files.get(key))
        except FileLost:
            damaged.append(key)
        progress(number, len(there))
    if damaged:
        _add(tar, LOST, json.dumps(damaged).encode())
    return damaged


def _read_manifest(tar: tarfile.TarFile) -> Manifest:
    first = tar.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > _LONGEST_MANIFEST:
        raise BadBackup("foreign")
    try:
        data = json.loads(_content(tar, first))
        if data["form"] != FORM:
            raise BadBackup("newer")
        manifest = Manifest(
            datetime.fromisoformat(data["made_at"]),
            data["revision"],
            {str(name): int(count) for name, count in data["counts"].items()},
            str(data["database_sha256"]),
            bool(data["with_files"]),
            tuple(str(key) for key in data["files"]),
            tuple(str(key) for key in data["lost"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadBackup("foreign") from None
    if not all(_FILE.fullmatch(f"files/{key}") for key in manifest.files):
        raise BadBackup("foreign")
    if not knows(manifest.revision):
        raise BadBackup("newer", manifest.revision or "")
    return manifest


def _unpack(tar: tarfile.TarFile, manifest: Manifest, arriving: Path, files: Files, progress: Progress) -> bytes:
    """Every member under a name of ours, none elsewhere; the cookie key. Only what the manifest lists is taken."""
    wanted = set(manifest.files) - set(manifest.lost) if manifest.with_files else set()
    total, key, has_database = len(wanted), b"", False
    while (member := tar.next()) is not None:
        file = _FILE.fullmatch(member.name)
        if not member.isreg():
            raise BadBackup("foreign", member.name)
        if member.name == DATABASE:
            _stream(tar, member, arriving)
            has_database = True
        elif member.name == LOST and member.size < _LONGEST_MANIFEST:
            wanted -= _keys_of(_content(tar, member))
        elif member.name == COOKIE_KEY and member.size < 4096:
            key = _content(tar, member)
        elif file and file.group(1) in wanted:
            data = _content(tar, member)
            if key_of(data) != file.group(1):
                raise BadBackup("file_damaged", file.group(1))
            files.put(data)
            wanted.remove(file.group(1))
            progress(total - len(wanted), total)
        else:
            raise BadBackup("foreign", member.name)
    if not has_database:
        raise BadBackup("cut_off", DATABASE)
    if wanted:
        raise BadBackup("cut_off", sorted(wanted)[0])
    return key


def _keys_of(listed: bytes) -> set[str]:
    try:
        return {str(key) for key in json.loads(listed)}
    except (ValueError, TypeError, RecursionError):
        raise BadBackup("foreign", LOST) from None


def _check(arriving: Path, manifest: Manifest) -> None:
    """The database is byte for byte what was packed, whole, and has as many rows as were counted then."""
    if _sha256(arriving) != manifest.database_sha256:
        raise BadBackup("damaged")
    with closing(sqlite3.connect(arriving)) as made:
        damage = _damage(made)
        if damage:
            raise BadBackup("damaged", damage)
        counts = _counts(made)
    if counts != manifest.counts:
        wrong = sorted(name for name in {*counts, *manifest.counts} if counts.get(name) != manifest.counts.get(name))
        raise BadBackup("counts", ", ".join(wrong))


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """What is wrong with the archive itself becomes BadBackup."""
    try:
        with tarfile.open(archive, mode="r:") as tar:
            yield tar
    except tarfile.TarError as error:
        raise BadBackup("cut_off" if "unexpected end" in str(error) else "foreign", str(error)) from None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    packed = tar.extractfile(member)
    data = packed.read() if packed is not None else b""
    if len(data) != member.size:
        raise BadBackup("cut_off", member.name)
    return data


def _stream(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    packed = tar.extractfile(member)
    with _private(target) as out:
        while packed is not None and (piece := packed.read(1 << 20)):
            out.write(piece)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    tar.addfile(member, io.BytesIO(data))


@contextmanager
def _private(path: Path) -> Iterator[io.BufferedWriter]:
    """A new file that only the bot's own user reads, on the disk when the block ends."""
    with suppress(FileNotFoundError):
        path.unlink()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(manifest: Manifest) -> dict[str, Any]:
    return {
        "form": FORM,
        "made_at": manifest.made_at.isoformat(),
        "revision": manifest.revision,
        "counts": manifest.counts,
        "database_sha256": manifest.database_sha256,
        "with_files": manifest.with_files,
        "files": manifest.files,
        "lost": manifest.lost,
    }
