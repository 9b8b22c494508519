"""The conversation in aiogram 3's FSM: `python -m bench.aiogram_bot API_BASE FOLDER durable|memory`.

`durable` keeps state and data in SQLite with one commit and full sync a step, before the reply; `memory` is the
library's own MemoryStorage.
"""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.fsm.storage.base import BaseStorage, StateType, StorageKey
from aiogram.fsm.storage.memory import MemoryStorage
from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message

from bench.conversation import CLOSED, CONFIRM, FACTORS, TOKEN


class Visit(StatesGroup):
    photo = State()
    note = State()
    card = State()
    factor = State()


class SqliteStorage(BaseStorage):
    """State and data of a chat in one row. It has a thread of its own, so that the loop never waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE fsm (chat INTEGER PRIMARY KEY, state TEXT, data TEXT NOT NULL DEFAULT '{}')")

    async def set_state(self, key: StorageKey, state: StateType = None) -> None:
        name = state.state if isinstance(state, State) else state
        await self._write("state", key.chat_id, name)

    async def get_state(self, key: StorageKey) -> str | None:
        found = await self._read("state", key.chat_id)
        return None if found is None else str(found)

    async def set_data(self, key: StorageKey, data: Mapping[str, Any]) -> None:
        await self._write("data", key.chat_id, json.dumps(dict(data)))

    async def get_data(self, key: StorageKey) -> dict[str, Any]:
        return dict(json.loads(await self._read("data", key.chat_id) or "{}"))

    async def step(self, key: StorageKey, state: State | None, data: Mapping[str, Any]) -> None:
        """Both at once: one commit a step."""
        await asyncio.get_running_loop().run_in_executor(
            self._thread,
            self._db.execute,
            "INSERT INTO fsm (chat, state, data) VALUES (?, ?, ?)"
            " ON CONFLICT (chat) DO UPDATE SET state = excluded.state, data = excluded.data",
            (key.chat_id, state.state if state else None, json.dumps(dict(data))),
        )

    async def close(self) -> None:
        self._db.close()

    async def _write(self, column: str, chat: int, value: str | None) -> None:
        query = (
            f"INSERT INTO fsm (chat, {column}) VALUES (?, ?)"  # noqa: S608 - the column is one of ours
            f" ON CONFLICT (chat) DO UPDATE SET {column} = excluded.{column}"
        )
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.execute, query, (chat, value))

    async def _read(self, column: str, chat: int) -> str | None:
        query = f"SELECT {column} FROM fsm WHERE chat = ?"  # noqa: S608 - the column is one of ours

        def read() -> str | None:
            row = self._db.execute(query, (chat,)).fetchone()
            return row[0] if row else None

        return await asyncio.get_running_loop().run_in_executor(self._thread, read)


async def keep(context: FSMContext, state: State | None, **data: Any) -> None:
    """What the step changed, by one commit where the storage is ours."""
    if isinstance(context.storage, SqliteStorage):
        await context.storage.step(context.key, state, {**await context.get_data(), **data})
    else:
        await context.update_data(data)
        await context.set_state(state)


def markup(buttons: tuple[str, ...]) -> InlineKeyboardMarkup:
    rows = [[InlineKeyboardButton(text=label, callback_data=label)] for label in buttons]
    return InlineKeyboardMarkup(inline_keyboard=rows)


def dispatcher(storage: BaseStorage, folder: Path) -> Dispatcher:
    talk = Dispatcher(storage=storage)

    @talk.message(F.location)
    async def place(message: Message, state: FSMContext) -> None:
        assert message.location is not None
        await keep(state, Visit.photo, place=[message.location.latitude, message.location.longitude])
        await message.answer("已到店，请拍一张门头照。")

    @talk.message(Visit.photo, F.photo)
    async def photo(message: Message, state: FSMContext, bot: Bot) -> None:
        assert message.photo is not None
        path = folder / f"{message.chat.id}.jpg"
        await bot.download(message.photo[-1].file_id, path)
        await keep(state, Visit.note, photo=str(path))
        await message.answer("照片已收，请说说这次拜访。")

    @talk.message(Visit.note, F.text)
    async def note(message: Message, state: FSMContext) -> None:
        await keep(state, Visit.card, note=message.text)
        await message.answer(f"小结：{message.text}", reply_markup=markup(CONFIRM))

    @talk.callback_query(Visit.card)
    async def confirm(query: CallbackQuery, state: FSMContext) -> None:
        await query.answer()
        await keep(state, Visit.factor)
        assert isinstance(query.message, Message)
        await query.message.answer("成交的关键因素？", reply_markup=markup(FACTORS))

    @talk.callback_query(Visit.factor)
    async def factor(query: CallbackQuery, state: FSMContext) -> None:
        await query.answer()
        await keep(state, None, factor=query.data)
        assert isinstance(query.message, Message)
        await query.message.answer(CLOSED)

    return talk


async def main(api_base: str, folder: Path, durable: bool) -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(api_base))
    storage: BaseStorage = SqliteStorage(folder / "fsm.sqlite") if durable else MemoryStorage()
    await dispatcher(storage, folder).start_polling(Bot(TOKEN, session=session))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "durable"))
