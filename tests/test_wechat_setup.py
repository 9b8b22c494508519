"""zoudian wecom setup and zoudian mp setup on the loopback platforms: what is found, said and made."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

import texts
from bot.cli import SAMPLE_FIRM, main
from bot.config_file import SettingsRefused
from bot.loopback.official import OfficialPlatform
from bot.loopback.platform import LoopbackPlatform, Trouble
from bot.loopback.work import WorkPlatform
from bot.settings import load_settings
from bot.settings_fields import WebValues
from bot.web_channel import WebChannel
from bot.wechat_callback import CallbackGuard, answer_callback
from bot.wechat_pages import verify_routes
from bot.wechat_setup import Look, look_at_verify_files
from bot.wiring import make_app
from handlers.commands import COMMANDS
from tests.databases import open_migrated, sqlite_only
from tests.wecomfirm import MEMBERS

pytestmark = sqlite_only  # the database is only read here, as other commands read it

CONFIG = """
"语言" = "{language}"
["网页"]
"公网网址" = "{public}"
["企业微信"]
"企业ID" = "{app_id}"
"应用ID" = "{agent_id}"
"接口地址" = "{base}"
["公众号"]
"AppID" = "{app_id}"
"接口地址" = "{base}"
"方式" = "{mode}"
"提醒模板" = "{template}"
"提醒模板字段" = ["客户=thing1", "时间=time2"]
"模板种类" = "{kind}"
"""
EVERYBODY = (*MEMBERS, "zhengjingli", "fengjingli", "limin", "chentao", "zhaoqian")


async def look(
    folder: Path,
    platform: LoopbackPlatform,
    product: str,
    *,
    public: str = "",
    mode: str = "完整",
    template: str = "",
    language: str = "zh-CN",
    key: str = "",
    kind: str = "模板消息",
) -> Result:
    """`zoudian wecom setup` or `zoudian mp setup`, beside the platform's own loop."""
    config = folder / "config.toml"
    agent = getattr(platform, "agent_id", "")
    filled = CONFIG.format(
        app_id=platform.app_id,
        agent_id=agent,
        base=platform.base,
        public=public,
        mode=mode,
        template=template,
        language=language,
        kind=kind,
    )
    config.write_text(filled, encoding="utf-8")
    name = product.upper()
    environment = {
        f"ZOUDIAN_{name}__SECRET": platform.secret,
        f"ZOUDIAN_{name}__TOKEN": platform.callback_token,
        f"ZOUDIAN_{name}__AES_KEY": key or platform.aes_key,
    }
    command = ["--config", str(config), product, "setup"]
    return await asyncio.to_thread(CliRunner().invoke, main, command, env=environment)


def import_firm(folder: Path) -> None:
    (folder / "config.toml").write_text("", encoding="utf-8")
    command = ["--config", str(folder / "config.toml"), "import", str(SAMPLE_FIRM)]
    assert CliRunner().invoke(main, command).exit_code == 0


@asynccontextmanager
async def our_address(platform: LoopbackPlatform, path: str) -> AsyncIterator[str]:
    """A server with the guard that both channels answer verifications with."""
    guard = CallbackGuard(platform.callback_token, platform.aes_key, platform.app_id)

    async def callback(request: web.Request) -> web.Response:
        return await answer_callback(request, guard, refuse)

    async def refuse(opened: object) -> web.Response:
        raise AssertionError("nothing is posted")

    site = web.Application()
    site.router.add_route("*", path, callback)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_an_app_that_is_ready_gets_its_menu_and_a_clean_bill(tmp_path: Path) -> None:
    import_firm(tmp_path)
    async with WorkPlatform(members=EVERYBODY) as platform, our_address(platform, "/wecom/callback") as public:
        result = await look(tmp_path, platform, "wecom", public=public)
        assert result.exit_code == 0, result.output
        assert f"{public}/wecom/callback" in result.output
        assert "回调地址通了" in result.output
        assert "都在应用的可见范围里" in result.output
        assert "✗" not in result.output
        assert platform.console.flags == {"report_location_flag": 1, "isreportenter": 1}
        assert platform.console.menu is not None
        top = platform.console.menu["button"]
        assert [one["name"] for one in top] == ["拜访", "待办", "我的"]
        entries = [entry for one in top for entry in one["sub_button"]]
        assert {entry["type"] for entry in entries} == {"click", "location_select", "pic_sysphoto"}
        assert all(entry["key"] in COMMANDS for entry in entries if entry["type"] == "click")
        before = platform.count("agent/set")
        again = await look(tmp_path, platform, "wecom", public=public, language="en")
        assert (again.exit_code, platform.count("agent/set")) == (0, before)
        assert "The menu was made" in again.output
        assert platform.console.menu["button"][0]["name"] == "Visit"
        assert platform.secret not in result.output + again.output


async def test_what_is_missing_is_said_with_what_to_do(tmp_path: Path) -> None:
    import_firm(tmp_path)
    async with WorkPlatform(members=("wangjian",)) as platform:
        platform.console.closed = True
        result = await look(tmp_path, platform, "wecom")
    assert result.exit_code == 3, result.output
    assert "公网网址" in result.output
    assert "停用" in result.output
    assert "孙浩（sunhao）" in result.output
    assert "王建（wangjian）" not in result.output
    assert "还差 3 项" in result.output


async def test_an_address_that_is_not_listed_is_named(tmp_path: Path) -> None:
    import_firm(tmp_path)
    for platform, product, errcode in ((WorkPlatform(), "wecom", 60020), (OfficialPlatform(), "mp", 40164)):
        async with platform:
            platform.trusted_ips = {"203.0.113.9"}
            result = await look(tmp_path, platform, product)
        assert result.exit_code == 3
        assert f"错误码 {errcode}" in result.output
        assert "IP 127.0.0.1 加进" in result.output


async def test_members_of_a_whole_department_are_asked_for(tmp_path: Path) -> None:
    import_firm(tmp_path)
    async with WorkPlatform(members=EVERYBODY) as platform:
        platform.console.departments = [7]
        platform.console.outside = {"sunhao"}
        result = await look(tmp_path, platform, "wecom")
    assert "有 1 人看不到这个应用，或者账号写错了：孙浩（sunhao）" in result.output


async def test_other_keys_at_our_address_are_noticed(tmp_path: Path) -> None:
    async with WorkPlatform() as platform, our_address(platform, "/wecom/callback") as public:
        other = await look(tmp_path, platform, "wecom", public=public, key="B" * 43)
        assert "不认这里的 Token 或 EncodingAESKey" in other.output
        none = await look(tmp_path, platform, "wecom", public=f"{public}/elsewhere")
        assert "状态 404" in none.output
    gone = await look(tmp_path, platform, "wecom", public=public)
    assert f"打不开 {public}/wecom/callback" in gone.output
    assert "连不上企业微信的接口" in gone.output


async def test_a_wrong_app_is_told(tmp_path: Path) -> None:
    async with WorkPlatform() as platform:
        platform.trouble("agent/get", Trouble(errcode=301002))
        result = await look(tmp_path, platform, "wecom")
    assert "没有这个应用（错误码 301002）" in result.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("客户{{thing1.DATA}} 时间{{time2.DATA}}", "字段都对得上"),
        ("客户{{thing1.DATA}} 时间{{time9.DATA}}", "模板里没有这些字段：time2"),
        ("客户{{thing1.DATA}} 时间{{time2.DATA}} 备注{{thing5.DATA}}", "没有对应的内容：thing5"),
        ("", "没有编号为 TPL1 的模板"),
    ],
)
async def test_templates_are_compared_field_by_field(tmp_path: Path, content: str, said: str) -> None:
    async with OfficialPlatform() as platform:
        if content:
            platform.console.templates["TPL1"] = content
        result = await look(tmp_path, platform, "mp", template="TPL1")
        assert said in result.output
        assert platform.console.menu is not None
        assert {entry["type"] for one in platform.console.menu["button"] for entry in one["sub_button"]} >= {"click"}


async def test_an_account_without_rights_is_fine_without_a_menu(tmp_path: Path) -> None:
    import_firm(tmp_path)
    async with OfficialPlatform() as platform:
        platform.trouble("menu/create", Trouble(errcode=48001))
        result = await look(tmp_path, platform, "mp")
        assert "没有菜单也能用" in result.output
        passive = await look(tmp_path, platform, "mp", mode="只被动回复")
        assert "只被动回复" in passive.output
        assert "0 人已绑定" in passive.output
        assert [call.path for call in platform.calls] == ["stable_token", "menu/create"]


HTTPS = "https://visits.example.test"


async def test_the_page_for_the_exact_position_comes_into_the_menu(tmp_path: Path) -> None:
    """公网网址是 https：菜单里有「准确定位」，后台还差什么说清楚；不是 https，说明为什么没有。"""
    import_firm(tmp_path)
    async with WorkPlatform(members=EVERYBODY) as platform:
        plain = await look(tmp_path, platform, "wecom", public="http://visits.example.test")
        assert "菜单里没有「准确定位」：公网网址不是 https" in plain.output
        assert pages_in(platform.console.menu) == {}
        unset = await look(tmp_path, platform, "wecom", public=HTTPS)
        assert "可信域名还没设" in unset.output
        assert "填 visits.example.test" in unset.output
        assert "域名校验文件" in unset.output
        assert pages_in(platform.console.menu) == {"准确定位": f"{HTTPS}/wecom/here"}
        platform.console.domain = "example.test"
        ready = await look(tmp_path, platform, "wecom", public=HTTPS)
        assert "可信域名设好了：visits.example.test" in ready.output
        platform.console.domain = "ple.test"
        assert "可信域名还没设" in (await look(tmp_path, platform, "wecom", public=HTTPS)).output


async def test_a_service_account_has_the_page_and_others_are_told_why_not(tmp_path: Path) -> None:
    async with OfficialPlatform() as platform:
        platform.console.agreements["TPL1"] = "客户{{thing1.DATA}} 时间{{time2.DATA}}"
        result = await look(tmp_path, platform, "mp", public=HTTPS, template="TPL1", kind="订阅通知")
        assert "JS 接口安全域名" in result.output
        assert "勾选一次，才能收到一条" in result.output
        page = f"{HTTPS}/mp/here"
        assert pages_in(platform.console.menu) == {"准确定位": page, "接收提醒": page}
        platform.trouble("ticket/getticket", Trouble(errcode=48001, times=9))
        platform.pages.tickets.clear()
        without = await look(tmp_path, platform, "mp", public=HTTPS, template="TPL1", kind="订阅通知")
        assert "认证服务号才有" in without.output
        assert "在那之前提醒都要等到对方下次发消息" in without.output
        assert pages_in(platform.console.menu) == {}


async def test_the_consoles_file_is_looked_for_at_the_domain() -> None:
    """域名校验文件：我们自己就给，内容默认是文件名里那一段；没生效会被发现。"""
    files = ("WW_verify_Ab12Cd34.txt", "MP_verify_Zz99Yy88.txt=another-content", "WW_verify_gone0000.txt")
    site = web.Application()
    site.add_routes(verify_routes(files[:2]))
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        public = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as http, http.get(f"{public}/{files[0]}") as answer:
            assert (answer.content_type, await answer.text()) == ("text/plain", "Ab12Cd34")
        found = Look(texts.load("zh-CN"), "wecom")
        await look_at_verify_files(found, WebValues(public_url=f"{public}/wecom", verify_files=files))
        assert [one.standing for one in found.findings] == ["fine", "fine", "missing"]
        assert "重启 zoudian run" in found.findings[-1].text
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "name", ["index.html", "../WW_verify_Ab12.txt", "WW_verify_Ab12.txt=a b", "ww_verify_Ab12.txt"]
)
def test_nothing_but_such_a_file_can_be_set(name: str) -> None:
    with pytest.raises(SettingsRefused):
        load_settings(None, {"ZOUDIAN_WEB__VERIFY_FILES": json.dumps([name])})


def test_the_running_bot_serves_page_and_file(tmp_path: Path) -> None:
    """What `zoudian run` puts together, by the settings: the page where there is a public address, else none."""
    surroundings = {
        "ZOUDIAN_DATA__FOLDER": str(tmp_path),
        "ZOUDIAN_WEB__VERIFY_FILES": '["WW_verify_Ab12Cd34.txt"]',
        "ZOUDIAN_WECOM__CORP_ID": "ww1",
        "ZOUDIAN_WECOM__AGENT_ID": "7",
        "ZOUDIAN_WECOM__SECRET": "s" * 20,
        "ZOUDIAN_WECOM__TOKEN": "t" * 8,
        "ZOUDIAN_WECOM__AES_KEY": "a" * 43,
    }
    served = {}
    for public in ("", HTTPS):
        settings = load_settings(None, surroundings | {"ZOUDIAN_WEB__PUBLIC_URL": public})
        database = open_migrated(tmp_path)
        app = make_app(settings, database)
        site = app.channels["web"]
        assert isinstance(site, WebChannel)
        served[public] = {route.resource.canonical for route in site.app.router.routes() if route.resource is not None}
        database.close()
    assert "/WW_verify_Ab12Cd34.txt" in served[""]
    assert served[HTTPS] - served[""] == {f"/wecom/here{end}" for end in ("", "/back", "/api/config", "/api/place")}


def pages_in(menu: dict[str, Any] | None) -> dict[str, str]:
    assert menu is not None
    entries = [entry for one in menu["button"] for entry in one["sub_button"]]
    return {entry["name"]: entry["url"] for entry in entries if entry["type"] == "view"}


def test_without_settings_it_says_which(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("", encoding="utf-8")
    for product, name in (("wecom", "企业ID"), ("mp", "AppID")):
        result = CliRunner().invoke(main, ["--config", str(config), product, "setup"])
        assert result.exit_code == 2
        assert name in result.output
        assert f"ZOUDIAN_{product.upper()}__AES_KEY" in result.output
        assert "setup" in CliRunner().invoke(main, [product, "--help"]).output
