"""公众号 as `zoudian run` makes it from the settings: one site for pages, callbacks and links to files."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result

from bot.cli import SAMPLE_FIRM, main
from bot.loopback.official import OfficialPlatform
from bot.loopback.platform import Trouble
from bot.mp_channel import MpChannel, MpSettings
from bot.mp_sending import Template, template_data
from bot.settings import load_settings
from bot.web_channel import WebChannel
from bot.wechat_client import ApiAccount
from bot.wiring import make_app
from handlers.messages import Reply, Say
from handlers.turn import outgoing
from storage import outbox, people
from storage.database import Database
from tests.databases import WHOLE
from tests.telegramfirm import WANG_JIAN, sample_database

CONFIG = """
["网页"]
"端口" = 0
"公网网址" = "http://127.0.0.1"

["公众号"]
"AppID" = "{app_id}"
"接口地址" = "{base}"
"方式" = "{mode}"
"提醒模板" = "TPL1"
"提醒模板字段" = ["客户=thing1", "时间＝time2", "没有这一项"]
"""


@pytest.mark.parametrize("mode", ["完整", "只被动回复"])
async def test_the_running_bot_answers_invites_and_hands_out_files(tmp_path: Path, mode: str) -> None:
    async with OfficialPlatform(followers=("oWangJian_01",)) as platform:
        config = settings_file(tmp_path, platform, mode)
        secrets = {
            "ZOUDIAN_MP__SECRET": platform.secret if mode == "完整" else "",
            "ZOUDIAN_MP__TOKEN": platform.callback_token,
            "ZOUDIAN_MP__AES_KEY": platform.aes_key,
        }
        database = sample_database(tmp_path)
        with database.work(WHOLE) as work:
            token = people.make_invite(work, WANG_JIAN, datetime.now(UTC))
        app = make_app(load_settings(config, secrets), database)
        site, channel = app.channels["web"], app.channels["mp"]
        assert isinstance(site, WebChannel)
        assert isinstance(channel, MpChannel)
        await app.start()
        try:
            base = f"http://127.0.0.1:{site.port}"
            [attempt] = await platform.push(
                f"{base}/mp/callback",
                platform.messages.event("oWangJian_01", "subscribe", EventKey=f"qrscene_{token}", Ticket="T"),
            )
            assert "王建" in platform.signer.open_reply(attempt.body)["Content"]
            echo = await platform.verify(f"{base}/mp/callback", platform.signer.plain_echo("42"))
            assert (echo.status, echo.body) == (200, "42")
            key = app.tools.files.put(b"an Excel file")
            with database.work(WHOLE) as work:
                account = people.account(work, "mp", "oWangJian_01")
                assert account is not None
                reply = Reply(Say("as_is", {"text": "上周的数字"}), attach=key, attach_name="周报.xlsx")
                outbox.queue(work, outgoing(account, reply, datetime.now(UTC), "test:file"))
            [attempt] = await platform.push(f"{base}/mp/callback", platform.messages.text("oWangJian_01", "帮助"))
            said = platform.signer.open_reply(attempt.body)["Content"] + str(platform.sent)
            path = said.partition("http://127.0.0.1/")[2].partition("（")[0].partition("'")[0]
            async with aiohttp.ClientSession() as client, client.get(f"{base}/{path}") as answer:
                assert (answer.status, await answer.read()) == (200, b"an Excel file")
        finally:
            await app.stop()
            database.close()


def settings_file(folder: Path, platform: OfficialPlatform, mode: str = "完整") -> Path:
    config = folder / "config.toml"
    config.write_text(CONFIG.format(app_id=platform.app_id, base=platform.base, mode=mode), encoding="utf-8")
    return config


async def invited(config: Path, platform: OfficialPlatform, secret: str, *arguments: str) -> Result:
    """`zoudian invite …` beside the platform's own loop."""
    environment = {
        "ZOUDIAN_MP__SECRET": secret,
        "ZOUDIAN_MP__TOKEN": platform.callback_token,
        "ZOUDIAN_MP__AES_KEY": platform.aes_key,
    }
    command = ["--config", str(config), "invite", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, main, command, env=environment)


def whose(folder: Path, token: str) -> str | None:
    database = Database(f"sqlite:///{folder / 'data' / 'zoudian.db'}")
    try:
        with database.work(WHOLE) as work:
            return people.use_invite(work, token, datetime.now(UTC))
    finally:
        database.close()


def import_firm(config: Path) -> None:
    assert CliRunner().invoke(main, ["--config", str(config), "import", str(SAMPLE_FIRM)]).exit_code == 0


async def test_an_invite_is_a_code_of_the_account(tmp_path: Path) -> None:
    async with OfficialPlatform() as platform:
        config = settings_file(tmp_path, platform)
        import_firm(config)
        result = await invited(config, platform, platform.secret, "王建")
        assert result.exit_code == 0, result.output
        link = result.stdout.splitlines()[1]
        assert link.startswith("http://weixin.qq.com/q/")
        assert whose(tmp_path, platform.codes[link]) == WANG_JIAN
        assert [call.json["expire_seconds"] for call in platform.calls if call.path == "qrcode/create"] == [72 * 3600]
        everybody = await invited(config, platform, platform.secret, "--all", str(tmp_path / "码"))
        assert everybody.exit_code == 0
        assert len(list((tmp_path / "码").iterdir())) == len(platform.codes) - 1
        assert platform.count("stable_token") == 2


@pytest.mark.parametrize("secret", ["", "right"])
async def test_without_the_right_to_codes_an_invite_is_a_line_to_send(tmp_path: Path, secret: str) -> None:
    async with OfficialPlatform() as platform:
        config = settings_file(tmp_path, platform, "只被动回复")
        import_firm(config)
        platform.trouble("qrcode/create", Trouble(errcode=48001))
        result = await invited(config, platform, platform.secret if secret else "", "王建", "--channel", "mp")
        assert result.exit_code == 0, result.output
        line = result.stdout.splitlines()[1]
        assert line.startswith("加入 ")
        assert "原样发给它" in result.stdout
        assert whose(tmp_path, line.removeprefix("加入 ")) == WANG_JIAN


async def test_a_code_that_was_not_made_is_told_with_what_to_do_and_keeps_no_invite(tmp_path: Path) -> None:
    async with OfficialPlatform() as platform:
        platform.trusted_ips = {"203.0.113.9"}
        config = settings_file(tmp_path, platform)
        import_firm(config)
        result = await invited(config, platform, platform.secret, "王建")
        assert result.exit_code == 3
        assert "127.0.0.1" in result.stderr
        assert "邀请没有保存" in result.stderr
        assert platform.secret not in result.output


def test_an_account_that_pushes_needs_its_secret() -> None:
    account = ApiAccount("mp", "wx1", "")
    with pytest.raises(ValueError, match="AppSecret"):
        MpSettings(account, "token", "k" * 43)
    settings = MpSettings(account, "hush-hush", "k" * 43, passive_only=True)
    assert "hush-hush" not in repr(settings)
    assert "k" * 43 not in repr(settings)


def test_a_templates_fields_hold_what_they_may() -> None:
    fields = (
        ("客户", "thing1"),
        ("时间", "time2"),
        ("选项", "character_string3"),
        ("事项", "phrase4"),
        ("内容", "first"),
    )
    details: dict[str, Any] = {
        "outlet": "柯桥" * 15,
        "window": "后天上午",
        "choices": "1 完成\n2 推迟",
        "what": "样品试用回访",
        "text": "很长" * 200,
        "title": "⏰",
    }
    data = template_data(Template("T", "template", fields), details, datetime(2026, 11, 25, 9, 30, tzinfo=UTC))
    assert {name: one["value"] for name, one in data.items()} == {
        "thing1": "柯桥" * 9 + "柯…",
        "time2": "2026年11月25日 09:30",
        "character_string3": "1 完成 2 推迟",
        "phrase4": "样品试用…",
        "first": "很长" * 99 + "很…",
    }
    assert template_data(Template("T", "template", (("客户", "thing1"),)), {}, datetime(2026, 1, 1, tzinfo=UTC)) == {
        "thing1": {"value": "—"}
    }


def test_what_the_rows_of_the_outbox_say_of_waiting(tmp_path: Path) -> None:
    database = sample_database(tmp_path)
    now = datetime.now(UTC)
    with database.work(WHOLE) as work:
        account = people.link(work, people.Account("mp", "oWangJian_01", "oWangJian_01", WANG_JIAN), now)
        rows = [outbox.queue(work, outgoing(account, Reply(Say("nothing")), now, f"k{n}")) for n in range(3)]
        first, second, third = (number for number in rows if number is not None)
        outbox.shut(work, first, "window")
        outbox.sent(work, second, now, "template:4001")
        assert outbox.came_back(work, "mp", "template:4001", "unwanted") == 1
        assert outbox.came_back(work, "mp", "template:4001", "unwanted") == 0
        assert [one.id for one in outbox.due(work, now, ["mp"])] == [third]
        assert outbox.release(work, "mp", "oSomebody", now) == 0
        assert outbox.release(work, "mp", "oWangJian_01", now) == 2
        head = outbox.due(work, now, ["mp"])[0]
        assert [one.id for one in outbox.due_behind(work, head, now)] == [second, third]
        outbox.hold_until(work, second, now.replace(year=now.year + 1), "later")
        assert outbox.due_behind(work, head, now) == []
    database.close()
