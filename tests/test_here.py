"""准确定位页：登录只认自己发起的那一次，签名是平台认的，测到的位置只进门一次，陌生人什么也留不下。"""

import asyncio
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from bot.loopback.pages import SCRIPT_PATH
from bot.loopback.platform import Trouble
from bot.wechat_pages import signature
from bot.wecom_channel import WecomChannel
from rules.evidence import PlaceKind
from storage import people, push_budget, tokens
from storage.tables.visits import VisitRow
from storage.visits import visit_of
from tests.databases import WHOLE, open_migrated
from tests.herefirm import PHONE, REMINDER, HereFirm, asked_of, phone_of, running
from tests.telegramfirm import SHOP, START

BOTH = pytest.mark.parametrize("product", ["wecom", "mp"])


def everything_stored(firm: HereFirm) -> tuple[int, int, int]:
    with firm.database.read(WHOLE) as work:
        return len(firm.inbox()), len(firm.places()), len(people.accounts(work))


@BOTH
async def test_from_the_menu_to_the_answer_in_the_chat(tmp_path: Path, product: Any) -> None:
    """菜单 → 授权 → 回来 → 发位置：按手机自测的位置记，带误差，聊天里回答。"""
    async with running(tmp_path, product) as firm, phone_of(firm) as phone:
        if product == "mp":  # the window for answers is open: the rep wrote a moment ago
            await firm.platform.push(
                f"{firm.address}/mp/callback", firm.platform.messages.text(firm.person, "帮助", at=_seconds(firm))
            )
        page = await phone.logs_in()
        assert "王建，到店了吗？" in page
        assert "不会跟踪" in page
        answer = await phone.posts()
        assert await answer.json() == {"accepted": True, "new": True}
        await firm.settle()
        [place] = firm.places()
        assert (place.kind, place.accuracy_m, place.datum) == (PlaceKind.H5.value, 12.0, "wgs84")
        assert (place.raw_lat, place.raw_lon) == SHOP
        assert "已到店：柯桥老灶台酒家" in firm.read()
        row = firm.inbox()[-1]
        assert (row.channel, row.account, row.chat_ref) == (product, firm.channel.account, firm.person)
        assert "code" not in json.dumps(row.raw)


async def test_the_way_to_the_platform_is_the_vendors_form(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        address = await phone.leaves_for_the_platform()
        assert address.startswith(f"{firm.platform.base}/connect/oauth2/authorize?appid=")
        assert address.endswith("#wechat_redirect")
        asked = asked_of(address)
        assert list(asked) == ["appid", "redirect_uri", "response_type", "scope", "state", "agentid"]
        assert (
            asked["redirect_uri"] == f"{firm.address}/wecom/here/back"
        )  # the public one, not the one behind the proxy
        assert asked["scope"] == "snsapi_base"
        assert asked["state"].isalnum()
        assert len(asked["state"]) <= 128
        [cookie] = [one for one in phone.http.cookie_jar if one.key == "zoudian-wecom-browser"]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/wecom/here")


async def test_a_state_is_good_once_for_the_browser_that_set_out_and_ten_minutes(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone, phone_of(firm) as thief:
        back = await phone.comes_back()
        state = asked_of(back)["state"]
        forged = [
            back.replace(state, state[:-1] + ("0" if state[-1] != "0" else "1")),
            back.replace(state, state[:24] + f"{int(state[24:32], 16) + 9999:08x}" + state[32:]),
            back.replace(state, ""),
            back.replace(state, "x" * 80),
            back.replace(state, "%00" * 20),
        ]
        for address in forged:
            assert (await phone.opens(address)).status == 403
        assert (await thief.opens(back)).status == 403  # the address in another browser
        await thief.leaves_for_the_platform()
        assert (await thief.opens(back)).status == 403  # and in one that set out by itself
        # Used up by one, even where the cookie was copied.
        copied = {one.key: one.value for one in phone.http.cookie_jar}
        assert (await phone.opens(back)).status == 302
        cookies = "; ".join(f"{name}={value}" for name, value in copied.items())
        thief.http.cookie_jar.clear()
        replayed = await thief.opens(back, headers={"Cookie": cookies})
        assert replayed.status == 403
        assert "登录已失效" in await replayed.text()
        assert 'href="/wecom/here"' in await replayed.text()  # what to do next
        # A web view that opens the address twice is simply let on to the page.
        again = await phone.opens(back)
        assert (again.status, again.headers["Location"]) == (302, firm.page.address)
        late = await thief.comes_back()
        firm.clock.moved += timedelta(minutes=10, seconds=1)
        assert (await thief.opens(late)).status == 403
        assert len([one for one in firm.platform.calls if one.path == "auth/getuserinfo"]) == 1
        assert everything_stored(firm) == (0, 0, 0)


async def test_a_used_state_is_remembered_by_all_processes(tmp_path: Path) -> None:
    database = open_migrated(tmp_path)
    ends = START + timedelta(minutes=10)
    with database.work(WHOLE) as work:
        assert tokens.use_once(work, "state:a", START, ends)
    with database.work(WHOLE) as work:
        assert not tokens.use_once(work, "state:a", START, ends)
        assert tokens.use_once(work, "state:b", START, ends)
    with database.work(WHOLE) as work:  # forgotten when it is worthless anyhow
        assert tokens.use_once(work, "state:a", ends, ends + timedelta(minutes=10))
    database.close()


@BOTH
async def test_a_code_that_is_not_the_platforms_logs_nobody_in(tmp_path: Path, product: Any) -> None:
    async with running(tmp_path, product) as firm, phone_of(firm) as phone:
        for code in ("stolen-or-invented", "", "a b", "x" * 600):
            back = await phone.comes_back()
            answer = await phone.opens(back.replace(asked_of(back)["code"], code.replace(" ", "%20")))
            assert answer.status == 403
        back = await phone.comes_back()
        firm.platform.pages.use_code(asked_of(back)["code"])  # somebody used it first
        assert (await phone.opens(back)).status == 403
        assert (await phone.opens(firm.page.address)).status == 302  # still nobody
        assert everything_stored(firm)[:2] == (0, 0)


@BOTH
@pytest.mark.parametrize("who", ["stranger", "left", ""])
async def test_somebody_unknown_is_refused_and_leaves_nothing(tmp_path: Path, product: Any, who: str) -> None:
    async with running(tmp_path, product) as firm, phone_of(firm) as phone:
        person = {"stranger": "oNobody_9999", "left": "heping" if product == "wecom" else "oHePing_0001", "": ""}[who]
        if (product, who) == ("mp", "left"):
            with firm.database.work(WHOLE) as work:
                gone = next(one for one in people.staff(work) if not one.active)
                people.link(work, people.Account("mp", person, person, gone.code), firm.clock())
        before = everything_stored(firm)
        firm.platform.pages.holder = person
        answer = await phone.opens(await phone.comes_back())
        assert answer.status == 403
        assert "公司内部" in await answer.text()
        assert f"zoudian-{product}-login" not in {one.key for one in phone.http.cookie_jar}
        assert everything_stored(firm) == before
        assert (await phone.opens(firm.page.address)).status == 302


async def test_who_leaves_the_firm_is_out_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        with firm.database.work(WHOLE) as work:
            rep = people.employee_named(work, "王建")
            assert rep is not None
            people.save_employees(work, [type(rep)(rep.code, rep.name, rep.role, rep.districts, active=False)])
        assert (await phone.posts()).status == 403
        assert everything_stored(firm)[:2] == (0, 0)
        assert (await phone.opens(firm.page.address)).status == 302


@BOTH
async def test_the_signature_is_one_that_the_platform_accepts(tmp_path: Path, product: Any) -> None:
    async with running(tmp_path, product) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        seen = set()
        for url in (firm.page.address, f"{firm.page.address}?from=menu&isappinstalled=0"):
            given = await (await phone.config(url)).json()
            assert given["appId"] == firm.platform.app_id
            assert firm.platform.pages.signature_fits(
                given["signature"], given["nonceStr"], str(given["timestamp"]), url
            )
            assert not firm.platform.pages.signature_fits(
                given["signature"], given["nonceStr"], str(given["timestamp"]), f"{url}#here"
            )
            seen.add(given["nonceStr"])
        assert len(seen) == 2
        path = "get_jsapi_ticket" if product == "wecom" else "ticket/getticket"
        assert firm.platform.count(path) == 1  # kept, like a token


def test_the_signature_is_the_vendors_example() -> None:
    """developers.weixin.qq.com, JS-SDK 使用权限签名算法: its own example."""
    ticket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"
    made = signature(ticket, "Wm3WZYTPz0wzccnW", 1414587457, "http://mp.weixin.qq.com?params=value")
    assert made == "0f9de62fce790f9a083d5c99e95740ceb90c27ed"


async def test_only_the_page_itself_is_signed(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        assert (await phone.config(firm.page.address)).status == 403  # nobody is logged in
        await phone.logs_in()
        for url in (
            "https://evil.example/wecom/here",
            f"{firm.address}.evil.example/wecom/here",
            f"{firm.address}/chat",
            firm.page.address + "#x",
            "",
        ):
            assert (await phone.config(url)).status == 400, url


async def test_without_a_ticket_the_page_is_told_and_the_operator_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        firm.platform.trouble("get_jsapi_ticket", Trouble(errcode=48002, errmsg="api forbidden"))
        answer = await phone.config(firm.page.address)
        assert answer.status == 502
        assert (await answer.json())["problem"] == "ticket"
        assert "48002" in caplog.text
        assert firm.platform.secret not in caplog.text
        await phone.config(firm.page.address)
        assert firm.platform.count("get_jsapi_ticket") == 1  # remembered: nobody knocks after the other
        assert (await phone.posts(source="browser")).status == 200  # the browser may measure all the same


@BOTH
async def test_neither_secret_nor_code_nor_ticket_is_logged(
    tmp_path: Path, product: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(tmp_path, product) as firm, phone_of(firm) as phone:
        path = "auth/getuserinfo" if product == "wecom" else "sns/oauth2/access_token"
        back = await phone.comes_back()
        firm.platform.trouble(path, Trouble(errcode=40163, errmsg=f"code been used: {asked_of(back)['code']}"))
        assert (await phone.opens(back)).status == 403
        other = await phone.comes_back()
        firm.platform.trouble(path, Trouble(status=502))
        assert (await phone.opens(other)).status == 502
        await phone.logs_in()
        assert (await phone.config(firm.page.address)).status == 200
        ours = [
            one.getMessage() for one in caplog.records if one.name.startswith(("urllib3", "bot", "web", "wechatpy"))
        ]
        assert any(path in line for line in ours)  # the library did log the calls
        for hidden in (
            firm.platform.secret,
            *firm.platform.pages.tickets,
            *(asked_of(one)["code"] for one in (back, other)),
        ):
            assert not [line for line in ours if hidden in line]


async def test_twenty_at_once_fetch_one_ticket(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        firm.platform.trouble("get_jsapi_ticket", Trouble(slow_s=0.3))
        answers = await asyncio.gather(*(phone.config(firm.page.address) for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        assert firm.platform.count("get_jsapi_ticket") == 1


async def test_endless_refusals_below_a_ticket_end_with_a_word_to_the_operator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        firm.platform.trouble("get_jsapi_ticket", Trouble(errcode=40014, times=99))
        before = len(firm.platform.calls)
        for _ in range(5):
            assert (await phone.config(firm.page.address)).status == 502
        assert len(firm.platform.calls) - before <= 3
        assert "40014" in caplog.text
        assert firm.platform.secret not in caplog.text


async def test_the_platform_is_away_while_somebody_logs_in(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        firm.platform.trouble("auth/getuserinfo", Trouble(status=502))
        answer = await phone.opens(await phone.comes_back())
        assert answer.status == 502
        shown = await answer.text()
        assert "过一会儿再试" in shown
        assert f'<a class="primary button" href="{firm.page.path}" >' in shown
        await phone.logs_in()


async def test_a_position_needs_the_pages_own_token(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone, phone_of(firm) as other:
        await phone.logs_in()
        for token in ("", "wrong", "ä", phone.shown("token")[:-1]):
            assert (await phone.posts(token=token)).status == 403
        firm.platform.pages.holder = "sunhao"
        await other.logs_in()
        assert (await phone.posts(token=other.shown("token"))).status == 403
        firm.clock.moved += timedelta(minutes=31)
        late = await phone.posts()
        assert late.status == 403
        assert (await late.json())["problem"] == "login_over"
        assert firm.inbox() == []


async def test_a_cookie_of_the_web_chat_opens_nothing_here_nor_the_other_way_round(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        ours = next(one.value for one in phone.http.cookie_jar if one.key == "zoudian-wecom-login")
        assert firm.site.site.sessions.read(ours, firm.clock()) is None
        theirs = firm.site.site.sessions
        chat = theirs.cookie(theirs.make(firm.clock(), "wangjian"))
        phone.http.cookie_jar.clear()
        shown = await phone.opens(firm.page.address, headers={"Cookie": f"zoudian-wecom-login={chat}"})
        assert shown.status == 302


@pytest.mark.parametrize(
    "fields",
    [
        {"lat": 91.0},
        {"lon": -180.5},
        {"lat": "30.1"},
        {"lat": True},
        {"lat": None},
        {"lon": 10**400},
        {"accuracy": None},
        {"accuracy": 0},
        {"accuracy": -5},
        {"accuracy": 1e9},
        {"accuracy": [12]},
        {"fix_age_s": 400},
        {"source": "made_up"},
        {"key": None},
        {"key": "1"},
        {"key": "x" * 300},
    ],
    ids=str,
)
async def test_what_is_no_measurement_is_not_taken(tmp_path: Path, fields: dict[str, Any]) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        answer = await phone.posts(**fields)
        assert answer.status == 400
        assert (await answer.json())["text"]
        assert firm.inbox() == []


async def test_what_is_no_json_is_not_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        headers = {**PHONE, "X-Zoudian-Token": phone.shown("token"), "Content-Type": "application/json"}
        for body in (b"", b"[]", b'{"lat": NaN}', b"\xff", b"{" * 2000, b'{"lat": Infinity, "lon": 1}'):
            answer = await phone.http.post(f"{firm.page.address}/api/place", data=body, headers=headers)
            assert answer.status == 400
        assert firm.inbox() == []


async def test_two_taps_are_one_position(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        answers = await asyncio.gather(*(phone.posts() for _ in range(4)))
        told = sorted([(await one.json())["new"] for one in answers])
        assert told == [False, False, False, True]
        await firm.settle()
        assert len(firm.places()) == 1
        assert firm.read().count("已到店") == 1


async def test_a_page_fix_makes_a_pin_before_it_proof(tmp_path: Path) -> None:
    """先发了定位，再用准确定位：同一次拜访，凭据换成手机自测的；反过来不会变差。"""
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        pin = firm.platform.messages.location(firm.person, 30.0798, 120.4984, at=_seconds(firm))
        await firm.platform.push(f"{firm.address}/wecom/callback", pin)
        await firm.settle()
        await phone.logs_in()
        await phone.posts()
        await firm.settle()
        assert [one.kind for one in firm.places()] == ["pin", "h5_gps"]
        with firm.database.read(WHOLE) as work:
            [visit] = [visit_of(row) for row in work.session.scalars(select(VisitRow))]
        assert visit.value("place") == firm.places()[-1].id


async def test_it_is_not_done_before_it_is_stored(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        assert isinstance(firm.channel, WecomChannel)
        await firm.channel.pause()
        answer = await phone.posts()
        assert answer.status == 503
        assert "没有保存成功" in (await answer.json())["text"]
        await firm.channel.start(firm.app.intake.accept)
        assert (await phone.posts()).status == 200  # the same key: nothing was lost, nothing doubled
        await firm.settle()
        assert len(firm.places()) == 1


async def test_outside_of_the_app_it_says_where_to_open_it(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        answer = await phone.opens(firm.page.address, headers={"User-Agent": "Mozilla/5.0 Chrome/140"})
        assert answer.status == 403
        assert "请在手机的企业微信里打开" in await answer.text()


async def test_another_name_that_leads_here_gets_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        for path in (firm.path, f"{firm.path}/back?code=a&state=b", f"{firm.path}/api/config"):
            answer = await phone.opens(f"{firm.upstream}{path}", headers={"Host": "evil.example"})
            assert answer.status == 421


async def test_the_policy_lets_in_the_script_and_no_more(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        shown = await phone.opens(firm.page.address)
        policy = dict(part.strip().split(" ", 1) for part in shown.headers["Content-Security-Policy"].split(";"))
        script = urlsplit(f"{firm.platform.base}/{SCRIPT_PATH}")
        assert policy["script-src"] == f"'self' {script.scheme}://{script.netloc}"
        assert policy["default-src"] == "'none'"
        assert policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert shown.headers["Cache-Control"] == "no-store"
        chat = await phone.opens(f"{firm.address}/chat")
        assert script.netloc not in chat.headers["Content-Security-Policy"]


async def test_a_name_with_markup_is_only_text(tmp_path: Path) -> None:
    async with running(tmp_path) as firm, phone_of(firm) as phone:
        with firm.database.work(WHOLE) as work:
            rep = people.employee_named(work, "王建")
            assert rep is not None
            evil = '"><script>alert(1)</script>'
            people.save_employees(
                work, [type(rep)(rep.code, evil, rep.role, rep.districts, rep.manager, rep.active, rep.wecom)]
            )
        page = await phone.logs_in()
        assert "<script>alert" not in page


async def test_a_box_of_subscriptions_stands_on_the_page_and_counts(tmp_path: Path) -> None:
    """订阅通知：页面上有勾选框；平台告诉我们勾了，才算一次。"""
    async with running(tmp_path, "mp", boxes=True) as firm, phone_of(firm) as phone:
        await phone.logs_in()
        assert phone.shown("boxes") == REMINDER.template_id
        policy = (await phone.opens(firm.page.address)).headers["Content-Security-Policy"]
        assert "webcompt:" in policy
        await phone.opens(f"{firm.platform.base}/sdk/box?template={REMINDER.template_id}")
        await asyncio.sleep(0.3)
        with firm.database.work(WHOLE) as work:
            assert push_budget.take_grant(work, "mp", firm.person, REMINDER.template_id)
            assert not push_budget.take_grant(work, "mp", firm.person, REMINDER.template_id)


async def test_where_no_box_has_to_be_ticked_there_is_none(tmp_path: Path) -> None:
    async with running(tmp_path, "mp") as firm, phone_of(firm) as phone:
        await phone.logs_in()
        assert phone.shown("boxes") == ""


def _seconds(firm: HereFirm) -> int:
    return int(firm.clock().timestamp())
