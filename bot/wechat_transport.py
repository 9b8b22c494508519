"""One HTTP call for the WeChat clients: bounded in time and size, and with errors that say what may have happened.

requests shows whole addresses, token and secret included, in its exceptions and (through urllib3) in its debug log.
Nothing of that leaves this module: errors are made anew, outside of the handling of the old ones, so that no chain of
causes holds an address either.
"""

import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError
from urllib3.filepost import encode_multipart_formdata

from bot.no_secrets import NoSecrets
from bot.wechat_errors import ApiBusy, ApiError, ApiNotReached, ApiRefused, ApiUnsure, TooBig

JSON_LIMIT: Final = 4 * 1024 * 1024
CHUNK: Final = 64 * 1024
_LOGGERS: Final = ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry", "requests", "wechatpy")
_NO_TOKENS: Final = NoSecrets(long_runs=True)  # these loggers show addresses, in which tokens stand


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: to connect (and to send a block), of silence, of a whole call, of a whole call that carries a file."""

    connect_s: float = 5.0
    read_s: float = 15.0
    call_s: float = 20.0
    file_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back with a 2xx."""

    content_type: str
    data: bytes = field(repr=False)


class _Deadline(Exception):
    """The call has taken all the time it may."""


class _Body(io.BytesIO):
    """A request's body that is sent in blocks, each with the connection's own timeout, and ends at the deadline.

    A body in one piece would have to be gone within one timeout, which a phone network does not manage for a photo.
    """

    def __init__(self, data: bytes, ends: float) -> None:
        super().__init__(data)
        self._ends = ends

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() > self._ends:
            raise _Deadline
        return super().read(size)


class Transport:
    """A pool of connections. `proxy` is an http:// address; proxies named in the environment are not used.

    Its methods block; they are for the client's own threads.
    """

    def __init__(self, connections: int, proxy: str = "", patience: Patience | None = None) -> None:
        _NO_TOKENS.guard(*_LOGGERS)
        self._patience = patience or Patience()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Accept-Encoding"] = "identity"  # what arrives is as long as it says
        if proxy:
            self._session.proxies = {"http": proxy, "https": proxy}
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=connections, max_retries=0, pool_block=True)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        self._session.close()

    def exchange(
        self,
        method: str,
        url: str,
        params: Mapping[str, str],
        *,
        body: bytes | None = None,
        files: Mapping[str, tuple[str, bytes]] | None = None,
        limit: int = JSON_LIMIT,
    ) -> Answer:
        """One call, never repeated. Raises ApiNotReached, ApiUnsure, ApiBusy (429), ApiRefused (4xx) or TooBig.

        `files` are (name, bytes) by field. `limit` is in bytes of the answer.
        """
        headers = {"Content-Type": "application/json; charset=utf-8"}
        whole_s = self._patience.call_s
        if files is not None:
            body, headers["Content-Type"] = encode_multipart_formdata(dict(files))
            whole_s = self._patience.file_s
        elif limit > JSON_LIMIT:
            whole_s = self._patience.file_s
        ends = time.monotonic() + whole_s
        answer: Answer | None = None
        trouble: ApiError | None = None
        try:
            response = self._session.request(
                method,
                url,
                params=dict(params),
                data=None if body is None else _Body(body, ends),
                headers=headers if body is not None else {},
                timeout=(self._patience.connect_s, self._patience.read_s),
                allow_redirects=False,
                stream=True,
            )
        except Exception as error:
            trouble = _trouble_of(error)
        else:
            try:
                answer = _read(response, limit, ends)
            except ApiError as error:
                trouble = error
            except Exception as error:
                trouble = ApiUnsure(f"the answer broke off ({type(error).__name__})")
            finally:
                response.close()
        if trouble is not None:
            raise trouble
        if answer is None:
            raise ApiUnsure("no answer")
        return answer


def _read(response: requests.Response, limit: int, ends: float) -> Answer:
    status = response.status_code
    if status == 429:
        raise ApiBusy(_seconds(response.headers.get("Retry-After", "")))
    if 400 <= status < 500:
        raise ApiRefused(status, f"HTTP {status}")
    if not 200 <= status < 300:
        raise ApiUnsure(f"HTTP {status}")
    announced = response.headers.get("Content-Length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit:
        raise TooBig(f"{int(announced)} bytes, more than {limit}")
    data = bytearray()
    while block := response.raw.read1(CHUNK, decode_content=True):  # raises where less came than was announced
        data += block
        if len(data) > limit:
            raise TooBig(f"more than {limit} bytes")
        if time.monotonic() > ends:
            raise ApiUnsure("the answer took too long")
    return Answer(response.headers.get("Content-Type", ""), bytes(data))


def _trouble_of(error: Exception) -> ApiError:
    """By the library's own kinds: nobody was reached, or nobody knows what arrived."""
    kind = type(error).__name__
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError):
        return ApiNotReached(kind)
    if isinstance(error, requests.exceptions.SSLError):  # the handshake comes before the request
        return ApiNotReached(kind)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidProxyURL):
        return ApiNotReached(kind)
    reason = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
    if isinstance(reason, NewConnectionError | ConnectTimeoutError | NameResolutionError):
        return ApiNotReached(type(reason).__name__)
    return ApiUnsure(f"no answer ({kind})")


def _seconds(text: str) -> float:
    return min(float(text), 3600.0) if text.isascii() and text.isdigit() else 30.0


def json_of(answer: Answer) -> dict[str, Any] | None:
    """The answer as an object, if that is what it is. A photo is never tried: it does not begin with a brace."""
    if len(answer.data) > JSON_LIMIT or answer.data.lstrip()[:1] != b"{":
        return None
    try:
        result = json.loads(answer.data.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) else None


def errcode_of(result: dict[str, Any]) -> int:
    code = result.get("errcode", 0)
    try:
        return int(code or 0)
    except (TypeError, ValueError):
        raise ApiUnsure("an errcode that is no number") from None
