"""Photos and voice notes, each kept once under the SHA-256 of its bytes, in a folder or in an S3 bucket.

A file is durable before `put` returns, so a database row that names it never points at nothing.
"""

import hashlib
import os
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

_KEY = re.compile(r"[0-9a-f]{64}")
_ARRIVING = ".arriving-"
_LEFTOVER_AGE_S = 24 * 3600


class FileLost(Exception):
    """A stored file is missing, or its bytes are no longer those that were stored. `key` says which."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class Files(Protocol):
    """Where bytes are kept. A key is 64 hexadecimal digits in lower case; anything else is a ValueError."""

    def put(self, data: bytes) -> str:
        """Keep the bytes and return their key. The same bytes again change nothing."""

    def get(self, key: str) -> bytes:
        """The bytes, checked against their key; FileLost where they are missing or damaged."""

    def exists(self, key: str) -> bool: ...

    def path_or_none(self, key: str) -> Path | None:
        """The file on this machine's disk for who can read from there, None where it is elsewhere or missing."""


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """Where files are kept. `local` needs a folder; `s3` a bucket, and for anything but Amazon an endpoint.

    The endpoint is "https://host" where the bucket goes into the path, and "https://bucket.host" where the provider
    wants it in the name (Aliyun OSS, Tencent COS). Without keys those of the usual AWS_* environment are used.
    """

    kind: Literal["local", "s3"] = "local"
    folder: Path = Path("data/files")
    bucket: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    prefix: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)


def open_files(settings: FilesSettings) -> Files:
    if settings.kind == "local":
        return LocalFiles(settings.folder)
    from storage.s3_files import S3Files  # noqa: PLC0415 - the extra `s3` is only needed by those who choose it

    return S3Files(settings)


def key_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def checked_key(key: str) -> str:
    """The key itself; ValueError for anything that could be a path instead."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a file key: {key[:80]!r}")
    return key


def intact(key: str, data: bytes) -> bytes:
    """The bytes, or FileLost when they are not those of the key."""
    if key_of(data) != key:
        raise FileLost(key)
    return data


class LocalFiles:
    """Files in a folder, spread over two levels: `ab/cd/abcd…`. Readable by the bot's own user only.

    A file is written beside its place, forced to disk, then renamed into it: a crash leaves the whole file or none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()

    def put(self, data: bytes) -> str:
        key = key_of(data)
        target = self._path(key)
        if not self._holds(key):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(target, data)
        # Also for a file found in place: another thread may have renamed it there and not yet forced the folder.
        for folder in (target.parent, target.parent.parent, self.folder):
            force(folder)
        return key

    def get(self, key: str) -> bytes:
        try:
            data = self._path(key).read_bytes()
        except FileNotFoundError:
            raise FileLost(key) from None
        return intact(key, data)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def path_or_none(self, key: str) -> Path | None:
        path = self._path(key)
        return path if path.is_file() else None

    def _path(self, key: str) -> Path:
        checked_key(key)
        return self.folder / key[:2] / key[2:4] / key

    def _holds(self, key: str) -> bool:
        """Whether the file is there undamaged; bytes that rotted are replaced when they are sent again."""
        try:
            self.get(key)
        except FileLost:
            return False
        return True

    def _write(self, target: Path, data: bytes) -> None:
        handle, name = tempfile.mkstemp(prefix=_ARRIVING, dir=self.folder)
        arriving = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            arriving.replace(target)
        except BaseException:
            arriving.unlink(missing_ok=True)
            raise

    def _sweep(self) -> None:
        """Remove what crashes left half written; young ones may be another process's, at work now."""
        oldest = time.time() - _LEFTOVER_AGE_S
        for left in self.folder.glob(f"{_ARRIVING}*"):
            if left.stat().st_mtime < oldest:
                left.unlink(missing_ok=True)


def force(folder: Path) -> None:
    """Make the folder's entries survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def keys_in(folder: Path) -> set[str]:
    """The key of every file kept in a folder on this machine."""
    return {path.name for path in folder.glob("??/??/*") if _KEY.fullmatch(path.name)}
