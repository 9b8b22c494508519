"""The 企业微信 channel's edges: its address verified, files that cannot be had, stopping, how settings switch it on."""

import threading
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bot.channels import MediaProblem, TakesTurns
from bot.config_file import SettingsRefused
from bot.loopback.platform import AES_KEY, CALLBACK_TOKEN, Trouble
from bot.loopback.signer import Signer
from bot.no_secrets import secret_values
from bot.settings import load_settings
from bot.web_channel import WebChannel
from bot.wecom_channel import CALLBACK_PATH, WecomChannel, WecomSettings
from bot.wecom_robot import GroupRobots
from bot.wiring import make_app
from handlers.messages import Media
from storage.inbox import Delivery
from tests.telegramfirm import sample_database
from tests.wecomfirm import running

ROBOT = "693a91f6-7aaa-4bc4-97a0-0ec2sifa5aaa"
ON = {
    "ZOUDIAN_WECOM__CORP_ID": "ww1",
    "ZOUDIAN_WECOM__AGENT_ID": "1000002",
    "ZOUDIAN_WECOM__SECRET": "s" * 43,
    "ZOUDIAN_WECOM__TOKEN": CALLBACK_TOKEN,
    "ZOUDIAN_WECOM__AES_KEY": AES_KEY,
    "ZOUDIAN_WECOM__ROBOTS": f"吴经理={ROBOT}",
}


async def test_the_address_is_verified_with_the_bare_echo_within_a_second(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        answer = await firm.platform.verify(firm.url, firm.platform.signer.echo("5927782489442352469"))
        assert (answer.status, answer.body) == (200, "5927782489442352469")
        assert answer.seconds < 1
        forged = Signer("another token", AES_KEY, firm.platform.app_id).echo("1")
        assert (await firm.platform.verify(firm.url, forged)).status == 403


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (Trouble(errcode=40007), "gone"),
        (Trouble(status=404), "gone"),
        (Trouble(body=b""), "empty"),
        (Trouble(status=502), "later"),
        (Trouble(cut=True), "later"),
        (Trouble(half=True), "later"),
        (Trouble(errcode=45009), "later"),
        (Trouble(errcode=60020), "later"),
        (Trouble(errcode=48002), "later"),
    ],
)
async def test_a_file_that_cannot_be_had(tmp_path: Path, trouble: Trouble, outcome: str) -> None:
    async with running(tmp_path) as firm:
        ref = firm.platform.put_media(b"\xff\xd8\xff" + b"x" * 100)
        firm.platform.trouble("media/get", trouble)
        with pytest.raises((MediaProblem, ConnectionError)) as caught:
            await firm.channel.fetch(Media(ref))
        assert (caught.value.reason if isinstance(caught.value, MediaProblem) else "later") == outcome
        assert await firm.channel.fetch(Media(ref)) == firm.platform.media[ref].data
        with pytest.raises(MediaProblem, match="gone"):
            await firm.channel.fetch(Media("", problem="gone"))


async def test_a_photo_too_big_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("wangjian")
        media = firm.platform.put_media(b"\xff\xd8\xff" + b"x" * (20 * 1024 * 1024))
        await rep.sends(firm.platform.messages.image("wangjian", media, at=rep.at))
        assert "20" in rep.texts()[-1]
        await rep.sends(firm.platform.messages.image("wangjian", "no such media", at=rep.at))
        assert len(rep.texts()) == 2
        assert {row.state for row in firm.inbox()} == {"done"}


async def test_a_process_that_only_sends_counts_what_was_sent_before_and_ends_cards(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.member("wangjian")
        await rep.sends(rep.pin())
        worker = WecomChannel(firm.settings, firm.database, clock=firm.clock)
        assert isinstance(worker, TakesTurns)
        await worker.connect()
        try:
            assert await worker.sending._windows.reserve("wangjian", 28) > 0
            assert worker._ending is not None
        finally:
            await worker.stop()


async def test_what_is_being_stored_at_the_end_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, store_s=0.2) as firm:
        intake, slow = firm.app.intake, threading.Event()
        store = intake._store_all

        def slowly(deliveries: list[Delivery]) -> list[int | None]:
            slow.wait(0.6)
            return store(deliveries)

        monkeypatch.setattr(intake, "_store_all", slowly)
        answer = await firm.platform.push_once(firm.url, firm.platform.messages.text("wangjian", "帮助"))
        assert answer.status == 503
        await firm.app.stop()
        assert len(firm.inbox()) == 1
        late = await firm.platform.push_once(firm.url, firm.platform.messages.text("wangjian", "帮助"))
        assert late.status == 503, "a channel that stopped sends the platform away for later"


async def test_settings_switch_it_on_with_its_address_and_its_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environment={**ON, "ZOUDIAN_WEB__PORT": "0"})
    assert {"s" * 43, CALLBACK_TOKEN, AES_KEY, ROBOT} <= set(secret_values(settings))
    database = sample_database(tmp_path)
    app = make_app(settings, database)
    try:
        assert {"web", "wecom", "wecom_group"} == set(app.channels)
        wecom, site, groups = app.channels["wecom"], app.channels["web"], app.channels["wecom_group"]
        assert isinstance(wecom, WecomChannel)
        assert isinstance(site, WebChannel)
        assert isinstance(groups, GroupRobots)
        assert wecom.account == "ww1:1000002"
        async with TestClient(TestServer(site.app)) as client:
            query = Signer(CALLBACK_TOKEN, AES_KEY, "ww1").echo("42")
            answer = await client.get(CALLBACK_PATH, params=query)
            assert await answer.text() == "42"
            assert (await client.post(CALLBACK_PATH, params=query, data=b"x")).status == 400
        await wecom.stop()
        await groups.stop()
    finally:
        database.close()


@pytest.mark.parametrize("wrong", ["吴经理", "吴经理=x", "吴经理=https://qyapi.weixin.qq.com/?key=1"])
def test_a_robot_that_is_written_wrong_is_refused_without_being_shown(wrong: str) -> None:
    with pytest.raises(SettingsRefused) as refused:
        load_settings(environment={**ON, "ZOUDIAN_WECOM__ROBOTS": wrong})
    assert wrong not in str(refused.value)


def test_an_agent_id_is_a_number() -> None:
    with pytest.raises(ValueError, match="agent_id"):
        WecomSettings("ww1", "x", "s", "t", AES_KEY)
    assert "secret" not in repr(WecomSettings("ww1", "1", "secret", "t", AES_KEY))
