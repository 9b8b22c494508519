"""A rendered reply becomes messages of a 企业微信 app, and the platform's refusals the errors that the sender acts on.

developer.work.weixin.qq.com/document/path/90236: more than 30 messages a minute or 1,000 an hour to one member are
thrown away without a word, and a message to nobody it may be sent to is answered with errcode 0 and a list of names.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from bot.channels import HoldOff, MaybeSent, NotSent, Refused, Rendered, SendError, Unreachable
from bot.pacing import Window
from bot.send_limits import KeptWindows
from bot.wechat_client import WeChatApi
from bot.wechat_errors import ApiBusy, ApiError, ApiNotReached, ApiRefused, ApiUnsure, TokenTrouble
from bot.wecom_cards import Card, answered, card_of, numbered, question_of
from bot.wecom_incoming import CHANNEL, USERID
from rules.people import Part, system
from storage import cards, people
from storage.database import Database
from texts import load

log = logging.getLogger(__name__)

# A little under 30 and 1,000: what waits on its way may arrive closer together than it was sent.
MEMBER_WINDOWS: Final = (Window(28, 60.0), Window(950, 3600.0))
MAX_IMAGE: Final = 10 * 1024 * 1024  # JPEG or PNG
MAX_FILE: Final = 20 * 1024 * 1024
LEAST_FILE: Final = 6  # bytes
DUPLICATE_S: Final = 900  # within it the platform swallows a second message with the same words, where it is asked to
OPERATOR_S: Final = 60.0  # between tries while a setting is wrong
# The person is not (or no longer) one to whom this app may speak.
GONE: Final = frozenset({40003, 60111, 81013})
# The app itself lacks something that its administrator has to grant: its agent id, its rights, its visible range.
OPERATORS: Final = frozenset({40056, 48002, 60011, 82001, 301002})
TASK_ID_USED: Final = 42014

Json = dict[str, Any]
Step = tuple[str, Callable[[], Awaitable[str]]]  # what of a message it is, and how to send it


class WecomSending:
    """Sends to one member at a time; the caller sends one chat's messages one after another."""

    def __init__(
        self,
        api: WeChatApi,
        agent_id: int,
        database: Database,
        clock: Callable[[], datetime],
        windows: KeptWindows | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._agent_id, self._database, self._clock = api, agent_id, database, clock
        self._account = api.account.name
        self._windows = windows or KeptWindows(database, CHANNEL, MEMBER_WINDOWS)
        self._repeats = Repeats(monotonic)
        self._done: dict[tuple[str, str], set[str]] = {}  # of messages under way: what of them arrived
        self._complained: dict[int, float] = {}

    async def send(self, chat_ref: str, message: Rendered) -> str:
        """Send what of it has not arrived yet; the platform's id of the last part. Raises a SendError."""
        if not USERID.fullmatch(chat_ref):
            raise Refused(f"no userid: {chat_ref!r}")
        task_id, card, repeated = await self._card(chat_ref, message)
        texts = message.texts if card is not None or not message.buttons else numbered(message)
        steps: list[Step] = []
        for text in () if card is not None and card.alone else texts:
            steps.append((text, partial(self._text, chat_ref, text, message.key)))
        if message.image is not None:
            picture = partial(self._picture, chat_ref, message.image, message.image_name)
            steps.insert(max(0, len(steps) - 1), ("image", picture))
        if message.file is not None:
            steps.append(("file", partial(self._picture, chat_ref, message.file, message.file_name)))
        if card is not None:
            steps.append((f"card {task_id}", partial(self._send_card, chat_ref, message, card, task_id, repeated)))
        return await self._run(chat_ref, message.key, steps)

    async def _run(self, chat: str, key: str, steps: Sequence[Step]) -> str:
        if len(self._done) > 1000:  # of messages that were given up
            self._done.clear()
        done = self._done.setdefault((chat, key), set())
        left = [(name, step) for name, step in steps if name not in done]
        arrived, message_id = 0, ""
        if (wait := await self._windows.reserve(chat, len(left))) > 0:
            raise HoldOff(wait, f"{wait:.0f} s until this member may be sent more", ours=True)
        try:
            for name, step in left:
                message_id = await step()
                done.add(name)
                arrived += name not in ("image", "file") and not name.startswith("card ")
        except Exception as error:
            trouble = self._as_send_error(error)
            trouble.sent = arrived
            if isinstance(trouble, Unreachable | Refused):
                self._done.pop((chat, key), None)
            raise trouble from None
        self._done.pop((chat, key), None)
        return message_id

    async def _text(self, chat: str, text: str, key: str) -> str:
        """Plain text always, so nothing a rep writes can become a link or break the form."""
        body: Json = {"msgtype": "text", "text": {"content": text}}
        if self._repeats.may_check(chat, text, key):
            body |= {"enable_duplicate_check": 1, "duplicate_check_interval": DUPLICATE_S}
        try:
            message_id = str((await self._message(chat, body)).get("msgid", ""))
        except ApiUnsure:
            self._repeats.unsure(chat, text, key)
            raise
        self._repeats.said(chat, text)
        return message_id

    async def _picture(self, chat: str, data: bytes, name: str) -> str:
        """A JPEG or PNG as a picture, anything else as a file."""
        is_image = data.startswith((b"\xff\xd8\xff", b"\x89PNG")) and len(data) <= MAX_IMAGE
        if not LEAST_FILE <= len(data) <= MAX_FILE:
            raise Refused(f"a file of {len(data)} bytes cannot be sent")
        kind = "image" if is_image else "file"
        try:
            media = await self._api.upload(kind, name or ("photo.jpg" if is_image else "file"), data)
        except ApiUnsure as error:  # nobody sees a file that was put there and not sent
            raise ApiNotReached(f"the upload's end is unknown: {error}") from None
        return str((await self._message(chat, {"msgtype": kind, kind: {"media_id": media}})).get("msgid", ""))

    async def _message(self, chat: str, body: Json) -> Json:
        answer: Json = await self._api.call(
            lambda client: client.message.send(self._agent_id, chat, msg={"safe": 0, **body})
        )
        for refused in ("invaliduser", "unlicenseduser"):  # keys under `undelivered.` too
            if chat in str(answer.get(refused) or "").lower().split("|"):
                raise Unreachable(refused, chat)
        return answer

    # cards

    async def _card(self, chat: str, message: Rendered) -> tuple[str, Card | None, bool]:
        """(task id, the card, whether it may have been sent before)."""
        question = question_of(message)
        texts = load(message.language)
        if question is None or card_of(message, "", texts) is None:
            return "", None, False

        def begin() -> tuple[str, bool]:
            with self._database.work() as work:
                return cards.begin(work, self._account, chat, question, message.again, self._clock())

        task_id, repeated = await asyncio.to_thread(begin)
        return task_id, card_of(message, task_id, texts), repeated

    async def _send_card(self, chat: str, message: Rendered, card: Card, task_id: str, repeated: bool) -> str:
        body = {"msgtype": "template_card", "template_card": card.body}
        try:
            answer = await self._message(chat, body)
        except ApiRefused as error:
            if repeated and _says_used(error):  # it had arrived the first time, when no answer reached us
                await self._write(lambda work: cards.sent(work, task_id, self._clock()))
                return ""
            if error.errcode in GONE | OPERATORS:
                raise
            log.error("企业微信 takes no card (%s); the choices go out as numbers", error)
            await self._write(lambda work: cards.ended(work, task_id, self._clock()))
            shown = numbered(replace(message, texts=(str(card.body["main_title"]["title"]),)))[-1]
            return await self._text(chat, numbered(message)[-1] if card.alone else shown, message.key)
        message_id, code = str(answer.get("msgid", "")), str(answer.get("response_code", ""))
        await self._write(lambda work: cards.sent(work, task_id, self._clock(), message_id, code))
        return message_id

    async def end_cards(self) -> int:
        """Show the cards that were answered as 已提交; how many. What cannot be done now is done at the next call."""

        def waiting() -> list[tuple[cards.Card, str]]:
            with self._database.read(system(Part.SENDER)) as work:
                found = cards.to_end(work, self._account, self._clock())
                return [(card, _language(people.account(work, CHANNEL, card.chat_ref))) for card in found]

        ended = 0
        for card, language in await asyncio.to_thread(waiting):
            try:
                ended += await self._end_card(card, language)
            except (ApiBusy, ApiNotReached, TokenTrouble) as error:
                log.info("cards are shown as answered later: %s", error)
                break
        return ended

    async def _end_card(self, card: cards.Card, language: str) -> bool:
        for code in card.codes:
            change = {
                "userids": [card.chat_ref],
                "agentid": self._agent_id,
                "response_code": code,
                "button": answered(load(language)),
            }
            try:
                await self._api.post("message/update_template_card", change)
            except (ApiRefused, ApiUnsure) as error:  # a code is good for one use, and this may have been it
                log.info("card %s is not shown as answered: %s", card.task_id, error)
                await self._write(partial(cards.not_ended, task_id=card.task_id, used_code=code))
                continue
            await self._write(lambda work: cards.ended(work, card.task_id, self._clock()))
            return True
        return False

    async def recall(self, message_id: str) -> None:
        """Take a message back, within 24 hours of sending. Raises an ApiError."""
        await self._api.post("message/recall", {"msgid": message_id})

    async def _write(self, change: Callable[[Any], object]) -> None:
        def write() -> None:
            with self._database.work() as work:
                change(work)

        await asyncio.to_thread(write)

    # errors

    def _as_send_error(self, error: Exception) -> SendError:
        match error:
            case SendError():
                return error
            case TokenTrouble():
                self._complain(error.errcode, str(error))
                return HoldOff(OPERATOR_S, str(error))
            case ApiBusy():
                return HoldOff(error.seconds, str(error))
            case ApiRefused() if error.errcode in GONE:
                return Unreachable("invaliduser", str(error))
            case ApiRefused() if error.errcode in OPERATORS:
                self._complain(error.errcode, str(error))
                return HoldOff(OPERATOR_S, str(error))
            case ApiRefused():
                return Refused(str(error))
            case ApiNotReached():
                return NotSent(str(error))
            case ApiError():
                return MaybeSent(str(error))
            case _:
                return NotSent(f"{type(error).__name__}")

    def _complain(self, errcode: int, sentence: str) -> None:
        """Tell the operator what to do, every ten minutes while it lasts; every message tells of it otherwise."""
        now = time.monotonic()
        if now - self._complained.get(errcode, -1e9) > 600:
            self._complained[errcode] = now
            log.critical("企业微信: %s", sentence)


class Repeats:
    """When the platform may be asked to swallow a message whose words it had already.

    That saves a second copy of what was sent without an answer reaching us. But two honest answers may be the same, so
    it is not asked where these words surely went to this chat a moment ago, or may have before the start.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._started = monotonic()
        self._said: dict[tuple[str, str], float] = {}
        self._unsure: dict[tuple[str, str], tuple[str, float]] = {}

    def may_check(self, chat: str, text: str, key: str) -> bool:
        now = self._monotonic()
        if self._unsure.get((chat, text), ("", 0.0))[0] == key:
            return True
        recent = self._said.get((chat, text), self._started)
        return now - recent > DUPLICATE_S

    def said(self, chat: str, text: str) -> None:
        now = self._monotonic()
        self._unsure.pop((chat, text), None)
        self._said[chat, text] = now
        if len(self._said) > 5000:
            self._said = {what: at for what, at in self._said.items() if now - at <= DUPLICATE_S}

    def unsure(self, chat: str, text: str, key: str) -> None:
        now = self._monotonic()
        self._unsure = {what: seen for what, seen in self._unsure.items() if now - seen[1] <= 4 * DUPLICATE_S}
        self._unsure[chat, text] = (key, now)


def _says_used(error: ApiRefused) -> bool:
    return error.errcode == TASK_ID_USED or "task_id" in error.text.lower()


def _language(account: people.Account | None) -> str:
    return account.language if account is not None else ""
