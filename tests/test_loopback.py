"""The test kit itself: the loopback platforms keep what the real ones promise, so that a test through them means it."""

import asyncio
from typing import Any

import aiohttp
import pytest
import xmltodict

from bot.loopback.official import OfficialPlatform
from bot.loopback.platform import LoopbackPlatform, Trouble
from bot.loopback.work import WorkPlatform

Json = dict[str, Any]


async def get(platform: LoopbackPlatform, path: str, **params: str) -> Json:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{platform.base}/cgi-bin/{path}", params=params) as answer,
    ):
        result: Json = await answer.json()
        return result


async def post(platform: LoopbackPlatform, path: str, body: Json, **params: str) -> Json:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{platform.base}/cgi-bin/{path}", params=params, json=body) as answer,
    ):
        result: Json = await answer.json()
        return result


def stable(platform: OfficialPlatform, forced: bool = False, secret: str = "") -> Json:
    return {
        "grant_type": "client_credential",
        "appid": platform.app_id,
        "secret": secret or platform.secret,
        "force_refresh": forced,
    }


async def test_wecom_gives_the_same_token_and_checks_who_asks() -> None:
    async with WorkPlatform() as platform:
        first = await get(platform, "gettoken", corpid=platform.app_id, corpsecret=platform.secret)
        again = await get(platform, "gettoken", corpid=platform.app_id, corpsecret=platform.secret)
        assert first["access_token"] == again["access_token"]
        assert (await get(platform, "gettoken", corpid="ww1", corpsecret=platform.secret))["errcode"] == 40013
        assert (await get(platform, "gettoken", corpid=platform.app_id, corpsecret="x"))["errcode"] == 40001
        platform.trusted_ips = {"203.0.113.9"}
        refused = await get(platform, "gettoken", corpid=platform.app_id, corpsecret=platform.secret)
        assert refused["errcode"] == 60020
        assert "from ip: 127.0.0.1" in refused["errmsg"]


async def test_an_old_token_call_makes_the_one_before_worthless_and_a_stable_one_does_not() -> None:
    async with OfficialPlatform(followers=("o1",)) as platform:
        first = (await post(platform, "stable_token", stable(platform)))["access_token"]
        assert (await post(platform, "stable_token", stable(platform)))["access_token"] == first
        assert (await post(platform, "stable_token", stable(platform, secret="x")))["errcode"] == 40125
        forced = (await post(platform, "stable_token", stable(platform, forced=True)))["access_token"]
        message = {"touser": "o1", "msgtype": "text", "text": {"content": "好"}}
        assert (await post(platform, "message/custom/send", message, access_token=first))["errcode"] == 40014
        assert (await post(platform, "message/custom/send", message, access_token=forced))["errcode"] == 0
        await get(platform, "token", grant_type="client_credential", appid=platform.app_id, secret=platform.secret)
        assert (await post(platform, "message/custom/send", message, access_token=forced))["errcode"] == 40014
        assert [one["text"] for one in platform.sent] == [{"content": "好"}]


async def test_who_cannot_be_reached_is_named_in_a_success() -> None:
    async with WorkPlatform(members=("wangjian", "lili")) as platform:
        token = (await get(platform, "gettoken", corpid=platform.app_id, corpsecret=platform.secret))["access_token"]
        message = {"agentid": platform.agent_id, "msgtype": "text", "text": {"content": "好" * 1000}}
        answer = await post(platform, "message/send", {**message, "touser": "WangJian|Nobody"}, access_token=token)
        assert (answer["errcode"], answer["invaliduser"]) == (0, "nobody")
        assert len(platform.sent[0]["text"]["content"].encode()) <= 2048  # cut without a word
        nobody = await post(platform, "message/send", {**message, "touser": "nobody"}, access_token=token)
        assert nobody["errcode"] == 81013
        other = await post(platform, "message/send", {**message, "agentid": 1, "touser": "lili"}, access_token=token)
        assert other["errcode"] == 40056
        assert [call.path for call in platform.calls] == ["gettoken", *["message/send"] * 3]


@pytest.mark.parametrize("make", [WorkPlatform, OfficialPlatform])
async def test_troubles_come_in_the_order_asked_for_and_end(make: type[WorkPlatform | OfficialPlatform]) -> None:
    async with make() as platform:
        platform.open_paths.add("media/get")
        media_id = platform.put_media(b"x" * 1000)
        platform.trouble("media/get", Trouble(errcode=-1, times=2))
        platform.trouble("media/get", Trouble(status=502))
        for expected in (-1, -1):
            assert (await get(platform, "media/get", media_id=media_id))["errcode"] == expected
        url = f"{platform.base}/cgi-bin/media/get?media_id={media_id}"
        async with aiohttp.ClientSession() as http:
            async with http.get(url) as answer:
                assert answer.status == 502
            platform.trouble("media/get", Trouble(cut=True))
            with pytest.raises(aiohttp.ClientError):
                await http.post(url)  # aiohttp repeats a GET by itself
            platform.trouble("media/get", Trouble(half=True))
            with pytest.raises(aiohttp.ClientPayloadError):
                async with http.get(url) as answer:
                    await answer.read()
            platform.trouble("media/get", Trouble(slow_s=0.2))
            began = asyncio.get_running_loop().time()
            async with http.get(url) as answer:
                assert await answer.read() == b"x" * 1000
            assert asyncio.get_running_loop().time() - began >= 0.2
        assert platform.count("media/get") == 6


async def test_messages_carry_what_the_platforms_put_into_them() -> None:
    async with WorkPlatform() as work, OfficialPlatform() as official:
        text = xmltodict.parse(work.messages.text("WangJian", "a<b>&]]>", at=17))["xml"]
        assert text.pop("MsgId").isdigit()
        assert text == {
            "ToUserName": work.app_id,
            "FromUserName": "WangJian",
            "CreateTime": "17",
            "MsgType": "text",
            "Content": "a<b>&]]>",
            "AgentID": work.agent_id,
        }
        event = xmltodict.parse(official.messages.position("o1", 30.1, 120.5, 12.0))["xml"]
        assert (event["MsgType"], event["Event"], event["Latitude"]) == ("event", "LOCATION", "30.100000")
        assert "MsgId" not in event
        assert "AgentID" not in event
        voice = xmltodict.parse(official.messages.voice("o1", "m1", wide="m2"))["xml"]
        assert (voice["MediaId"], voice["MediaId16K"], voice["Format"]) == ("m1", "m2", "amr")
        numbers = {xmltodict.parse(official.messages.text("o1", "x"))["xml"]["MsgId"] for _ in range(5)}
        assert len(numbers) == 5
