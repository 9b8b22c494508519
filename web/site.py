"""The local web site: what its pages share, who is looking, and the guards every request passes."""

import asyncio
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import web

import texts
from rules.limits import Limits
from rules.people import Employee, Part, Scope, scope_of, system
from storage import people
from storage.chats import CHANNEL
from storage.database import Database, Work
from storage.files import Files
from storage.inbox import Delivery
from storage.outbox import Outgoing
from storage.people import Account
from texts import Texts
from web.sessions import COOKIE, Session, Sessions

MB = 1024 * 1024
STATIC = Path(__file__).parent / "static"
_OWN_PATHS = ("/api/", "/chat", "/manager", "/join/")
_POST_TOKEN = "X-Zoudian-Token"  # noqa: S105 - the header's name
_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(self), microphone=(self), camera=(self)",
}

Found = TypeVar("Found")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class WebSettings:
    """`public_url` is what a phone opens (https://…), empty for this machine only. `demo` lets anybody be anybody."""

    host: str = "127.0.0.1"
    port: int = 8350
    public_url: str = ""
    language: str = texts.DEFAULT
    upload_mb: int = 20
    demo: bool = False
    demo_clips: Path | None = (
        None  # a folder with manifest.json: sample voice notes for a newcomer without a microphone
    )

    @property
    def address(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url.rstrip("/") or f"http://{shown}:{self.port}"


class Refusal(Exception):
    """A request that gets an error page or answer: HTTP status, and the key under `web.problem.`."""

    def __init__(self, status: int, problem: str, **values: object) -> None:
        super().__init__(problem)
        self.status, self.problem, self.values = status, problem, values


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever sent a request. `employee` is None for people nobody invited, and for those who left the firm."""

    session: Session
    account: Account | None
    employee: Employee | None
    texts: Texts

    @property
    def person(self) -> str:
        """What the inbox orders and serialises by."""
        return f"{CHANNEL}:{self.session.user_ref}"

    @property
    def scope(self) -> Scope:
        """What this person may see; a stranger sees nothing."""
        return Scope() if self.employee is None else scope_of(self.employee)


@dataclass(slots=True)
class Site:
    """What the pages work with. `shown` renders an outbox row for this channel.

    `accept` stores a delivery durably and says whether it was new.
    """

    settings: WebSettings
    database: Database
    files: Files
    limits: Limits
    sessions: Sessions
    clock: Callable[[], datetime]
    shown: Callable[[Outgoing], "Shown"]
    accept: Callable[[Delivery], Awaitable[bool]]
    closing: bool = False
    _listening: dict[str, set[asyncio.Event]] = field(default_factory=dict)

    async def look(self, query: Callable[[Work], Found], scope: Scope) -> Found:
        """Run a query in a thread, in a transaction that cannot write, on behalf of this scope."""

        def run() -> Found:
            with self.database.read(scope) as work:
                return query(work)

        return await asyncio.to_thread(run)

    async def change(self, act: Callable[[Work], Found], scope: Scope) -> Found:
        """Run a change in a thread, in a transaction of its own, on behalf of this scope."""

        def run() -> Found:
            with self.database.work(scope) as work:
                return act(work)

        return await asyncio.to_thread(run)

    def listen(self, chat_ref: str) -> asyncio.Event:
        """An event that `ring` sets; give it back with `forget`."""
        heard = asyncio.Event()
        self._listening.setdefault(chat_ref, set()).add(heard)
        return heard

    def forget(self, chat_ref: str, heard: asyncio.Event) -> None:
        listening = self._listening.get(chat_ref, set())
        listening.discard(heard)
        if not listening:
            self._listening.pop(chat_ref, None)

    def ring(self, chat_ref: str) -> None:
        """Something new may be read in this chat."""
        for heard in self._listening.get(chat_ref, ()):
            heard.set()

    def close(self) -> None:
        """End the open event streams, so that the server can stop."""
        self.closing = True
        for chat_ref in self._listening:
            self.ring(chat_ref)


@dataclass(frozen=True, slots=True)
class Shown:
    """An outbox row as a page shows it: texts, and rows of (data, label) buttons."""

    texts: tuple[str, ...]
    buttons: tuple[tuple[tuple[str, str], ...], ...] = ()
    wants_place: bool = False


SITE = web.AppKey("SITE", Site)
SESSION = web.RequestKey("SESSION", Session)
IS_NEW = web.RequestKey("IS_NEW", bool)  # the session was made for this request


async def visitor_of(request: web.Request) -> Visitor:
    site = request.app[SITE]
    session = request[SESSION]

    def find(work: Work) -> tuple[Account | None, Employee | None]:
        account = people.account(work, CHANNEL, session.user_ref)
        employee = None if account is None else people.employee(work, account.employee)
        return account, employee if employee is not None and employee.active else None

    account, employee = await site.look(find, system(Part.SITE))
    language = account.language if account is not None else site.settings.language
    return Visitor(session, account, employee, texts.load(language))


async def manager_of(request: web.Request) -> tuple[Visitor, Employee]:
    """The manager who sent this request. Refused for everybody else."""
    visitor = await visitor_of(request)
    if visitor.employee is None or not visitor.employee.manages:
        raise Refusal(403, "managers_only")
    return visitor, visitor.employee


def cookie_name(request: web.Request) -> str:
    """In a demonstration one browser is rep and manager at once, so each of the two pages has a cookie of its own."""
    return f"{COOKIE}-manager" if request.app[SITE].settings.demo and request.path.startswith("/manager") else COOKIE


def log_in(request: web.Request, response: web.StreamResponse, session: Session) -> None:
    site = request.app[SITE]
    response.set_cookie(
        cookie_name(request),
        site.sessions.cookie(session),
        max_age=site.sessions.max_age_s,
        httponly=True,
        samesite="Strict",
        secure=site.settings.public_url.startswith("https:"),
    )


def page(name: str, words: Texts, parts: Mapping[str, str] | None = None, status: int = 200) -> web.Response:
    """A page from web/static; `{{name}}` in it becomes that part, or else the sentence of that key, escaped."""
    given = parts or {}

    def filled(found: re.Match[str]) -> str:
        return escape(given[found[1]] if found[1] in given else words.say(found[1]))

    html = re.sub(r"\{\{([a-z_.]+)\}\}", filled, (STATIC / name).read_text(encoding="utf-8"))
    return web.Response(text=html, content_type="text/html", status=status)


def problem_page(words: Texts, said: str, status: int, again: str = "") -> web.Response:
    """What went wrong, with a button to `again` where there is one."""
    return page("problem.html", words, {"said": said, "again": again, "hidden": "" if again else "hidden"}, status)


async def json_body(request: web.Request) -> dict[str, Any]:
    """A POST's JSON object, at most 64 KB."""
    if request.content_length is None or request.content_length > 64 * 1024:
        raise Refusal(413, "too_long")
    try:
        body = json.loads(await request.text())
    except ValueError:  # neither JSON nor text
        raise Refusal(400, "bad") from None
    if not isinstance(body, dict):
        raise Refusal(400, "bad")
    return body


def words_for(words: Texts, prefix: str) -> dict[str, str]:
    """The sentences under a prefix for a script to use, their {placeholders} left standing."""
    return {
        key: words.say(key, {name: "{" + name + "}" for name in words.placeholders(key)})
        for key in words.keys()  # noqa: SIM118 - a method of Texts, which is no mapping
        if key.startswith(prefix)
    }


def data(content: Any, status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers={"Cache-Control": "no-store"})


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Host name, session and POST token are checked before any page; whatever is refused is said politely."""
    site = request.app[SITE]
    if request.path != "/" and not request.path.startswith(_OWN_PATHS):
        return await handler(request)  # a webhook mounted beside us has guards of its own
    try:
        check_host(request)
        session = site.sessions.read(request.cookies.get(cookie_name(request), ""), site.clock())
        request[SESSION] = session or site.sessions.make(site.clock())
        request[IS_NEW] = session is None
        if request.method == "POST" and (
            session is None or not site.sessions.is_token(session, request.headers.get(_POST_TOKEN, ""))
        ):
            raise Refusal(403, "session")
        return await handler(request)
    except Refusal as refusal:
        return refused(request, refusal)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def check_host(request: web.Request) -> None:
    """Only our own name, localhost and bare addresses: another name that leads here is a rebinding attack."""
    name = urlsplit(f"//{request.host}").hostname or ""
    if name in ("localhost", urlsplit(request.app[SITE].settings.public_url).hostname):
        return
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise Refusal(421, "host") from None


def refused(request: web.Request, refusal: Refusal, again: str = "") -> web.Response:
    """The refusal as a sentence: JSON for a script, else a page, with a button to `again` where there is one."""
    words = texts.load(request.app[SITE].settings.language)
    said = words.say(f"web.problem.{refusal.problem}", refusal.values)
    if "/api/" in request.path:
        return data({"problem": refusal.problem, "text": said}, refusal.status)
    return problem_page(words, said, refusal.status, again)
