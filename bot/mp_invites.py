"""Invites to a 公众号: a 带参二维码 that ties whoever scans it, or a line to send where it may make no codes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from bot.mp_sending import NO_RIGHT
from bot.settings import Settings
from bot.wechat_beside import api_beside
from bot.wechat_client import ApiAccount, WeChatApi
from bot.wechat_errors import ApiRefused

LONGEST_S: Final = 2_592_000  # of a code that ends by itself (developers.weixin.qq.com, 生成带参数的二维码)


def account_of(settings: Settings) -> ApiAccount:
    """The 公众号 of the settings."""
    values = settings.mp
    return ApiAccount(
        "mp",
        values.app_id,
        values.secret.get_secret_value(),
        api_base=values.api_base,
        proxy=values.proxy,
        language=settings.language,
    )


def typed_invite(token: str) -> str:
    """What a new colleague may send to the account instead of scanning; bot.mp_incoming reads it."""
    return f"加入 {token}"


async def make_code(api: WeChatApi, token: str, hours: int) -> str:
    """The address inside a code: whoever scans it follows the account and is tied at once. Raises an ApiError."""
    wanted = {
        "expire_seconds": min(hours * 3600, LONGEST_S),
        "action_name": "QR_STR_SCENE",
        "action_info": {"scene": {"scene_str": token}},
    }
    answer: dict[str, Any] = await api.call(lambda client: client.qrcode.create(wanted))
    url = answer.get("url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise ApiRefused(0, "no address in the answer")
    return url


@contextmanager
def code_maker(account: ApiAccount, hours: int) -> Iterator[Callable[[str], str]]:
    """For the command line: makes codes, one after another, and lines to send where the account lacks the right."""
    if not account.secret:
        yield typed_invite
        return
    with api_beside(account) as (runner, api):

        def make(token: str) -> str:
            try:
                return runner.run(make_code(api, token, hours))
            except ApiRefused as refused:
                if refused.errcode not in NO_RIGHT:
                    raise
                return typed_invite(token)

        yield make
