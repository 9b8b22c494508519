"""公众号 as `zoudian run` makes it from the settings: one site for pages, callbacks and links to files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.loopback.official import OfficialPlatform
from bot.mp_channel import MpChannel, MpSettings
from bot.mp_sending import Template, template_data
from bot.settings import load_settings
from bot.web_channel import WebChannel
from bot.wechat_client import ApiAccount
from bot.wiring import make_app
from handlers.messages import Reply, Say
from handlers.turn import queue
from storage import outbox, people
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
        config = tmp_path / "config.toml"
        config.write_text(CONFIG.format(app_id=platform.app_id, base=platform.base, mode=mode), encoding="utf-8")
        secrets = {
            "ZOUDIAN_MP__SECRET": platform.secret if mode == "完整" else "",
            "ZOUDIAN_MP__TOKEN": platform.callback_token,
            "ZOUDIAN_MP__AES_KEY": platform.aes_key,
        }
        database = sample_database(tmp_path)
        with database.work() as work:
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
            with database.work() as work:
                account = people.account(work, "mp", "oWangJian_01")
                assert account is not None
                reply = Reply(Say("as_is", {"text": "上周的数字"}), attach=key, attach_name="周报.xlsx")
                queue(work, account, reply, None, datetime.now(UTC), "test:file", "reply")
            [attempt] = await platform.push(f"{base}/mp/callback", platform.messages.text("oWangJian_01", "帮助"))
            said = platform.signer.open_reply(attempt.body)["Content"] + str(platform.sent)
            path = said.partition("http://127.0.0.1/")[2].partition("（")[0].partition("'")[0]
            async with aiohttp.ClientSession() as client, client.get(f"{base}/{path}") as answer:
                assert (answer.status, await answer.read()) == (200, b"an Excel file")
        finally:
            await app.stop()
            database.close()


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
    with database.work() as work:
        account = people.link(work, people.Account("mp", "oWangJian_01", "oWangJian_01", WANG_JIAN), now)
        rows = [queue(work, account, Reply(Say("nothing")), None, now, f"k{n}", "reply") for n in range(3)]
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
