"""The one safe client of both WeChat APIs: wechatpy's clients, with their known defects closed, behind async calls.

wechatpy 1.8.18 builds the calls (`client.message.send_text`, `client.menu.create`, …). What it gets wrong is overridden
here, in subclasses that can be seen, never patched: docs/decisions/0010-wechatpy.md lists each defect and its place.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, NoReturn, TypeVar
from urllib.parse import urlsplit

from wechatpy import WeChatClient
from wechatpy.client.api import WeChatMedia, WeChatQRCode
from wechatpy.enterprise import WeChatClient as WeComClient
from wechatpy.enterprise.client.api import WeChatMedia as WeComMedia

from bot.tasks import in_pool
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
from bot.wechat_token import TokenKeeper, TokenSession
from bot.wechat_transport import JSON_LIMIT, Answer, Patience, Transport, errcode_of, json_of
from storage.database import Database
from texts import DEFAULT, load

MAX_FILE: Final = 20 * 1024 * 1024
THREADS: Final = 8

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
    def store_name(self) -> str:
        """What its tokens are kept under; it holds no secret."""
        return f"{self.product}:{self.name}"

    @property
    def base(self) -> str:
        standard = "https://qyapi.weixin.qq.com" if self.product == "wecom" else "https://api.weixin.qq.com"
        return (self.api_base or standard).rstrip("/")


@dataclass(frozen=True, slots=True)
class Download:
    """A file as the platform gave it out."""

    data: bytes = field(repr=False)
    content_type: str


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
    TICKET: tuple[str, Mapping[str, str]] = ("get_jsapi_ticket", {})

    def _prepare(
        self, account: ApiAccount, database: Database, clock: Callable[[], datetime], transport: Transport
    ) -> None:
        self._account = account
        self._texts = load(account.language)
        self._transport = transport
        self.API_BASE_URL = f"{account.base}/cgi-bin/"
        self._keeper = TokenKeeper(database, clock, account.store_name, self._token_call, self._error)
        ticket_name = f"{account.store_name}:ticket"
        self._tickets = TokenKeeper(database, clock, ticket_name, self._ticket_call, self._ticket_error, "ticket")

    def close(self) -> None:
        self._transport.close()

    # tokens

    @property
    def access_token(self) -> str:
        # wechatpy's __new__ looks at every property of an object that is not made yet; nothing may be fetched then.
        return self.token() if "_keeper" in self.__dict__ else ""

    def fetch_access_token(self) -> None:
        self.token()

    def token(self, refused: str | None = None, errcode: int = 0) -> str:
        """See TokenKeeper.token."""
        return self._keeper.token(refused, errcode)

    def _token_call(self, forced: bool) -> Answer:
        raise NotImplementedError

    def ticket(self) -> str:
        """The ticket that pages are signed with (jsapi_ticket). Raises an ApiError."""
        return self._tickets.token()

    def _ticket_call(self, forced: bool) -> Answer:
        """As `_token_call`. 企业微信 gives 100 an hour and app, 400 an hour and corp, the same ones for 2 h."""
        path, params = self.TICKET
        return self._talk("get", self.API_BASE_URL + path, dict(params))

    def _ticket_error(self, code: int, text: str, wanted_token: bool = False) -> ApiError:
        return self._error(code, text)  # whoever has no right to tickets may have good credentials all the same

    def exchange(self, path: str, params: Mapping[str, str]) -> Json:
        """A call that carries the app's secret instead of a token, at the platform's root. Raises an ApiError."""
        own = {"appid": self._account.app_id, "secret": self._account.secret}
        answer = self._transport.exchange("get", f"{self._account.base}/{path}", {**own, **params})
        result = json_of(answer)
        if result is None:
            raise ApiUnsure("the answer is not JSON")
        if code := errcode_of(result):
            raise self._error(code, str(result.get("errmsg", "")))
        return result

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
        result = json_of(answer)
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
            result = json_of(answer)
            code = 0 if result is None else errcode_of(result)
            if result is None or code == 0:
                return answer
            text = cleaned(result.get("errmsg", ""), (params.get("access_token", ""),))
            if code in TOKEN_REFUSED and own and not repeated:
                refused, errcode = params["access_token"], code
                continue
            raise self._error(code, text)
        raise ApiUnsure("no answer")  # never reached: the second round returns or raises

    def _error(self, code: int, text: str, wanted_token: bool = False) -> ApiError:
        """What an errcode means; whatever else is said to someone who asks for a token concerns the credentials."""
        text = cleaned(text, self._secrets())
        if code in TOO_FAST:
            return ApiBusy(self._pause(code), code)
        if wanted_token or code in TOKEN_REFUSED or code in SET_UP_WRONG:
            return self._token_trouble(code, text)
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
        return TokenTrouble(code, self._texts.say(f"wechat_trouble.{kinds.get(code, 'other')}", values), address, text)

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
        session = TokenSession(database, account.store_name, clock)
        super().__init__(account.app_id, account.secret, session=session, auto_retry=False)
        self._http.close()  # ours goes out through the transport
        self._prepare(account, database, clock, transport)

    def _token_call(self, forced: bool) -> Answer:
        params = {"corpid": self._account.app_id, "corpsecret": self._account.secret}
        return self._transport.exchange("get", self.API_BASE_URL + "gettoken", params)


class OfficialClient(SafeClient, WeChatClient):  # type: ignore[misc]  # wechatpy ships no types
    """公众号. Its token is the stable one, which a second caller does not make invalid; a refused one is forced anew
    (20 a day, 30 s apart: developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken).
    """

    TICKET = ("ticket/getticket", {"type": "jsapi"})
    media = _SafeOfficialMedia()
    qrcode = _SafeQRCode()

    def __init__(
        self, account: ApiAccount, database: Database, clock: Callable[[], datetime], transport: Transport
    ) -> None:
        session = TokenSession(database, account.store_name, clock)
        super().__init__(account.app_id, account.secret, session=session, auto_retry=False)
        self._http.close()
        self._prepare(account, database, clock, transport)

    def _token_call(self, forced: bool) -> Answer:
        wanted = {
            "grant_type": "client_credential",
            "appid": self._account.app_id,
            "secret": self._account.secret,
            "force_refresh": forced,
        }
        body = json.dumps(wanted).encode()
        return self._transport.exchange("post", self.API_BASE_URL + "stable_token", {}, body=body)


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
        return await in_pool(self._pool, work, self._client)

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

    async def answers(self) -> bool:
        """Whether the platform is there: asked from where it would call us, which changes nothing."""
        try:
            await self.get("getcallbackip")
        except (ApiNotReached, ApiUnsure):
            return False
        except ApiError:
            return True
        return True

    async def token(self) -> str:
        """A valid token, for a check of the credentials."""
        return await self.call(lambda client: str(client.token()))

    async def ticket(self) -> str:
        """The ticket that the JS-SDK's calls on our pages are signed with."""
        return await self.call(lambda client: str(client.ticket()))

    async def exchange(self, path: str, params: Mapping[str, str]) -> Json:
        """See SafeClient.exchange: `await api.exchange("sns/oauth2/access_token", {"code": code, …})`."""
        result: Json = await self.call(lambda client: client.exchange(path, params))
        return result

    async def close(self) -> None:
        """Wait for the calls under way, each of which ends by its own timeouts, and close the connections."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
        self._client.close()


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
