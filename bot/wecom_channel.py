"""A self-built app of 企业微信 as a channel: takes callbacks, fetches files, sends what was rendered.

A callback is acknowledged once it is stored, within five seconds always: when storing takes longer the platform is told
to come again, while the storing goes on, and the second delivery finds the first.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from aiohttp import web

from bot.abilities import WECOM, WECOM_PLAIN
from bot.channels import Accept, MediaProblem, Rendered
from bot.tasks import spawn
from bot.wechat_callback import CallbackGuard, Opened, answer_callback
from bot.wechat_client import MAX_FILE, ApiAccount, WeChatApi
from bot.wechat_errors import ApiError, ApiRefused, TooBig
from bot.wecom_incoming import CHANNEL, Datums, Heard, read_callback
from bot.wecom_sending import WecomSending
from handlers.messages import Media
from rules.places import Datum
from storage import cards
from storage.database import Database
from storage.inbox import Delivery
from texts import DEFAULT

log = logging.getLogger(__name__)

CALLBACK_PATH: Final = "/wecom/callback"  # where bot's web application mounts `WecomChannel.webhook`
STORE_S: Final = 4.0  # the platform hangs up after five seconds, and has to be answered before
LOOK_S: Final = 60.0  # how often cards that could not be changed are tried again
GONE: Final = frozenset({40004, 40007, 404, 410})  # no such file, or older than three days


@dataclass(frozen=True, slots=True)
class WecomSettings:
    """`token` and `aes_key` are those of the app's 接收消息; `agent_id` a number. `cards` is false where people read in
    the WeChat plug-in, which shows none. Of the datums see wecom_incoming.Datums. Raises ValueError.
    """

    corp_id: str
    agent_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    aes_key: str = field(repr=False)
    api_base: str = ""
    proxy: str = field(default="", repr=False)
    pin_datum: Datum = "gcj02"
    report_datum: Datum = "gcj02"
    cards: bool = True
    language: str = DEFAULT

    def __post_init__(self) -> None:
        if not (self.agent_id.isascii() and self.agent_id.isdigit()):
            raise ValueError("agent_id: not a number")


class WecomChannel:
    """A `Channel` for one app of one corp. `account` is corpid:agentid, and a chat is a userid in small letters."""

    name = CHANNEL

    def __init__(
        self,
        settings: WecomSettings,
        database: Database,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        store_s: float = STORE_S,
    ) -> None:
        # Credentials and signatures are checked by the wall clock, whatever clock the firm's day runs by.
        self.api = WeChatApi(
            ApiAccount(
                "wecom",
                settings.corp_id,
                settings.secret,
                settings.agent_id,
                settings.api_base,
                settings.proxy,
                settings.language,
            ),
            database,
        )
        self.account = self.api.account.name
        self.abilities = replace(WECOM if settings.cards else WECOM_PLAIN, datum=settings.pin_datum)
        self.sending = WecomSending(self.api, int(settings.agent_id), database, clock)
        self._guard = CallbackGuard(settings.token, settings.aes_key, settings.corp_id)
        self._datums = Datums(settings.pin_datum, settings.report_datum)
        self._database, self._clock, self._store_s = database, clock, store_s
        self._accept: Accept | None = None
        self._storing: set[asyncio.Task[bool]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._look = asyncio.Event()

    @property
    def receives_alone(self) -> bool:
        """Any process may be called back."""
        return False

    async def connect(self) -> None:
        """Show answered cards as such: also where another process receives."""
        if self._ending is None:
            await asyncio.to_thread(self._prepare)
            self._ending = spawn(self._end_cards(), "wecom cards")

    async def start(self, accept: Accept) -> None:
        await self.connect()
        self._accept = accept

    async def pause(self) -> None:
        self._accept = None

    async def stop(self) -> None:
        """What is being stored is stored; then calls under way may end."""
        while self._storing:
            await asyncio.gather(*self._storing, return_exceptions=True)
        self._accept = None
        if self._ending is not None:
            self._ending.cancel()
            with suppress(asyncio.CancelledError):
                await self._ending
            self._ending = None
        await self.api.close()

    def _prepare(self) -> None:
        with self._database.work() as work:
            cards.forget(work, self._clock())

    # receiving

    async def webhook(self, request: web.Request) -> web.Response:
        """The address verified (GET), or one callback (POST): 200 once it is stored, 503 when it was not in time."""
        ends = time.monotonic() + self._store_s
        return await answer_callback(request, self._guard, partial(self._take, ends))

    async def _take(self, ends: float, opened: Opened) -> web.Response:
        heard = read_callback(opened.xml, self.account, self._datums, self._clock())
        if heard.delivery.error:
            log.error("wecom callback %s cannot be read: %s", heard.delivery.delivery_key, heard.delivery.error)
        if self._accept is None:
            return web.Response(status=503)
        storing = spawn(self._store(heard, self._accept), "wecom store")
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)
        done, _ = await asyncio.wait([storing], timeout=max(0.1, ends - time.monotonic()))
        if not done:
            log.warning("wecom callback %s takes long to store; it will come again", heard.delivery.delivery_key)
            return web.Response(status=503)
        storing.result()
        return web.Response()

    async def take_in(self, delivery: Delivery) -> bool:
        """Store what a member did outside of the chat, on a page of ours; whether it was new. RuntimeError before
        `start`.
        """
        if self._accept is None:
            raise RuntimeError("not started")
        return await self._accept(delivery)

    async def _store(self, heard: Heard, accept: Accept) -> bool:
        is_new = await accept(heard.delivery)
        if is_new and heard.task_id:
            # Only how the card looks depends on it, so the platform's answer does not wait.
            noting = spawn(self._note_tap(heard), "wecom tap")
            self._storing.add(noting)
            noting.add_done_callback(self._storing.discard)
        return is_new

    async def _note_tap(self, heard: Heard) -> bool:
        def note() -> bool:
            with self._database.work() as work:
                return cards.tapped(work, heard.task_id, heard.response_code, self._clock())

        known = await asyncio.to_thread(note)
        self._look.set()
        return known

    async def _end_cards(self) -> None:
        """Cards that were answered show it soon after; whatever was in the way is tried again later."""
        while True:
            self._look.clear()
            try:
                await self.sending.end_cards()
            except Exception:
                log.exception("cards could not be shown as answered")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._look.wait()

    # fetching

    async def fetch(self, media: Media) -> bytes:
        """The bytes of a file, at most 20 MB. Raises MediaProblem for good, ConnectionError for now."""
        if media.problem:
            raise MediaProblem(media.problem)
        try:
            found = await self.api.download("media/get", {"media_id": media.ref}, MAX_FILE)
        except TooBig:
            raise MediaProblem("too_big") from None
        except ApiRefused as error:
            if error.errcode in GONE:
                raise MediaProblem("gone") from None
            raise ConnectionError(str(error)) from None
        except ApiError as error:
            raise ConnectionError(str(error)) from None
        if not found.data:
            raise MediaProblem("empty")
        return found.data

    # sending

    async def answers(self) -> bool:
        return await self.api.answers()

    async def send(self, chat_ref: str, message: Rendered) -> str:
        """Send; what a member may not be sent yet is put off by HoldOff. Raises a SendError."""
        sent = await self.sending.send(chat_ref, message)
        self._look.set()  # an answer often ends a card
        return sent

    def invite_link(self, token: str) -> str:
        """Nobody needs one: the 业务员 import names the accounts, and the app stands in the member's 企业微信."""
        return ""
