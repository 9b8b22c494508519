"""群机器人: alerts and the day's summary into a manager's group in 企业微信. It speaks and hears nothing.

A group is one more account of its manager, so its messages go through the outbox like all others; what is for the
manager alone does not go there (`handlers.turn.tell`). developer.work.weixin.qq.com/document/path/91770: 20 messages a
minute to one group, 2048 bytes a text, 4096 of markdown, in which nothing can be escaped.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from bot.abilities import WECOM_GROUP
from bot.channels import Accept, HoldOff, MaybeSent, MediaProblem, NotSent, Refused, Rendered, SendError, Unreachable
from bot.pacing import Window
from bot.send_limits import KeptWindows
from bot.wechat_errors import TOO_FAST, ApiBusy, ApiError, ApiNotReached, ApiRefused, ApiUnsure, cleaned
from bot.wechat_transport import Transport
from handlers.messages import Media
from rules.people import Part, system
from storage import people
from storage.database import Database
from storage.people import GROUPS, Account
from texts import DEFAULT, load

log = logging.getLogger(__name__)

STANDARD: Final = "https://qyapi.weixin.qq.com"
GROUP_WINDOWS: Final = (Window(18, 60.0),)  # a little under 20: what waits on its way may arrive closer together
NO_SUCH_ROBOT: Final = 93000
MARKDOWN_BYTES: Final = 4096
# What may be markup, or call somebody (<@userid>), as its full-width likeness.
_PLAIN: Final = str.maketrans("*_`[]<>#~|\\", "＊＿｀［］＜＞＃～｜＼")


@dataclass(frozen=True, slots=True)
class Group:
    """A group's robot and whose group it is: a manager's 工号 or name."""

    manager: str
    key: str = field(repr=False)


def groups_of(text: str) -> tuple[Group, ...]:
    """Groups written as 吴经理=key, separated by commas. Raises ValueError, without the text, for anything else."""
    found = []
    for part in text.replace("，", ",").replace("＝", "=").split(","):
        manager, equals, key = (word.strip() for word in part.partition("="))
        if not part.strip():
            continue
        if not (manager and equals and key.isascii() and key.replace("-", "").isalnum()):
            raise ValueError("a group robot is written as 工号=密钥")
        found.append(Group(manager, key))
    return tuple(found)


class GroupRobots:
    """A `Channel` that only sends. A chat is a group: its manager's 工号, with #2 behind it for the second group."""

    name = GROUPS
    abilities = WECOM_GROUP

    def __init__(
        self,
        groups: Sequence[Group],
        database: Database,
        *,
        api_base: str = "",
        proxy: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        language: str = DEFAULT,
        markdown: bool = True,
    ) -> None:
        """`markdown` is false where groups are read in the WeChat plug-in, which shows its signs."""
        self._markdown = markdown
        self.account = "groups"
        self._groups, self._database, self._clock, self._language = tuple(groups), database, clock, language
        self._url = f"{(api_base or STANDARD).rstrip('/')}/cgi-bin/webhook/send"
        self._transport = Transport(2, proxy)
        self._windows = KeptWindows(database, GROUPS, GROUP_WINDOWS)
        self._keys: dict[str, str] = {}
        self._tied = False

    @property
    def receives_alone(self) -> bool:
        return False

    async def connect(self) -> None:
        """A process that only sends needs the keys as well."""
        if not self._tied:
            await asyncio.to_thread(self._tie)
            self._tied = True

    async def start(self, accept: Accept) -> None:
        await self.connect()

    async def pause(self) -> None:
        """Nothing is received."""

    async def stop(self) -> None:
        await asyncio.to_thread(self._transport.close)

    def _tie(self) -> None:
        """Each group becomes an account of its manager; a group that is no longer set gets nothing any more."""
        now = self._clock()
        with self._database.work(system(Part.SENDER)) as work:
            before = {account.user_ref: account for account in people.group_accounts(work)}
            for group in self._groups:
                manager = people.employee_named(work, group.manager)
                if manager is None or not manager.active or not manager.manages:
                    log.error("%s", load(self._language).say("group_robot.no_manager", {"name": group.manager}))
                    continue
                ref = next(ref for ref in _refs(manager.code) if ref not in self._keys)
                self._keys[ref] = group.key
                known = before.get(ref)
                if known is None or known.employee != manager.code:
                    people.link(work, Account(GROUPS, ref, ref, manager.code, self._language), now)
                elif not known.reachable:
                    people.set_reachable(work, known.id, True)
            for ref, account in before.items():
                if ref not in self._keys:
                    people.set_reachable(work, account.id, False)

    async def fetch(self, media: Media) -> bytes:
        raise MediaProblem("gone")

    def invite_link(self, token: str) -> str:
        """Nobody is invited to a group by the bot."""
        return ""

    async def send(self, chat_ref: str, message: Rendered) -> str:
        """Send with the first line in bold; nothing a rep wrote becomes markup. Raises a SendError."""
        key = self._keys.get(chat_ref)
        if key is None:
            raise Unreachable("no_robot", "this group has no robot any more")
        if (wait := await self._windows.reserve(chat_ref, len(message.texts))) > 0:
            raise HoldOff(wait, ours=True)
        for arrived, text in enumerate(message.texts):
            try:
                await asyncio.to_thread(self._post, key, text)
            except ApiError as error:
                trouble = self._as_send_error(error)
                trouble.sent = arrived
                raise trouble from None
        return ""

    def _as_send_error(self, error: ApiError) -> SendError:
        match error:
            case ApiBusy():
                return HoldOff(error.seconds)
            case ApiRefused() if error.errcode == NO_SUCH_ROBOT:
                log.critical("%s", load(self._language).say("group_robot.no_key"))
                return Unreachable("no_robot", str(error))
            case ApiRefused():
                return Refused(str(error))
            case ApiNotReached():
                return NotSent(str(error))
            case _:
                return MaybeSent(str(error))

    def _post(self, key: str, text: str) -> None:
        kind, content = "text", text
        if self._markdown and "\n" in text and len(headed(text).encode()) <= MARKDOWN_BYTES:
            kind, content = "markdown", headed(text)
        body = json.dumps({"msgtype": kind, kind: {"content": content}}, ensure_ascii=False).encode()
        answer = self._transport.exchange("post", self._url, {"key": key}, body=body)
        code, words = _errcode(answer.data)
        if code in TOO_FAST:
            raise ApiBusy(TOO_FAST[code], code)
        if code:
            raise ApiRefused(code, cleaned(words, (key,)))


def headed(text: str) -> str:
    """A text as markdown with its first line in bold; every sign that could be markup is only shown."""
    first, _, rest = text.translate(_PLAIN).partition("\n")
    return f"**{first.strip()}**\n{rest}" if first.strip() else rest


def _refs(code: str) -> Iterator[str]:
    yield code
    yield from (f"{code}#{number}" for number in range(2, 1000))


def _errcode(data: bytes) -> tuple[int, Any]:
    try:
        answer = json.loads(data)
        return int(answer["errcode"]), answer.get("errmsg", "")
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise ApiUnsure("the answer cannot be read")
