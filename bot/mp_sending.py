"""How 公众号 pushes: 客服消息 while the person's window allows it, templates beyond it, and what each refusal means."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final, Literal, TypeVar

from bot.channels import HoldOff, MaybeSent, NotSent, Refused, Rendered, SendError, Shut, Unreachable
from bot.mp_incoming import CHANNEL
from bot.wechat_client import WeChatApi
from bot.wechat_errors import ApiBusy, ApiError, ApiNotReached, ApiRefused, TokenTrouble
from storage import push_budget
from storage.database import Database, Work

log = logging.getLogger(__name__)

T = TypeVar("T")

OUT_OF_WINDOW: Final = 45015
TOO_MANY: Final = 45047
NO_RIGHT: Final = frozenset({48001, 48004, 50001})
GONE: Final = frozenset({40003, 43004, 46004})  # no such openid, or no follower (any more)
UNWANTED: Final = frozenset({43101, 48002})  # the person refuses messages, or this template
TOKEN_PAUSE_S: Final = 60.0  # between two looks at whether the operator has mended the credentials
# What a template's field may hold, by the beginning of its name (developers.weixin.qq.com, 模板消息参数类别).
FIELD_LENGTHS: Final = (("thing", 20), ("character_string", 32), ("name", 10), ("phrase", 5), ("number", 32))
LONGEST_FIELD: Final = 200


@dataclass(frozen=True, slots=True)
class Template:
    """A template of the account. `fields` are (our word, the template's field): ("客户", "thing1")."""

    template_id: str
    kind: Literal["template", "subscribe"]
    fields: tuple[tuple[str, str], ...]


class Pushing:
    """Sends to a person without being asked. Raises a SendError; Shut when neither way is open."""

    def __init__(
        self,
        api: WeChatApi,
        database: Database,
        templates: Mapping[str, Template],
        clock: Callable[[], datetime],
        zone: tzinfo,
        no_right: Callable[[], None],
    ) -> None:
        """`no_right` is called when the platform says that this account may not send 客服消息 at all."""
        self._api, self._database, self._templates, self._clock, self._zone = api, database, templates, clock, zone
        self._tell_no_right, self._no_right = no_right, False

    async def push(self, chat_ref: str, texts: tuple[str, ...], message: Rendered) -> str:
        """The texts one by one; a reminder or alert that may not be sent so goes as its template, where there is one.

        The platform's id of the last one. An error tells how many texts arrived (`sent`).
        """
        arrived = 0
        try:
            for text in texts:
                await self._custom(chat_ref, _send_text(chat_ref, text))
                arrived += 1
            if message.image is not None:
                await self._image(chat_ref, message.image, message.image_name or "photo.jpg")
        except Shut as shut:
            template = self._templates.get(message.intent)
            if template is not None and not arrived:
                return await self._template(chat_ref, template, message, shut)
            shut.sent = arrived
            raise
        except SendError as trouble:
            trouble.sent = arrived
            raise
        return "custom"

    async def may_push(self, chat_ref: str) -> bool:
        """Whether a 客服消息 would go out now, as far as we know."""
        if self._no_right:
            return False
        return await self._look(lambda work: push_budget.budget(work, CHANNEL, chat_ref, self._clock()).left) > 0

    async def _image(self, chat_ref: str, image: bytes, name: str) -> None:
        try:
            media = await self._api.upload("image", name, image)
        except ApiError as error:
            raise as_send_error(error) from None
        await self._custom(chat_ref, lambda client: client.message.send_image(chat_ref, media))

    async def _custom(self, chat_ref: str, send: Callable[[Any], Any]) -> None:
        """One 客服消息. It is counted before it is sent, and given back only when surely nothing happened."""
        if self._no_right:
            raise Shut("no_right")
        act = await self._change(lambda work: push_budget.take(work, CHANNEL, chat_ref, self._clock()))
        if act is None:
            raise Shut(await self._look(lambda work: push_budget.budget(work, CHANNEL, chat_ref, self._clock()).why))
        try:
            await self._api.call(send)
        except ApiRefused as error:
            if error.errcode in (OUT_OF_WINDOW, TOO_MANY):
                shut = error.errcode == OUT_OF_WINDOW
                await self._change(lambda work: push_budget.exhausted(work, CHANNEL, chat_ref, shut=shut))
                raise Shut("window" if shut else "count", str(error)) from None
            await self._change(lambda work: push_budget.give_back(work, CHANNEL, chat_ref, act))
            if error.errcode in NO_RIGHT:
                self._no_right = True
                self._tell_no_right()
                log.error("公众号 may not send 客服消息 (%s): only answers and templates go out from now on", error)
                raise Shut("no_right", str(error)) from None
            raise as_send_error(error) from None
        except (ApiBusy, ApiNotReached, TokenTrouble) as error:
            await self._change(lambda work: push_budget.give_back(work, CHANNEL, chat_ref, act))
            raise as_send_error(error) from None
        except ApiError as error:
            raise as_send_error(error) from None

    async def _template(self, chat_ref: str, template: Template, message: Rendered, shut: Shut) -> str:
        subscribe = template.kind == "subscribe"
        if subscribe and not await self._change(
            lambda work: push_budget.take_grant(work, CHANNEL, chat_ref, template.template_id)
        ):
            raise shut
        body: dict[str, Any] = {
            "touser": chat_ref,
            "template_id": template.template_id,
            "data": template_data(template, message.details, self._clock().astimezone(self._zone)),
        }
        if not subscribe:
            body["client_msg_id"] = message.key  # sent once in 10 minutes, however often we try
        try:
            answer = await self._api.post("message/subscribe/bizsend" if subscribe else "message/template/send", body)
        except ApiRefused as error:
            if error.errcode in UNWANTED:
                await self._change(lambda work: push_budget.granted(work, CHANNEL, chat_ref, template.template_id, 0))
                raise Shut("unwanted", str(error)) from None
            if error.errcode in GONE:
                raise as_send_error(error) from None
            log.error("公众号 refuses the template for %ss: %s", message.intent, error)
            raise Shut("template", str(error)) from None
        except (ApiBusy, ApiNotReached, TokenTrouble) as error:
            if subscribe:
                await self._change(lambda work: push_budget.granted(work, CHANNEL, chat_ref, template.template_id, 1))
            raise as_send_error(error) from None
        except ApiError as error:
            raise as_send_error(error) from None
        return f"template:{answer.get('msgid', '')}"

    async def _change(self, act: Callable[[Work], T]) -> T:
        def run() -> T:
            with self._database.work() as work:
                return act(work)

        return await asyncio.to_thread(run)

    async def _look(self, query: Callable[[Work], T]) -> T:
        def run() -> T:
            with self._database.read() as work:
                return query(work)

        return await asyncio.to_thread(run)


def _send_text(chat_ref: str, text: str) -> Callable[[Any], Any]:
    return lambda client: client.message.send_text(chat_ref, text)


def template_data(template: Template, details: Mapping[str, str], local: datetime) -> dict[str, dict[str, str]]:
    """The fields filled, each within what its kind may hold; a field of time gets this very moment, the firm's time."""
    words = {
        "标题": details.get("title", ""),
        "事项": details.get("what") or details.get("title", ""),
        "客户": details.get("outlet", ""),
        "时间": details.get("window") or details.get("day", ""),
        "备注": details.get("quote") or details.get("choices", ""),
        "选项": details.get("choices", ""),
        "内容": details.get("text", ""),
    }
    filled = {}
    for word, name in template.fields:
        value = " ".join(words.get(word, "").split()) or "—"
        if name.startswith(("time", "date")):
            value = f"{local.year}年{local.month}月{local.day}日 {local:%H:%M}"
        limit = next((limit for kind, limit in FIELD_LENGTHS if name.startswith(kind)), LONGEST_FIELD)
        filled[name] = {"value": value if len(value) <= limit else f"{value[: limit - 1]}…"}
    return filled


def as_send_error(error: ApiError) -> SendError:
    """What the sender makes of an API's trouble. Credentials are mended by the operator, not by this message."""
    match error:
        case TokenTrouble():
            log.error("%s", error)
            return HoldOff(TOKEN_PAUSE_S)
        case ApiBusy():
            return HoldOff(error.seconds)
        case ApiNotReached():
            return NotSent(str(error))
        case ApiRefused() if error.errcode in GONE:
            return Unreachable("unfollowed", str(error))
        case ApiRefused() if error.errcode in UNWANTED:
            return Shut("unwanted", str(error))
        case ApiRefused():
            return Refused(str(error))
        case _:
            return MaybeSent(str(error))
