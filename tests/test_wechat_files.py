"""Files to and from the WeChat APIs: bytes stay bytes, whole or not at all, and never a refusal as a file."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.loopback.platform import Trouble
from bot.wechat_client import WeChatApi
from bot.wechat_errors import ApiNotReached, ApiRefused, ApiUnsure, TooBig
from storage import tokens
from storage.database import Database
from tests.databases import WHOLE
from tests.wechatclients import PHOTO, Make, api_for, both, opened, work_platform


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    yield from opened(tmp_path)


@both
async def test_a_502_in_the_middle_of_an_upload_is_an_error_and_the_next_try_is_whole(
    make: Make, database: Database
) -> None:
    large = os.urandom(3 * 1024 * 1024)
    async with make() as platform, api_for(platform, database) as api:
        await api.token()
        for trouble in (Trouble(status=502, after=100_000), Trouble(cut=True, after=100_000), Trouble(status=502)):
            platform.trouble("media/upload", trouble)
            with pytest.raises((ApiUnsure, ApiNotReached)):
                await api.upload("file", "报表 11月.xlsx", large)
        assert not platform.media
        media_id = await api.upload("file", "报表 11月.xlsx", large)
        stored = platform.media[media_id]
        assert (stored.name, stored.kind, stored.data == large) == ("报表 11月.xlsx", "file", True)
        assert len(platform.media) == 1


@both
async def test_row_08_a_file_stays_bytes(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database) as api:
        for data in (b"12345", b"", PHOTO, b'{"video_url": "http://127.0.0.1/v"}', b"{not json", b"null"):
            got = await api.download("media/get", {"media_id": platform.put_media(data)})
            assert (got.data, got.content_type) == (data, "image/jpeg")


@both
async def test_row_09_a_refusal_is_never_taken_for_a_file(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database) as api:
        with pytest.raises(ApiRefused) as caught:
            await api.download("media/get", {"media_id": "gone"})
        assert caught.value.errcode == 40007
        refusal = b'\n {"errcode":40007,"errmsg":"invalid media_id"}'
        for content_type in ("image/jpeg", "text/plain", "application/json"):  # whatever it calls itself
            media_id = platform.put_media(refusal, content_type)
            with pytest.raises(ApiRefused):
                await api.download("media/get", {"media_id": media_id})
        with pytest.raises(ApiUnsure):  # a page of some gateway
            await api.download("media/get", {"media_id": platform.put_media(b"<html></html>", "text/html")})
        platform.trouble("media/get", Trouble(half=True))
        with pytest.raises(ApiUnsure):
            await api.download("media/get", {"media_id": platform.put_media(PHOTO)})


async def test_row_09_a_refused_token_is_replaced_before_a_file_too(database: Database) -> None:
    now = [datetime.now(UTC)]
    async with work_platform() as platform, api_for(platform, database, clock=lambda: now[0]) as api:
        await api.token()
        platform.revoke()
        now[0] += timedelta(minutes=10)
        got = await api.download("media/get", {"media_id": platform.put_media(PHOTO)})
        assert got.data == PHOTO


@both
async def test_a_file_past_the_limit_is_not_read(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database) as api:
        media_id = platform.put_media(b"x" * 5000)
        assert len((await api.download("media/get", {"media_id": media_id}, 5000)).data) == 5000
        with pytest.raises(TooBig):
            await api.download("media/get", {"media_id": media_id}, 4999)
        endless = await asyncio.start_server(_endless, "127.0.0.1", 0)
        platform.calls.clear()
        with database.read(WHOLE) as work:
            kept = tokens.kept(work, f"{api.account.product}:{api.account.name}", datetime.now(UTC))
        assert kept is not None
        port = endless.sockets[0].getsockname()[1]
        other = WeChatApi(replace(api.account, api_base=f"http://127.0.0.1:{port}"), database)
        with pytest.raises(TooBig):
            await other.download("media/get", {"media_id": media_id})
        await other.close()
        endless.close()
        await endless.wait_closed()


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A file that does not say how long it is, and has no end."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nConnection: close\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
