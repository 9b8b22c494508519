"""How python-telegram-bot reaches the Bot API here: over aiohttp, and without ever showing the bot's token.

The library takes any `BaseRequest`; its default one (httpx) costs twice the CPU a message and logs every address,
token included. What the library does above it (reading the answer, 429, 403, 400) stays its own.
"""

import io
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp

import bot.lean_telegram  # noqa: F401 - first

# isort: split
from telegram.error import NetworkError, TimedOut
from telegram.request import BaseRequest, RequestData

from bot.no_secrets import NoSecrets

CONNECT_S: Final = 10.0
WRITE_S: Final = 20.0
WRITE_FILE_S: Final = 120.0
READ_S: Final = 20.0
CHUNK: Final = 64 * 1024
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class NotConnected(NetworkError):
    """No connection was made, so the request surely did not reach the server."""


class TooBig(Exception):
    """A file has more bytes than the limit allows."""


class BadStatus(NetworkError):
    """A file was not given out; `status` is the HTTP code."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status


class AiohttpRequest(BaseRequest):
    """One pool of connections. Its errors are the library's, carry no address, and tell apart "surely not sent".

    `proxy` is an http:// address; proxies named in the environment are not used. Timeouts are in seconds: making a
    connection (or waiting for a free one), sending a message or a file, waiting for the answer.
    """

    def __init__(self, no_secrets: NoSecrets, connections: int = 16, proxy: str = "", read_s: float = READ_S) -> None:
        self._no_secrets = no_secrets
        self._connections = connections
        self._proxy = proxy or None
        self._read_s = read_s
        self._session: aiohttp.ClientSession | None = None

    @property
    def read_timeout(self) -> float | None:
        return self._read_s

    async def initialize(self) -> None:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=20)
            self._session = aiohttp.ClientSession(connector=connector, headers={"User-Agent": self.USER_AGENT})

    async def shutdown(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: object = BaseRequest.DEFAULT_NONE,
        write_timeout: object = BaseRequest.DEFAULT_NONE,
        connect_timeout: object = BaseRequest.DEFAULT_NONE,
        pool_timeout: object = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """One call: the HTTP status and the whole body. A timeout is a number or the library's mark "not given";
        `pool_timeout` counts as part of connecting.
        """
        files = request_data is not None and request_data.contains_files
        timeout = _timeouts(
            connect=_seconds(connect_timeout, CONNECT_S),
            write=_seconds(write_timeout, WRITE_FILE_S if files else WRITE_S),
            read=_seconds(read_timeout, self._read_s),
        )
        body = _body(request_data)
        headers = _FORM if isinstance(body, bytes) else None
        try:
            async with self._open().request(
                method, url, data=body, headers=headers, timeout=timeout, proxy=self._proxy, allow_redirects=False
            ) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._as_library_error(error) from None  # the chain would show the address, and so the token

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """As the library's own; of a message that was sent the answer repeats everything, and only its number is
        wanted: making objects of the rest would cost a third of the sending.
        """
        answer: dict[str, Any] = BaseRequest.parse_json_payload(payload)
        sent = answer.get("result")
        if isinstance(sent, dict) and isinstance(sent.get("chat"), dict) and "message_id" in sent:
            chat = {name: sent["chat"][name] for name in ("id", "type") if name in sent["chat"]}
            answer["result"] = {name: sent[name] for name in ("message_id", "date") if name in sent} | {"chat": chat}
        return answer

    async def download(self, url: str, limit: int) -> bytes:
        """The bytes behind an address, read piece by piece. Raises TooBig past `limit`, BadStatus, or NetworkError."""
        timeout = _timeouts(connect=CONNECT_S, write=WRITE_FILE_S, read=READ_S)
        address = quote(url, safe=":/")  # a file's name may hold "?" and "#"
        try:
            async with self._open().get(address, timeout=timeout, proxy=self._proxy, allow_redirects=False) as response:
                if response.status != 200:
                    raise BadStatus(response.status)
                data = bytearray()
                async for chunk in response.content.iter_chunked(CHUNK):
                    data += chunk
                    if len(data) > limit:
                        raise TooBig
                return bytes(data)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._as_library_error(error) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise NotConnected("not initialized, or shut down already")
        return self._session

    def _as_library_error(self, error: Exception) -> NetworkError:
        text = self._no_secrets.clean(f"{type(error).__name__}: {error}")
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
            return NotConnected(text)
        if isinstance(error, aiohttp.ClientHttpProxyError):  # the proxy refused to make the connection
            return NotConnected(text)
        return TimedOut(text) if isinstance(error, TimeoutError) else NetworkError(text)


def _timeouts(connect: float, write: float, read: float) -> aiohttp.ClientTimeout:
    """`total` ends an answer that trickles for ever; a connection that cannot be made fails earlier, as such."""
    return aiohttp.ClientTimeout(total=connect + write + read, connect=connect, sock_read=write + read)


def _seconds(given: object, otherwise: float) -> float:
    return float(given) if isinstance(given, int | float) else otherwise


def _body(request_data: RequestData | None) -> aiohttp.FormData | bytes | None:
    if request_data is None:
        return None
    if not request_data.contains_files:
        # As a form of aiohttp would be written, without making one: that costs more than all the rest of sending.
        return urlencode(request_data.json_parameters).encode() or None
    form = aiohttp.FormData(quote_fields=False)  # otherwise a Chinese file name arrives percent-encoded
    for name, value in request_data.json_parameters.items():
        form.add_field(name, value)
    for name, (file_name, content, mime) in request_data.multipart_data.items():
        stream = io.BytesIO(content) if isinstance(content, bytes) else content  # aiohttp warns of long plain bytes
        form.add_field(name, stream, filename=file_name, content_type=mime)
    return form
