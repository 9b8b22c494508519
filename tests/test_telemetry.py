"""What leaves for OpenTelemetry and Sentry: the real libraries against servers on this machine, no secret in it."""

import asyncio
import gzip
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from structlog.contextvars import bound_contextvars

from bot.app import App
from bot.channels import NotSent
from bot.cli import main
from bot.no_secrets import NoSecrets
from bot.settings_problems import HIDDEN
from bot.telemetry import OtlpSpans, scrubbed
from bot.watch import Watch
from nlp.speech_process import SpeechProcess
from tests.botapi.troubles import Trouble
from tests.speech import TEST_MODEL
from tests.telegramfirm import WANG_JIAN, TelegramFirm, running

SECRET = "CANARY-of-telemetry/+1"
WORDS = "送货太晚"


class Collector:
    """Takes what is sent to it and keeps it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        self.headers.append(dict(request.headers))
        return web.Response()

    def spans(self) -> list[Any]:
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        return found

    def events(self) -> list[dict[str, Any]]:
        """Of Sentry's envelopes: lines of JSON, the item's header before each item."""
        found = []
        for body in self.bodies:
            lines = [json.loads(line) for line in body.splitlines() if line.startswith(b"{")]
            found += [item for header, item in itertools.pairwise(lines) if header.get("type") == "event"]
        return found

    @property
    def text(self) -> str:
        return b"\n".join(self.bodies).decode("utf-8", "replace")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/{path:.*}", collector.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield collector
    finally:
        await runner.cleanup()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def spans_to(collector: Collector, role: str = "run", firm: str = "firm") -> OtlpSpans:
    return OtlpSpans(f"{collector.url}/v1/traces", {"Authorization": "Bearer x"}, role, firm, NoSecrets((SECRET,)))


def with_spans(firm: TelegramFirm, spans: OtlpSpans) -> None:
    """The firm's bot anew, sending its spans."""
    firm.app = App(firm.database, firm.tools, firm.transcriber, [firm.channel], now=firm.clock, watch=Watch(spans))


@pytest.mark.recogniser
async def test_one_voice_note_is_one_trace(tmp_path: Path) -> None:
    with SpeechProcess(TEST_MODEL) as ear:
        ear.warm()
        async with collecting() as collector, running(tmp_path, ear) as firm:
            await firm.app.stop()
            spans = spans_to(collector)
            with_spans(firm, spans)
            await firm.app.start()
            rep = firm.link(WANG_JIAN, 501)
            await rep.sends(rep.live_place())
            firm.api.trouble("sendMessage", Trouble(500, f"Internal Server Error {SECRET}"))
            await rep.sends(rep.voice())
            await rep.hears("拜访小结")
            await firm.idle()
            [note] = [f"in-{row.id}" for row in firm.inbox() if "voice" in str(row.raw)]
            await asyncio.to_thread(spans.close)
    found = [span for span in collector.spans() if attributes(span)["zoudian.about"] == note]
    assert {span.name for span in found} == {"receive", "turn", "transcribe", "send"}
    assert len({span.trace_id for span in found}) == 1
    [first] = [span for span in found if span.name == "receive"]
    assert not first.parent_span_id
    assert {span.parent_span_id for span in found if span is not first} == {first.span_id}
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in found)
    failed = [span for span in found if span.status.code == 2]
    assert [span.name for span in failed] == ["send"]
    assert "CANARY" not in collector.text
    assert WORDS not in collector.text
    assert collector.headers[0]["Authorization"] == "Bearer x"
    others = {span.trace_id for span in collector.spans()} - {first.trace_id}
    assert others, "the pin is another trace"


async def test_the_worker_s_spans_are_of_the_receiver_s_trace() -> None:
    async with collecting() as collector:
        receiver, worker, other = (
            spans_to(collector, "receiver"),
            spans_to(collector, "worker"),
            spans_to(collector, firm="another"),
        )
        receiver.took("receive", "in-5", 1.0)
        worker.took("turn", "in-5", 2.0)
        other.took("receive", "in-5", 3.0)
        for one in (receiver, worker, other):
            await asyncio.to_thread(one.close)
    first, second, third = sorted(collector.spans(), key=lambda span: span.start_time_unix_nano)
    assert first.trace_id == second.trace_id != third.trace_id
    assert second.parent_span_id == first.span_id


async def test_an_error_in_a_span_is_told_without_secrets_and_without_words_of_people() -> None:
    async with collecting() as collector:
        spans = spans_to(collector)
        try:
            try:
                int(WORDS)
            except ValueError as error:
                raise NotSent(f"POST https://api/bot{SECRET}/send") from error
        except NotSent as trouble:
            spans.took("send", "in-5", 1.0, trouble, channel="telegram")
        await asyncio.to_thread(spans.close)
    [span] = collector.spans()
    told = {one.key: one.value.string_value for one in span.events[0].attributes}
    assert told["exception.type"] == "bot.channels.NotSent"
    assert told["exception.message"] == f"POST https://api/bot{HIDDEN}/send"
    assert "ValueError" in told["exception.stacktrace"]
    assert "CANARY" not in collector.text
    assert WORDS not in collector.text.replace("int(WORDS)", "")


async def test_a_collector_that_is_away_costs_nothing_but_its_spans() -> None:
    spans = OtlpSpans("http://127.0.0.1:9/v1/traces", {}, "run", "firm", NoSecrets())
    for number in range(3):
        spans.took("turn", f"in-{number}", 1.0)
    await asyncio.wait_for(asyncio.to_thread(spans.close), 30)


# --- Sentry

_PROGRAM = """
import logging, sys
from pathlib import Path
from structlog.contextvars import bound_contextvars
from bot.channels import NotSent
from bot.logs import log_what_nobody_catches, set_up_logging
from bot.settings import load_settings
from bot.telemetry import open_sentry
settings = load_settings(None)
assert open_sentry(settings, "worker", set_up_logging(settings))
log_what_nobody_catches()
log = logging.getLogger("bot.intake")
words = sys.argv[1]
def turn(text):
    try:
        int(text)
    except ValueError as error:
        raise NotSent("to https://x/bot" + settings.telegram.token.get_secret_value() + "/send") from error
log.info("an ordinary line of %s", words)
with bound_contextvars(about="in-12"):
    try:
        turn(words)
    except NotSent:
        log.exception("outbox %s failed", 7, extra={"ms": 3, "body": words})
import threading
thread = threading.Thread(target=turn, args=(words,))
thread.start()
thread.join()
raise KeyError(words)
"""


async def test_sentry_is_told_of_errors_and_of_nothing_else(tmp_path: Path) -> None:
    token = "987654321:CANARYtokenCANARYtokenCANARYtoken12"
    async with collecting() as collector:
        dsn = collector.url.replace("http://", "http://CANARYdsnkey@") + "/7"
        environment = {
            **os.environ,
            "ZOUDIAN_TELEGRAM__TOKEN": token,
            "ZOUDIAN_TELEMETRY__SENTRY_DSN": dsn,
            "ZOUDIAN_DATA__URL": "postgresql://bot:CANARYpassword@127.0.0.1/zoudian",
            "PYTHONPATH": str(Path(__file__).parent.parent),
        }
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM, WORDS, cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(program.communicate(), 60)
    events = collector.events()
    kinds = [[one["type"] for one in event["exception"]["values"]] for event in events]
    assert sorted(kinds) == [["KeyError"], ["ValueError", "NotSent"], ["ValueError", "NotSent"]], said.decode()
    [logged] = [event for event in events if event.get("logger") == "bot.intake"]
    assert logged["logentry"]["message"] == "outbox 7 failed"
    assert logged["tags"]["about"] == "in-12"
    assert logged["extra"] == {"ms": 3}
    assert [one["value"] for one in logged["exception"]["values"]] == ["", f"to https://x/bot{HIDDEN}/send"]
    assert logged["server_name"] == "worker"
    for event in events:
        frames = [frame for one in event["exception"]["values"] for frame in one["stacktrace"]["frames"]]
        assert frames
        assert not any("vars" in frame for frame in frames)
        assert not {"user", "request", "breadcrumbs", "modules"} & set(event)
    bodies = collector.text.replace(json.dumps("CANARYdsnkey"), "")
    assert token not in bodies
    assert "CANARYtoken" not in bodies
    assert "CANARYpassword" not in bodies
    assert WORDS not in bodies
    assert json.dumps(WORDS)[1:-1] not in bodies
    assert "CANARY" not in said.decode()
    assert said.decode().count(WORDS) == 1, "in the line that says it, and in no error"
    assert said.decode().count("ended with an error") == 2


def test_an_event_is_cleaned_whatever_is_in_it() -> None:
    event = {
        "logger": "asyncio",
        "logentry": {"message": "%s", "formatted": f"Exception in callback f('{WORDS}')", "params": [WORDS]},
        "request": {"data": WORDS},
        "user": {"ip_address": "10.0.0.1"},
        "breadcrumbs": {"values": [{"message": WORDS}]},
        "extra": {"body": WORDS, "ms": 1},
        "exception": {
            "values": [{"type": "ValueError", "value": WORDS, "stacktrace": {"frames": [{"vars": {"text": WORDS}}]}}]
        },
        "contexts": {"deep": {"url": f"https://x/?a={SECRET}"}},
    }
    with bound_contextvars(about="in-3"):
        sent = json.dumps(scrubbed(event, {}, NoSecrets((SECRET,))), ensure_ascii=False)
    assert WORDS not in sent
    assert "CANARY" not in sent
    assert "10.0.0.1" not in sent
    assert '"about": "in-3"' in sent


# --- without the extras


@pytest.mark.parametrize(
    ("variable", "value", "module", "extra"),
    [
        ("ZOUDIAN_TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:4318/v1/traces", "opentelemetry", "otel"),
        ("ZOUDIAN_TELEMETRY__SENTRY_DSN", "http://key@127.0.0.1:9/7", "sentry_sdk", "sentry"),
    ],
)
def test_what_is_not_installed_is_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, module: str, extra: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, value)
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    done = CliRunner().invoke(main, ["run"])
    assert done.exit_code == 2
    assert f"pip install 'zoudian[{extra}]'" in done.output
    assert not (tmp_path / "data").exists()


def test_a_dsn_that_is_none_is_refused_without_being_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOUDIAN_TELEMETRY__SENTRY_DSN", "CANARY")
    done = CliRunner().invoke(main, ["check-config"])
    assert done.exit_code == 2
    assert "DSN" in done.output
    assert "CANARY" not in done.output


async def test_the_libraries_of_the_extras_are_not_loaded_unless_they_are_wanted(tmp_path: Path) -> None:
    program = (
        "import sys; from bot.run_commands import run; "
        "print([name for name in sys.modules if name.partition('.')[0] in ('opentelemetry', 'sentry_sdk')])"
    )
    root = str(Path(__file__).parent.parent)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await child.communicate()
    assert said.decode().strip() == "[]"
