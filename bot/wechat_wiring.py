"""公众号, 企业微信 and its group robots, made of the settings: loaded only where one of them is set up."""

from aiohttp import web

from bot.app import utc_now
from bot.channels import Accept, Channel
from bot.mp_channel import CALLBACK_PATH, FileLink, MpChannel, MpSettings
from bot.mp_incoming import Datums
from bot.mp_invites import account_of
from bot.mp_sending import Template
from bot.settings import Settings
from bot.web_channel import WebChannel
from bot.wechat_client import WeChatApi
from bot.wechat_pages import WeChatPages, verify_routes
from bot.wecom_channel import CALLBACK_PATH as WECOM_PATH
from bot.wecom_channel import WecomChannel, WecomSettings
from bot.wecom_robot import GroupRobots, groups_of
from handlers.tools import Tools
from storage.database import Database
from web.here import HerePage
from web.signed_files import PATH, SignedFiles


def wechat_channels(
    settings: Settings, database: Database, tools: Tools, site: WebChannel, key: bytes
) -> list[Channel]:
    """Those that are set up, with their webhooks in the site. `key` signs the addresses of files."""
    channels: list[Channel] = []
    site.app.add_routes(verify_routes(settings.web.verify_files))
    if settings.mp.token.get_secret_value():
        mp = mp_channel(settings, database, tools, site, key)
        site.app.add_routes([web.route("*", CALLBACK_PATH, mp.webhook)])
        if mp.api is not None and settings.mp.mode == "完整":
            add_here_page(settings, site, key, mp.api, mp.take_in)
        channels.append(mp)
    if settings.wecom.secret.get_secret_value():
        wecom = wecom_channel(settings, database)
        site.app.add_routes([web.route("*", WECOM_PATH, wecom.webhook)])
        add_here_page(settings, site, key, wecom.api, wecom.take_in)
        channels.append(wecom)
    if settings.wecom.robots.get_secret_value():
        channels.append(group_robots(settings, database))
    return channels


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
        markdown=values.cards,
    )


def mp_channel(settings: Settings, database: Database, tools: Tools, site: WebChannel, key: bytes) -> MpChannel:
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
    return MpChannel(mp_settings, database, zone=tools.zone, file_link=_file_link(settings, tools, site, key))


def add_here_page(settings: Settings, site: WebChannel, key: bytes, api: WeChatApi, take: Accept) -> None:
    """The page for the exact position; a phone can open it only at a public address."""
    if not settings.web.public_url:
        return
    values = settings.wecom if api.account.product == "wecom" else settings.mp
    boxes = subscribe_boxes(settings) if api.account.product == "mp" else ()
    pages = WeChatPages(api, take, utc_now, values.login_base, values.script, boxes)
    site.app.add_routes(HerePage(site.site, pages, key).routes())


def subscribe_boxes(settings: Settings) -> tuple[str, ...]:
    """The templates of 订阅通知, of each of which a person has to tick a box for every message."""
    return tuple(dict.fromkeys(one.template_id for one in mp_templates(settings).values() if one.kind == "subscribe"))


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


def _file_link(settings: Settings, tools: Tools, site: WebChannel, key: bytes) -> FileLink | None:
    """Without a public address no phone could open a link."""
    if not settings.web.public_url:
        return None
    signed = SignedFiles(settings.web.public_url, key, tools.files, utc_now, settings.language)
    site.app.add_routes([web.get(PATH, signed.serve)])
    return lambda content, name: signed.link(tools.files.put(content), name)


def _fields(pairs: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """客户=thing1 as (客户, thing1); what is no such pair is left out."""
    split = (pair.replace("＝", "=").partition("=") for pair in pairs)
    return tuple((ours.strip(), theirs.strip()) for ours, equals, theirs in split if equals and theirs.strip())
