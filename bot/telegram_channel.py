"""Telegram as a channel: receives by polling or by webhook, fetches files, sends what was rendered.

Receiving promises three things. An update is acknowledged only after it was stored. One that cannot be read is stored
as such and holds up nothing behind it. Trouble with the network or with Telegram ends in a pause, never in an end.
"""

import asyncio
import hmac
import json
import logging
import re
import warnings
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from aiohttp import web

import bot.lean_telegram  # noqa: F401 - first

# isort: split
from telegram import Bot, BotCommand, File
from telegram.error import (
    BadRequest,
    Conflict,
    EndPointNotFound,
    Forbidden,
    InvalidToken,
    RetryAfter,
    TelegramError,
)
from telegram.helpers import create_deep_linked_url
from telegram.warnings import PTBUserWarning

from bot.channels import Abilities, Accept, MediaProblem, Pace, Rate, Rendered
from bot.no_secrets import NoSecrets
from bot.telegram_sending import seconds_of, send
from bot.telegram_transport import CHUNK, AiohttpRequest, BadStatus, TooBig
from bot.telegram_updates import ALLOWED_UPDATES, CHANNEL, MAX_FILE, group_joined, read_update, update_id_of
from handlers.messages import Media

log = logging.getLogger(__name__)

WEBHOOK_PATH: Final = "/telegram/webhook"  # where bot's web application mounts `TelegramChannel.webhook`
SECRET_HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the header's name
MAX_BODY: Final = 1024 * 1024  # bytes of one webhook call
LONGEST_PAUSE_S: Final = 60.0
STORE_AGAIN_S: Final = 2.0  # our own disk or database is no server to be spared, and everybody waits for it
POLL_GRACE_S: Final = 10.0  # what an empty poll may take beyond its time

# 30 a second to all, about 1 a second to a person with bursts, 20 a minute to a group (core.telegram.org/bots/faq).
# What goes at once and what follows in the same second or minute stay below that, with room for a slow moment.
PACE: Final = Pace(whole=Rate(24, 3), chat=Rate(1, 5), group=Rate(15 / 60, 4))
ABILITIES: Final = Abilities(
    buttons=100,
    button_label=30,
    button_data=64,
    text_limit=4096,
    text_unit="utf16",
    datum="wgs84",
    place_button=True,
    # core.telegram.org/bots/faq: about 30 a second to all, one a second to a chat, where short bursts pass.
    pace=PACE,
)


class TokenRejected(Exception):
    """Telegram does not know the bot's token (any more)."""


@dataclass(frozen=True, slots=True)
class TelegramSettings:
    """`token` as BotFather gives it. A webhook needs its whole public address, ending in WEBHOOK_PATH, and a secret of
    1 to 256 of the characters A-Z a-z 0-9 _ -. `proxy` is an http:// address. Raises ValueError.
    """

    token: str = field(repr=False)
    mode: Literal["polling", "webhook"] = "polling"
    webhook_url: str = ""
    webhook_secret: str = field(default="", repr=False)
    api_base: str = "https://api.telegram.org"
    proxy: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        number, colon, key = self.token.partition(":")
        if not (number.isascii() and number.isdigit() and colon and key):
            raise ValueError("token: not of the form 123456:ABC…")
        if self.mode == "webhook":
            if not self.webhook_url.endswith(WEBHOOK_PATH):
                raise ValueError(f"webhook_url: must end in {WEBHOOK_PATH}")
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", self.webhook_secret):
                raise ValueError("webhook_secret: 1 to 256 of A-Z a-z 0-9 _ -")


class TelegramChannel:
    """A `Channel` for one bot. `account` is the bot's id, the number before the colon of its token.

    `commands` are (command, description) of the menu. `poll_s` is how long Telegram holds an empty poll open, at most
    50; `pause_s` the first pause after trouble, doubled up to a minute.
    """

    name = CHANNEL
    abilities = ABILITIES

    def __init__(
        self,
        settings: TelegramSettings,
        commands: Sequence[tuple[str, str]] = (),
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        poll_s: int = 30,
        pause_s: float = 1.0,
    ) -> None:
        self.account = settings.token.partition(":")[0]
        self._settings = settings
        self._commands = tuple(commands)
        self._clock = clock
        self._poll_s = poll_s
        self._pause_s = pause_s
        self._no_secrets = _guarded_logs(settings)
        self._request = AiohttpRequest(self._no_secrets, proxy=settings.proxy)
        base = settings.api_base.rstrip("/")
        self._bot = Bot(
            settings.token,
            base_url=f"{base}/bot",
            base_file_url=f"{base}/file/bot",
            request=self._request,
            get_updates_request=AiohttpRequest(self._no_secrets, connections=1, proxy=settings.proxy),
        )
        self._accept: Accept | None = None
        self._offset: int | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()

    async def start(self, accept: Accept) -> None:
        """Begin to receive. Without a network it begins as soon as there is one. Raises TokenRejected."""
        # We ask for the plain dicts, which the library would read as one batch; it warns of that at every call.
        warnings.filterwarnings("ignore", message="Please use 'Bot.getUpdates'", category=PTBUserWarning)
        self._accept = accept
        try:
            await self._connect()
            connected = True
        except InvalidToken:
            await self._bot.shutdown()
            raise TokenRejected("Telegram rejected the bot's token") from None
        except (TelegramError, KeyError, TypeError) as error:  # the latter two: an answer that is not Telegram's
            log.warning("telegram cannot be reached yet: %r", error)
            connected = False
        self._receiver = _task(self._receive(connected))

    @property
    def receives_alone(self) -> bool:
        """Telegram gives its updates to one poller at a time."""
        return self._settings.mode == "polling"

    async def connect(self) -> None:
        await self._request.initialize()

    async def pause(self) -> None:
        """What another process confirms meanwhile is not ours to count on from."""
        self._accept = None
        if self._receiver is not None:
            self._receiver.cancel()
            await asyncio.gather(self._receiver, return_exceptions=True)
            self._receiver = None
        self._offset = None

    async def stop(self) -> None:
        await self.pause()
        if self._answers:
            _, late = await asyncio.wait(self._answers, timeout=3)
            for task in late:
                task.cancel()
        await self._bot.shutdown()
        await self._request.shutdown()  # the bot leaves open what it did not open itself

    async def learn_name(self) -> str:
        """Ask Telegram for the bot's user name, which `invite_link` needs; `start` does so too. Close with `stop`."""
        try:
            await self._bot.initialize()
        except TelegramError as error:
            await self._bot.shutdown()
            if isinstance(error, InvalidToken):
                raise TokenRejected("Telegram rejected the bot's token") from None
            raise ConnectionError(self._no_secrets.clean(str(error))) from None
        return self._bot.username

    async def answers(self) -> bool:
        """Whether Telegram is there: getMe changes nothing."""
        try:
            await self._bot.get_me()
        except (BadRequest, Forbidden, InvalidToken, EndPointNotFound, Conflict, RetryAfter):
            return True
        except (TelegramError, KeyError, TypeError):  # the latter two: an answer that is not Telegram's
            return False
        return True

    def invite_link(self, token: str) -> str:
        """`token` is at most 64 of A-Z a-z 0-9 _ - (else ValueError). RuntimeError until the bot's name is known."""
        return create_deep_linked_url(self._bot.username, token)

    # receiving

    async def _connect(self) -> None:
        await self._bot.initialize()
        try:
            if self._commands:
                await self._bot.set_my_commands([BotCommand(*command) for command in self._commands])
        except BadRequest as error:
            log.error("telegram refuses the command menu: %s", error)
        if self._settings.mode == "polling":
            await self._bot.delete_webhook(drop_pending_updates=False)
        else:
            await self._bot.set_webhook(
                self._settings.webhook_url,
                secret_token=self._settings.webhook_secret,
                allowed_updates=ALLOWED_UPDATES,
                max_connections=10,
                drop_pending_updates=False,
            )
        log.info("telegram: @%s receives by %s", self._bot.username, self._settings.mode)

    async def _receive(self, connected: bool) -> None:
        """Until cancelled, whatever happens; in webhook mode until Telegram knows the webhook."""
        pause = self._pause_s
        while True:
            try:
                if not connected:
                    await self._connect()
                    connected = True
                if self._settings.mode == "webhook":
                    return
                await self._poll()
                pause = self._pause_s
                continue
            except RetryAfter as error:
                wait = seconds_of(error.retry_after)
                log.warning("telegram asks to wait %.0f s before the next poll", wait)
            except Conflict as error:
                wait = pause
                log.error("another process receives with this bot's token; only one may: %s", error)
            except (InvalidToken, EndPointNotFound):
                wait = max(pause, LONGEST_PAUSE_S)
                log.critical("telegram rejected the bot's token; nothing is received")
            except TelegramError as error:
                wait = pause
                log.warning("telegram cannot be reached, again in %.0f s: %s", wait, error)
            except Exception:  # storing failed, say: the update stays unconfirmed and comes again
                wait = min(pause, STORE_AGAIN_S)
                log.exception("an update could not be taken, again in %.0f s", wait)
            pause = min(2 * pause, LONGEST_PAUSE_S)
            await asyncio.sleep(wait)

    async def _poll(self) -> None:
        """One poll. The next one's offset, one past the last stored update, is what acknowledges them.

        After an empty poll everything is acknowledged, and the offset is left out: after a quiet week Telegram counts
        on from a random number, which may be lower.
        """
        updates = await self._bot.do_api_request(
            "getUpdates",
            api_kwargs={
                "offset": self._offset,
                "timeout": self._poll_s,
                "limit": 100,
                "allowed_updates": ALLOWED_UPDATES,
            },
            read_timeout=self._poll_s + POLL_GRACE_S,
        )
        if not isinstance(updates, list):
            raise TelegramError("getUpdates gave no list")
        before = self._offset
        if not updates:
            self._offset = None
        # All at once, so that they share a commit; `accept` keeps the order in which it is called.
        taken = await asyncio.gather(*(self._take(raw) for raw in updates), return_exceptions=True)
        for raw, trouble in zip(updates, taken, strict=True):
            if trouble is not None:
                raise trouble
            if (number := update_id_of(raw)) is not None:
                self._offset = number + 1
        if updates and self._offset == before:
            raise TelegramError("the updates carry no usable update_id")

    async def _take(self, raw: Any) -> None:
        """Store an update. Returns only when it is durable, or no concern of ours."""
        if self._accept is None:
            raise RuntimeError("not started")
        heard = read_update(raw, self.account, self._clock())
        if heard.delivery is None:
            if group := group_joined(raw):
                log.info("telegram: the bot was added to group %s; groups are not served", group)
            return
        if heard.delivery.error:
            log.error("telegram update %s cannot be read: %s", heard.delivery.delivery_key, heard.delivery.error)
        await self._accept(heard.delivery)
        if heard.callback_id:
            task = _task(self._answer(heard.callback_id))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _answer(self, callback_id: str) -> None:
        """Ends the waiting sign on the pressed button. Too late, or not at all, does no harm."""
        try:
            await self._bot.answer_callback_query(callback_id)
        except TelegramError as error:
            log.debug("a button press stays unanswered: %s", error)

    async def webhook(self, request: web.Request) -> web.Response:
        """One call from Telegram: 200 once it is stored, 403 without the secret, 400 for what is no update.

        503 when it cannot be stored now; Telegram then repeats it, for 24 hours.
        """
        given = request.headers.get(SECRET_HEADER, "").encode("utf-8", "replace")
        secret = self._settings.webhook_secret.encode()
        if not secret or not hmac.compare_digest(given, secret):
            return web.Response(status=403)
        raw = await _read_json(request)
        if update_id_of(raw) is None:
            return web.Response(status=400)
        try:
            await self._take(raw)
        except Exception:
            log.exception("an update could not be stored")
            return web.Response(status=503, headers={"Retry-After": "5"})
        return web.Response()

    # fetching

    async def fetch(self, media: Media) -> bytes:
        """The bytes of a file, at most 20 MB. Raises MediaProblem for good, ConnectionError for now."""
        if media.problem:
            raise MediaProblem(media.problem)
        try:
            file = await self._file(media.ref)
            data = await self._request.download(file.file_path or "", MAX_FILE)
        except TooBig:
            raise MediaProblem("too_big") from None
        except BadStatus as error:
            if error.status in (400, 404, 410):
                raise MediaProblem("gone") from None
            raise ConnectionError(str(error)) from None
        except BadRequest as error:
            raise MediaProblem("too_big" if "too big" in error.message.lower() else "gone") from None
        except TelegramError as error:
            raise ConnectionError(self._no_secrets.clean(str(error))) from None
        if not data:
            raise MediaProblem("empty")
        return data

    async def _file(self, ref: str) -> File:
        """Telegram says the same of a file that is gone and of one that is "temporarily unavailable": ask twice."""
        try:
            return await self._bot.get_file(ref)
        except BadRequest as error:
            if "temporarily unavailable" not in error.message:
                raise
        await asyncio.sleep(self._pause_s)
        return await self._bot.get_file(ref)

    # sending

    async def send(self, chat_ref: str, message: Rendered) -> str:
        """Send, without pacing or repeating: that is the sender's affair. Raises a SendError."""
        return await send(self._bot, chat_ref, message, self._no_secrets)


async def _read_json(request: web.Request) -> Any:
    """The body as JSON, or None for one that is too long, of another type, broken or no JSON."""
    if request.content_type != "application/json":  # without its parameters: a charset is welcome
        return None
    body = bytearray()
    try:
        async for chunk in request.content.iter_chunked(CHUNK):
            body += chunk
            if len(body) > MAX_BODY:
                return None
        return json.loads(body)
    except (web.RequestPayloadError, ConnectionError, ValueError, RecursionError):
        return None


def _guarded_logs(settings: TelegramSettings) -> NoSecrets:
    """Keep the bot's secrets out of the logs of everything that handles them, at any level."""
    password = urlsplit(settings.proxy).password or ""
    no_secrets = NoSecrets([settings.token, settings.webhook_secret, password], shortest=1)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it shows whole addresses from INFO on
    no_secrets.guard("telegram", "telegram.Bot", "telegram.request.BaseRequest", "httpx", "aiohttp.client", __name__)
    return no_secrets


def _task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """The channel keeps its tasks and ends them in `stop`; what they run logs its own errors."""
    return asyncio.get_running_loop().create_task(work)
