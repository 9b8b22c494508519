"""The sample firm's bot as a process of its own, to be killed as by a power cut.

Importing this module builds the ear, which takes a second; a process forked from one that imported it starts at once.
"""

import asyncio
import multiprocessing
import tempfile
from dataclasses import replace
from pathlib import Path

from bot.app import App
from bot.telegram_channel import ABILITIES, TelegramChannel, TelegramSettings
from tests.botapi.server import TOKEN, BotApi
from tests.databases import open_database
from tests.telegramfirm import EAR, Clock, Deaf, firm_tools, sample_database


class KillableBot:
    def __init__(self, folder: Path, api: BotApi) -> None:
        self._folder, self._api = folder, api
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([__name__])

    async def start(self) -> None:
        """Returns with its first poll."""
        polls = len(self._api.called("getUpdates"))
        self._child = self._processes.Process(target=serve, args=(self._folder, self._api.base))
        self._child.start()
        await self._api.until(lambda: len(self._api.called("getUpdates")) > polls, 60)

    async def kill(self) -> None:
        self._child.kill()
        await asyncio.to_thread(self._child.join)


def channel_without_pace(api_base: str) -> TelegramChannel:
    """Telegram's own limits are left out, so that a test of many messages does not take a minute."""
    channel = TelegramChannel(TelegramSettings(TOKEN, api_base=api_base), poll_s=1, pause_s=0.02)
    channel.abilities = replace(ABILITIES, pace=None)
    return channel


def serve(folder: Path, api_base: str) -> None:
    asyncio.run(_serve(folder, api_base))


async def _serve(folder: Path, api_base: str) -> None:
    database = open_database(folder)
    await App(database, firm_tools(folder), Deaf(), [channel_without_pace(api_base)], now=Clock()).start()
    await asyncio.Event().wait()


def _build_ear() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = sample_database(Path(folder))
        EAR.of(database)
        database.close()


_build_ear()
