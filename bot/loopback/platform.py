"""What both platforms have in common: tokens, media, the record of calls, troubles on demand, callbacks with retries.

Real HTTP over a real socket, so the real client and library are what is tried. Nothing here knows our code.
"""

import asyncio
import io
import itertools
import json
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from bot.loopback.signer import Signer

Json = dict[str, Any]

TOKEN_LIFE_S = 7200
ATTEMPTS = 3  # a callback is tried so often in all
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"  # of no real account
CALLBACK_TOKEN = "loopback-callback-token"  # noqa: S105 - of no real account


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it arrived, in order. `path` is without `/cgi-bin/`; `files` are (name, bytes) by field."""

    method: str
    path: str
    params: dict[str, str]
    json: Json
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    at: float = 0.0  # time.monotonic()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to the next `times` calls of a path.

    An `errcode` answers in the platform's form; a `status` over 200 answers with that and an HTML page; `body` answers
    200 with these bytes; `cut` hangs up. `slow_s` waits first. `after` reads only so many bytes of the request before
    all that, as a proxy does that gives up in the middle of an upload. With `half` the true answer breaks off half-way.
    `done`: the call takes effect all the same, only its answer is lost.
    """

    errcode: int = 0
    errmsg: str = "scripted"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    cut: bool = False
    half: bool = False
    slow_s: float = 0.0
    after: int | None = None
    done: bool = False
    times: int = 1

    @property
    def only_slow(self) -> bool:
        return self == Trouble(slow_s=self.slow_s, times=self.times)


@dataclass(frozen=True, slots=True)
class Media:
    """A temporary file: given in by an upload (`kind`, `name`) or by a person's message."""

    data: bytes
    content_type: str
    name: str = ""
    kind: str = ""


class Refusal(Exception):
    """A call that the platform refuses in its own form: HTTP 200 with an errcode."""

    def __init__(self, errcode: int, errmsg: str) -> None:
        super().__init__(errmsg)
        self.errcode = errcode
        self.errmsg = errmsg


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at delivering a callback: the status and body it got, or None and "" where it got none in time."""

    status: int | None
    body: str
    seconds: float


class LoopbackPlatform:
    """`async with WorkPlatform() as platform:` serves at `platform.base`. A subclass names its calls in `handlers`.

    `callback_s` is how long a callback may take before the platform hangs up and tries again.
    """

    blocked_errcode = 60020

    def __init__(self, app_id: str, secret: str, *, callback_s: float = 5.0) -> None:
        self.app_id = app_id
        self.secret = secret
        self.callback_s = callback_s
        self.base = ""
        self.calls: list[Call] = []
        self.media: dict[str, Media] = {}
        self.trusted_ips: set[str] | None = None  # None: any
        self.signer = Signer(CALLBACK_TOKEN, AES_KEY, app_id)
        self.aes_key = AES_KEY
        self.callback_token = CALLBACK_TOKEN
        self.handlers: dict[str, Callable[[Call], Json | web.Response | Awaitable[Json | web.Response]]] = {
            "media/upload": self._upload,
            "media/get": self._give_media,
        }
        self.open_paths: set[str] = set()  # calls that need no token
        self._tokens: dict[str, float] = {}  # valid until, of time.monotonic()
        self._troubles: dict[str, deque[Trouble]] = defaultdict(deque)
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=60 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
        await self._runner.cleanup()

    # what a test or the demo does

    def trouble(self, path: str, trouble: Trouble) -> None:
        """The next calls of this path suffer; "*" is every path but those for tokens."""
        self._troubles[path].append(trouble)

    def clear_troubles(self) -> None:
        self._troubles.clear()

    def revoke(self) -> None:
        """Every token is worthless from now on."""
        self._tokens.clear()

    def put_media(self, data: bytes, content_type: str = "image/jpeg", name: str = "") -> str:
        """A file that a person sent; the media id for the message's XML."""
        media_id = self._media_id()
        self.media[media_id] = Media(data, content_type, name)
        return media_id

    def count(self, path: str) -> int:
        return sum(call.path == path for call in self.calls)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until it holds; looked at whenever a call came in, and ten times a second."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.1):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    async def push(self, url: str, xml: str) -> list[Attempt]:
        """Deliver a message to the callback address as the platform does: up to three tries, until one gets a 200."""
        attempts: list[Attempt] = []
        while len(attempts) < ATTEMPTS and not (attempts and attempts[-1].status == 200):
            attempts.append(await self.push_once(url, xml))
        return attempts

    async def push_once(self, url: str, xml: str) -> Attempt:
        """One try; each is encrypted anew."""
        query, body = self.signer.seal(xml)
        return await self.post(url, query, body)

    async def post(self, url: str, query: dict[str, str], body: bytes) -> Attempt:
        """Post anything to the callback address, forged requests too."""
        return await self._request("POST", url, query, body)

    async def verify(self, url: str, query: dict[str, str]) -> Attempt:
        """Verify the callback address with an echo of `signer.echo` or `signer.plain_echo`."""
        return await self._request("GET", url, query, None)

    async def _request(self, method: str, url: str, query: dict[str, str], body: bytes | None) -> Attempt:
        if self._http is None:
            raise RuntimeError("not started")
        began = time.monotonic()
        data = None if body is None else io.BytesIO(body)  # aiohttp warns of long plain bytes
        try:
            async with (
                asyncio.timeout(self.callback_s),
                self._http.request(
                    method, url, params=query, data=data, headers={"Content-Type": "text/xml"}
                ) as answer,
            ):
                text = await answer.text()
                return Attempt(answer.status, text, time.monotonic() - began)
        except (TimeoutError, aiohttp.ClientError):
            return Attempt(None, "", time.monotonic() - began)

    # tokens

    def token_for(self, app_id: str, secret: str, *, forced: bool) -> Json:
        """The token that holds by now, or a new one; the old one of a forced refresh is worthless."""
        self.check_credentials(app_id, secret)
        now = time.monotonic()
        if forced:
            self._tokens.clear()
        for token, ends in self._tokens.items():
            if ends > now:
                return {"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": int(ends - now)}
        token = f"{next(self._numbers)}_{secrets.token_urlsafe(120)}"
        self._tokens[token] = now + TOKEN_LIFE_S
        return {"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": TOKEN_LIFE_S}

    def check_credentials(self, app_id: str, secret: str) -> None:
        if app_id != self.app_id:
            raise Refusal(40013, "invalid appid")
        if secret != self.secret:
            raise Refusal(40001, "invalid credential, secret is invalid")

    # serving

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/").removeprefix("cgi-bin/")
        trouble = self._next_trouble(path)
        if trouble is not None and trouble.after is not None:
            await request.content.read(trouble.after)
            return self._suffer(request, trouble)
        call = await _call_of(request, path)
        self.calls.append(call)
        self._changed.set()
        if trouble is not None and trouble.slow_s:
            await asyncio.sleep(trouble.slow_s)
        if trouble is None or trouble.only_slow:
            return await self._answer(request, call)
        if not trouble.done and not trouble.half:
            return self._suffer(request, trouble)
        answer = await self._answer(request, call)
        return await _half(request, answer) if trouble.half else self._suffer(request, trouble)

    async def _answer(self, request: web.Request, call: Call) -> web.Response:
        try:
            self._let_in(request, call)
            handler = self.handlers.get(call.path)
            if handler is None:
                raise Refusal(40066, "invalid url")
            result = handler(call)
            answer = await result if isinstance(result, Awaitable) else result
        except Refusal as refusal:
            answer = {"errcode": refusal.errcode, "errmsg": f"{refusal.errmsg} rid: 6500-3a"}
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    def _let_in(self, request: web.Request, call: Call) -> None:
        if self.trusted_ips is not None and request.remote not in self.trusted_ips:
            raise Refusal(self.blocked_errcode, self.blocked_words(request.remote or ""))
        if call.path in self.open_paths:
            return
        ends = self._tokens.get(call.params.get("access_token", ""))
        if ends is None:
            raise Refusal(40014, "invalid access_token")
        if ends <= time.monotonic():
            raise Refusal(42001, "access_token expired")

    def blocked_words(self, address: str) -> str:
        return f"not allow to access from your ip, hint: [17], from ip: {address}, more info at https://open.work"

    def _next_trouble(self, path: str) -> Trouble | None:
        for name in (path, "*"):
            if name == "*" and path in self.open_paths:
                continue
            if waiting := self._troubles.get(name):
                trouble = waiting.popleft()
                if trouble.times > 1:
                    waiting.appendleft(replace(trouble, times=trouble.times - 1))
                return trouble
        return None

    def _suffer(self, request: web.Request, trouble: Trouble) -> web.StreamResponse:
        if trouble.cut and request.transport is not None:
            request.transport.abort()
        if trouble.body is not None:
            return web.Response(body=trouble.body, content_type="text/plain", headers=dict(trouble.headers))
        if trouble.status != 200:
            page = f"<html><body><h1>{trouble.status}</h1></body></html>"
            answer = web.Response(
                status=trouble.status, text=page, content_type="text/html", headers=dict(trouble.headers)
            )
            if trouble.after is not None:
                answer.force_close()  # the rest of the upload is not wanted
            return answer
        return web.json_response({"errcode": trouble.errcode, "errmsg": trouble.errmsg})

    # media

    def _upload(self, call: Call) -> Json:
        kind = call.params.get("type", "")
        if "media" not in call.files or not call.files["media"][1]:
            raise Refusal(44001, "empty media data")
        name, data = call.files["media"]
        media_id = self._media_id()
        self.media[media_id] = Media(data, "application/octet-stream", name, kind)
        return {"errcode": 0, "errmsg": "ok", "type": kind, "media_id": media_id, "created_at": int(time.time())}

    def _give_media(self, call: Call) -> web.Response:
        found = self.media.get(call.params.get("media_id", ""))
        if found is None:
            raise Refusal(40007, "invalid media_id")
        named = {"Content-Disposition": f'attachment; filename="{found.name or "media"}"'}
        return web.Response(body=found.data, content_type=found.content_type, headers=named)

    def _media_id(self) -> str:
        return f"MEDIA{next(self._numbers)}_{secrets.token_urlsafe(24)}"


async def _call_of(request: web.Request, path: str) -> Call:
    files: dict[str, tuple[str, bytes]] = {}
    body: Json = {}
    if request.content_type == "multipart/form-data":
        async for one in await request.multipart():
            if isinstance(one, aiohttp.BodyPartReader):
                files[one.name or ""] = (one.filename or "", bytes(await one.read()))
    elif raw := await request.read():
        read = json.loads(raw)
        body = read if isinstance(read, dict) else {}
    return Call(request.method, path, dict(request.query), body, files, time.monotonic())


async def _half(request: web.Request, answer: web.Response) -> web.StreamResponse:
    """The answer with its whole length announced and half of it sent."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    headers = {"Content-Length": str(len(body)), "Content-Type": answer.headers.get("Content-Type", "")}
    broken = web.StreamResponse(headers=headers)
    await broken.prepare(request)
    await broken.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()  # in good order: nothing but the length tells that something is missing
    return broken
