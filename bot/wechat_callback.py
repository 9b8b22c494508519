"""The door for what 公众号 and 企业微信 push: who may come in, what is read of it, and how it is answered.

wechatpy decrypts and signs. Around it stands one guard, because the library compares signatures with `!=`, knows
neither freshness nor replay, and answers hostile input with eight kinds of exception. Everything hostile ends here as a
Rejected with 400 or 403 and a reason of our own wording, which holds nothing of what was sent.
"""

import asyncio
import hashlib
import hmac
import logging
import math
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import xmltodict
from aiohttp import web
from wechatpy.crypto import BaseWeChatCrypto
from wechatpy.crypto.base import BasePrpCrypto
from wechatpy.utils import WeChatSigner

log = logging.getLogger(__name__)

Json = dict[str, Any]

MAX_BODY: Final = 128 * 1024  # bytes; a text is at most 2048 bytes, the largest event (20 pictures) about 4 KB
MAX_DEPTH: Final = 12  # of nested XML; real messages have 5
BODY_S: Final = 4.0  # for a body to arrive; after 5 s the platform has hung up
WINDOW: Final = timedelta(seconds=300)
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_NONCE: Final = re.compile(r"[!-~]{1,128}")  # printable ASCII
_SIGNATURE: Final = re.compile(r"[0-9a-f]{40}")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{32,}={0,2}")
_ECHO: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
# What XML 1.0 cannot hold: control characters but tab and line ends, halves of surrogate pairs, U+FFFE and U+FFFF.
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Rejected(Exception):
    """A callback that is not let in: `status` 403 for a stranger's, 400 for one that cannot be read."""

    def __init__(self, status: Literal[400, 403], reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Opened:
    """A genuine callback. `xml` holds the fields of its root; a repeated field is a list there, an empty one None.

    `text` is the decrypted message itself, for the library's parser and for keeping. `plain` ones came unencrypted
    (test switch) and are answered unencrypted.
    """

    xml: Json = field(repr=False)
    text: str = field(repr=False)
    timestamp: str
    nonce: str
    plain: bool = False


class _Cipher(BasePrpCrypto):  # type: ignore[misc]  # wechatpy ships no types
    """wechatpy's AES, with first bytes from the system's random source; its own are guessable."""

    def get_random_string(self) -> bytes:
        return secrets.token_bytes(16)

    def encrypt(self, text: str, receive_id: str) -> Any:
        return self._encrypt(text, receive_id)

    def decrypt(self, text: bytes | str, receive_id: str) -> Any:
        return self._decrypt(text, receive_id, _WrongReceiver)


class _WrongReceiver(Exception):
    """Encrypted with our key, for another account."""


class _Crypto(BaseWeChatCrypto):  # type: ignore[misc]  # wechatpy ships no types
    def open(self, encrypted: str, signature: str, timestamp: str, nonce: str) -> str:
        envelope = {"Encrypt": encrypted}
        return str(self._decrypt_message(envelope, signature, timestamp, nonce, _Cipher))

    def seal(self, text: str, nonce: str, timestamp: str) -> str:
        return str(self._encrypt_message(text, nonce, timestamp, _Cipher))


class CallbackGuard:
    """Opens and seals what one account's platform sends. Raises Rejected for whatever is not genuine, nothing else.

    `receive_id` is the corp id or the appid; `aes_key` the 43 characters of EncodingAESKey (else ValueError). With
    `plain_echo` the address may be verified with an unencrypted echo string, as a 公众号 does. `accept_plain` lets
    unencrypted messages in, whose signature does not cover their body: for trying out a test account only.
    """

    def __init__(
        self,
        token: str,
        aes_key: str,
        receive_id: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        window: timedelta = WINDOW,
        *,
        plain_echo: bool = False,
        accept_plain: bool = False,
    ) -> None:
        if not token or not receive_id or not re.fullmatch(r"[A-Za-z0-9]{43}", aes_key):
            raise ValueError("a callback needs its token, its id and an EncodingAESKey of 43 letters and digits")
        self._token = token
        self._receive_id = receive_id
        self._crypto = _Crypto(token, aes_key, receive_id)
        self._clock = clock
        self._window = window
        self._plain_echo = plain_echo
        self._accept_plain = accept_plain
        self._seen: dict[tuple[str, str], tuple[bytes, datetime]] = {}

    def echo(self, query: Mapping[str, str]) -> str:
        """What to answer, bare, to the platform that verifies the address."""
        timestamp, nonce = self._fresh(query)
        given = query.get("echostr", "").replace(" ", "+")  # a "+" of base64 that came undecoded
        if "msg_signature" in query:
            return self._decrypted(given, self._signed(query, timestamp, nonce, given), timestamp, nonce)
        if not self._plain_echo:
            raise Rejected(403, "no signature")
        self._signed_plainly(query, timestamp, nonce)
        if not _ECHO.fullmatch(given):
            raise Rejected(400, "no echo string")
        return given

    def open(self, query: Mapping[str, str], body: bytes) -> Opened:
        """The message in a POST. A nonce that was used before passes only with the very same message inside: that is
        the platform's own retry, which must get through, as storing the first may have failed.
        """
        if len(body) > MAX_BODY:
            raise Rejected(400, "too long")
        timestamp, nonce = self._fresh(query)
        plain = self._accept_plain and "msg_signature" not in query and b"<Encrypt>" not in body
        if plain:
            self._signed_plainly(query, timestamp, nonce)
            text = _decoded(body)
        else:
            encrypted = _encrypted_part(body)
            text = self._decrypted(encrypted, self._signed(query, timestamp, nonce, encrypted), timestamp, nonce)
        xml = _read(text)
        self._once((timestamp, nonce), text)
        return Opened(xml, text, timestamp, nonce, plain)

    def seal(self, xml: str) -> str:
        """A passive reply as it goes back: encrypted and signed."""
        timestamp = str(int(self._clock().timestamp()))
        return self._crypto.seal(xml, secrets.token_hex(8), timestamp)

    def _fresh(self, query: Mapping[str, str]) -> tuple[str, str]:
        timestamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
        if not _NUMBER.fullmatch(timestamp) or not _NONCE.fullmatch(nonce):
            raise Rejected(400, "no timestamp or nonce")
        if abs(self._clock().timestamp() - int(timestamp)) > self._window.total_seconds():
            raise Rejected(403, "too old, or from the future")
        return timestamp, nonce

    def _signed(self, query: Mapping[str, str], timestamp: str, nonce: str, encrypted: str) -> str:
        return _same(query.get("msg_signature", ""), _signature(self._token, timestamp, nonce, encrypted))

    def _signed_plainly(self, query: Mapping[str, str], timestamp: str, nonce: str) -> None:
        _same(query.get("signature", ""), _signature(self._token, timestamp, nonce))

    def _decrypted(self, encrypted: str, signature: str, timestamp: str, nonce: str) -> str:
        """The library may raise anything here; its exceptions may hold what was sent, so none is kept as the cause."""
        if not _BASE64.fullmatch(encrypted.encode("ascii", "replace")):
            raise Rejected(400, "no base64")
        wrong: Rejected
        try:
            return self._crypto.open(encrypted, signature, timestamp, nonce)
        except _WrongReceiver:
            wrong = Rejected(403, "for another account")
        except Exception as error:
            wrong = Rejected(400, f"cannot be decrypted ({type(error).__name__})")
        raise wrong

    def _once(self, key: tuple[str, str], text: str) -> None:
        now = self._clock()
        if len(self._seen) > 10_000:
            self._seen = {old: seen for old, seen in self._seen.items() if seen[1] > now}
        digest = hashlib.sha256(text.encode()).digest()
        before, _ = self._seen.setdefault(key, (digest, now + 2 * self._window))
        if before != digest:
            raise Rejected(403, "a nonce used before")


async def answer_callback(
    request: web.Request, guard: CallbackGuard, take: Callable[[Opened], Awaitable[web.Response]]
) -> web.Response:
    """A channel's webhook: the address verified (GET), or a message opened and handed to `take` (POST).

    `take` stores it and says what to answer. If it raises, the answer is 503 and the platform comes again, twice.
    What is not genuine gets 400 or 403 and one line in the log.
    """
    rejected: Rejected
    try:
        if request.method != "POST":
            return web.Response(text=guard.echo(request.query))
        opened = guard.open(request.query, await _body(request))
    except Rejected as error:
        rejected = error
    else:
        try:
            return await take(opened)
        except Exception:
            log.exception("a callback could not be stored")
            return web.Response(status=503)
    log.warning("a callback from %s on %s was refused: %s", request.remote, request.path, rejected.reason)
    return web.Response(status=rejected.status)


async def _body(request: web.Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    raise Rejected(400, "too long")
    except (TimeoutError, web.RequestPayloadError, ConnectionError):
        raise Rejected(400, "the body did not arrive") from None
    return bytes(body)


# --- reading


def as_list(value: Any) -> list[Any]:
    """XML says one thing as a value and two as a list; nothing is an empty list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def word(xml: Mapping[str, Any], name: str) -> str:
    """A field as text; "" where it is missing, empty or something else. Of several the first."""
    first = next(iter(as_list(xml.get(name))), None)
    return first if isinstance(first, str) else ""


def number(xml: Mapping[str, Any], name: str) -> float | None:
    """A field as a finite number, or None."""
    try:
        value = float(word(xml, name))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def moment(xml: Mapping[str, Any], name: str = "CreateTime") -> datetime | None:
    """A field of seconds since 1970 as a time, or None."""
    seconds = word(xml, name)
    if not re.fullmatch(r"[0-9]{1,11}", seconds):
        return None
    return datetime.fromtimestamp(int(seconds), UTC)


def part(xml: Mapping[str, Any], name: str) -> Json:
    """A field that has fields of its own; an empty one where it is something else. Of several the first."""
    first = next(iter(as_list(xml.get(name))), None)
    return first if isinstance(first, dict) else {}


def cdata(text: str) -> str:
    """Text as a CDATA section that it cannot leave: `]]>` is split over two, what XML cannot hold is left out."""
    inside = _NOT_XML.sub("", text).replace("]]>", "]]]]><![CDATA[>")
    return f"<![CDATA[{inside}]]>"


def _read(text: str) -> Json:
    wrong = "no message"
    try:
        root = xmltodict.parse(text, disable_entities=True)
        if list(root) == ["xml"] and isinstance(root["xml"], dict):
            if _depth(root) <= MAX_DEPTH:
                return dict(root["xml"])
            wrong = "nested too deep"
    except Exception as error:
        wrong = f"no XML ({type(error).__name__})"
    raise Rejected(400, wrong)


def _depth(value: Any) -> int:
    """Levels of nesting, counted without recursion."""
    levels, depth = [value], 0
    while levels := [
        inner for outer in levels for inner in (outer.values() if isinstance(outer, dict) else as_list(outer))
    ]:
        depth += 1
        if depth > MAX_DEPTH:
            break
        levels = [inner for inner in levels if isinstance(inner, dict | list)]
    return depth


def _encrypted_part(body: bytes) -> str:
    """The one <Encrypt> of an envelope, found without a parser: nothing of a stranger's XML is read before its
    signature was.
    """
    before, opened, rest = body.partition(b"<Encrypt>")
    inner, closed, after = rest.partition(b"</Encrypt>")
    if not opened or not closed or b"<Encrypt>" in after or b"<!DOCTYPE" in before:
        raise Rejected(400, "no encrypted message")
    return inner.strip().removeprefix(b"<![CDATA[").removesuffix(b"]]>").strip().decode("ascii", "replace")


def _decoded(body: bytes) -> str:
    with suppress(UnicodeDecodeError):
        return body.decode()
    raise Rejected(400, "no UTF-8")


def _signature(*parts: str) -> str:
    signer = WeChatSigner()
    signer.add_data(*parts)
    return str(signer.signature)


def _same(given: str, right: str) -> str:
    """Compared in constant time: how long it takes tells nothing of how much was guessed."""
    if not _SIGNATURE.fullmatch(given) or not hmac.compare_digest(given.encode(), right.encode()):
        raise Rejected(403, "wrong signature")
    return right
