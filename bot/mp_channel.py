"""公众号 as a channel: receives by callback, answers in the same breath where there is time, pushes where it may.

A callback is acknowledged only after it was stored. Then it is held open for up to 4 s, and the sender's answer goes
back in it, which costs nothing. What comes later goes as 客服消息 while the person's window is open, beyond that only
reminders and alerts, as templates. What cannot be sent at all waits, as a row, for the person's next message.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from bot.abilities import MP
from bot.channels import Abilities, Accept, MediaProblem, Refused, Rendered, SendError, Shut
from bot.mp_incoming import CHANNEL, OPENID, Datums, Heard, read_callback
from bot.mp_invites import make_code, typed_invite
from bot.mp_sending import NO_RIGHT, Pushing, Template
from bot.mp_slots import Attempt, Slots
from bot.tasks import spawn
from bot.wechat_callback import CallbackGuard, Opened, answer_callback, cdata
from bot.wechat_client import MAX_FILE, ApiAccount, WeChatApi
from bot.wechat_errors import ApiError, ApiRefused, TooBig
from handlers.messages import Media
from rules.people import Part, system
from storage import outbox, people, push_budget
from storage.database import Database
from storage.inbox import Delivery
from texts import DEFAULT, load
from web.signed_files import MINUTES

log = logging.getLogger(__name__)

CALLBACK_PATH: Final = "/mp/callback"
STORE_S: Final = 4.3  # a delivery that is not stored by then is not acknowledged; the platform brings it again
ACKNOWLEDGED: Final = "success"
INVITE_HOURS: Final = 72  # as long as the invite itself holds
PICTURE_HOSTS: Final = (".qpic.cn", ".qlogo.cn")  # where the platform keeps the pictures that people send
PICTURE_S: Final = 30.0

FileLink = Callable[[bytes, str], str]
"""Keeps a file and makes a short-lived address of it: (content, name) → address."""


@dataclass(frozen=True, slots=True)
class MpSettings:
    """`passive_only`: the account may only answer; its `account.secret` may then be empty. Raises ValueError."""

    account: ApiAccount
    token: str = field(repr=False)
    aes_key: str = field(repr=False)
    passive_only: bool = False
    datums: Datums = field(default_factory=Datums)
    templates: Mapping[str, Template] = field(default_factory=dict)  # by intent: reminder, alert
    accept_plain: bool = False

    def __post_init__(self) -> None:
        if not self.passive_only and not self.account.secret:
            raise ValueError("only an account that just answers needs no AppSecret")


class MpChannel:
    """A `Channel` for one 公众号. `file_link` is how a file gets to a person here, as no file can be sent.

    `slots` are given by tests that cannot wait as long as the platform does.
    """

    name = CHANNEL

    def __init__(
        self,
        settings: MpSettings,
        database: Database,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        zone: tzinfo = UTC,
        file_link: FileLink | None = None,
        slots: Slots | None = None,
    ) -> None:
        self.account = settings.account.app_id
        self.abilities: Abilities = replace(MP, push="none") if settings.passive_only else MP
        self._settings, self._database, self._clock, self._file_link = settings, database, clock, file_link
        self._guard = CallbackGuard(
            settings.token, settings.aes_key, self.account, plain_echo=True, accept_plain=settings.accept_plain
        )
        self._slots = slots or Slots(patient=settings.passive_only)
        self._api = WeChatApi(settings.account, database) if settings.account.secret else None
        self._pushing = None
        if self._api is not None and not settings.passive_only:
            self._pushing = Pushing(self._api, database, settings.templates, clock, zone, self._only_answers)
        self._accept: Accept | None = None
        self._notes: set[asyncio.Task[None]] = set()

    async def start(self, accept: Accept) -> None:
        self._accept = accept

    async def stop(self) -> None:
        self._accept = None
        self._slots.close()
        await asyncio.gather(*self._notes, return_exceptions=True)
        if self._api is not None:
            await self._api.close()

    def invite_link(self, token: str) -> str:
        """What a new colleague sends to the account after following it; `invite_code` makes a code to scan instead."""
        return typed_invite(token)

    async def invite_code(self, token: str) -> str:
        """The address in a 带参二维码: whoever scans it follows the account and is tied at once. Raises an ApiError."""
        if self._api is None:
            raise ApiRefused(48001, "an account without API rights cannot make codes")
        return await make_code(self._api, token, INVITE_HOURS)

    @property
    def api(self) -> WeChatApi | None:
        """None where the account has no AppSecret."""
        return self._api

    async def take_in(self, delivery: Delivery) -> bool:
        """Store what a follower did outside of the chat, on a page of ours; whether it was new. RuntimeError before
        `start`. The platform counts it as nothing: the answer waits where no message may be pushed.
        """
        if self._accept is None:
            raise RuntimeError("not started")
        return await self._accept(delivery)

    def _only_answers(self) -> None:
        """The platform lets us answer only, whatever the settings say: people are told to ask for what comes later."""
        self.abilities = replace(MP, push="none")
        self._slots.patient = True

    # receiving

    async def webhook(self, request: web.Request) -> web.StreamResponse:
        """One call from the platform: the address verified, or a message. See answer_callback for what is refused."""
        began = asyncio.get_running_loop().time()

        async def take(opened: Opened) -> web.Response:
            return await self._take(request, opened, began)

        return await answer_callback(request, self._guard, take)

    async def _take(self, request: web.Request, opened: Opened, began: float) -> web.Response:
        heard = read_callback(opened.xml, self.account, self._settings.datums, self._clock())
        if heard.delivery.error:
            log.error("a message of 公众号 cannot be read: %s", heard.delivery.error)
        key = heard.delivery.delivery_key
        if (said := self._slots.answered(key)) is not None:
            return self._answer(heard, said, opened)
        if heard.answer == "none":
            if await self._store(heard, began):
                self._note(heard)
            return web.Response(text=ACKNOWLEDGED)
        attempt = self._slots.open(heard.delivery.chat_ref, key)
        try:
            return await self._answered(request, opened, heard, attempt, began)
        except BaseException:
            if not attempt.over.is_set():  # else a repeat has it
                self._slots.drop(attempt.slot)
            raise

    async def _answered(
        self, request: web.Request, opened: Opened, heard: Heard, attempt: Attempt, began: float
    ) -> web.Response:
        """Store the delivery, then hold the request open for what the sender has to say to it."""
        if await self._store(heard, began):
            self._note(heard)
        elif (said := await self._answered_before(heard.delivery.delivery_key)) is not None:
            self._slots.drop(attempt.slot)
            return self._answer(heard, said, opened)
        response: web.Response | None = None

        async def write(text: str) -> bool:
            nonlocal response
            response = self._answer(heard, text, opened)
            return await _written(request, response)

        held = await self._slots.hold(attempt, began, write, load(DEFAULT).say("push.still_working"))
        if response is not None:
            return response
        # Where nobody listens any more no acknowledgement may be given: the repeat is to be answered.
        return web.Response(text=ACKNOWLEDGED) if held == "nothing" else web.Response(status=503)

    async def _store(self, heard: Heard, began: float) -> bool:
        """Whether it was new. One that takes too long goes on being stored, and is found so when it comes again."""
        if self._accept is None:
            raise RuntimeError("not started")
        left = began + STORE_S - asyncio.get_running_loop().time()
        async with asyncio.timeout(max(0.0, left)):
            return await self._accept(heard.delivery)

    async def _answered_before(self, key: str) -> str | None:
        def look() -> str | None:
            with self._database.read() as work:
                return push_budget.kept_answer(work, CHANNEL, self.account, key)

        return await asyncio.to_thread(look)

    def _note(self, heard: Heard) -> None:
        """Keep what this message allows and tells, beside its turn: nobody waits for that."""
        act = None if self._pushing is None else heard.act
        if act is None and not heard.outcomes and not heard.grants:
            return

        def keep() -> None:
            person = heard.delivery.chat_ref
            with self._database.work(system(Part.INTAKE)) as work:
                if act is not None and people.account(work, CHANNEL, person) is not None:
                    push_budget.opened(work, CHANNEL, person, act, self._clock())
                for outcome in heard.outcomes:
                    if outcome.reason:
                        lost = outbox.came_back(work, CHANNEL, f"template:{outcome.message_id}", outcome.reason)
                        log.warning("template message %s did not arrive (%d kept)", outcome.message_id, lost)
                for grant in heard.grants:
                    push_budget.granted(work, CHANNEL, person, grant.template, grant.count)

        task = spawn(asyncio.to_thread(keep), "mp note")
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    def _answer(self, heard: Heard, text: str, opened: Opened) -> web.Response:
        """A passive reply. The text cannot leave its place in the XML, whatever a person put into it."""
        xml = (
            f"<xml><ToUserName>{cdata(heard.sender)}</ToUserName>"
            f"<FromUserName>{cdata(heard.receiver)}</FromUserName>"
            f"<CreateTime>{int(self._clock().timestamp())}</CreateTime>"
            f"<MsgType><![CDATA[text]]></MsgType><Content>{cdata(text)}</Content></xml>"
        )
        return web.Response(text=xml if opened.plain else self._guard.seal(xml), content_type="text/xml")

    # fetching

    async def fetch(self, media: Media) -> bytes:
        """The bytes of a file, at most 20 MB, by the best way that leads to it. Raises MediaProblem for good,
        ConnectionError for now.
        """
        if media.problem:
            raise MediaProblem(media.problem)
        why = "gone"
        for way in media.ref.split():
            try:
                data = await (self._picture(way) if "://" in way else self._media(way))
            except ApiRefused as error:
                log.warning("a file of 公众号 is not to be had: %s", error)
                why = "no_right" if error.errcode in NO_RIGHT else why
                continue
            except TooBig:
                raise MediaProblem("too_big") from None
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                raise ConnectionError(str(error) or type(error).__name__) from None
            if data:
                return data
            why = "empty"
        raise MediaProblem(why)

    async def _media(self, media_id: str) -> bytes:
        if self._api is None:
            raise ApiRefused(48001, "no AppSecret")
        return (await self._api.download("media/get", {"media_id": media_id}, MAX_FILE)).data

    async def _picture(self, url: str) -> bytes:
        """A picture by its PicUrl, which needs no right: only from the platform's own hosts."""
        address = urlsplit(url)
        ours = urlsplit(self._settings.account.base).netloc
        if address.scheme not in ("http", "https") or not (
            address.netloc == ours or (address.hostname or "").endswith(PICTURE_HOSTS)
        ):
            raise ApiRefused(404, "a picture at a strange address")
        timeout = aiohttp.ClientTimeout(total=PICTURE_S)
        proxy = self._settings.account.proxy or None
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.get(url, allow_redirects=False, proxy=proxy) as answer,
        ):
            if answer.status != 200 or not answer.content_type.startswith("image/"):
                raise ApiRefused(answer.status, "no picture")
            data = bytearray()
            async for chunk in answer.content.iter_chunked(64 * 1024):
                data += chunk
                if len(data) > MAX_FILE:
                    raise TooBig
            return bytes(data)

    # sending

    async def answers(self) -> bool:
        """An account without an interface of its own is only ever asked."""
        return self._api is None or await self._api.answers()

    async def send(self, chat_ref: str, message: Rendered) -> str:
        """Answer the person's message that is still open, else push. Raises a SendError: Shut if neither may be."""
        if not OPENID.fullmatch(chat_ref):
            raise Refused("no openid")
        message = await self._as_texts(message)
        texts, arrived, provider_id = message.texts, 0, ""
        slot = self._slots.waiting(chat_ref)
        if slot is not None:
            first = texts[0]
            if (len(texts) > 1 or message.more) and not await self._may_push(chat_ref):
                first = f"{first}\n{load(message.language).say('push.more')}"
            if await self._slots.put(slot, first):
                await self._keep_answer(slot.key, first)
                texts, arrived, provider_id = texts[1:], 1, f"passive:{slot.key}"
        if not texts and message.image is None:
            return provider_id
        try:
            if self._pushing is None:
                raise Shut("passive")
            return await self._pushing.push(chat_ref, texts, message)
        except SendError as trouble:
            trouble.sent += arrived
            raise

    async def _may_push(self, chat_ref: str) -> bool:
        return self._pushing is not None and await self._pushing.may_push(chat_ref)

    async def _as_texts(self, message: Rendered) -> Rendered:
        """A file, and a picture where no picture can be pushed, become a link in the last text."""
        content, name = message.file, message.file_name
        if content is None and message.image is not None and self._pushing is None:
            content, name = message.image, message.image_name
        if content is None:
            return message
        if self._file_link is None:
            raise Refused("a file cannot be sent here: 公网网址 is not set")
        words = load(message.language)
        link = await asyncio.to_thread(self._file_link, content, name)
        line = words.say("push.file", {"name": name, "link": link, "minutes": MINUTES})
        texts = (*message.texts[:-1], f"{message.texts[-1]}\n{line}")
        return replace(message, texts=texts, image=None, file=None)

    async def _keep_answer(self, key: str, text: str) -> None:
        def keep() -> None:
            with self._database.work() as work:
                push_budget.keep_answer(work, CHANNEL, self.account, key, text, self._clock())

        await asyncio.to_thread(keep)


async def _written(request: web.Request, response: web.Response) -> bool:
    """Write a whole answer now; whether the connection was still there to take it."""
    if request.transport is None or request.transport.is_closing():
        return False
    try:
        await response.prepare(request)
        await response.write_eof()
    except (ConnectionError, RuntimeError):
        return False
    return request.transport is not None and not request.transport.is_closing()
