"""zoudian run, receiver, worker: the bot, or a part of it, until it is stopped."""

import asyncio
import signal
import webbrowser
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import click

from bot.app import App
from bot.cli import (
    SURROUNDINGS,
    USAGE,
    database_of,
    say,
    settings_of,
    stop,
)
from bot.console_trail import note_settings
from bot.logs import log_what_nobody_catches, set_up_logging
from bot.monitor import Monitor
from bot.probes import Probes
from bot.settings import Settings
from bot.telemetry import MissingExtra, open_sentry, open_spans
from bot.watch import Watch
from bot.web_channel import WebChannel
from bot.wiring import has_model, make_app, probes_of


@click.command()
@click.pass_context
def run(context: click.Context) -> None:
    """启动机器人：本机网页聊天；配置了令牌就同时接上 Telegram。按 Ctrl-C 停止，不会丢消息。"""
    _run(settings_of(context), "run.started")


@click.command()
@click.pass_context
def receiver(context: click.Context) -> None:
    """只收消息：打开网页和 webhook，验证、存下、应答，其余交给 zoudian worker。可以同时开几个；需要 PostgreSQL。

    轮询（不是 webhook）的 Telegram 机器人，同一时刻只由其中一个进程来收。
    """
    _run(settings_of(context), "run.receiving", works=False)


@click.command()
@click.pass_context
def worker(context: click.Context) -> None:
    """只干活：处理存下的消息、转写语音、到点提醒、发送回复；不打开端口。可以同时开几个；需要 PostgreSQL。"""
    _run(settings_of(context), "run.working", receives=False)


def _run(settings: Settings, started: str, *, receives: bool = True, works: bool = True) -> None:
    """The bot, or the part of it that is wanted, until it is stopped."""
    no_secrets = set_up_logging(settings)
    role = "run" if receives and works else "receiver" if receives else "worker"
    try:
        open_sentry(settings, role, no_secrets)
        spans = open_spans(settings, role, no_secrets)
    except MissingExtra as missing:
        stop(USAGE, "run.needs_extra", setting=missing.setting, extra=missing.extra)
    log_what_nobody_catches()
    with database_of(settings) as database:
        if not database.shared and not (receives and works):
            stop(USAGE, "run.needs_postgres")
        note_settings(database, settings)
        app = make_app(settings, database, receives=receives, works=works, watch=Watch(spans))
        probes = probes_of(settings, app)
        values = settings.metrics
        monitor = Monitor(probes, values.host, values.port) if values.port else None
        if works and not has_model(settings.transcribe):
            click.echo(say("run.no_model", model=settings.transcribe.model), err=True)
        address = _site(app).site.settings.address
        asyncio.run(
            _watched(
                probes, monitor, serve(app, say(started, names=list(app.channels), address=address), probes=probes)
            )
        )
        if spans is not None:
            spans.close()


def _site(app: App) -> WebChannel:
    site = app.channels["web"]
    if not isinstance(site, WebChannel):
        raise TypeError("the web chat is always there")
    return site


async def _watched(probes: Probes, monitor: Monitor | None, serving: Coroutine[Any, Any, None]) -> None:
    """Serve, and meanwhile tell whoever asks how it goes: from before the start until after the end."""
    probes.start()
    try:
        if monitor is not None:
            try:
                await monitor.start()
            except OSError as trouble:
                serving.close()
                stop(SURROUNDINGS, "run.metrics_port_taken", detail=trouble.strerror or trouble)
        await serving
    finally:
        if monitor is not None:
            await monitor.stop()
        await probes.stop()


async def serve(
    app: App,
    started: str,
    demo_site: WebChannel | None = None,
    *,
    open_browser: bool = False,
    probes: Probes | None = None,
) -> None:
    """Run until Ctrl-C or a termination signal."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopping.set)
    try:
        await app.start()
    except OSError as trouble:
        await app.stop()
        stop(3, "run.port_taken", detail=trouble.strerror or trouble)
    if demo_site is not None:
        address = f"http://127.0.0.1:{demo_site.port}/chat"
        started = say("demo.open", address=address, manager=address.replace("/chat", "/manager"))
        if open_browser:
            with suppress(webbrowser.Error):
                await asyncio.to_thread(webbrowser.open, address)
    click.echo(started)
    if probes is not None:
        probes.begun()
    await stopping.wait()
    click.echo(say("run.stopping"))
    if probes is not None:
        probes.ending()
    await app.stop()
