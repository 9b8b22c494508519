"""A 公众号 (服务号) on loopback."""

import itertools
from typing import Any

from bot.loopback.platform import Call, LoopbackPlatform, Refusal
from bot.loopback.signer import Messages

Json = dict[str, Any]

OWN_NAME = "gh_loopback0000"  # ToUserName of what people send: the account's original id


class OfficialPlatform(LoopbackPlatform):
    """`followers` are the openids that may be written to; `sent` the 客服消息 that they got."""

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
        self.messages = Messages(OWN_NAME)
        self._message_numbers = itertools.count(1)
        self.open_paths = {"stable_token", "token"}
        self.handlers |= {
            "stable_token": self._stable_token,
            "token": self._plain_token,
            "message/custom/send": self._custom_send,
        }

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
        kind = str(message.get("msgtype"))
        number = f"custom-{next(self._message_numbers)}"
        self.sent.append({"to": person, "msgtype": kind, kind: message.get(kind), "msgid": number})
        return {"errcode": 0, "errmsg": "ok"}
