"""The page for the exact position, opened from the menu of 企业微信 or a 公众号: a login, a measurement, one delivery.

The platform says whose phone it is (OAuth2, snsapi_base), its JS-SDK or the browser measures, and what is measured goes
in by the same door as a message of that person's chat. docs/decisions/0015-exact-position-page.md has the reasons.
"""

import hashlib
import hmac
import json
import logging
import math
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from aiohttp import web

import texts
from handlers.messages import Incoming, Kind, SentPlace
from handlers.wire import incoming_to_plain
from rules.evidence import PlaceKind
from rules.people import Part, system
from storage import people, tokens
from storage.database import Work
from storage.inbox import Delivery
from texts import Texts
from web.sessions import Session, Sessions
from web.site import Refusal, Site, check_host, data, json_body, page, refused, words_for

log = logging.getLogger(__name__)

STATE_LASTS: Final = timedelta(minutes=10)  # from the menu to the way back: a person may have to agree in between
LOGIN_LASTS: Final = timedelta(minutes=30)
OLDEST_FIX: Final = timedelta(minutes=5)  # an older measurement is made anew rather than sent
COARSEST_M: Final = 100_000.0
_SEEN_IN: Final = ("micromessenger", "wxwork")  # how the browsers of WeChat and 企业微信 call themselves
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,512}")
_STATE: Final = re.compile(r"([0-9a-f]{24})([0-9a-f]{8})([0-9a-f]{48})")  # letters and digits only, 128 at most
_KEY: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POST_TOKEN: Final = "X-Zoudian-Token"  # noqa: S105 - the header's name
# The clients' bridges of old go through frames with addresses of their own schemes. A box of 订阅通知 is a frame of the
# platform's with styles of its own (developers.weixin.qq.com, 开放标签说明文档).
_BRIDGES: Final = "weixin: wxwork: wvjbscheme:"
_BOX_FRAMES: Final = "https://*.qq.com webcompt:"


class CodeRefused(Exception):
    """The code of a login is invented, used or too old: the person opens the page once more."""


class PlatformAway(Exception):
    """The platform cannot be asked, or has something against us; the text is for the operator."""


class Platform(Protocol):
    """What the page needs of 企业微信 or a 公众号. `script` is the address of its JS-SDK; `boxes` are the templates of
    订阅通知 that the person may tick.
    """

    @property
    def channel(self) -> str: ...

    @property
    def account(self) -> str: ...

    @property
    def script(self) -> str: ...

    @property
    def boxes(self) -> tuple[str, ...]: ...

    def authorize(self, back: str, state: str) -> str:
        """Where the browser is sent to be told whose phone it is."""

    async def person(self, code: str) -> str:
        """Who it is, as the channel calls people; "" for nobody of the account. Raises CodeRefused, PlatformAway."""

    async def config(self, url: str) -> dict[str, Any]:
        """What wx.config needs for the page at this address. Raises PlatformAway."""

    async def accept(self, delivery: Delivery) -> bool:
        """Store a delivery durably; whether it was new. Raises what it likes when it cannot."""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class HerePage:
    """The page of one platform on our site. `key` is the site's secret; those used here are derived from it."""

    site: Site
    platform: Platform
    key: bytes = field(repr=False)

    @property
    def path(self) -> str:
        return here_path(self.platform.channel)

    @property
    def address(self) -> str:
        """What stands in the menu."""
        return f"{self.site.settings.address}{self.path}"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(self.path, self._guarded(self._page)),
            web.get(f"{self.path}/back", self._guarded(self._back)),
            web.get(f"{self.path}/api/config", self._guarded(self._config)),
            web.post(f"{self.path}/api/place", self._guarded(self._receive)),
        ]

    # the page, and the way to it

    async def _page(self, request: web.Request) -> web.StreamResponse:
        """The page for whoever is logged in; anybody else is sent to the platform and comes back to `_back`."""
        session = self._session(request)
        person = "" if session is None else session.user_ref
        known = await self._who(person)
        if session is None or known is None:
            return self._to_platform(request)
        name, words = known
        parts = {
            "hello": words.say("web.here.hello", {"name": name}),
            "channel": self.platform.channel,
            "product": words.say(f"wechat_product.{self.platform.channel}"),
            "script": self.platform.script,
            "boxes": ",".join(self.platform.boxes),
            "token": self._logins.token(session),
            "words": json.dumps(words_for(words, "web.here.") | words_for(words, "web.problem.network")),
        }
        response = page("here.html", words, parts)
        response.headers["Content-Security-Policy"] = self._policy()
        response.headers["Cache-Control"] = "no-store"
        return response

    def _to_platform(self, request: web.Request) -> web.StreamResponse:
        agent = request.headers.get("User-Agent", "").lower()
        if not any(name in agent for name in _SEEN_IN):
            raise Refusal(403, f"outside_{self.platform.channel}")
        now = self.site.clock()
        browser = self._browsers.make(now)
        state = self._state(browser, now)
        response = _redirect(self.platform.authorize(f"{self.address}/back", state))
        self._set_cookie(response, "browser", self._browsers.cookie(browser), STATE_LASTS)
        return response

    async def _back(self, request: web.Request) -> web.StreamResponse:
        """The platform sent the browser back with a code. Good for one login, in the browser that set out."""
        now = self.site.clock()
        if not await self._use_state(request, now):
            if self._session(request) is not None:  # some web views open the address twice
                return _redirect(self.address)
            raise Refusal(403, "login_over")
        code = request.query.get("code", "")
        if not _CODE.fullmatch(code):
            raise Refusal(403, "login_over")
        try:
            person = await self.platform.person(code)
        except CodeRefused:
            raise Refusal(403, "login_over") from None
        except PlatformAway as trouble:
            log.error("nobody can log in to the page for the exact position: %s", trouble)
            raise Refusal(502, "platform_away") from None
        if await self._who(person) is None:
            raise Refusal(403, f"stranger_{self.platform.channel}")
        response = _redirect(self.address)
        self._set_cookie(response, "login", self._logins.cookie(self._logins.make(now, person)), LOGIN_LASTS)
        response.del_cookie(self._cookie("browser"), path=self.path)
        return response

    # what the page asks and sends

    async def _config(self, request: web.Request) -> web.StreamResponse:
        """The signature for the page's own address as the phone shows it, without its fragment."""
        if self._session(request) is None:
            raise Refusal(403, "login_over")
        url, ours = urlsplit(request.query.get("url", "")), urlsplit(self.address)
        if (url.scheme, url.netloc, url.path, url.fragment) != (ours.scheme, ours.netloc, ours.path, ""):
            raise Refusal(400, "bad")
        try:
            return data(await self.platform.config(url.geturl()))
        except PlatformAway as trouble:
            log.error("the page for the exact position is not signed: %s", trouble)
            raise Refusal(502, "ticket") from None

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        """One measured position. Answered only once it is stored: `new` is false for a key that was stored before."""
        session = self._session(request)
        if session is None or not self._logins.is_token(session, request.headers.get(_POST_TOKEN, "")):
            raise Refusal(403, "login_over")
        person, channel = session.user_ref, self.platform.channel
        if await self._who(person) is None:  # left the firm meanwhile
            raise Refusal(403, f"stranger_{channel}")
        fields = await json_body(request)
        key, source = fields.get("key"), fields.get("source")
        if not isinstance(key, str) or not _KEY.fullmatch(key) or source not in ("sdk", "browser"):
            raise Refusal(400, "bad")
        now = self.site.clock()
        place = _place(fields, now)
        kept = {"kind": "here", "source": source} | {name: fields[name] for name in ("lat", "lon", "accuracy")}
        delivery = Delivery(
            channel=channel,
            account=self.platform.account,
            delivery_key=f"here:{person}:{key}",
            person=f"{channel}:{person}",
            chat_ref=person,
            raw=kept,
            message=incoming_to_plain(Incoming(Kind.PLACE, now, place=place)),
            received_at=now,
            position=int(now.timestamp()),
        )
        try:
            new = await self.platform.accept(delivery)
        except Exception:
            log.exception("a position could not be stored")
            raise Refusal(503, "not_stored") from None
        return data({"accepted": True, "new": new})

    # who it is

    @property
    def _browsers(self) -> Sessions:
        return Sessions(self._key_for("browser"), days=1)

    @property
    def _logins(self) -> Sessions:
        """Signed with a key of their own, so that no cookie of the web chat logs in here, nor the other way round."""
        return Sessions(self._key_for("login"), days=1)

    def _key_for(self, purpose: str) -> bytes:
        told = f"here|{self.platform.channel}|{self.platform.account}|{purpose}"
        return hmac.digest(self.key, told.encode(), hashlib.sha256)

    def _session(self, request: web.Request) -> Session | None:
        now = self.site.clock()
        session = self._logins.read(request.cookies.get(self._cookie("login"), ""), now)
        return session if session is not None and now - session.made_at <= LOGIN_LASTS else None

    def _state(self, browser: Session, now: datetime) -> str:
        """Signed, with its end, for this browser alone."""
        told = secrets.token_hex(12) + f"{int((now + STATE_LASTS).timestamp()):08x}"
        return told + self._state_signature(told, browser)

    def _state_signature(self, told: str, browser: Session) -> str:
        signed = f"{told}|{browser.user_ref}|{browser.nonce}".encode()
        return hmac.digest(self._key_for("state"), signed, hashlib.sha256)[:24].hex()

    async def _use_state(self, request: web.Request, now: datetime) -> bool:
        """Whether the state that came back is ours, of this browser, in time, and not used before."""
        browser = self._browsers.read(request.cookies.get(self._cookie("browser"), ""), now)
        found = _STATE.fullmatch(request.query.get("state", ""))
        if browser is None or found is None:
            return False
        right = self._state_signature(found[1] + found[2], browser)
        ends = int(found[2], 16)
        if not hmac.compare_digest(found[3].encode(), right.encode()) or now.timestamp() > ends:
            return False
        once = partial(tokens.use_once, name=f"state:{found[1]}", now=now, until=now + STATE_LASTS)
        return await self.site.change(once, system(Part.SITE))

    async def _who(self, person: str) -> tuple[str, Texts] | None:
        """The name and the language of somebody whom the platform logged in; None for whom we do not know."""
        if not person:
            return None
        return await self.site.look(lambda work: _known(work, self.platform.channel, person), system(Part.SITE))

    def _cookie(self, purpose: str) -> str:
        return f"zoudian-{self.platform.channel}-{purpose}"

    def _set_cookie(self, response: web.StreamResponse, purpose: str, value: str, lasts: timedelta) -> None:
        """Lax, not strict: the browser comes back from the platform's site. Only this page's paths get it."""
        response.set_cookie(
            self._cookie(purpose),
            value,
            max_age=int(lasts.total_seconds()),
            path=self.path,
            httponly=True,
            samesite="Lax",
            secure=self.site.settings.public_url.startswith("https:"),
        )

    # around

    def _policy(self) -> str:
        """The site's own, widened to the host of the JS-SDK and what it talks to its client through."""
        script = urlsplit(self.platform.script)
        frames, styles = _BRIDGES, "'self'"
        if self.platform.boxes:
            frames, styles = f"{_BRIDGES} {_BOX_FRAMES}", "'self' 'unsafe-inline'"
        return (
            f"default-src 'none'; script-src 'self' {script.scheme}://{script.netloc}; style-src {styles}; "
            f"img-src 'self'; connect-src 'self'; frame-src {frames}; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )

    def _guarded(self, handler: Handler) -> Handler:
        """The host's name is checked first; whatever is refused is said politely, with a way to begin anew."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                check_host(request)
                return await handler(request)
            except Refusal as refusal:
                again = self.path if refusal.problem in ("login_over", "platform_away") else ""
                response = refused(request, refusal, again)
                response.headers["Cache-Control"] = "no-store"
                return response

        return guarded


def _redirect(address: str) -> web.Response:
    return web.Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})


def here_path(channel: str) -> str:
    return f"/{channel}/here"


def _known(work: Work, channel: str, person: str) -> tuple[str, Texts] | None:
    """(name, texts) of somebody of the firm, and None for anybody else: the same answer as at the door."""
    if not people.knows(work, channel, person):
        return None
    account = people.account(work, channel, person)
    by_import = people.employee_of_login(work, channel, person)
    employee = by_import or (people.employee(work, account.employee) if account is not None else None)
    if employee is None:
        return None
    return employee.name, texts.load(account.language if account is not None else texts.DEFAULT)


def _place(fields: Mapping[str, Any], now: datetime) -> SentPlace:
    """Degrees WGS-84 and metres; a position without an accuracy is no measurement, one of long ago no presence."""
    lat, lon, accuracy, age = (_number(fields.get(name)) for name in ("lat", "lon", "accuracy", "fix_age_s"))
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180:
        raise Refusal(400, "bad")
    if accuracy is None or not 0 < accuracy <= COARSEST_M:
        raise Refusal(400, "no_accuracy")
    age_s = max(age or 0.0, 0.0)
    if age_s > OLDEST_FIX.total_seconds():
        raise Refusal(400, "old_fix")
    return SentPlace(lat, lon, PlaceKind.H5, "wgs84", accuracy, fixed_at=now - timedelta(seconds=age_s))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value) if abs(value) < 1e12 else math.inf
    return number if math.isfinite(number) else None
