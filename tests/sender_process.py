"""A sender as a process of its own, to be started several times over and killed: it sends what is due, no more."""

import asyncio
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.app import utc_now
from bot.channels import Channel, TakesTurns
from bot.pacing import Window
from bot.send_limits import KeptWindows
from bot.sender import Sender
from bot.telegram_channel import TelegramChannel, TelegramSettings
from bot.wecom_channel import WecomChannel, WecomSettings
from storage.database import Database
from storage.files import LocalFiles
from tests.botapi.server import TOKEN

MEMBER_WINDOWS = (Window(5, 2.0),)  # as the platform's, and over in two seconds


@dataclass(frozen=True)
class SenderProcess:
    """`start` it as often as wanted. With `wecom` it sends there, else to Telegram."""

    url: str
    folder: Path
    api_base: str
    wecom: WecomSettings | None = None

    def start(self) -> Any:
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload([__name__])
        child = processes.Process(target=serve, args=(self,), daemon=True)
        child.start()
        return child


def serve(given: SenderProcess) -> None:
    asyncio.run(_serve(given))


async def _serve(given: SenderProcess) -> None:
    database = Database(given.url)
    channel: Channel
    if given.wecom is not None:
        wecom = WecomChannel(given.wecom, database)
        wecom.sending._windows = KeptWindows(database, wecom.name, MEMBER_WINDOWS)
        channel = wecom
    else:
        channel = TelegramChannel(TelegramSettings(TOKEN, api_base=given.api_base))
    assert isinstance(channel, TakesTurns)
    await channel.connect()
    sender = Sender(database, LocalFiles(given.folder / "files"), {channel.name: channel}, utc_now)
    await sender.start()
    await asyncio.Event().wait()
