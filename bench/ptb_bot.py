"""The conversation in python-telegram-bot's ConversationHandler, kept by PicklePersistence.

`python -m bench.ptb_bot API_BASE FOLDER durable|default`. `default` is the library's own: pickled once a minute, the
reply sent from the callback. `durable` flushes after every update and replies then; the library does no fsync.
"""

import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import (
    Application,
    BaseUpdateProcessor,
    CallbackQueryHandler,
    ContextTypes,
    ConversationHandler,
    MessageHandler,
    PicklePersistence,
    filters,
)

from bench.conversation import CLOSED, CONFIRM, FACTORS, TOKEN

Context = ContextTypes.DEFAULT_TYPE
PHOTO, NOTE, CARD, FACTOR = range(4)


class FlushThenReply(BaseUpdateProcessor):
    """One update at a time, as the persistence needs it: handle, write the state, then send what was to be said."""

    def __init__(self) -> None:
        super().__init__(1)
        self.app: Application[Any, Any, Any, Any, Any, Any]
        self.replies: list[tuple[int, str, InlineKeyboardMarkup | None]] = []

    async def do_process_update(self, update: object, coroutine: Awaitable[Any]) -> None:
        await coroutine
        await self.app.update_persistence()
        replies, self.replies = self.replies, []
        for chat, text, markup in replies:
            await self.app.bot.send_message(chat, text, reply_markup=markup)

    async def initialize(self) -> None: ...

    async def shutdown(self) -> None: ...


class Talk:
    """The callbacks; `later` collects the replies, or None to send them at once."""

    def __init__(self, folder: Path, later: FlushThenReply | None) -> None:
        self._folder, self._later = folder, later

    async def _reply(self, update: Update, context: Context, text: str, buttons: tuple[str, ...] = ()) -> None:
        assert update.effective_chat is not None
        chat = update.effective_chat.id
        rows = [[InlineKeyboardButton(label, callback_data=label)] for label in buttons]
        markup = InlineKeyboardMarkup(rows) if rows else None
        if self._later is not None:
            self._later.replies.append((chat, text, markup))
        else:
            await context.bot.send_message(chat, text, reply_markup=markup)

    async def place(self, update: Update, context: Context) -> int:
        assert update.message is not None
        assert update.message.location is not None
        assert context.user_data is not None
        place = update.message.location
        context.user_data.clear()
        context.user_data["place"] = (place.latitude, place.longitude)
        await self._reply(update, context, "已到店，请拍一张门头照。")
        return PHOTO

    async def photo(self, update: Update, context: Context) -> int:
        assert update.message is not None
        assert context.user_data is not None
        file = await context.bot.get_file(update.message.photo[-1].file_id)
        path = self._folder / f"{update.message.chat.id}.jpg"
        await file.download_to_drive(path)
        context.user_data["photo"] = str(path)
        await self._reply(update, context, "照片已收，请说说这次拜访。")
        return NOTE

    async def note(self, update: Update, context: Context) -> int:
        assert update.message is not None
        assert context.user_data is not None
        context.user_data["note"] = update.message.text
        await self._reply(update, context, f"小结：{update.message.text}", CONFIRM)
        return CARD

    async def confirm(self, update: Update, context: Context) -> int:
        assert update.callback_query is not None
        await update.callback_query.answer()
        await self._reply(update, context, "成交的关键因素？", FACTORS)
        return FACTOR

    async def factor(self, update: Update, context: Context) -> int:
        assert update.callback_query is not None
        assert context.user_data is not None
        await update.callback_query.answer()
        context.user_data["factor"] = update.callback_query.data
        await self._reply(update, context, CLOSED)
        return ConversationHandler.END


def main(api_base: str, folder: Path, durable: bool) -> None:
    processor = FlushThenReply() if durable else None
    persistence: PicklePersistence[Any, Any, Any] = PicklePersistence(folder / "ptb.pickle")
    builder = Application.builder().token(TOKEN).base_url(f"{api_base}/bot").base_file_url(f"{api_base}/file/bot")
    builder = builder.persistence(persistence)
    if processor is not None:
        builder = builder.concurrent_updates(processor)
    app = builder.build()
    if processor is not None:
        processor.app = app
    talk = Talk(folder, processor)
    states: dict[object, list[Any]] = {
        PHOTO: [MessageHandler(filters.PHOTO, talk.photo)],
        NOTE: [MessageHandler(filters.TEXT, talk.note)],
        CARD: [CallbackQueryHandler(talk.confirm)],
        FACTOR: [CallbackQueryHandler(talk.factor)],
    }
    entry: list[Any] = [MessageHandler(filters.LOCATION, talk.place)]
    app.add_handler(ConversationHandler(entry, states, [], name="visit", persistent=True, per_message=False))
    app.run_polling(allowed_updates=["message", "callback_query"])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "durable")
