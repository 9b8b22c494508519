"""From settings to a running bot: which database, which recogniser, which channels."""

import logging
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from bot import console_trail, invite_spool, spooled_requests
from bot.app import App, utc_now
from bot.channels import Channel
from bot.mp_channel import CALLBACK_PATH, FileLink, MpChannel, MpSettings
from bot.mp_incoming import Datums
from bot.mp_invites import account_of
from bot.mp_sending import Template
from bot.settings import Settings
from bot.telegram_channel import WEBHOOK_PATH, TelegramChannel, TelegramSettings
from bot.web_channel import WebChannel
from bot.wecom_channel import CALLBACK_PATH as WECOM_PATH
from bot.wecom_channel import WecomChannel, WecomSettings
from bot.wecom_robot import GroupRobots, groups_of
from handlers.tools import Tools, make_tools
from nlp.plugin import plugin_or_none
from nlp.speech_process import SpeechProcess
from nlp.transcribe import ModelTooSmall, NoModel, TranscribeSettings, find_model
from storage.database import Database, password_in
from storage.files import Files, open_files
from texts import load
from web.sessions import Sessions, load_key
from web.signed_files import PATH, SignedFiles
from web.site import WebSettings

SAMPLE_FIRM = Path(__file__).parent / "sample_firm"
TEST_MODEL = TranscribeSettings(
    model=str(SAMPLE_FIRM / "test_model"), prompt="", hotword_tokens=0, unsure_logprob=-0.75
)
_MENU = ("start", "end", "undo", "visits", "todos", "help")
_TOKEN = re.compile(r"\d{6,}:[A-Za-z0-9_-]{20,}")


class NoSecrets(logging.Filter):
    """Takes tokens out of whatever is logged, exceptions included: libraries put them into addresses."""

    def __init__(self, secret_values: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._values = tuple(value for value in secret_values if len(value) >= 6)

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.clean(record.getMessage()), None
        if record.exc_info:
            record.exc_text = self.clean(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True

    def clean(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, "●●●")
        return _TOKEN.sub("●●●", text)


def set_up_logging(settings: Settings) -> None:
    """Log to standard error, without secrets. httpx would log every address, and those hold the bot's token; telegram
    would log what people write.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(NoSecrets(secret_values(settings)))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    libraries = ("httpx", "httpcore", "apscheduler", "urllib3", "aiohttp.access", "faster_whisper", "PIL", "telegram")
    for noisy in libraries:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def secret_values(settings: Settings) -> tuple[str, ...]:
    telegram, web_values, wecom, mp = settings.telegram, settings.web, settings.wecom, settings.mp
    robots = re.findall(r"[=＝]\s*([A-Za-z0-9-]+)", wecom.robots.get_secret_value())
    return (
        telegram.token.get_secret_value(),
        telegram.webhook_secret.get_secret_value(),
        web_values.cookie_key.get_secret_value(),
        password_in(settings.database_url),
        settings.files.access_key,
        settings.files.secret_key,
        *(one.get_secret_value() for table in (wecom, mp) for one in (table.secret, table.token, table.aes_key)),
        *(urlsplit(proxy).password or "" for proxy in (telegram.proxy, wecom.proxy, mp.proxy)),
        *robots,
    )


def make_app(settings: Settings, database: Database, *, receives: bool = True, works: bool = True) -> App:
    """The bot of `zoudian run`, or a part of it: the web chat always, Telegram where there is a token."""
    tools = tools_of(settings, open_files(settings.files))
    site = web_channel(settings, database, tools)
    channels: list[Channel] = [site]
    if settings.telegram.token.get_secret_value():
        telegram = telegram_channel(settings)
        if settings.telegram.mode == "webhook":
            site.app.add_routes([web.post(WEBHOOK_PATH, telegram.webhook)])
        channels.append(telegram)
    if settings.mp.token.get_secret_value():
        mp = mp_channel(settings, database, tools, site)
        site.app.add_routes([web.route("*", CALLBACK_PATH, mp.webhook)])
        channels.append(mp)
    if settings.wecom.secret.get_secret_value():
        wecom = wecom_channel(settings, database)
        site.app.add_routes([web.route("*", WECOM_PATH, wecom.webhook)])
        channels.append(wecom)
    if settings.wecom.robots.get_secret_value():
        channels.append(group_robots(settings, database))
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
    )


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


def wecom_channel(settings: Settings, database: Database) -> WecomChannel:
    values = settings.wecom
    wecom = WecomSettings(
        corp_id=values.corp_id,
        agent_id=values.agent_id,
        secret=values.secret.get_secret_value(),
        token=values.token.get_secret_value(),
        aes_key=values.aes_key.get_secret_value(),
        api_base=values.api_base,
        proxy=values.proxy,
        pin_datum=values.datum,
        report_datum=values.report_datum,
        cards=values.cards,
        language=settings.language,
    )
    return WecomChannel(wecom, database)


def group_robots(settings: Settings, database: Database) -> GroupRobots:
    values = settings.wecom
    return GroupRobots(
        groups_of(values.robots.get_secret_value()),
        database,
        api_base=values.api_base,
        proxy=values.proxy,
        language=settings.language,
    )


def mp_channel(settings: Settings, database: Database, tools: Tools, site: WebChannel) -> MpChannel:
    """公众号, with the address under which the files are given out that it cannot send."""
    values = settings.mp
    mp_settings = MpSettings(
        account_of(settings),
        values.token.get_secret_value(),
        values.aes_key.get_secret_value(),
        passive_only=values.mode == "只被动回复",
        datums=Datums(values.datum, values.report_datum),
        templates=mp_templates(settings),
        accept_plain=values.accept_plain,
    )
    return MpChannel(mp_settings, database, zone=tools.zone, file_link=_file_link(settings, tools, site))


def mp_templates(settings: Settings) -> dict[str, Template]:
    """The templates of the settings, by intent."""
    values = settings.mp
    return {
        intent: Template(chosen, "subscribe" if values.template_kind == "订阅通知" else "template", _fields(fields))
        for intent, chosen, fields in (
            ("reminder", values.reminder_template, values.reminder_fields),
            ("alert", values.alert_template, values.alert_fields),
        )
        if chosen
    }


def _file_link(settings: Settings, tools: Tools, site: WebChannel) -> FileLink | None:
    """Without a public address no phone could open a link."""
    if not settings.web.public_url:
        return None
    signed = SignedFiles(settings.web.public_url, cookie_key(settings), tools.files, utc_now, settings.language)
    site.app.add_routes([web.get(PATH, signed.serve)])
    return lambda content, name: signed.link(tools.files.put(content), name)


def _fields(pairs: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """客户=thing1 as (客户, thing1); what is no such pair is left out."""
    split = (pair.replace("＝", "=").partition("=") for pair in pairs)
    return tuple((ours.strip(), theirs.strip()) for ours, equals, theirs in split if equals and theirs.strip())


def cookie_key(settings: Settings) -> bytes:
    """The key that signs the web chat's cookies: as set, else one made once and kept beside the database."""
    given = settings.web.cookie_key.get_secret_value()
    if given:
        return given.encode()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return load_key(settings.data_dir / "cookie.key")
