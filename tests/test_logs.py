"""The log: how a line looks, what every line says of the message it is about, and what no line ever says."""

import ast
import asyncio
import base64
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars, get_contextvars

from bot import logs
from bot.channels import NotSent
from bot.logs import FIELDS, as_text, formatter
from bot.no_secrets import NoSecrets
from bot.settings_problems import HIDDEN
from bot.tasks import in_pool, spawn
from nlp.speech_process import SpeechProcess
from tests.speech import TEST_MODEL
from tests.telegramfirm import WANG_JIAN, running

ROOT = Path(__file__).resolve().parent.parent
SECRET = 'CANARY/se"cret+of 秘密'
ZONE = ZoneInfo("Asia/Shanghai")


@contextmanager
def captured(kind: Literal["text", "json"] = "json", level: int = logging.DEBUG) -> Iterator[io.StringIO]:
    """Everything logged meanwhile, as the bot writes it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(logs._not_too_talkative)
    handler.setFormatter(formatter(kind, NoSecrets((SECRET,)), ZONE))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield written
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


log = logging.getLogger("bot.somewhere")


def test_a_line_says_when_how_bad_who_what_and_about_which_message() -> None:
    with captured() as written, bound_contextvars(about="in-12", channel="telegram"):
        log.warning("outbox %s: %s", 7, "too fast", extra={"ms": 3.5})
    [line] = lines(written)
    assert line.pop("timestamp").endswith("+08:00")
    assert line == {
        "level": "warning",
        "logger": "bot.somewhere",
        "event": "outbox 7: too fast",
        "about": "in-12",
        "channel": "telegram",
        "ms": 3.5,
    }


def test_the_same_for_people() -> None:
    with captured("text") as written, bound_contextvars(about="in-12"):
        log.info("applied", extra={"ms": 3.5})
    [line] = written.getvalue().splitlines()
    assert "[info] applied" in line
    assert "about=in-12" in line
    assert "ms=3.5" in line
    assert "\x1b" not in line


def test_what_is_said_of_one_message_is_more_than_what_is_bound() -> None:
    with captured() as written, bound_contextvars(about="in-1", out="out-1"):
        log.info("sent", extra={"about": "in-2", "out": "out-2"})
    assert [(line["about"], line["out"]) for line in lines(written)] == [("in-2", "out-2")]


def test_what_libraries_attach_is_left_out() -> None:
    with captured() as written:
        log.info("hello", extra={"request_body": "送货太晚"})
    assert "送货太晚" not in written.getvalue()


def test_every_field_of_our_own_lines_is_one_that_is_shown() -> None:
    named: set[str] = set()
    for room in ("bot", "scheduler", "handlers", "storage", "nlp", "web", "reports"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.keyword) and call.arg == "extra" and isinstance(call.value, ast.Dict):
                    named |= {str(key.value) for key in call.value.keys if isinstance(key, ast.Constant)}
    assert {"ms", "task"} <= named <= set(FIELDS)


def test_nobody_from_outside_writes_a_line_of_ours() -> None:
    with captured("text") as written:
        log.warning("refused %s", "/x\n2026-11-23T10:00:00 [info] sent\x1b[2J\u2028")
    assert len(written.getvalue().splitlines()) == 1
    assert "\x1b" not in written.getvalue()


# --- secrets


@pytest.mark.parametrize("kind", ["text", "json"])
@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        json.dumps({"token": SECRET}),
        repr({"token": SECRET}),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.urlsafe_b64encode(f"me:{SECRET}!".encode()).decode(),
        f"x{SECRET}".encode().hex(),
    ],
)
def test_a_secret_is_hidden_in_every_form_and_every_field(kind: Literal["text", "json"], shown: str) -> None:
    with captured(kind) as written, bound_contextvars(about=shown):
        log.info("said %s", shown, extra={"provider_id": shown, "result": {"deep": [shown]}})
        try:
            raise NotSent(f"to https://api/{shown}")
        except NotSent:
            log.exception("failed")
    text = written.getvalue()
    assert HIDDEN in text
    for piece in ("CANARY", base64.b64encode(b"CANARY").decode()[:7], b"CANARY".hex(), "cret+of", "秘密"):
        assert piece not in text
    assert shown not in text


@given(st.binary(max_size=40), st.text("abcdefXYZ0189-_", min_size=9, max_size=60), st.binary(max_size=40))
def test_a_secret_is_hidden_wherever_it_stands_inside_base64(before: bytes, secret: str, after: bytes) -> None:
    no_secrets = NoSecrets((secret,))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        cleaned = no_secrets.clean(encode(before + secret.encode() + after).decode()).split(HIDDEN)
        rest = [
            base64.urlsafe_b64decode(part[: len(part) // 4 * 4].replace("+", "-").replace("/", "_")) for part in cleaned
        ]
        assert not any(secret.encode() in part for part in rest)
        assert len(cleaned) > 1


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("POST https://api.telegram.org/bot123456789:AAbbCCddEEffGGhhIIjjKKllMM/getMe", "AAbbCC"),
        ("GET /cgi-bin/message/send?access_token=t0k3n&x=1", "t0k3n"),
        ('{"access_token": "t0k3n", "expires_in": 7200}', "t0k3n"),
        ('{"jsapi_ticket": "t1ck3t"}', "t1ck3t"),
        ("GET /here?code=c0d3&state=1", "c0d3"),
        ("GET /cgi-bin/gettoken?corpid=ww1&corpsecret=s3cr3t", "s3cr3t"),
        ("POST /cgi-bin/webhook/send?key=693a91f6-7xxx", "693a91f6"),
        ("postgresql://bot:hunter22@db/zoudian", "hunter22"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_though_nobody_named_it(text: str, gone: str) -> None:
    cleaned = NoSecrets().clean(text)
    assert gone not in cleaned
    assert HIDDEN in cleaned


def test_ordinary_words_stay() -> None:
    for text in ("inbox 12 waits for the database", "key words", "http://127.0.0.1:8350/chat", "at 10:00, 5 kept"):
        assert NoSecrets(("abc",)).clean(text) == text


# --- errors


def test_an_error_that_repeats_what_somebody_wrote_is_shown_without_its_words() -> None:
    with captured() as written:
        try:
            try:
                int("送货太晚")
            except ValueError as error:
                raise KeyError("老板娘") from error
        except KeyError:
            log.exception("inbox 12 failed")
    [line] = lines(written)
    told = line["exception"]
    assert "ValueError" in told
    assert "KeyError" in told
    assert "test_logs.py" in told
    assert "direct cause" in told
    assert "送货太晚" not in told.replace('int("送货太晚")', "")  # the source line is ours
    assert "KeyError: " not in told


def test_what_the_machine_says_is_shown() -> None:
    assert "No space left" in as_text(OSError(28, "No space left on device"))
    assert "too fast" in as_text(ExceptionGroup("several", [NotSent("too fast")]))


def test_asyncio_does_not_repeat_the_arguments_of_a_call() -> None:
    with captured() as written:
        logging.getLogger("asyncio").error(
            "Exception in callback store('送货太晚')\nhandle: <Handle store('送货太晚')>"
        )
        logging.getLogger("asyncio").warning("Executing <Handle store('送货太晚')> took 0.230 seconds")
    assert [line["event"] for line in lines(written)] == [
        "Exception in callback store …",
        "Executing … took 0.230 seconds",
    ]


@pytest.mark.parametrize("name", ["telegram.Bot", "httpx", "sqlalchemy.engine.Engine", "urllib3.connectionpool"])
def test_libraries_that_show_too_much_are_quiet_whatever_their_level(name: str) -> None:
    library = logging.getLogger(name)
    before = library.level
    library.setLevel(logging.DEBUG)
    try:
        with captured() as written:
            library.debug("送货太晚")
            library.info("送货太晚")
            library.warning("is heard")
    finally:
        library.setLevel(before)
    assert [line["event"] for line in lines(written)] == ["is heard"]


# --- one message, from the webhook to the reply


@pytest.fixture(scope="module")
def recogniser() -> Iterator[SpeechProcess]:
    with SpeechProcess(TEST_MODEL) as process:
        process.warm()
        yield process


@pytest.mark.recogniser
@pytest.mark.parametrize("mode", ["polling", "webhook"])
async def test_one_name_leads_from_the_delivery_to_the_reply(
    tmp_path: Path, recogniser: SpeechProcess, mode: Literal["polling", "webhook"]
) -> None:
    with captured() as written:
        async with running(tmp_path, recogniser, mode=mode) as firm:
            rep = firm.link(WANG_JIAN, 501)
            await rep.sends(rep.live_place())
            await rep.sends(rep.voice())
            await rep.hears("拜访小结")
            await firm.idle()
            [note] = [row.id for row in firm.inbox() if "voice" in str(row.raw)]
            outs = {f"out-{row.id}" for row in firm.outbox() if row.cause == note}
    of_note = [line for line in lines(written) if line.get("about") == f"in-{note}"]
    said = [line["event"] for line in of_note]
    assert [said.count(event) for event in ("received", "applied", "job started", "job finished")] == [1, 1, 1, 1]
    assert said.index("received") < said.index("applied") < said.index("job started") < said.index("job finished")
    assert len(outs) == 2, "that it was taken, and the card"
    assert {line["out"] for line in of_note if line["event"] == "queued"} == outs
    assert {line["out"] for line in of_note if line["event"] == "sent"} == outs
    assert all(line["ms"] >= 0 for line in of_note if line["event"] in ("applied", "job finished", "sent"))
    assert "柯桥" not in written.getvalue()
    assert "王建" not in written.getvalue()
    assert "30.08" not in written.getvalue()


async def test_a_task_that_is_started_on_the_way_is_not_about_the_message() -> None:
    async def look() -> dict[str, Any]:
        return get_contextvars()

    with bound_contextvars(about="in-12"):
        assert await spawn(look(), "look") == {}
        assert await in_pool_of_one() == {"about": "in-12"}


async def in_pool_of_one() -> dict[str, Any]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - beside its only use

    pool = ThreadPoolExecutor(1)
    try:
        return await in_pool(pool, get_contextvars)
    finally:
        await asyncio.to_thread(pool.shutdown)
