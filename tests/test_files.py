"""Files are kept once under the hash of their bytes: the same promises on a local folder and in a real S3 server."""

import io
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from storage.files import FileLost, Files, FilesSettings, LocalFiles, checked_key, key_of, open_files

PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 1200  # 307 kB
UNKNOWN = "0" * 64


@pytest.fixture(scope="module")
def s3_server() -> Iterator[tuple[str, int]]:
    """A whole S3 server on loopback with one empty bucket, `photos`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    answer = s3_request((host, port), "PUT", "/photos")
    assert answer == 200
    yield host, port
    server.stop()


def s3_request(server: tuple[str, int], method: str, path: str, body: bytes = b"") -> int:
    connection = HTTPConnection(*server, timeout=10)
    connection.request(method, path, body)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.fixture
def s3_settings(s3_server: tuple[str, int]) -> FilesSettings:
    host, port = s3_server
    return FilesSettings(
        kind="s3",
        bucket="photos",
        endpoint=f"http://{host}:{port}",
        prefix="firm",
        access_key="key",
        secret_key="secret",
    )


@pytest.fixture(params=["local", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "local":
        return open_files(FilesSettings(kind="local", folder=tmp_path / "files"))
    settings: FilesSettings = request.getfixturevalue("s3_settings")
    return open_files(replace(settings, prefix=tmp_path.name))


def test_what_is_put_is_got_under_its_sha256(files: Files) -> None:
    key = files.put(PHOTO)
    assert key == key_of(PHOTO)
    assert files.get(key) == PHOTO
    assert files.exists(key)


def test_the_same_bytes_twice_are_one_file(files: Files) -> None:
    assert files.put(PHOTO) == files.put(PHOTO)
    assert files.get(key_of(PHOTO)) == PHOTO


def test_an_empty_file_is_a_file(files: Files) -> None:
    assert files.get(files.put(b"")) == b""


def test_five_megabytes(files: Files) -> None:
    data = os.urandom(5 * 1024 * 1024)
    assert files.get(files.put(data)) == data


def test_a_file_nobody_put_is_lost(files: Files) -> None:
    assert not files.exists(UNKNOWN)
    assert files.path_or_none(UNKNOWN) is None
    with pytest.raises(FileLost) as lost:
        files.get(UNKNOWN)
    assert lost.value.key == UNKNOWN


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "/" + "a" * 63])
def test_a_key_is_never_a_path(files: Files, key: str) -> None:
    for use in (files.get, files.exists, files.path_or_none):
        with pytest.raises(ValueError, match="not a file key"):
            use(key)


def test_many_threads_put_the_same_photo(files: Files) -> None:
    """一个相册被微信重复投递：同一张照片同时存八次"""
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(files.put, [PHOTO] * 24))
    assert set(keys) == {key_of(PHOTO)}
    assert files.get(keys[0]) == PHOTO


@given(st.text(max_size=70))
def test_only_64_hexadecimal_digits_are_a_key(text: str) -> None:
    good = len(text) == 64 and set(text) <= set("0123456789abcdef")
    try:
        assert checked_key(text) == text
    except ValueError:
        assert not good
    else:
        assert good


def test_a_local_file_has_a_path(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    path = files.path_or_none(files.put(PHOTO))
    assert path is not None
    assert path.read_bytes() == PHOTO
    assert path.relative_to(tmp_path).parts == (path.name[:2], path.name[2:4], key_of(PHOTO))


def test_photos_are_private(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path / "files")
    path = files.path_or_none(files.put(PHOTO))
    assert path is not None
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_nothing_but_the_file_is_left_behind(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(files.put, [PHOTO, b"other"] * 8))
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {key_of(PHOTO), key_of(b"other")}


def test_a_damaged_file_is_lost_until_the_same_bytes_come_again(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    key = files.put(PHOTO)
    path = files.path_or_none(key)
    assert path is not None
    path.write_bytes(PHOTO[:-1] + b"?")
    with pytest.raises(FileLost):
        files.get(key)
    files.put(PHOTO)
    assert files.get(key) == PHOTO


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """磁盘写到一半失败：没有半张照片，也没有垃圾"""
    files = LocalFiles(tmp_path)
    (tmp_path / key_of(PHOTO)[:2]).write_text("a file where a folder must be made")
    with pytest.raises(OSError, match=key_of(PHOTO)[:2]):
        files.put(PHOTO)
    (tmp_path / key_of(PHOTO)[:2]).unlink()
    folder = tmp_path / key_of(PHOTO)[:2] / key_of(PHOTO)[2:4] / key_of(PHOTO)
    folder.mkdir(parents=True)  # a folder of the file's own name: the rename fails after the bytes were written
    (folder / "in the way").touch()
    with pytest.raises(OSError, match=key_of(PHOTO)):
        files._write(folder, PHOTO)
    assert not list(tmp_path.glob(".arriving-*"))


def test_what_a_crash_left_is_swept_and_never_a_file(tmp_path: Path) -> None:
    """断电留下的半个文件：一天后清掉；刚写的不动，可能是另一个进程的"""
    old, young = tmp_path / ".arriving-old", tmp_path / ".arriving-young"
    for left in (old, young):
        left.write_bytes(PHOTO[:1000])
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    files = LocalFiles(tmp_path)
    assert not old.exists()
    assert young.exists()
    assert not files.exists(key_of(PHOTO))
    assert files.get(files.put(PHOTO)) == PHOTO


def test_the_file_and_its_folders_are_forced_to_disk_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """断电不丢：内容先落盘，再改名，再让三层目录落盘"""
    files = LocalFiles(tmp_path)
    forced: list[str] = []
    fsync, replace_file = os.fsync, Path.replace

    def watched_fsync(handle: int) -> None:
        forced.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    def watched_replace(path: Path, target: Path) -> Path:
        forced.append("renamed")
        return replace_file(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    key = files.put(PHOTO)
    assert forced[0].startswith(str(tmp_path / ".arriving-"))
    assert forced[1:] == ["renamed", str(tmp_path / key[:2] / key[2:4]), str(tmp_path / key[:2]), str(tmp_path)]


def test_a_damaged_object_in_the_bucket_is_lost(s3_server: tuple[str, int], s3_settings: FilesSettings) -> None:
    key = key_of(b"never put")
    assert s3_request(s3_server, "PUT", f"/photos/firm/{key}", b"something else") == 200
    files = open_files(s3_settings)
    assert files.exists(key)  # under bucket, prefix and key, and nowhere else
    with pytest.raises(FileLost):
        files.get(key)


def test_two_firms_share_a_bucket_by_prefix(s3_settings: FilesSettings) -> None:
    key = open_files(s3_settings).put(b"of one firm")
    assert not open_files(replace(s3_settings, prefix="other")).exists(key)
    assert not open_files(replace(s3_settings, prefix="")).exists(key)


def test_an_endpoint_that_names_the_bucket_gets_no_bucket_in_the_path(s3_settings: FilesSettings) -> None:
    """阿里云 OSS 一类：桶名在域名里。Here the "bucket" 127 is the first part of 127.0.0.1, so no name is looked up."""
    key = open_files(replace(s3_settings, bucket="127", prefix="photos")).put(b"named by the host")
    assert open_files(replace(s3_settings, prefix="")).exists(key)


def test_a_missing_bucket_is_an_error_and_not_a_lost_file(s3_settings: FilesSettings) -> None:
    files = open_files(replace(s3_settings, bucket="nowhere"))
    with pytest.raises(Exception, match="NoSuchBucket"):
        files.put(PHOTO)


def test_settings_never_show_their_keys(s3_settings: FilesSettings) -> None:
    settings = replace(s3_settings, access_key="AKIA-canary", secret_key="canary-secret")
    shown = io.StringIO()
    print(settings, repr(settings), open_files(settings), file=shown)
    assert "canary" not in shown.getvalue()
