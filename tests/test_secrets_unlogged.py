"""The real command with every channel on and every logger at its loudest, secrets easy to find, every kind of trouble:
nothing of it stands in what the bot writes, shows or sends to those who look after it.
"""

import asyncio
import base64
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import make_url

from bot.loopback import platform as loopback
from bot.loopback.official import OfficialPlatform
from bot.loopback.signer import Signer
from bot.loopback.work import WorkPlatform
from bot.mp_channel import CALLBACK_PATH as MP_PATH
from bot.settings import load_settings
from bot.stand_in import made_photo
from bot.wecom_channel import CALLBACK_PATH as WECOM_PATH
from bot.wiring import SAMPLE_FIRM
from rules.places import Point, gcj02_from_wgs84
from storage import people
from storage.people import Account
from tests import databases
from tests.botapi import updates
from tests.botapi.server import BotApi
from tests.botapi.troubles import Trouble, flood
from tests.botapi.updates import Person
from tests.databases import WHOLE
from tests.telegramfirm import SHOP, START, WANG_JIAN, sample_database
from tests.test_files import s3_request
from tests.test_probes import comes_up, unused_ports
from tests.test_telemetry import Collector, collecting
from tests.wecomfirm import MEMBERS

__all__ = ["unused_ports"]  # a fixture

AES = "CANARY" + "aesKeyOfTheCallbacks0123456789abcdefg"
CANARIES = {
    "ZOUDIAN_TELEGRAM__TOKEN": "987654321:CANARYtokenCANARYtokenCANARYtoken12",
    "ZOUDIAN_TELEGRAM__WEBHOOK_SECRET": "CANARY-webhook-secret",
    "ZOUDIAN_WEB__COOKIE_KEY": "CANARY-cookie-key-of-more-than-thirty-two-letters",
    "ZOUDIAN_FILES__ACCESS_KEY": "CANARYaccesskey",
    "ZOUDIAN_FILES__SECRET_KEY": "CANARYsecret/key+of=S3",
    "ZOUDIAN_WECOM__SECRET": "CANARY-secret-of-wecom-000000000000000000001",
    "ZOUDIAN_WECOM__TOKEN": "CANARYcallbackWecom",
    "ZOUDIAN_WECOM__AES_KEY": AES,
    "ZOUDIAN_WECOM__ROBOTS": "E002=CANARY-693a91f6-7000-robot",
    "ZOUDIAN_MP__SECRET": "CANARYappsecret0000000000000001",
    "ZOUDIAN_MP__TOKEN": "CANARYcallbackMp",
    "ZOUDIAN_MP__AES_KEY": AES[::-1].replace("YRANAC", "CANARY"),
    "ZOUDIAN_TELEMETRY__OTLP_HEADERS": "Authorization=Bearer CANARY-of-the-collector",
}
PASSWORD = "CANARYpa/ss wörd"
WORDS = ("CanaryWords", "送货太晚", "王建", "周洋", "老灶台", str(SHOP[0]), str(SHOP[1]))
HEARD = ("聊了一会", "周店长", "不太满意")  # in the voice notes, as the test model hears them
_LOUD = """
import logging, sys
logging.Logger.isEnabledFor = lambda self, level: True
from bot.__main__ import main
sys.argv = ["zoudian", *sys.argv[1:]]
main()
"""


def found_in(text: str, canary: str = "CANARY") -> list[str]:
    """Every place where the canary stands: as it is, as an address writes it, or in base64 at any shift."""
    places = [text[max(0, at.start() - 60) : at.end() + 60] for at in re.finditer(re.escape(canary), text)]
    places += [canary for form in (quote(canary, safe=""), canary.encode().hex()) if form in text and form != canary]
    return places + [run for run, hidden in _decoded(text) if canary.encode() in hidden]


@lru_cache(2)  # one log, several canaries
def _decoded(text: str) -> list[tuple[str, bytes]]:
    """Whatever may be base64, and what it says at any shift."""
    found = []
    for run in set(re.findall(r"[A-Za-z0-9+/_-]{8,}", text)):
        plain = run.replace("-", "+").replace("_", "/")
        parts = (plain[shift:] for shift in range(4))
        found.append((run, b"\n".join(base64.b64decode(part[: len(part) // 4 * 4]) for part in parts)))
    return found


def test_the_search_finds_what_it_looks_for() -> None:
    for shift in range(3):
        hidden = base64.b64encode(b"xyz"[:shift] + b"CANARYtoken").decode()
        assert found_in(f"Authorization: Basic {hidden}=")
    assert found_in("a CANARY b")
    assert found_in(b"CANARY".hex())
    assert found_in("a%2Fb", "a/b")
    assert not found_in("a quiet line, base64 YWJjZGVmZw== and all")


@asynccontextmanager
async def proxying() -> AsyncIterator[tuple[str, list[str]]]:
    """An HTTP proxy with a password; what it was asked for."""
    asked: list[str] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, url, _ = head.partition("\r\n")[0].split(" ")
            where = urlsplit(url)
            asked.append(url)
            lines = [
                line for line in head.split("\r\n")[1:-2] if not line.lower().startswith(("proxy-", "connection:"))
            ]
            there, back = await asyncio.open_connection(where.hostname, where.port), (reader, writer)
            target = where.path + (f"?{where.query}" if where.query else "")
            there[1].write(
                "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "Connection: close", "", ""]).encode("latin-1")
            )
            upward = asyncio.ensure_future(pipe(back[0], there[1]))
            await pipe(there[0], back[1])
            upward.cancel()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://user:{quote('CANARY-of-the/proxy', safe='')}@127.0.0.1:{port}", asked


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    assert s3_request((host, port), "PUT", "/canaries") == 200
    yield f"http://{host}:{port}"
    server.stop()


def database_url(folder: Path) -> str:
    """The firm's database; on PostgreSQL with a password, for which this server does not ask."""
    url = make_url(databases.database_url(folder))
    return (url.set(password=PASSWORD) if databases.POSTGRES else url).render_as_string(hide_password=False)


def canary_keys(platform: loopback.LoopbackPlatform, table: str) -> None:
    platform.callback_token = CANARIES[f"ZOUDIAN_{table}__TOKEN"]
    platform.aes_key = CANARIES[f"ZOUDIAN_{table}__AES_KEY"]
    platform.signer = Signer(platform.callback_token, platform.aes_key, platform.app_id)


@pytest.mark.chaos
@pytest.mark.recogniser
async def test_no_secret_and_no_words_of_a_rep_leave_the_bot(
    tmp_path: Path, bucket: str, unused_ports: list[int]
) -> None:
    web_port, port = unused_ports
    database = sample_database(tmp_path)
    with database.work(WHOLE) as work:
        people.link(work, Account("telegram", "501", "501", WANG_JIAN), START)
        people.link(work, Account("mp", "oCanaryWordsOpenId", "oCanaryWordsOpenId", "E102"), START)
    database.close()
    work_platform = WorkPlatform(secret=CANARIES["ZOUDIAN_WECOM__SECRET"], members=MEMBERS)
    official = OfficialPlatform(secret=CANARIES["ZOUDIAN_MP__SECRET"], followers=("oCanaryWordsOpenId",))
    canary_keys(work_platform, "WECOM")
    canary_keys(official, "MP")
    async with (
        BotApi(token=CANARIES["ZOUDIAN_TELEGRAM__TOKEN"]) as api,
        work_platform,
        official,
        collecting() as spans,
        collecting() as errors,
        proxying() as (proxy, asked),
    ):
        environment = {
            **os.environ,
            **CANARIES,
            "ZOUDIAN_DATA__URL": database_url(tmp_path),
            "ZOUDIAN_TELEGRAM__API_BASE": api.base,
            "ZOUDIAN_TELEGRAM__PROXY": proxy,
            "ZOUDIAN_WECOM__CORP_ID": work_platform.app_id,
            "ZOUDIAN_WECOM__AGENT_ID": work_platform.agent_id,
            "ZOUDIAN_WECOM__API_BASE": work_platform.base,
            "ZOUDIAN_WECOM__PROXY": proxy,
            "ZOUDIAN_MP__APP_ID": official.app_id,
            "ZOUDIAN_MP__API_BASE": official.base,
            "ZOUDIAN_MP__PROXY": proxy,
            "ZOUDIAN_FILES__KIND": "S3",
            "ZOUDIAN_FILES__BUCKET": "canaries",
            "ZOUDIAN_FILES__ENDPOINT": bucket,
            "ZOUDIAN_SPEECH__MODEL": str(SAMPLE_FIRM / "test_model"),
            "ZOUDIAN_SPEECH__PROMPT": "-",
            "ZOUDIAN_SPEECH__HOTWORD_TOKENS": "0",
            "ZOUDIAN_SPEECH__ALLOW_SMALL_MODELS": "true",
            "ZOUDIAN_LOG_LEVEL": "DEBUG",
            "ZOUDIAN_WEB__PORT": str(web_port),
            "ZOUDIAN_METRICS__PORT": str(port),
            "ZOUDIAN_METRICS__FREE_MB": "1",
            "ZOUDIAN_TELEMETRY__OTLP_ENDPOINT": f"{spans.url}/v1/traces",
            "ZOUDIAN_TELEMETRY__SENTRY_DSN": errors.url.replace("http://", "http://CANARYdsnkey@") + "/7",
            "PYTHONASYNCIODEBUG": "1",
            "PYTHONPATH": str(Path(__file__).parent.parent),
        }
        log = tmp_path / "log"
        shown: list[str] = []
        with log.open("wb") as out:
            bot = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _LOUD, "run", cwd=tmp_path, env=environment, stdout=out, stderr=out
            )
            try:
                async with aiohttp.ClientSession() as http:
                    await comes_up(http, f"http://127.0.0.1:{web_port}/healthz", 120)
                    await api.until(lambda: bool(api.called("getUpdates")), 60)
                    site = f"http://127.0.0.1:{web_port}"
                    await _a_visit_with_troubles(api)
                    await _the_same_in_wecom(work_platform, site + WECOM_PATH)
                    await _the_same_in_mp(official, site + MP_PATH)
                    await _strangers_in_the_web_chat(site)
                    api.trouble("getUpdates", Trouble(401, "Unauthorized"))
                    await asyncio.sleep(2)
                    for path in ("/metrics", "/readyz", "/healthz"):
                        async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                            shown.append(await answer.text())
            finally:
                bot.terminate()
                await asyncio.wait_for(bot.wait(), 60)
        shown += await asyncio.gather(
            *(
                _said_by(environment, tmp_path, *command)
                for command in (["doctor"], ["doctor", "--json"], ["check-config"], ["dead", "list"])
            )
        )
        tokens = [*work_platform._tokens, *official._tokens]
    written = log.read_text(encoding="utf-8", errors="replace")
    for event in ("received", "applied", "job started", "job finished", "queued", "sent"):
        assert f"] {event} " in written, event
    assert "[debug]" in written
    assert {urlsplit(url).port for url in asked} >= {urlsplit(one.base).port for one in (api, work_platform, official)}
    assert "zoudian_sent_total" in shown[0]
    assert len(tokens) >= 2
    assert spans.bodies
    told = "\n".join([written, *shown, spans.text, _without_its_own_key(errors)])
    assert found_in(told) == []
    for token in tokens:
        assert found_in(told, token) == []
    assert found_in(told, PASSWORD) == []
    unheard = [word for word in (*WORDS, *HEARD) if word in "\n".join([written, *shown[:3], spans.text, errors.text])]
    assert unheard == []


async def _said_by(environment: dict[str, str], folder: Path, *command: str) -> str:
    said, error = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _LOUD, *command, cwd=folder, env=environment, stdout=said, stderr=error
    )
    return (await child.communicate())[0].decode()


def _without_its_own_key(errors: Collector) -> str:
    """Sentry's envelopes name the public key of the project they are for: that is how they find it."""
    return errors.text.replace('"public_key":"CANARYdsnkey"', "").replace('"public_key": "CANARYdsnkey"', "")


async def _a_visit_with_troubles(api: BotApi) -> None:
    rep = Person(501)
    api.know(501)
    api.put_file("front", made_photo("front"), "photos/front.jpg")
    api.put_file("note", (SAMPLE_FIRM / "clips" / "note00.ogg").read_bytes(), "voice/note.oga")
    for method in ("sendMessage", "getUpdates", "getFile", "file", "answerCallbackQuery"):
        api.trouble(method, Trouble(500, f"Internal Server Error of bot{CANARIES['ZOUDIAN_TELEGRAM__TOKEN']}"))
        api.trouble(method, Trouble(cut=True))
        api.trouble(method, Trouble(body=b"no json"))
    api.trouble("sendMessage", flood(1))
    await api.give(updates.live(person=rep), updates.poison(rep), updates.tap("q1.0", rep))
    await api.give(updates.text("CanaryWords 送货太晚", rep), updates.photo(rep, file_id="front"))
    await api.give(updates.voice(rep, file_id="note"))
    await api.until(lambda: any("拜访小结" in str(one.get("text")) for one in api.sent) and not api.waiting(), 150)


async def _the_same_in_wecom(platform: WorkPlatform, url: str) -> None:
    secret = CANARIES["ZOUDIAN_WECOM__SECRET"]
    member, at = "ZhouYang", _now()
    shop = gcj02_from_wgs84(Point(29.97126, 120.58034))
    messages = platform.messages
    for trouble in (
        loopback.Trouble(errcode=42001, errmsg=f"access_token expired, secret={secret}"),
        loopback.Trouble(errcode=-1, errmsg=f"busy {secret}"),
        loopback.Trouble(status=502, body=secret.encode()),
        loopback.Trouble(cut=True),
    ):
        platform.trouble("message/send", trouble)
    platform.trouble("media/get", loopback.Trouble(cut=True))
    await platform.push(url, messages.location(member, shop.lat, shop.lon, label="CanaryWords 路", at=at))
    photo = platform.put_media(made_photo("门头"), "image/jpeg")
    await platform.push(url, messages.image(member, photo, at=at + 1))
    await platform.push(url, messages.text(member, "CanaryWords 送货太晚", at=at + 2))
    sound = platform.put_media((SAMPLE_FIRM / "clips" / "note01.amr").read_bytes(), "audio/amr")
    await platform.push(url, messages.voice(member, sound, at=at + 3))
    await _hostile(platform, url, platform.messages.text(member, "CanaryWords", at=at + 4))
    await platform.until(lambda: len(platform.sent) >= 3, 120)


async def _the_same_in_mp(platform: OfficialPlatform, url: str) -> None:
    secret = CANARIES["ZOUDIAN_MP__SECRET"]
    openid, at = "oCanaryWordsOpenId", _now()
    shop = gcj02_from_wgs84(Point(*SHOP))
    for trouble in (
        loopback.Trouble(errcode=40001, errmsg=f"invalid credential, appsecret={secret}"),
        loopback.Trouble(errcode=48001, errmsg=f"api unauthorized {secret}"),
        loopback.Trouble(cut=True),
    ):
        platform.trouble("message/custom/send", trouble)
    await platform.push(url, platform.messages.location(openid, shop.lat, shop.lon, at=at))
    await platform.push(url, platform.messages.text(openid, "CanaryWords 送货太晚", at=at + 1))
    sound = platform.put_media((SAMPLE_FIRM / "clips" / "note02.amr").read_bytes(), "audio/amr")
    await platform.push(url, platform.messages.voice(openid, sound, at=at + 2))
    await _hostile(platform, url, platform.messages.text(openid, "CanaryWords", at=at + 3))
    await asyncio.sleep(3)


async def _hostile(platform: loopback.LoopbackPlatform, url: str, xml: str) -> None:
    """Callbacks that are old, forged, in the open, broken, or that carry a secret where none belongs."""
    secret = CANARIES["ZOUDIAN_WECOM__SECRET"]
    for query, body in (
        platform.signer.seal(xml, timestamp=1_000_000_000),
        platform.signer.seal(xml, signature="CANARY" + "0" * 34),
        platform.signer.plain(xml),
        platform.signer.sign(base64.b64encode(b"CANARY no ciphertext").decode()),
        ({"msg_signature": secret, "timestamp": "CanaryWords", "nonce": secret}, b"<xml>CanaryWords"),
        ({}, f"<!DOCTYPE x [<!ENTITY a '{secret}'>]><xml>&a;</xml>".encode()),
        ({"echostr": secret, "access_token": secret}, b"\xff\xfe CanaryWords"),
    ):
        attempt = await platform.post(url, query, body)
        assert attempt.status != 200 or "CANARY" not in attempt.body


async def _strangers_in_the_web_chat(site: str) -> None:
    secret = CANARIES["ZOUDIAN_WEB__COOKIE_KEY"]
    async with aiohttp.ClientSession(site, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        async with http.get("/api/me") as answer:
            token = (await answer.json())["token"]
        for content in ({"text": "CanaryWords", "key": "1"}, {"kind": "text", "text": "CanaryWords", "key": "k" * 16}):
            async with http.post("/api/messages", json=content, headers={"X-Zoudian-Token": token}) as answer:
                await answer.read()
        for path in (f"/join/{secret}", f"/api/history?before={secret}", "/CanaryWords\nforged", "/healthz", "/readyz"):
            async with http.get(path, headers={"Cookie": f"zoudian={secret}"}) as answer:
                assert secret not in await answer.text()


def _now() -> int:
    import time  # noqa: PLC0415 - the platform's clock

    return int(time.time())


@pytest.mark.parametrize("password", ["plain", "pa%2Fss w%C3%B6rd", "p@ss/wo:rd"])
def test_a_password_in_an_address_is_not_shown_whatever_signs_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOUDIAN_DATA__URL", f"postgresql://bot:{password}@127.0.0.1/zoudian")
    shown = str(list(load_settings().in_force()))
    assert password not in shown
    assert "@127.0.0.1/zoudian" in shown


def test_the_settings_do_not_show_them_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, Any] = {
        **CANARIES,
        "ZOUDIAN_WECOM__CORP_ID": "ww1",
        "ZOUDIAN_WECOM__AGENT_ID": "1",
        "ZOUDIAN_MP__APP_ID": "wx1",
        "ZOUDIAN_TELEMETRY__SENTRY_DSN": "http://CANARYdsnkey@127.0.0.1/7",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.telegram.token.get_secret_value() == CANARIES["ZOUDIAN_TELEGRAM__TOKEN"]
    assert "CANARY" not in repr(settings) + str(settings.values) + repr(settings.telegram)
    assert "CANARY" not in str(list(settings.in_force()))
