"""The guard before what 公众号 and 企业微信 push: the genuine gets in, everything else ends as 400 or 403, once in the
log and without a word of what was sent. Requests are made by bot/loopback/signer.py, which does not know the guard.
"""

import asyncio
import base64
import contextlib
import hmac
import logging
import os
import re
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import xmltodict
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wechatpy.crypto.cryptography import WeChatCipher
from wechatpy.crypto.pkcs7 import PKCS7Encoder

from bot import wechat_callback
from bot.loopback.official import OfficialPlatform
from bot.loopback.platform import AES_KEY, CALLBACK_TOKEN, Attempt
from bot.loopback.signer import Messages, Signer
from bot.loopback.work import WorkPlatform
from bot.wechat_callback import (
    CallbackGuard,
    Opened,
    Rejected,
    answer_callback,
    as_list,
    cdata,
    moment,
    number,
    part,
    word,
)

CORP = "ww0000loopback0000"
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
SIGNER = Signer(CALLBACK_TOKEN, AES_KEY, CORP)
SAYS = Messages(CORP, "1000002")
HELLO = SAYS.text("WangJian", "你好 <b>&amp;", at=AT)


def guard(now: Callable[[], datetime] = lambda: NOW, **more: Any) -> CallbackGuard:
    return CallbackGuard(CALLBACK_TOKEN, AES_KEY, CORP, now, **more)


def refused(query: dict[str, str], body: bytes, by: CallbackGuard | None = None) -> Rejected:
    with pytest.raises(Rejected) as caught:
        (by or guard()).open(query, body)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # nothing of the library's exception, which may hold what was sent
    return caught.value


def encrypted(plain: bytes, *, pad: bool = True) -> str:
    """Anything at all, encrypted with the account's key: what somebody who holds it could send."""
    cipher = WeChatCipher(base64.b64decode(AES_KEY + "="))
    return base64.b64encode(cipher.encrypt(PKCS7Encoder.encode(plain) if pad else plain)).decode()


def framed(xml: bytes, receiver: bytes = CORP.encode(), length: int | None = None) -> bytes:
    return b"r" * 16 + struct.pack(">I", len(xml) if length is None else length) + xml + receiver


# --- the genuine


def test_a_message_is_opened() -> None:
    opened = guard().open(*SIGNER.seal(HELLO, timestamp=AT, nonce="42"))
    assert opened.xml["Content"] == "你好 <b>&amp;"
    assert opened.xml["FromUserName"] == "WangJian"
    assert opened.text == HELLO
    assert (opened.timestamp, opened.nonce, opened.plain) == (str(AT), "42", False)
    assert "你好" not in repr(opened)


def test_the_answer_is_sealed_so_that_the_platform_can_read_it() -> None:
    reply = f"<xml><MsgType>{cdata('text')}</MsgType><Content>{cdata('好 ]]> 的')}</Content></xml>"
    assert SIGNER.open_reply(guard().seal(reply)) == {"MsgType": "text", "Content": "好 ]]> 的"}


def test_both_ways_of_verifying_the_address() -> None:
    query = SIGNER.echo("1234567890abc", timestamp=AT)
    assert guard().echo(query) == "1234567890abc"
    assert guard().echo({**query, "echostr": query["echostr"].replace("+", " ")}) == "1234567890abc"
    plain = SIGNER.plain_echo("5927782489442352469", timestamp=AT)
    assert guard(plain_echo=True).echo(plain) == "5927782489442352469"
    for by, wrong in (
        (guard(), plain),  # 企业微信 never verifies without encryption
        (guard(plain_echo=True), {**plain, "signature": "0" * 40}),
        (guard(plain_echo=True), {**plain, "echostr": "<script>"}),
        (guard(plain_echo=True), {"echostr": "1"}),
        (guard(), {**query, "msg_signature": "0" * 40}),
        (guard(), {**query, "timestamp": str(AT + 1)}),
        (guard(lambda: NOW + timedelta(hours=1)), query),
    ):
        with pytest.raises(Rejected):
            by.echo(wrong)


def test_a_retry_of_the_platform_gets_in_every_time() -> None:
    """Its nonce and time may be the same, and the encryption is made anew; storing the first may have failed."""
    by = guard()
    for _ in range(3):
        assert by.open(*SIGNER.seal(HELLO, timestamp=AT, nonce="42")).text == HELLO


def test_a_replayed_nonce_with_another_message_is_refused() -> None:
    by = guard()
    by.open(*SIGNER.seal(HELLO, timestamp=AT, nonce="42"))
    wrong = refused(*SIGNER.seal(SAYS.text("WangJian", "另一条", at=AT), timestamp=AT, nonce="42"), by)
    assert (wrong.status, wrong.reason) == (403, "a nonce used before")
    # The same number at another second is chance, not replay.
    assert by.open(*SIGNER.seal(SAYS.text("WangJian", "又一条", at=AT), timestamp=AT + 1, nonce="42"))


def test_nonces_are_forgotten_when_they_are_too_old_to_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [NOW]
    by = guard(lambda: now[0])
    for at in range(10_050):
        by._once((str(at), "1"), "x")
    now[0] += timedelta(seconds=601)
    by._once(("later", "1"), "x")
    assert len(by._seen) == 1


# --- the hostile


def test_forged_signatures_are_refused() -> None:
    query, body = SIGNER.seal(HELLO, timestamp=AT)
    other = Signer("another-token", AES_KEY, CORP).seal(HELLO, timestamp=AT)
    for forged in (
        {**query, "msg_signature": "0" * 40},
        {**query, "msg_signature": query["msg_signature"].upper()},
        {**query, "msg_signature": query["msg_signature"][:39]},
        {**query, "msg_signature": ""},
        {**query, "msg_signature": "é" * 40},
        {**query, "nonce": "43"},
        {**query, "timestamp": str(AT - 1)},
        {key: value for key, value in query.items() if key != "msg_signature"},
        other[0],
    ):
        assert refused(forged, body).status == 403
    assert refused(query, SIGNER.seal(HELLO, timestamp=AT)[1]).status == 403  # the signature covers the body


def test_old_and_future_times_are_refused() -> None:
    for seconds, fine in ((-299, True), (299, True), (-301, False), (301, False), (-86400, False)):
        sealed = SIGNER.seal(HELLO, timestamp=AT + seconds)
        if fine:
            assert guard().open(*sealed)
        else:
            assert refused(*sealed).status == 403


def test_a_message_for_another_account_is_refused() -> None:
    wrong = refused(*Signer(CALLBACK_TOKEN, AES_KEY, "ww_somebody_else").seal(HELLO, timestamp=AT))
    assert (wrong.status, wrong.reason) == (403, "for another account")


def test_plain_messages_are_refused_unless_the_test_switch_is_on() -> None:
    query, body = SIGNER.plain(HELLO, timestamp=AT)
    assert refused(query, body).status == 400
    by = guard(accept_plain=True)
    opened = by.open(query, body)
    assert (opened.plain, opened.xml["Content"]) == (True, "你好 <b>&amp;")
    assert by.open(*SIGNER.seal(HELLO, timestamp=AT)).plain is False
    assert refused({**query, "signature": "0" * 40}, body, by).status == 403
    assert refused(query, "é".encode("latin-1"), by).status == 400


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(9))
    + b"]><xml><Content>&j;</Content></xml>"
)
EXTERNAL = b'<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/hostname">]><xml><Content>&x;</Content></xml>'
DEEP = b"<xml>" + b"<a>" * 9000 + b"</a>" * 9000 + b"</xml>"

# What makes wechatpy raise KeyError, ExpatError, ValueError, struct.error, IndexError, UnicodeDecodeError,
# AttributeError and AssertionError or TypeError, each correctly signed.
EIGHT_KINDS = {
    "KeyError": (SIGNER.sign("x" * 40, timestamp=AT)[0], b"<xml><Nothing>1</Nothing></xml>"),
    "ExpatError": SIGNER.sign(encrypted(framed(b"<xml>")), timestamp=AT),
    "ValueError, no whole block": SIGNER.sign(base64.b64encode(b"x" * 33).decode(), timestamp=AT),
    "ValueError, no base64": SIGNER.sign("=" * 40, timestamp=AT),
    "ValueError, entities": SIGNER.sign(encrypted(framed(BOMB)), timestamp=AT),
    "struct.error": SIGNER.sign(encrypted(b"\x20" * 32, pad=False), timestamp=AT),
    "IndexError": SIGNER.sign("", timestamp=AT),
    "UnicodeDecodeError": SIGNER.sign(encrypted(framed(b"<xml>\xff\xfe</xml>")), timestamp=AT),
    "UnicodeDecodeError in the id": SIGNER.sign(encrypted(framed(b"<xml/>", b"\xff\xfe")), timestamp=AT),
    "AttributeError": SIGNER.sign(encrypted(framed(b"<xml/>")), timestamp=AT),
    "AssertionError": SIGNER.sign(encrypted(framed(b"[]")), timestamp=AT),
    "another root": SIGNER.sign(encrypted(framed(b"<html><a>1</a></html>")), timestamp=AT),
    "only text": SIGNER.sign(encrypted(framed(b"<xml>hello</xml>")), timestamp=AT),
    "a length too long": SIGNER.sign(encrypted(framed(b"<xml><a>1</a></xml>", length=2**31)), timestamp=AT),
    "a length of nothing": SIGNER.sign(encrypted(framed(b"<xml><a>1</a></xml>", length=0)), timestamp=AT),
    "no padding": SIGNER.sign(encrypted(framed(b"<xml>")[:16] + b"\0" * 16, pad=False), timestamp=AT),
    "deeply nested": SIGNER.sign(encrypted(framed(DEEP)), timestamp=AT),
    "an external entity": SIGNER.sign(encrypted(framed(EXTERNAL)), timestamp=AT),
    "two encrypted parts": (
        SIGNER.seal(HELLO, timestamp=AT, nonce="9")[0],
        SIGNER.seal(HELLO, timestamp=AT)[1].replace(b"</xml>", b"<Encrypt>x</Encrypt></xml>"),
    ),
    "an envelope with a DOCTYPE": (
        SIGNER.seal(HELLO, timestamp=AT)[0],
        b"<!DOCTYPE xml []>" + SIGNER.seal(HELLO, timestamp=AT)[1],
    ),
    "an empty body": (SIGNER.seal(HELLO, timestamp=AT)[0], b""),
    "no query": ({}, SIGNER.seal(HELLO, timestamp=AT)[1]),
    "an odd query": ({"timestamp": "1e9", "nonce": "\x00", "msg_signature": "é"}, b"<xml/>"),
    "digits that are none": ({"timestamp": "１７", "nonce": "1"}, b"<xml/>"),
    "10 MB": (SIGNER.seal(HELLO, timestamp=AT)[0], b"<xml><Encrypt>" + b"A" * 10_000_000 + b"</Encrypt></xml>"),
}


@pytest.mark.parametrize("kind", EIGHT_KINDS)
def test_row_11_what_makes_the_library_raise_is_refused(kind: str) -> None:
    wrong = refused(*EIGHT_KINDS[kind])
    assert wrong.status in (400, 403)
    assert len(wrong.reason) < 60


def test_row_11_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every comparison of a signature goes through hmac.compare_digest, before anything is decrypted."""
    compared: list[bool] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append(hmac.compare_digest(left, right))
        return compared[-1]

    class Watched:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(wechat_callback, "hmac", Watched)
    query, body = SIGNER.seal(HELLO, timestamp=AT)
    guard().open(query, body)
    refused({**query, "msg_signature": "0" * 40}, body)
    with pytest.raises(Rejected):
        guard(plain_echo=True).echo({**SIGNER.plain_echo("1", timestamp=AT), "signature": "0" * 40})
    assert compared == [True, False, False]


hostile_bytes = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=200).map(lambda inner: b"<xml><Encrypt><![CDATA[" + inner + b"]]></Encrypt></xml>"),
    st.text("ABCxyz019+/= \n", min_size=30, max_size=300).map(lambda x: f"<xml><Encrypt>{x}</Encrypt></xml>".encode()),
)
hostile_queries = st.dictionaries(
    st.sampled_from(["msg_signature", "signature", "timestamp", "nonce", "echostr", "encrypt_type"]),
    st.one_of(st.text(max_size=60), st.just(str(AT)), st.from_regex(r"[0-9a-f]{40}", fullmatch=True)),
)


@settings(max_examples=800, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(query=hostile_queries, body=hostile_bytes)
def test_fuzz_of_whatever_strangers_send_ends_as_rejected(query: dict[str, str], body: bytes) -> None:
    for accept_plain in (False, True):
        by = guard(plain_echo=accept_plain, accept_plain=accept_plain)
        with pytest.raises(Rejected):
            by.open(query, body)
        with pytest.raises(Rejected):
            by.echo(query)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    plain=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=120).map(framed),
        st.text(max_size=80).map(lambda inner: framed(f"<xml><A>{inner}</A></xml>".encode("utf-8", "surrogatepass"))),
        st.tuples(st.binary(max_size=60), st.integers(0, 2**32 - 1)).map(lambda two: framed(two[0], length=two[1])),
    ),
    pad=st.booleans(),
)
def test_fuzz_with_the_right_keys_opens_or_is_rejected(plain: bytes, pad: bool) -> None:
    """Correctly signed and encrypted nonsense: read as XML with fields, or refused. Never anything else."""
    if not pad:
        plain = plain[: len(plain) // 16 * 16]
    query, body = SIGNER.sign(encrypted(plain, pad=pad), timestamp=AT)
    with contextlib.suppress(Rejected):
        opened = guard().open(query, body)
        assert isinstance(opened.xml, dict)
        for name in opened.xml:
            word(opened.xml, name), number(opened.xml, name), moment(opened.xml, name), part(opened.xml, name)


# --- fields


def test_row_12_fields_are_read_without_raising() -> None:
    """wechatpy's `create_time` and `latitude` raise when business code touches them; these give None."""
    xml = {"CreateTime": "soon", "Latitude": "north", "Precision": "nan", "Scale": None, "Label": {"a": "1"}}
    assert moment(xml) is None
    assert [number(xml, name) for name in ("Latitude", "Precision", "Scale", "Label", "Missing")] == [None] * 5
    assert moment({"CreateTime": "9" * 30}) is None
    assert moment({"CreateTime": str(AT)}) == NOW
    assert number({"Latitude": "30.08"}, "Latitude") == 30.08


def test_row_13_numbers_are_numbers_empty_is_empty_and_twice_is_a_list() -> None:
    xml = guard().open(*SIGNER.seal(SAYS.location("w", 30.08218, 120.4939, at=AT), timestamp=AT)).xml
    assert (number(xml, "Location_X"), number(xml, "Location_Y")) == (30.08218, 120.4939)
    assert word(xml, "Label") == ""
    twice = xmltodict.parse("<xml><A>1</A><A>2</A><B/><C><D>3</D></C></xml>")["xml"]
    assert as_list(twice["A"]) == ["1", "2"]
    assert (word(twice, "A"), word(twice, "B"), word(twice, "C")) == ("1", "", "")
    assert as_list(None) == []
    assert as_list("x") == ["x"]
    assert (part(twice, "C"), part(twice, "A"), part(twice, "B")) == ({"D": "3"}, {}, {})


@given(st.text())
def test_row_10_no_text_leaves_its_cdata_section(text: str) -> None:
    sealed = f"<xml><Content>{cdata(text)}</Content><After>1</After></xml>"
    read = xmltodict.parse(sealed, strip_whitespace=False)["xml"]
    kept = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "", text).replace("\r\n", "\n")
    assert (read["Content"] or "") == kept.replace("\r", "\n")
    assert read["After"] == "1"


def test_row_10_a_text_cannot_forge_a_field() -> None:
    attack = "x]]></Content><MsgType><![CDATA[image]]></MsgType><Content><![CDATA[\x00\x1f"
    reply = f"<xml><MsgType>{cdata('text')}</MsgType><Content>{cdata(attack)}</Content></xml>"
    read = SIGNER.open_reply(guard().seal(reply))
    assert read == {"MsgType": "text", "Content": attack[:-2]}


def test_row_20_the_first_bytes_of_an_answer_are_from_the_systems_random_source() -> None:
    """wechatpy draws 16 different letters and digits; bytes of all kinds, and never the same nonce, show ours."""
    cipher_key = base64.b64decode(AES_KEY + "=")
    prefixes, nonces = [], set()
    for _ in range(50):
        envelope = xmltodict.parse(guard().seal("<xml/>"))["xml"]
        prefixes.append(WeChatCipher(cipher_key).decrypt(base64.b64decode(envelope["Encrypt"]))[:16])
        nonces.add(envelope["Nonce"])
    assert len(set(prefixes)) == len(nonces) == 50
    assert any(not bytes(prefix).isalnum() for prefix in prefixes)


def test_keys_that_are_none_are_refused_at_once() -> None:
    for token, key, receiver in (
        ("", AES_KEY, CORP),
        ("t", AES_KEY[:42], CORP),
        ("t", AES_KEY, ""),
        ("t", "é" * 43, CORP),
    ):
        with pytest.raises(ValueError, match="EncodingAESKey") as caught:
            CallbackGuard(token, key, receiver)
        assert key not in str(caught.value)


# --- over the socket


@asynccontextmanager
async def serving(by: CallbackGuard, take: Callable[[Opened], Awaitable[web.Response]]) -> AsyncIterator[str]:
    async def hook(request: web.Request) -> web.Response:
        return await answer_callback(request, by, take)

    application = web.Application()
    application.router.add_route("*", "/callback", hook)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/callback"
    finally:
        await runner.cleanup()


class Kept:
    """What a channel would store."""

    def __init__(self, failures: int = 0) -> None:
        self.opened: list[Opened] = []
        self.failures = failures

    async def __call__(self, opened: Opened) -> web.Response:
        if self.failures:
            self.failures -= 1
            raise OSError("disk full")
        self.opened.append(opened)
        return web.Response(text="success")


async def test_hostile_requests_are_refused_logged_once_and_store_nothing(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    async with WorkPlatform() as platform, serving(guard(), kept) as url:
        for query, body in EIGHT_KINDS.values():
            with caplog.at_level(logging.DEBUG):
                caplog.clear()
                attempt = await platform.post(
                    url, {key: value for key, value in query.items() if "\0" not in value}, body
                )
                assert attempt.status in (400, 403)
                assert attempt.body == ""
                ours = [record for record in caplog.records if record.name == "bot.wechat_callback"]
                assert len(ours) == 1
                assert ours[0].levelno == logging.WARNING
                assert ours[0].exc_info is None
                for secret in (CALLBACK_TOKEN, AES_KEY, query.get("msg_signature", "") or CALLBACK_TOKEN, "WangJian"):
                    assert secret not in caplog.text
    assert kept.opened == []


async def test_a_body_without_an_end_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wechat_callback, "BODY_S", 0.5)
    kept = Kept()
    async with serving(guard(), kept) as url, aiohttp.ClientSession() as http:

        async def flood() -> AsyncIterator[bytes]:
            while True:
                yield b"A" * 4096
                await asyncio.sleep(0)

        async def slow() -> AsyncIterator[bytes]:
            yield b"<xml>"
            await asyncio.sleep(0.8)
            yield b"</xml>"

        query = SIGNER.seal(HELLO, timestamp=AT)[0]
        for body in (flood(), slow()):
            try:
                async with http.post(url, params=query, data=body) as answer:
                    assert answer.status == 400
            except aiohttp.ClientOSError:
                pass  # the server hung up while we were still sending
    reasons = [record.getMessage().rpartition(": ")[2] for record in caplog.records if record.levelname == "WARNING"]
    assert reasons == ["too long", "the body did not arrive"]
    assert kept.opened == []


async def test_the_address_is_verified_bare() -> None:
    async with WorkPlatform() as platform, serving(guard(), Kept()) as url:
        attempt = await platform.verify(url, SIGNER.echo("3141592653", timestamp=AT))
        assert (attempt.status, attempt.body) == (200, "3141592653")
        assert attempt.seconds < 1
        assert (await platform.verify(url, {})).status == 400


@pytest.mark.parametrize("platform", [WorkPlatform(), OfficialPlatform()], ids=["wecom", "mp"])
async def test_a_message_that_could_not_be_stored_is_let_in_again(platform: WorkPlatform | OfficialPlatform) -> None:
    by = CallbackGuard(CALLBACK_TOKEN, AES_KEY, platform.app_id)
    kept = Kept(failures=2)
    async with platform, serving(by, kept) as url:
        attempts = await platform.push(url, platform.messages.text("wangjian", "在吗"))
        assert [attempt.status for attempt in attempts] == [503, 503, 200]
        assert attempts[-1].body == "success"
    assert [opened.xml["Content"] for opened in kept.opened] == ["在吗"]


async def test_a_platform_hangs_up_on_a_slow_answer_and_comes_twice_more() -> None:
    async def slow(opened: Opened) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response(text="success")

    platform = WorkPlatform(callback_s=0.1)
    async with platform, serving(CallbackGuard(CALLBACK_TOKEN, AES_KEY, platform.app_id), slow) as url:
        attempts = await platform.push(url, platform.messages.text("wangjian", "在吗"))
        assert [attempt.status for attempt in attempts] == [None] * 3
        assert all(isinstance(attempt, Attempt) and attempt.seconds < 0.4 for attempt in attempts)


def test_many_messages_are_opened_quickly() -> None:
    """Decrypting is done in the event loop: it must stay far below what a person would notice."""
    by = guard()
    sealed = [SIGNER.seal(SAYS.text("w", os.urandom(200).hex(), at=AT), timestamp=AT) for _ in range(200)]
    began = datetime.now(UTC)
    for query, body in sealed:
        by.open(query, body)
    assert (datetime.now(UTC) - began) < timedelta(seconds=2)
