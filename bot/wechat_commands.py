"""zoudian wecom setup and zoudian mp setup: from an account's credentials to a channel that works, step by step."""

from collections.abc import Callable, Coroutine
from typing import Final, Literal
from zoneinfo import ZoneInfo

import click

import texts
from bot.cli import SURROUNDINGS, USAGE, readable_database, settings_of
from bot.loopback.signer import Signer
from bot.mp_channel import CALLBACK_PATH as MP_PATH
from bot.mp_invites import account_of
from bot.settings import Settings
from bot.settings_walk import variable_of
from bot.wechat_beside import api_beside
from bot.wechat_client import ApiAccount, WeChatApi
from bot.wechat_setup import Look, look_at_callback, look_at_official, look_at_work
from bot.wechat_wiring import mp_templates
from bot.wecom_channel import CALLBACK_PATH as WECOM_PATH
from rules.people import Part, system
from storage import inbox, people

MP_PORTS: Final = (443, 80)  # the only ones at which the platform calls a 公众号's server


@click.group()
def wecom() -> None:
    """企业微信自建应用。从空的后台到第一次拜访的步骤见 docs/wechat.md。"""


@wecom.command("setup")
@click.pass_context
def wecom_setup(context: click.Context) -> None:
    """检查企业微信应用：密钥、回调地址、可信 IP、可见范围、上报位置；建好菜单；列出还差什么、下一步做什么。

    可以重复运行，机器人开着也能运行。都好了退出码为 0，还差什么为 3，设置没填为 2。
    """
    settings = settings_of(context)
    look = Look(texts.load(settings.language), "wecom")
    values = settings.wecom
    if not values.secret.get_secret_value():
        _not_set(look, "wecom", ("企业ID", "应用ID"), ("secret", "token", "aes_key"))
    account = ApiAccount(
        "wecom",
        values.corp_id,
        values.secret.get_secret_value(),
        values.agent_id,
        values.api_base,
        values.proxy,
        settings.language,
    )
    signer = Signer(values.token.get_secret_value(), values.aes_key.get_secret_value(), values.corp_id)
    with readable_database(settings) as (database, _), database.read(system(Part.CONSOLE)) as work:
        staff = [person for person in people.staff(work) if person.active]

    async def all_of_it(api: WeChatApi) -> None:
        await look_at_callback(look, signer, settings.web.public_url, WECOM_PATH)
        await look_at_work(look, api, staff, settings.web)

    _run(look, account, all_of_it)
    _tell_heard(look, settings, account)
    _report(look)


@click.group()
def mp() -> None:
    """微信公众号、服务号。从空的后台到第一次拜访的步骤见 docs/wechat.md；邀请同事用 zoudian invite --channel mp。"""


@mp.command("setup")
@click.pass_context
def mp_setup(context: click.Context) -> None:
    """检查公众号：密钥、服务器地址、IP 白名单、模板；建好菜单；列出还差什么、下一步做什么。

    可以重复运行，机器人开着也能运行。都好了退出码为 0，还差什么为 3，设置没填为 2。
    """
    settings = settings_of(context)
    look = Look(texts.load(settings.language), "mp")
    values = settings.mp
    if not values.token.get_secret_value():
        _not_set(look, "mp", ("AppID",), ("secret", "token", "aes_key"))
    account = account_of(settings)
    signer = Signer(values.token.get_secret_value(), values.aes_key.get_secret_value(), values.app_id)

    async def all_of_it(api: WeChatApi) -> None:
        await look_at_callback(look, signer, settings.web.public_url, MP_PATH, MP_PORTS)
        if values.mode == "完整":
            await look_at_official(look, api, mp_templates(settings), settings.web)
        else:
            look.note(look.say("setup.passive"))

    _run(look, account, all_of_it)
    with readable_database(settings) as (database, _), database.read(system(Part.CONSOLE)) as work:
        staff = {person.code for person in people.staff(work) if person.active}
        linked = {one.employee for one in people.accounts(work) if one.channel == "mp"} & staff
    if not staff:
        look.missing(look.say("setup.nobody"))
    else:
        look.note(look.say("setup.invites", count=len(staff), linked=len(linked)))
    _tell_heard(look, settings, account)
    _report(look)


def _not_set(look: Look, table: Literal["wecom", "mp"], titles: tuple[str, ...], names: tuple[str, ...]) -> None:
    variables = [variable_of((table, name)) for name in names]
    items = (
        look.say("setup.not_set_config", table=look.product, names=titles),
        look.say("setup.not_set_secret", names=variables),
    )
    click.echo(look.say("setup.not_set", items="\n".join(f"  {item}" for item in items)), err=True)
    raise click.exceptions.Exit(USAGE)


def _run(look: Look, account: ApiAccount, work: Callable[[WeChatApi], Coroutine[None, None, None]]) -> None:
    click.echo(look.say("setup.head", name=account.name))
    with api_beside(account) as (runner, api):
        runner.run(work(api))


def _tell_heard(look: Look, settings: Settings, account: ApiAccount) -> None:
    """What the platform has brought tells more than any check from this side."""
    with readable_database(settings) as (database, _), database.read(system(Part.CONSOLE)) as work:
        newest = inbox.newest_of(work, account.product, account.name)
    if newest is None:
        look.note(look.say("setup.not_heard"))
    else:
        local = newest.astimezone(ZoneInfo(settings.limits.time_zone))
        look.fine(look.say("setup.heard", at=f"{local:%Y-%m-%d %H:%M}"))


def _report(look: Look) -> None:
    for finding in look.findings:
        click.echo(look.say(f"setup.{finding.standing}", text=finding.text))
    if look.left:
        click.echo(look.say("setup.left", count=look.left))
        raise click.exceptions.Exit(SURROUNDINGS)
    click.echo(look.say("setup.done"))
