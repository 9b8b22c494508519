"""From settings to a running bot: which database, which recogniser, which channels."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from aiohttp import web

from bot import console_trail, invite_spool, spooled_requests
from bot.app import App, utc_now
from bot.channels import Channel
from bot.monitor import public_routes
from bot.probes import Probes
from bot.settings import Settings
from bot.telegram_channel import WEBHOOK_PATH, TelegramChannel, TelegramSettings
from bot.watch import Watch
from bot.web_channel import WebChannel
from handlers.tools import Tools, make_tools
from nlp.models import ModelTooSmall, NoModel, TranscribeSettings, find_model
from nlp.plugin import plugin_or_none
from nlp.speech_process import SpeechProcess
from storage.database import Database
from storage.files import Files, open_files
from texts import load
from web.sessions import Sessions, load_key
from web.site import WebSettings

SAMPLE_FIRM = Path(__file__).parent / "sample_firm"
TEST_MODEL = TranscribeSettings(
    model=str(SAMPLE_FIRM / "test_model"),
    compute_type="float32",  # so small a model may hear another number where a processor rounds 8 bits otherwise
    prompt="",
    hotword_tokens=0,
    unsure_logprob=-0.75,
)
_MENU = ("start", "end", "undo", "visits", "todos", "help")


def make_app(
    settings: Settings, database: Database, *, receives: bool = True, works: bool = True, watch: Watch | None = None
) -> App:
    """The bot of `zoudian run`, or a part of it: the web chat always, Telegram where there is a token."""
    tools = tools_of(settings, open_files(settings.files))
    site = web_channel(settings, database, tools)
    channels: list[Channel] = [site]
    if settings.telegram.token.get_secret_value():
        telegram = telegram_channel(settings)
        if settings.telegram.mode == "webhook":
            site.app.add_routes([web.post(WEBHOOK_PATH, telegram.webhook)])
        channels.append(telegram)
    keys = (settings.mp.token, settings.wecom.secret, settings.wecom.robots)
    if settings.web.verify_files or any(key.get_secret_value() for key in keys):
        from bot.wechat_wiring import wechat_channels  # noqa: PLC0415  20 MB of wechatpy, only for who talks to WeChat

        channels += wechat_channels(settings, database, tools, site, cookie_key(settings))
    transcriber = SpeechProcess(settings.transcribe)
    return App(
        database,
        tools,
        transcriber,
        channels,
        model_ready=has_model(settings.transcribe),
        chores=(
            lambda: invite_spool.take(database, settings.data_dir / "invites"),
            lambda: spooled_requests.take(database, settings.data_dir / "requests", utc_now()),
            lambda: console_trail.take(database, settings.data_dir / console_trail.FOLDER),
        ),
        receives=receives,
        works=works,
        watch=watch,
    )


def probes_of(settings: Settings, app: App) -> Probes:
    """What tells whether this bot is well. Its two questions are answered on the web port too, in a word."""
    probes = Probes(
        app.database,
        settings.limits,
        settings.data_dir,
        list(app.channels),
        app.watch.meters,
        utc_now,
        works=app.works,
        free_mb=settings.metrics.free_mb,
        parts=app.ended,
        ticked=lambda: app.clock.ticked,
    )
    site = app.channels["web"]
    if app.receives and isinstance(site, WebChannel):
        site.app.add_routes(public_routes(probes))
    return probes


def tools_of(settings: Settings, files: Files) -> Tools:
    """What every turn works with, by the settings, over these files."""
    plugin = plugin_or_none(settings.plugin)
    return make_tools(settings.limits, files, plugin=plugin, channel_words=settings.channel_words)


def has_model(settings: TranscribeSettings) -> bool:
    try:
        find_model(settings)
    except (NoModel, ModelTooSmall):
        return False
    return True


def web_channel(
    settings: Settings,
    database: Database,
    tools: Tools,
    *,
    demo: bool = False,
    port: int | None = None,
    now: Callable[[], datetime] = utc_now,
) -> WebChannel:
    values = settings.web
    site = WebSettings(
        host=values.host,
        port=values.port if port is None else port,
        public_url=values.public_url,
        language=settings.language,
        upload_mb=values.upload_mb,
        demo=demo,
        demo_clips=SAMPLE_FIRM / "clips" if demo else None,
    )
    key = cookie_key(settings)
    return WebChannel(site, database, tools.files, tools.limits, Sessions(key), now)


def telegram_channel(settings: Settings) -> TelegramChannel:
    values = settings.telegram
    telegram = TelegramSettings(
        token=values.token.get_secret_value(),
        mode=values.mode,
        webhook_url=values.webhook_url,
        webhook_secret=values.webhook_secret.get_secret_value(),
        api_base=values.api_base,
        proxy=values.proxy,
    )
    texts = load(settings.language)
    menu = [(name, texts.say(f"menu.{name}")) for name in _MENU]
    return TelegramChannel(telegram, menu)


def cookie_key(settings: Settings) -> bytes:
    """The key that signs the web chat's cookies: as set, else one made once and kept beside the database."""
    given = settings.web.cookie_key.get_secret_value()
    if given:
        return given.encode()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return load_key(settings.data_dir / "cookie.key")
