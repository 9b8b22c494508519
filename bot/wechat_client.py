"""The one safe client of both WeChat APIs: wechatpy's clients, with their known defects closed, behind async calls.

wechatpy 1.8.18 builds the calls (`client.message.send_text`, `client.menu.create`, …). What it gets wrong is overridden
here, in subclasses that can be seen, never patched: docs/decisions/0010-wechatpy.md lists each defect and its place.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NoReturn, TypeVar
from urllib.parse import urlsplit

from wechatpy import WeChatClient
from wechatpy.client.api import WeChatMedia, WeChatQRCode
from wechatpy.enterprise import WeChatClient as WeComClient
from wechatpy.enterprise.client.api import WeChatMedia as WeComMedia
from wechatpy.session import SessionStorage

from bot.wechat_errors import (
    SET_UP_WRONG,
    TOKEN_REFUSED,
    TOO_FAST,
    ApiBusy,
    ApiError,
    ApiNotReached,
    ApiRefused,
    ApiUnsure,
    TokenTrouble,
    address_in,
    cleaned,
)
from bot.wechat_transport import JSON_LIMIT, Answer, Patience, Transport
from storage import tokens
from storage.database import Database
from texts import DEFAULT, load

MAX_FILE: Final = 20 * 1024 * 1024
THREADS: Final = 8
MARGIN: Final = timedelta(seconds=60)  # a token that ends within it is not used any more
LEAST_LIFE: Final = timedelta(seconds=120)  # what a fetched token is kept for at least
SETTLED: Final = timedelta(seconds=60)  # a token refused sooner after it was fetched is not fetched once more
CLAIM: Final = timedelta(seconds=45)  # longer than a call can take
RETRY_NETWORK: Final = timedelta(seconds=3)
RETRY_REFUSED: Final = timedelta(seconds=60)
NO_TOKEN: Final = -2  # our own code: the answer was fine and held no token
WAIT_S: Final = 45.0  # for somebody else's fetch

T = TypeVar("T")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ApiAccount:
    """One app on one platform. `app_id` is the corp id or the 公众号's appid; `agent_id` is 企业微信's only.

    `api_base` is the platform's own where it is empty; `proxy` an http:// address through which every call goes.
    """

    product: Literal["wecom", "mp"]
    app_id: str
    secret: str = field(repr=False)
    agent_id: str = ""
    api_base: str = ""
    proxy: str = field(default="", repr=False)
    language: str = DEFAULT

    @property
    def name(self) -> str:
        """The channel's `account`: corp id and agent id, or the appid."""
        return f"{self.app_id}:{self.agent_id}" if self.product == "wecom" else self.app_id

    @property
    def base(self) -> str:
        standard = "https://qyapi.weixin.qq.com" if self.product == "wecom" else "https://api.weixin.qq.com"
        return (self.api_base or standard).rstrip("/")


@dataclass(frozen=True, slots=True)
class Download:
    """A file as the platform gave it out."""

    data: bytes = field(repr=False)
    content_type: str


class TokenSession(SessionStorage):  # type: ignore[misc]  # wechatpy ships no types
    """wechatpy's storage of tokens and tickets, in the firm's database.

    Every key begins with the account, agent id included: two apps of one corp never get each other's ticket.
    """

    def __init__(self, database: Database, prefix: str, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._prefix = prefix
        self._clock = clock

    def get(self, key: str, default: Any = None) -> Any:
        with self._database.read() as work:
            found = tokens.kept(work, f"{self._prefix}:{key}", self._clock())
        return default if found is None else json.loads(found.value)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        if value is None:
            return
        now = self._clock()
        ends = None if ttl is None else now + timedelta(seconds=ttl)
        with self._database.work() as work:
            tokens.keep(work, f"{self._prefix}:{key}", json.dumps(value), now, ends)

    def delete(self, key: str) -> None:
        with self._database.work() as work:
            tokens.drop(work, f"{self._prefix}:{key}")

    def __getitem__(self, key: str) -> Any:
        return self.get(key)


class _SafeMedia:
    """wechatpy's media calls without those that leave our transport or hand out an address with the token in it."""

    def get_url(self, media_id: str) -> NoReturn:
        raise NotImplementedError("an address with a token in it; use WeChatApi.download")

    get_jssdk_url = get_url

    def download(self, media_id: str) -> NoReturn:
        raise NotImplementedError("unbounded and unchecked; use WeChatApi.download")


class _SafeWeComMedia(_SafeMedia, WeComMedia):  # type: ignore[misc]  # wechatpy ships no types
    pass


class _SafeOfficialMedia(_SafeMedia, WeChatMedia):  # type: ignore[misc]  # wechatpy ships no types
    pass


class _SafeQRCode(WeChatQRCode):  # type: ignore[misc]  # wechatpy ships no types
    def show(self, ticket: Any) -> NoReturn:
        raise NotImplementedError("goes around our transport; make the picture of the `url` that `create` gives")


class SafeClient:
    """What stands before wechatpy's client classes: where calls go out, how tokens are fetched, what errors become.

    Its methods block and are called in the threads of a WeChatApi.
    """

    API_BASE_URL = ""

    def _prepare(
        self, account: ApiAccount, database: Database, clock: Callable[[], datetime], transport: Transport
    ) -> None:
        self._account = account
        self._database = database
        self._clock = clock
        self._texts = load(account.language)
        self._transport = transport
        self._one_fetches = threading.Lock()
        self.API_BASE_URL = f"{account.base}/cgi-bin/"
        self._token_name = f"{account.product}:{account.name}"

    def close(self) -> None:
        self._transport.close()

    # tokens

    @property
    def access_token(self) -> str:
        # wechatpy's __new__ looks at every property of an object that is not made yet; nothing may be fetched then.
        return self.token() if "_token_name" in self.__dict__ else ""

    def fetch_access_token(self) -> None:
        self.token()

    def token(self, refused: str | None = None, errcode: int = 0) -> str:
        """A token that is good as far as we know; `refused` is one that the platform just refused with `errcode`.

        Many callers at once, in this process and in others, make one call to the platform. Raises TokenTrouble,
        ApiBusy or ApiNotReached, in each case before anything was sent with it.
        """
        ends = time.monotonic() + WAIT_S
        if not self._one_fetches.acquire(timeout=WAIT_S):
            raise ApiNotReached("another call is still fetching the token")
        try:
            while True:
                now = self._clock()
                if found := self._kept(refused, errcode, now):
                    return found
                with self._database.work() as work:
                    ours = tokens.claim(work, self._token_name, now, until=now + CLAIM, refused=refused, margin=MARGIN)
                if ours:
                    return self._fetch(forced=refused is not None and errcode != 42001)
                if time.monotonic() > ends:
                    raise ApiNotReached("another process is still fetching the token")
                threading.Event().wait(0.05)
        finally:
            self._one_fetches.release()

    def _kept(self, refused: str | None, errcode: int, now: datetime) -> str | None:
        with self._database.read() as work:
            found = tokens.kept(work, self._token_name, now)
            failure = tokens.failed(work, self._token_name, now)
        if found and found.value != refused and (found.expires_at is None or found.expires_at > now + MARGIN):
            return found.value
        if found and found.value == refused and now < found.fetched_at + SETTLED:
            raise self._token_trouble(errcode, "")
        if failure is None:
            return None
        if failure.errcode == 0:
            raise ApiNotReached(failure.text)
        if failure.errcode in TOO_FAST:
            raise ApiBusy((failure.retry_at - now).total_seconds(), failure.errcode)
        raise self._token_trouble(failure.errcode, failure.text)

    def _fetch(self, forced: bool) -> str:
        """Ask the platform, and keep what it says for everybody. The claim is ours and ends here, whatever happens."""
        value, life, trouble = "", LEAST_LIFE, ApiError("nothing was answered")
        code, text, wait = 0, "", RETRY_NETWORK
        try:
            answer = self._token_call(forced)
            code, text = _errcode_of(answer), cleaned(answer.get("errmsg", ""), self._secrets())
            value = str(answer.get("access_token") or "")
            if code == 0 and value:
                life = max(timedelta(seconds=float(answer.get("expires_in") or 7200)), LEAST_LIFE)
            elif code in TOO_FAST:
                wait = timedelta(seconds=self._pause(code))
                trouble = ApiBusy(wait.total_seconds(), code)
            else:
                code, wait = code or NO_TOKEN, RETRY_REFUSED
                trouble = self._token_trouble(code, text)
        except ApiBusy as error:
            trouble, code, wait = error, -1, timedelta(seconds=error.seconds)
        except ApiRefused as error:
            trouble, code, wait = self._token_trouble(error.errcode, error.text), error.errcode, RETRY_REFUSED
            text = error.text
        except ApiError as error:  # however it ended, what the token was wanted for was not sent
            text = str(error)
            trouble, code = ApiNotReached(f"no token: {text}"), 0
        except Exception as error:
            text = type(error).__name__
            trouble, code = ApiNotReached(f"no token: {text}"), 0
        now = self._clock()
        with self._database.work() as work:
            if value and code == 0:
                tokens.keep(work, self._token_name, value, now, now + life)
            else:
                tokens.give_up(work, self._token_name, code, text, now + wait)
        if value and code == 0:
            return value
        raise trouble

    def _token_call(self, forced: bool) -> Json:
        raise NotImplementedError

    # calls

    def _request(self, method: str, url_or_endpoint: str, **kwargs: Any) -> Any:
        """Every JSON call of the library goes through here. Only a refused token is a reason to repeat, once."""
        url = self._url(url_or_endpoint, kwargs.pop("api_base_url", None))
        processor = kwargs.pop("result_processor", None)
        answer = self._talk(
            method,
            url,
            {str(key): str(value) for key, value in dict(kwargs.pop("params", None) or {}).items()},
            body=_body_of(kwargs.pop("data", None), kwargs.pop("json", None)),
            files=_files_of(kwargs.pop("files", None)),
        )
        result = _json_of(answer)
        if result is None:
            raise ApiUnsure("the answer is not JSON")
        return result if processor is None else processor(result)

    def fetch(self, path: str, params: Mapping[str, str], limit: int) -> Download:
        """A file. What comes as JSON or text instead of a file is read as the refusal it is."""
        answer = self._talk("get", self._url(path, None), dict(params), limit=limit)
        if answer.content_type.partition(";")[0].strip().lower() == "text/html":
            raise ApiUnsure("a page came instead of a file")
        return Download(answer.data, answer.content_type)

    def _talk(
        self,
        method: str,
        url: str,
        params: dict[str, str],
        *,
        body: bytes | None = None,
        files: Mapping[str, tuple[str, bytes]] | None = None,
        limit: int = JSON_LIMIT,
    ) -> Answer:
        own = "access_token" not in params
        refused, errcode = None, 0
        for repeated in (False, True):
            if own:
                params = {**params, "access_token": self.token(refused, errcode)}
            answer = self._transport.exchange(method, url, params, body=body, files=files, limit=limit)
            result = _json_of(answer)
            code = 0 if result is None else _errcode_of(result)
            if result is None or code == 0:
                return answer
            text = cleaned(result.get("errmsg", ""), (*self._secrets(), params.get("access_token", "")))
            if code in TOKEN_REFUSED and own and not repeated:
                refused, errcode = params["access_token"], code
                continue
            raise self._error(code, text)
        raise ApiUnsure("no answer")  # never reached: the second round returns or raises

    def _error(self, code: int, text: str) -> ApiError:
        if code in TOKEN_REFUSED or code in SET_UP_WRONG:
            return self._token_trouble(code, text)
        if code in TOO_FAST:
            return ApiBusy(self._pause(code), code)
        return ApiRefused(code, text)

    def _pause(self, code: int) -> float:
        # In a 公众号 45009 is the quota of the day, in 企业微信 that of the minute.
        return 900.0 if code == 45009 and self._account.product == "mp" else TOO_FAST[code]

    def _token_trouble(self, code: int, text: str) -> TokenTrouble:
        kinds = {
            40001: "secret",
            40125: "secret",
            41004: "secret",
            40013: "app_id",
            41002: "app_id",
            40014: "token",
            42001: "token",
            40164: "ip",
            60020: "ip",
            40243: "frozen",
            50002: "frozen",
        }
        address = address_in(text)
        product = self._texts.say(f"wechat_product.{self._account.product}")
        values = {"product": product, "errcode": code, "ip": address or "?", "detail": text}
        return TokenTrouble(code, self._texts.say(f"wechat_trouble.{kinds.get(code, 'other')}", values), address)

    def _secrets(self) -> tuple[str, ...]:
        return (self._account.secret, urlsplit(self._account.proxy).password or "")

    def _url(self, endpoint: str, base: str | None) -> str:
        """Some of the library's calls name a host of their own; everything goes to the account's, tokens above all."""
        if not endpoint.startswith(("http://", "https://")):
            if base is None:
                return self.API_BASE_URL + endpoint
            endpoint = base + endpoint
        return self._account.base + urlsplit(endpoint).path


class WorkClient(SafeClient, WeComClient):  # type: ignore[misc]  # wechatpy ships no types
    """企业微信. https://developer.work.weixin.qq.com/document/path/91039 (gettoken gives the same token for 2 h)."""

    media = _SafeWeComMedia()

    def __init__(
        self, account: ApiAccount, database: Database, clock: Callable[[], datetime], transport: Transport
    ) -> None:
        session = TokenSession(database, f"{account.product}:{account.name}", clock)
        super().__init__(account.app_id, account.secret, session=session, auto_retry=False)
        self._http.close()  # ours goes out through the transport
        self._prepare(account, database, clock, transport)

    def _token_call(self, forced: bool) -> Json:
        params = {"corpid": self._account.app_id, "corpsecret": self._account.secret}
        return _token_answer(self._transport.exchange("get", self.API_BASE_URL + "gettoken", params))


class OfficialClient(SafeClient, WeChatClient):  # type: ignore[misc]  # wechatpy ships no types
    """公众号. Its token is the stable one, which a second caller does not make invalid; a refused one is forced anew
    (20 a day, 30 s apart: developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken).
    """

    media = _SafeOfficialMedia()
    qrcode = _SafeQRCode()

    def __init__(
        self, account: ApiAccount, database: Database, clock: Callable[[], datetime], transport: Transport
    ) -> None:
        session = TokenSession(database, f"{account.product}:{account.name}", clock)
        super().__init__(account.app_id, account.secret, session=session, auto_retry=False)
        self._http.close()
        self._prepare(account, database, clock, transport)

    def _token_call(self, forced: bool) -> Json:
        wanted = {
            "grant_type": "client_credential",
            "appid": self._account.app_id,
            "secret": self._account.secret,
            "force_refresh": forced,
        }
        body = json.dumps(wanted).encode()
        return _token_answer(self._transport.exchange("post", self.API_BASE_URL + "stable_token", {}, body=body))


class WeChatApi:
    """Async calls to one account's API, in a pool of `threads` threads of its own.

    Every method raises an ApiError (see bot.wechat_errors) and nothing else of the network's. `clock` gives aware
    times and decides when a token has expired.
    """

    def __init__(
        self,
        account: ApiAccount,
        database: Database,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        threads: int = THREADS,
        patience: Patience | None = None,
    ) -> None:
        self.account = account
        kind = WorkClient if account.product == "wecom" else OfficialClient
        self._client = kind(account, database, clock, Transport(threads, account.proxy, patience))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"api-{account.product}")
        self._closed = False

    async def call(self, work: Callable[[Any], T]) -> T:
        """Let wechatpy make a call: `await api.call(lambda client: client.menu.create(menu))`."""
        if self._closed:
            raise ApiNotReached("the client is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, self._client)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """A JSON call that the library lacks: `await api.get("auth/getuserinfo", {"code": code})`."""
        result: Json = await self.call(lambda client: client.get(path, params=dict(params or {})))
        return result

    async def post(self, path: str, data: Mapping[str, Any], params: Mapping[str, str] | None = None) -> Json:
        """The same with a JSON body."""
        result: Json = await self.call(lambda client: client.post(path, data=dict(data), params=dict(params or {})))
        return result

    async def upload(self, kind: str, name: str, data: bytes) -> str:
        """Put a temporary file there (`kind`: image, voice, video, file) and return its media id, good for 3 days."""
        result: Json = await self.call(lambda client: client.media.upload(kind, (name, data)))
        media = result.get("media_id")
        if not isinstance(media, str) or not media:
            raise ApiUnsure("no media id in the answer")
        return media

    async def download(self, path: str, params: Mapping[str, str], limit: int = MAX_FILE) -> Download:
        """A file of at most `limit` bytes, read piece by piece (`path` is media/get). TooBig past it."""
        return await self.call(lambda client: client.fetch(path, params, limit))

    async def token(self) -> str:
        """A valid token, for a check of the credentials."""
        return await self.call(lambda client: str(client.token()))

    async def close(self) -> None:
        """Wait for the calls under way, each of which ends by its own timeouts, and close the connections."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
        self._client.close()


def _token_answer(answer: Answer) -> Json:
    result = _json_of(answer)
    if result is None:
        raise ApiUnsure("the answer is not JSON")
    return result


def _json_of(answer: Answer) -> Json | None:
    """The answer as an object, if that is what it is. A photo is never tried: it does not begin with a brace."""
    if len(answer.data) > JSON_LIMIT or answer.data.lstrip()[:1] != b"{":
        return None
    try:
        result = json.loads(answer.data.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) else None


def _errcode_of(result: Json) -> int:
    code = result.get("errcode", 0)
    try:
        return int(code or 0)
    except (TypeError, ValueError):
        raise ApiUnsure("an errcode that is no number") from None


def _body_of(data: Any, plain: Any) -> bytes | None:
    wanted = data if data is not None else plain
    if wanted is None or isinstance(wanted, bytes):
        return wanted
    return wanted.encode() if isinstance(wanted, str) else json.dumps(wanted, ensure_ascii=False).encode()


def _files_of(files: Any) -> dict[str, tuple[str, bytes]] | None:
    """Whatever was handed in as (name, bytes), read once: a repeated call then sends the same file, not its end."""
    if files is None:
        return None
    read: dict[str, tuple[str, bytes]] = {}
    for name, given in dict(files).items():
        label, content = (given[0], given[1]) if isinstance(given, tuple) else (getattr(given, "name", name), given)
        read[name] = (str(label).rpartition("/")[2], content if isinstance(content, bytes) else content.read())
    return read
