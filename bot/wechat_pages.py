"""What the page for the exact position (web.here) asks of 企业微信 and 公众号: a login, a signature, a way in.

developer.work.weixin.qq.com/document/path/91022 (OAuth), 91023 (auth/getuserinfo), 90506 (signature);
developers.weixin.qq.com, 网页授权 and JS-SDK 使用权限签名算法.
"""

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from bot.channels import Accept
from bot.mp_incoming import OPENID
from bot.wechat_client import WeChatApi
from bot.wechat_errors import ApiError, ApiRefused
from bot.wecom_incoming import USERID
from storage.inbox import Delivery
from web.here import CodeRefused, PlatformAway

LOGIN_BASE: Final = "https://open.weixin.qq.com"
SCRIPTS: Final = {
    "wecom": "https://res.wx.qq.com/open/js/jweixin-1.2.0.js",
    "mp": "https://res.wx.qq.com/open/js/jweixin-1.6.0.js",
}
# A code that was never given, was used, or is older than five minutes.
CODE_REFUSED: Final = frozenset({40029, 40163, 41008, 42003})


@dataclass(frozen=True, slots=True)
class WeChatPages:
    """A web.here.Platform for one account. `take` is how its channel stores a delivery; empty addresses are the
    platform's own.
    """

    api: WeChatApi
    take: Accept
    clock: Callable[[], datetime]
    login_base: str = ""
    sdk: str = ""
    boxes: tuple[str, ...] = ()

    @property
    def channel(self) -> str:
        return self.api.account.product

    @property
    def account(self) -> str:
        return self.api.account.name

    @property
    def script(self) -> str:
        return self.sdk or SCRIPTS[self.api.account.product]

    def authorize(self, back: str, state: str) -> str:
        """The parameters in the order of the vendor's pages: the platform looks at it."""
        asked = {
            "appid": self.api.account.app_id,
            "redirect_uri": back,
            "response_type": "code",
            "scope": "snsapi_base",
            "state": state,
        }
        if self.api.account.product == "wecom":
            asked["agentid"] = self.api.account.agent_id
        base = (self.login_base or LOGIN_BASE).rstrip("/")
        return f"{base}/connect/oauth2/authorize?{urlencode(asked)}#wechat_redirect"

    async def person(self, code: str) -> str:
        """A member's userid in small letters or a follower's openid; "" for a guest of the corp."""
        if self.api.account.product == "wecom":
            answer = await _asked(self.api.get("auth/getuserinfo", {"code": code}))
            userid = str(answer.get("userid") or "")
            return userid.lower() if USERID.fullmatch(userid) else ""
        wanted = {"code": code, "grant_type": "authorization_code"}
        openid = str((await _asked(self.api.exchange("sns/oauth2/access_token", wanted))).get("openid") or "")
        return openid if OPENID.fullmatch(openid) else ""

    async def config(self, url: str) -> dict[str, Any]:
        try:
            ticket = await self.api.ticket()
        except ApiError as error:
            raise PlatformAway(str(error)) from None
        nonce, timestamp = secrets.token_hex(8), int(self.clock().timestamp())
        return {
            "appId": self.api.account.app_id,
            "timestamp": timestamp,
            "nonceStr": nonce,
            "signature": signature(ticket, nonce, timestamp, url),
        }

    async def accept(self, delivery: Delivery) -> bool:
        return await self.take(delivery)


def signature(ticket: str, nonce: str, timestamp: int, url: str) -> str:
    """SHA-1 over ticket, nonce, seconds and the page's address without its fragment, in hex."""
    told = f"jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url={url}"
    return hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()


async def _asked(call: Awaitable[Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return await call
    except ApiRefused as refused:
        if refused.errcode in CODE_REFUSED:
            raise CodeRefused from None
        raise PlatformAway(str(refused)) from None
    except ApiError as error:
        raise PlatformAway(str(error)) from None


# --- what the consoles look for at the domain


def verify_routes(files: Iterable[str]) -> list[web.RouteDef]:
    """The files by which a console sees that a domain is the firm's: WW_verify_Ab12.txt holds Ab12."""
    return [web.get(f"/{name}", _gives(content)) for name, content in map(verify_file, files)]


def verify_file(setting: str) -> tuple[str, str]:
    """(name, content) of NAME or NAME=CONTENT."""
    name, _, content = setting.partition("=")
    return name, content or re.sub(r"^.*_verify_|\.txt$", "", name)


def _gives(content: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def give(request: web.Request) -> web.Response:
        return web.Response(text=content)

    return give
