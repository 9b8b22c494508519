"""What a platform does for pages that are opened inside its app: logins by OAuth2, tickets, and the JS-SDK.

The script that is served is our own stand-in (jweixin.js beside this file). Like the real one it hands wx.config's
signature to the platform, which compares it with the tickets that it gave out.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.sax.saxutils import escape

from aiohttp import web

from bot.loopback.platform import Call, Refusal

Json = dict[str, Any]

SCRIPT_PATH: Final = "open/js/jweixin.js"
CODE_LIFE_S: Final = 300
TICKET_LIFE_S: Final = 7200
_STAND_IN: Final = Path(__file__).with_name("jweixin.js")


class Pages:
    """Pages in one app. `holder` is whose phone opens them, "" a guest's; `domains` are the trusted ones, None: any.

    `checked` holds what each wx.config came to; `refuses` is what getLocation fails with instead of measuring. `ticked`
    are the boxes of 订阅通知 that were ticked, of which `tell` is told where it is set.
    """

    def __init__(self, app_id: str, agent_id: str = "") -> None:
        self._app_id, self._agent_id = app_id, agent_id
        self.holder = ""
        self.domains: set[str] | None = None
        self.checked: list[str] = []
        self.refuses = ""
        self.ticked: list[str] = []
        self.tell: Callable[[str, list[str]], Awaitable[object]] | None = None
        self.tickets: dict[str, float] = {}
        self._codes: dict[str, tuple[str, float]] = {}
        self.open_paths = {"connect/oauth2/authorize", SCRIPT_PATH, "sdk/check", "sdk/box"}
        self.handlers: dict[str, Callable[[Call], Json | web.Response | Awaitable[Json | web.Response]]] = {
            "connect/oauth2/authorize": self._authorize,
            SCRIPT_PATH: self._script,
            "sdk/check": self._check,
            "sdk/box": self._box,
        }

    def code_for(self, person: str) -> str:
        """A code as the platform would hand it to the browser: one use, five minutes."""
        code = secrets.token_urlsafe(24)
        self._codes[code] = (person, time.monotonic() + CODE_LIFE_S)
        return code

    def use_code(self, code: str) -> str:
        """Whose code it is."""
        person, ends = self._codes.pop(code, ("", 0.0))
        if ends < time.monotonic():
            raise Refusal(40029, "invalid code")
        return person

    def ticket(self, call: Call) -> Json:
        """The ticket that holds by now, or a new one."""
        now = time.monotonic()
        for ticket, ends in self.tickets.items():
            if ends > now:
                return {"errcode": 0, "errmsg": "ok", "ticket": ticket, "expires_in": int(ends - now)}
        ticket = f"kgt8{secrets.token_urlsafe(60)}"
        self.tickets[ticket] = now + TICKET_LIFE_S
        return {"errcode": 0, "errmsg": "ok", "ticket": ticket, "expires_in": TICKET_LIFE_S}

    def signature_fits(self, given: str, nonce: str, timestamp: str, url: str) -> bool:
        told = f"noncestr={nonce}&timestamp={timestamp}&url={url}"
        known = (ticket for ticket, ends in self.tickets.items() if ends > time.monotonic())
        return any(hashlib.sha1(f"jsapi_ticket={one}&{told}".encode()).hexdigest() == given for one in known)  # noqa: S324 - the vendor's form

    def _authorize(self, call: Call) -> web.Response:
        """Sends the browser back with a code, without a question, as snsapi_base does."""
        asked = call.params
        back = urlsplit(asked.get("redirect_uri", ""))
        state = asked.get("state", "")
        wrong = ""
        if asked.get("appid") != self._app_id or asked.get("agentid", "") != self._agent_id:
            wrong = "appid or agentid"
        elif (asked.get("response_type"), asked.get("scope")) != ("code", "snsapi_base"):
            wrong = "response_type or scope"
        elif self.domains is not None and back.hostname not in self.domains:
            wrong = "redirect_uri"  # 50001: the domain is not the account's
        elif not (state.isascii() and state.isalnum() and len(state) <= 128):
            wrong = "state"
        if wrong:
            return web.Response(status=200, text=f"<h1>{wrong} is wrong</h1>", content_type="text/html")
        query = [*parse_qsl(back.query), ("code", self.code_for(self.holder)), ("state", state)]
        raise web.HTTPFound(back._replace(query=urlencode(query), fragment="").geturl())

    def _script(self, call: Call) -> web.Response:
        return web.Response(text=_STAND_IN.read_text(encoding="utf-8"), content_type="text/javascript")

    def _check(self, call: Call) -> web.Response:
        """The answer to wx.config, as a script: the page's policy lets nothing else through."""
        asked = call.params
        fits = asked.get("appId") == self._app_id and self.signature_fits(
            asked.get("signature", ""), asked.get("nonceStr", ""), asked.get("timestamp", ""), asked.get("url", "")
        )
        trusted = self.domains is None or urlsplit(asked.get("url", "")).hostname in self.domains
        self.checked.append("config:ok" if fits and trusted else "config:invalid signature" if trusted else "domain")
        return _called("checked", {"errMsg": self.checked[-1], "refuses": self.refuses})

    async def _box(self, call: Call) -> web.Response:
        templates = call.params.get("template", "").split(",")
        self.ticked += templates
        if self.tell is not None:
            await self.tell(self.holder, templates)
        details = {one: json.dumps({"status": "accept"}) for one in templates}
        return _called("ticked", {"errMsg": "subscribe:ok", "subscribeDetails": json.dumps(details)})


def popup_event(templates: list[str]) -> str:
    """The inside of subscribe_msg_popup_event for boxes that were ticked."""
    listed = "".join(
        f"<List><TemplateId>{escape(one)}</TemplateId><SubscribeStatusString>accept</SubscribeStatusString>"
        "<PopupScene>2</PopupScene></List>"
        for one in templates
    )
    return f"<SubscribeMsgPopupEvent>{listed}</SubscribeMsgPopupEvent>"


def _called(name: str, value: Json) -> web.Response:
    return web.Response(text=f"window.__standIn.{name}({json.dumps(value)});", content_type="text/javascript")
