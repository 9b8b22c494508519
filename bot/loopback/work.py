"""企业微信 on loopback: one app of one corp."""

import itertools
from typing import Any

from bot.loopback.platform import Call, LoopbackPlatform, Refusal
from bot.loopback.signer import Messages

Json = dict[str, Any]

TEXT_BYTES = 2048  # longer texts are cut without a word


class WorkPlatform(LoopbackPlatform):
    """`members` are the userids that the app may reach; `sent` what they got, as one entry a message and member."""

    blocked_errcode = 60020

    def __init__(
        self,
        corp_id: str = "ww0000loopback0000",
        agent_id: str = "1000002",
        secret: str = "loopback-secret-of-the-app-000000000000001",  # noqa: S107 - of no real corp
        *,
        members: tuple[str, ...] = (),
        callback_s: float = 5.0,
    ) -> None:
        super().__init__(corp_id, secret, callback_s=callback_s)
        self.agent_id = agent_id
        self.members = {member.lower() for member in members}
        self.sent: list[Json] = []
        self.messages = Messages(corp_id, agent_id)
        self._message_numbers = itertools.count(1)
        self.open_paths = {"gettoken"}
        self.handlers |= {"gettoken": self._gettoken, "message/send": self._send}

    def _gettoken(self, call: Call) -> Json:
        return self.token_for(call.params.get("corpid", ""), call.params.get("corpsecret", ""), forced=False)

    def _send(self, call: Call) -> Json:
        """Those who may not be reached are named in the answer, which is a success all the same."""
        message = call.json
        if str(message.get("agentid")) != self.agent_id:
            raise Refusal(40056, "invalid agentid")
        wanted = [one for one in str(message.get("touser", "")).split("|") if one]
        reached = [one for one in wanted if one.lower() in self.members]
        if not reached:
            raise Refusal(81013, "user & party & tag all invalid")
        number = f"msg-{next(self._message_numbers)}"
        kind = str(message.get("msgtype"))
        inside = dict(message.get(kind) or {})
        if kind == "text":
            inside["content"] = str(inside.get("content", "")).encode()[:TEXT_BYTES].decode("utf-8", "ignore")
        self.sent += [{"to": one.lower(), "msgtype": kind, kind: inside, "msgid": number} for one in reached]
        invalid = "|".join(one.lower() for one in wanted if one.lower() not in self.members)
        return {"errcode": 0, "errmsg": "ok", "invaliduser": invalid, "msgid": number}
