"""Calls to a WeChat API from the command line, beside a bot that may be running."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.wechat_client import ApiAccount, WeChatApi
from storage.database import Database
from storage.migrate import migrate


@contextmanager
def api_beside(account: ApiAccount) -> Iterator[tuple[asyncio.Runner, WeChatApi]]:
    """The API and a loop to call it in.

    The tokens are kept in a database of its own, gone afterwards: the firm's may be in use by the running bot, and the
    platforms give both the same token.
    """
    folder = Path(tempfile.mkdtemp(prefix="zoudian-"))
    try:
        database = Database(f"sqlite:///{folder / 'tokens.db'}")
        try:
            migrate(database)
            with asyncio.Runner() as runner:
                api = WeChatApi(account, database, threads=1)
                try:
                    yield runner, api
                finally:
                    runner.run(api.close())
        finally:
            database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
