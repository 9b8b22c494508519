"""The safe WeChat client against the loopback platforms: what its tests share."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.loopback.official import OfficialPlatform
from bot.loopback.platform import LoopbackPlatform
from bot.loopback.work import WorkPlatform
from bot.wechat_client import ApiAccount, WeChatApi
from bot.wechat_transport import Patience
from storage.database import Database
from tests.databases import open_migrated

ROOT = Path(__file__).resolve().parent.parent
QUICK = Patience(connect_s=1.0, read_s=0.5, call_s=1.0, file_s=1.0)
SECRET = "CANARYsecretCANARYsecretCANARYsecret"
PHOTO = bytes(range(256)) * 20

Make = Callable[[], LoopbackPlatform]


def work_platform() -> WorkPlatform:
    return WorkPlatform(secret=SECRET, members=("wangjian",))


def official_platform() -> OfficialPlatform:
    return OfficialPlatform(secret=SECRET, followers=("openid-1",))


both = pytest.mark.parametrize("make", [work_platform, official_platform])


def opened(folder: Path) -> Iterator[Database]:
    """A database for the tokens, for a fixture."""
    database = open_migrated(folder)
    yield database
    database.close()


def account_of(platform: LoopbackPlatform) -> ApiAccount:
    if isinstance(platform, WorkPlatform):
        return ApiAccount("wecom", platform.app_id, SECRET, platform.agent_id, api_base=platform.base)
    return ApiAccount("mp", platform.app_id, SECRET, api_base=platform.base)


@asynccontextmanager
async def api_for(platform: LoopbackPlatform, database: Database, **more: Any) -> AsyncIterator[WeChatApi]:
    api = WeChatApi(account_of(platform), database, **more)
    try:
        yield api
    finally:
        await api.close()


def send(api: WeChatApi) -> Awaitable[Any]:
    if api.account.product == "wecom":
        return api.call(lambda client: client.message.send_text(1000002, "wangjian", "你好"))
    return api.call(lambda client: client.message.send_text("openid-1", "你好"))


def token_calls(platform: LoopbackPlatform) -> int:
    return platform.count("gettoken") + platform.count("stable_token") + platform.count("token")


def send_path(platform: LoopbackPlatform) -> str:
    return "message/send" if isinstance(platform, WorkPlatform) else "message/custom/send"
