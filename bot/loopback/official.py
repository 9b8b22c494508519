"""A 公众号 (服务号) on loopback."""

import itertools
import secrets
from typing import Any

from bot.loopback.consoles import OfficialConsole
from bot.loopback.pages import Pages
from bot.loopback.platform import Call, LoopbackPlatform, Refusal
from bot.loopback.signer import Messages

Json = dict[str, Any]

OWN_NAME = "gh_loopback0000"  # ToUserName of what people send: the account's original id


class OfficialPlatform(LoopbackPlatform):
    """`followers` are the openids that may be written to; `sent` what they were pushed: 客服消息, templates.

    `allowed` holds how many 客服消息 each may still get (no entry: outside the window, 45015; 0: 45047); None for any.
    `agreed` are (openid, template) that 订阅通知 may use once each. `codes` are the scenes of codes that were made.
    """

    blocked_errcode = 40164

    def __init__(
        self,
        app_id: str = "wx0000loopback0000",
        secret: str = "loopback-appsecret-00000000000001",  # noqa: S107 - of no real account
        *,
        followers: tuple[str, ...] = (),
        callback_s: float = 5.0,
    ) -> None:
        super().__init__(app_id, secret, callback_s=callback_s)
        self.followers = set(followers)
        self.sent: list[Json] = []
        self.allowed: dict[str, int] | None = None
        self.agreed: list[tuple[str, str]] = []
        self.codes: dict[str, str] = {}
        self.messages = Messages(OWN_NAME)
        self._message_numbers = itertools.count(1)
        self.pages = Pages(app_id)
        self.pages.holder = followers[0] if followers else ""
        self.open_paths = {"stable_token", "token", "sns/oauth2/access_token"} | self.pages.open_paths
        self.handlers |= {
            "stable_token": self._stable_token,
            "token": self._plain_token,
            "message/custom/send": self._custom_send,
            "message/template/send": self._template_send,
            "message/subscribe/bizsend": self._subscribe_send,
            "qrcode/create": self._make_code,
            "sns/oauth2/access_token": self._whose_code,
            "ticket/getticket": self._ticket,
            **self.pages.handlers,
        }
        self.console = OfficialConsole()
        self.handlers |= self.console.handlers

    def blocked_words(self, address: str) -> str:
        return f"invalid ip {address} ipv6 ::ffff:{address}, not in whitelist"

    def check_credentials(self, app_id: str, secret: str) -> None:
        if app_id != self.app_id:
            raise Refusal(40013, "invalid appid")
        if secret != self.secret:
            raise Refusal(40125, "invalid appsecret")

    def _stable_token(self, call: Call) -> Json:
        wanted = call.json
        answer = self.token_for(
            str(wanted.get("appid")), str(wanted.get("secret")), forced=wanted.get("force_refresh") is True
        )
        return {key: answer[key] for key in ("access_token", "expires_in")}

    def _plain_token(self, call: Call) -> Json:
        """The old way: every call makes the token before it worthless."""
        answer = self.token_for(call.params.get("appid", ""), call.params.get("secret", ""), forced=True)
        return {key: answer[key] for key in ("access_token", "expires_in")}

    def _custom_send(self, call: Call) -> Json:
        message = call.json
        person = str(message.get("touser", ""))
        if person not in self.followers:
            raise Refusal(43004, "require subscribe")
        if self.allowed is not None:
            if person not in self.allowed:
                raise Refusal(45015, "response out of time limit or subscription is canceled")
            if self.allowed[person] < 1:
                raise Refusal(45047, "out of response count limit")
            self.allowed[person] -= 1
        kind = str(message.get("msgtype"))
        number = f"custom-{next(self._message_numbers)}"
        self.sent.append({"to": person, "msgtype": kind, kind: message.get(kind), "msgid": number})
        return {"errcode": 0, "errmsg": "ok"}

    def _template_send(self, call: Call) -> Json:
        """The answer names the message; an event TEMPLATESENDJOBFINISH with that number tells its fate later."""
        return {"errcode": 0, "errmsg": "ok", "msgid": self._template(call.json)}

    def _subscribe_send(self, call: Call) -> Json:
        agreement = (str(call.json.get("touser")), str(call.json.get("template_id")))
        if agreement not in self.agreed:
            raise Refusal(43101, "user refuse to accept the msg")
        number = self._template(call.json)
        self.agreed.remove(agreement)
        return {"errcode": 0, "errmsg": "ok", "msgid": number}

    def _whose_code(self, call: Call) -> Json:
        """The token in the answer is the person's own and good for nothing but their profile."""
        self.check_credentials(call.params.get("appid", ""), call.params.get("secret", ""))
        person = self.pages.use_code(call.params.get("code", ""))
        return {"access_token": secrets.token_urlsafe(60), "expires_in": 7200, "openid": person, "scope": "snsapi_base"}

    def _ticket(self, call: Call) -> Json:
        if call.params.get("type") != "jsapi":
            raise Refusal(40097, "invalid args")
        return self.pages.ticket(call)

    def _template(self, message: Json) -> int:
        person = str(message.get("touser", ""))
        if person not in self.followers:
            raise Refusal(43004, "require subscribe")
        for name, field in message.get("data", {}).items():
            if not field.get("value") or (name.startswith("thing") and len(field["value"]) > 20):
                raise Refusal(47003, f"argument invalid! data.{name}.value invalid")
        number = next(self._message_numbers)
        self.sent.append({"to": person, "msgtype": "template", "template": message, "msgid": number})
        return number

    def _make_code(self, call: Call) -> Json:
        scene = str(call.json.get("action_info", {}).get("scene", {}).get("scene_str", ""))
        if not 1 <= len(scene) <= 64:
            raise Refusal(40053, "invalid action info")
        url = f"http://weixin.qq.com/q/{next(self._numbers)}"
        self.codes[url] = scene
        return {"ticket": f"ticket{scene}", "expire_seconds": call.json.get("expire_seconds", 30), "url": url}
