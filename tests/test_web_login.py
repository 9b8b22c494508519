"""谁能进来：邀请链接、登录凭证、跨站请求、陌生人。"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as some
from yarl import URL

from storage import people
from tests.databases import WHOLE
from tests.webfirm import NOON, Browser, open_firm
from web.sessions import COOKIE, Sessions, load_key


def test_a_cookie_is_read_back_by_the_key_that_signed_it() -> None:
    sessions = Sessions(b"k" * 32)
    made = sessions.make(NOON, "demo-E|005")
    assert sessions.read(sessions.cookie(made), NOON) == made
    assert Sessions(b"x" * 32).read(sessions.cookie(made), NOON) is None


def test_a_cookie_ends_after_ninety_days() -> None:
    sessions = Sessions(b"k" * 32)
    cookie = sessions.cookie(sessions.make(NOON, "rep"))
    assert sessions.read(cookie, NOON + timedelta(days=90)) is not None
    assert sessions.read(cookie, NOON + timedelta(days=90, seconds=1)) is None


@given(some.text(max_size=80), some.integers(0, 200))
def test_no_changed_cookie_is_read(junk: str, place: int) -> None:
    """改过一个字的凭证都不认，任何乱码也不会报错。"""
    sessions = Sessions(b"k" * 32)
    cookie = sessions.cookie(sessions.make(datetime(2026, 1, 5, tzinfo=UTC), "rep"))
    assert sessions.read(junk, NOON) is None
    at = place % len(cookie)
    changed = cookie[:at] + ("A" if cookie[at] != "A" else "B") + cookie[at + 1 :]
    assert sessions.read(changed, datetime(2026, 1, 5, tzinfo=UTC)) is None


def test_a_post_token_belongs_to_one_session() -> None:
    sessions = Sessions(b"k" * 32)
    one, other = sessions.make(NOON, "rep"), sessions.make(NOON, "rep")
    assert sessions.is_token(one, sessions.token(one))
    assert not sessions.is_token(one, sessions.token(other))
    assert not sessions.is_token(one, "é")
    assert not sessions.is_token(one, "")


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = load_key(tmp_path / "web.key")
    assert len(key) == 32
    assert load_key(tmp_path / "web.key") == key
    assert os.stat(tmp_path / "web.key").st_mode & 0o077 == 0
    (tmp_path / "cut.key").write_bytes(b"")
    with pytest.raises(ValueError, match="holds no key"):
        load_key(tmp_path / "cut.key")


async def test_an_invite_is_handed_to_the_bot_by_the_button_only(tmp_path: Path) -> None:
    """打开链接不算数（聊天软件会预览链接），点了“加入”才算。"""
    async with open_firm(tmp_path) as firm, Browser(firm) as browser:
        with firm.database.work(WHOLE) as work:
            invite = people.make_invite(work, "E005", NOON)
        before = browser.client.cookie_jar.filter_cookies(URL(firm.url))[COOKIE].value
        async with browser.client.get(urlsplit(firm.channel.invite_link(invite)).path) as page:
            assert page.status == 200
            assert "加入走店" in await page.text()
        assert firm.took == []
        assert await browser.post("/api/join", {"invite": invite}) == {"accepted": True}
        [delivery] = firm.took
        assert delivery.message is not None
        assert (delivery.message["kind"], delivery.message["text"]) == ("join", invite)
        assert delivery.person == f"web:{delivery.chat_ref}"
        assert invite not in str(delivery.raw)
        after = browser.client.cookie_jar.filter_cookies(URL(firm.url))[COOKIE].value
        assert after != before
        assert (await browser.get("/api/me"))["account"] == delivery.chat_ref


@pytest.mark.parametrize("invite", ["", "short", "../../etc/passwd", 5, None, "x" * 65])
async def test_what_is_no_invite_is_refused(tmp_path: Path, invite: object) -> None:
    async with open_firm(tmp_path) as firm, Browser(firm) as browser:
        assert (await browser.post("/api/join", {"invite": invite}, status=400))["problem"] == "bad"
        assert firm.took == []


async def test_a_stranger_gets_a_polite_page_and_no_data(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm, Browser(firm) as browser:
        firm.say(firm.link("E005", "rep"), "上次欠款 3000 元")
        async with browser.client.get("/chat") as page:
            text = await page.text()
            assert page.status == 200
            assert "王建" not in text
        assert (await browser.get("/api/me"))["person"] is None
        assert (await browser.get("/api/history"))["messages"] == []
        refused = await browser.post("/api/messages", {"key": "k", "kind": "text", "text": "你好"}, status=403)
        assert "邀请" in refused["text"]
        await browser.upload({"kind": "photo"}, b"x" * 100, "image/png", status=403)
        assert (await browser.get("/manager/api/day", status=403))["problem"] == "managers_only"
        assert firm.took == []
        assert list(firm.folder.glob("files/*/*/*")) == []


async def test_who_left_the_firm_is_a_stranger(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E009", "gone")
        async with Browser(firm, "gone") as browser:
            assert (await browser.get("/api/me"))["person"] is None
            await browser.post("/api/messages", {"kind": "text", "text": "在吗"}, status=403)


async def test_a_forged_cookie_is_a_stranger(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        mine = Sessions(b"a" * 32)
        forged = mine.cookie(mine.make(NOON, "rep"))
        async with (
            aiohttp.ClientSession(firm.url, cookies={COOKIE: forged}) as client,
            client.get("/api/me") as answer,
        ):
            assert (await answer.json())["person"] is None


@pytest.mark.parametrize("token", ["", "wrong", "0" * 43])
async def test_a_post_without_the_token_does_nothing(tmp_path: Path, token: str) -> None:
    """别的网站替业务员发的请求，没有页面里的令牌，不收。"""
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as browser:
            browser.token = token
            answer = await browser.post("/api/messages", {"kind": "text", "text": "撤销"}, status=403)
            assert answer["problem"] == "session"
            assert firm.took == []


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(tmp_path: Path) -> None:
    async with open_firm(tmp_path, public_url="https://zoudian.example.cn") as firm, aiohttp.ClientSession() as client:
        async with client.get(f"{firm.url}/api/me") as answer:
            [cookie] = answer.headers.getall("Set-Cookie")
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Secure" in cookie


async def test_a_link_from_another_site_does_not_log_anybody_out(tmp_path: Path) -> None:
    """从别的网站点进来时浏览器不带凭证；这时页面不能发一个新的把旧的顶掉。"""
    async with open_firm(tmp_path) as firm, aiohttp.ClientSession() as client:
        for path in ("/chat", "/manager", "/api/history"):
            async with client.get(firm.url + path) as answer:
                assert "Set-Cookie" not in answer.headers
        async with client.get(f"{firm.url}/api/me", headers={"Sec-Fetch-Site": "cross-site"}) as answer:
            assert "Set-Cookie" not in answer.headers


async def test_every_page_forbids_foreign_scripts(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm, aiohttp.ClientSession(firm.url) as client:
        for path in ("/chat", "/manager", "/join/" + "a" * 22, "/static/chat.js", "/api/me"):
            async with client.get(path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                body = await answer.text()
                assert "<script>" not in body
                assert "style=" not in body
                assert " onclick" not in body


@pytest.mark.parametrize(
    ("host", "status"), [("localhost", 200), ("192.168.1.7:80", 200), ("[::1]:8350", 200), ("evil.example", 421)]
)
async def test_a_foreign_name_for_this_machine_is_refused(tmp_path: Path, host: str, status: int) -> None:
    async with (
        open_firm(tmp_path) as firm,
        aiohttp.ClientSession(firm.url) as client,
        client.get("/api/me", headers={"Host": host}) as answer,
    ):
        assert answer.status == status


async def test_in_a_demo_anybody_can_be_anybody_and_rep_and_manager_side_by_side(tmp_path: Path) -> None:
    async with open_firm(tmp_path, demo=True) as firm, Browser(firm) as rep, Browser(firm, base="/manager") as manager:
        offered = await rep.get("/api/demo")
        assert [person["name"] for person in offered["people"]] == ["钱总", "吴经理", "郑经理", "王建", "李敏"]
        await rep.post("/api/demo/person", {"code": "E005"})
        manager.client._cookie_jar = rep.client.cookie_jar  # the two tabs are one browser
        manager.token = (await manager.get("/api/me"))["token"]
        await manager.post("/api/demo/person", {"code": "E002"})
        assert (await manager.get("/api/me"))["person"] == {"name": "吴经理", "manages": True}
        assert (await rep.get("/api/me"))["person"] == {"name": "王建", "manages": False}
        rep.token = (await rep.get("/api/me"))["token"]
        await rep.post("/api/demo/person", {"code": "E009"}, status=404)
        assert [outlet["own"] for outlet in (await rep.get("/api/demo"))["outlets"]] == [True, False]


async def test_outside_a_demo_nobody_can_be_chosen(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as browser, browser.client.get("/api/demo") as answer:
            assert answer.status == 404
            headers = {"X-Zoudian-Token": browser.token}
            async with browser.client.post("/api/demo/person", json={"code": "E001"}, headers=headers) as refused:
                assert refused.status == 404
            assert (await browser.get("/api/me"))["person"]["name"] == "王建"


async def test_logging_out_forgets_the_browser(tmp_path: Path) -> None:
    async with open_firm(tmp_path) as firm:
        firm.link("E005", "rep")
        async with Browser(firm, "rep") as browser:
            await browser.post("/api/leave", {})
            assert (await browser.get("/api/me"))["person"] is None
