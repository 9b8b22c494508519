"""页面本身：断网不丢、刷新还在、按钮不重复、代码当文字、没授权有提示。"""

from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from bot.app import utc_now
from handlers.messages import Choice, Reply, Say
from handlers.turn import ask, outgoing
from storage import inbox, outbox, people
from storage.database import Work
from tests.browser.conftest import keep
from tests.browser.running import Running, running
from tests.browser.test_visit import take_photo
from tests.databases import WHOLE


def say(bot: Running, text: str, *choices: str) -> None:
    """The bot says something to 王建."""

    def put(work: Work) -> None:
        rep = people.employee_named(work, "王建")
        assert rep is not None
        [account] = people.accounts_of(work, rep.code)
        reply = Reply(Say("as_is", {"text": text}), tuple(Choice(word, word) for word in choices), about="visit")
        number = ask(work, account, reply, utc_now()) if choices else None
        outbox.queue(work, outgoing(account, reply, utc_now(), f"test:{text}", question=number))

    with bot.database.work(WHOLE) as work:
        put(work)
    bot.app.sender.wake()


def came_in(bot: Running) -> list[dict[str, object]]:
    """王建's messages as they were stored."""
    with bot.database.read(WHOLE) as work:
        rep = people.employee_named(work, "王建")
        assert rep is not None
        stored = inbox.of_person(work, "web", f"web:demo-{rep.code}")
    return [delivery.message or {} for delivery, _ in stored]


def test_what_is_said_offline_waits_and_goes_out_once(chat: Page, phone: BrowserContext, bot: Running) -> None:
    """没信号时说的话、拍的照先存着，刷新页面也还在，有网后各发一次，先后不乱。"""
    phone.set_offline(True)
    expect(chat.locator("#strip")).to_contain_text("没有网络")
    chat.locator("#text").fill("我的待办")
    chat.locator("#text").press("Enter")
    take_photo(chat)
    expect(chat.locator(".row.me")).to_have_count(2)
    expect(chat.locator(".row.me .note").first).to_contain_text("等待发送")
    assert came_in(bot) == []
    phone.set_offline(False)
    chat.get_by_text("门头照已收").wait_for()
    expect(chat.locator(".row.me .note").first).to_have_text("")
    assert [message["kind"] for message in came_in(bot)] == ["text", "photo"]
    chat.reload()
    expect(chat.locator(".row.me")).to_have_count(2)
    assert len(came_in(bot)) == 2


def test_what_waits_outlives_a_reload(chat: Page, phone: BrowserContext, bot: Running) -> None:
    phone.route("**/api/messages", lambda route: route.abort())
    chat.locator("#text").fill("帮助")
    chat.locator("#text").press("Enter")
    expect(chat.locator(".row.me .note")).to_contain_text("等待发送")
    chat.reload()
    expect(chat.locator(".row.me")).to_have_text("帮助等待发送重试", use_inner_text=False)
    phone.unroute("**/api/messages")
    chat.get_by_role("button", name="重试").click()
    chat.get_by_text("到店：发定位").wait_for()
    assert [message["text"] for message in came_in(bot)] == ["帮助"]


def test_a_lost_answer_does_not_apply_a_message_twice(chat: Page, phone: BrowserContext, bot: Running) -> None:
    """服务器收下了但回执丢了，页面会重发；只算一次。"""
    lost: list[object] = []

    def lose_the_first_answer(route: Route) -> None:
        if not lost:
            lost.append(route.fetch())
            route.abort()
        else:
            route.continue_()

    phone.route("**/api/messages", lose_the_first_answer)
    chat.locator("#text").fill("帮助")
    chat.locator("#text").press("Enter")
    chat.get_by_text("到店：发定位").wait_for()
    expect(chat.locator(".row.me .note")).to_have_text("", timeout=8000)
    assert len(lost) == 1
    assert len(came_in(bot)) == 1
    expect(chat.locator(".row.me")).to_have_count(1)


def test_buttons_stand_under_their_message_and_grey_once_pressed(chat: Page, bot: Running) -> None:
    say(bot, "这次没成交的主要原因是？", "价格未匹配", "竞品锁定")
    row = chat.locator(".row.bot").filter(has_text="主要原因")
    row.get_by_role("button", name="竞品锁定").click()
    expect(row.get_by_role("button", name="竞品锁定")).to_have_attribute("aria-pressed", "true")
    expect(row.get_by_role("button", name="价格未匹配")).to_be_disabled()
    expect(chat.locator(".row.me")).to_have_text("竞品锁定")
    [tap] = came_in(bot)
    assert tap["kind"] == "tap"


def test_markup_in_a_message_is_shown_and_not_run(chat: Page, bot: Running) -> None:
    evil = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
    say(bot, evil, "<b>确认</b>")
    chat.locator("#text").fill(evil)
    chat.locator("#text").press("Enter")
    expect(chat.locator(".row.bot .bubble").filter(has_text="onerror")).to_have_text(evil)
    expect(chat.locator(".row.me .bubble")).to_have_text(evil)
    expect(chat.get_by_role("button", name="<b>确认</b>")).to_be_visible()
    assert chat.locator("#chat .bubble img, #chat script, #chat b").count() == 0
    assert chat.title() == "走店"


def test_two_open_pages_tell_the_same(chat: Page, phone: BrowserContext, bot: Running) -> None:
    second = phone.new_page()
    second.goto("/chat")
    second.get_by_text("王建 · 在线").wait_for()
    say(bot, "提醒：下午三点回访")
    for page in (chat, second):
        expect(page.get_by_text("提醒：下午三点回访")).to_have_count(1)


def test_without_permission_the_page_says_what_to_do(chromium: Browser, bot: Running) -> None:
    """没给定位权限：说清楚怎么办；演示时直接给出选店。"""
    context = chromium.new_context(base_url=bot.url, locale="zh-CN", permissions=[])
    page = context.new_page()
    page.goto("/chat")
    page.get_by_text("王建 · 在线").wait_for()
    page.locator("#place").click()
    expect(page.locator("#sheet")).to_contain_text("定位没有打开")
    expect(page.locator("#sheet")).to_contain_text("柯桥老灶台酒家")
    context.close()


def test_a_narrow_phone_scrolls_only_up_and_down(chat: Page, bot: Running) -> None:
    chat.set_viewport_size({"width": 360, "height": 640})
    say(
        bot,
        "https://example.com/" + "很长的网址没有空格" * 12,
        "一个很长很长很长很长的选项",
        "短",
        "竞品锁定",
        "价格未匹配",
    )
    chat.get_by_role("button", name="竞品锁定").wait_for()
    assert chat.evaluate("document.documentElement.scrollWidth") <= 360
    assert chat.evaluate("document.getElementById('chat').scrollWidth <= document.getElementById('chat').clientWidth")
    keep(chat, "chat_narrow")


def test_a_phone_over_plain_http_is_told_why_and_can_still_write(chromium: Browser, tmp_path: Path) -> None:
    """手机用 http 打开：浏览器不给定位和录音，页面说明原因，打字照样能用。"""
    with running(tmp_path, public_url="http://zoudian.test") as bot:
        with bot.database.work(WHOLE) as work:
            rep = people.employee_named(work, "王建")
            assert rep is not None
            token = people.make_invite(work, rep.code, utc_now())
        context = chromium.new_context(base_url=bot.url.replace("127.0.0.1", "zoudian.test"), locale="zh-CN")
        page = context.new_page()
        page.goto(f"/join/{token}")
        assert not page.evaluate("isSecureContext")
        page.get_by_role("button", name="加入").click()
        page.locator("#place").click()
        expect(page.locator("#toast")).to_contain_text("https")
        page.locator("#voice").click()
        expect(page.locator("#toast")).to_contain_text("打字")
        page.locator("#text").fill("帮助")
        page.locator("#text").press("Enter")
        page.get_by_text("到店：发定位").wait_for()
        context.close()


def test_a_colleague_joins_by_invite(chromium: Browser, tmp_path: Path) -> None:
    """真用时：没邀请的人只看到一句话；打开邀请、点一下“加入”，就能聊。"""
    with running(tmp_path) as bot:
        with bot.database.work(WHOLE) as work:
            rep = people.employee_named(work, "王建")
            assert rep is not None
            token = people.make_invite(work, rep.code, utc_now())
        context = chromium.new_context(base_url=bot.url, locale="zh-CN", viewport={"width": 390, "height": 844})
        page = context.new_page()
        page.goto("/chat")
        page.get_by_text("请向销售运营要一个邀请链接").wait_for()
        expect(page.locator("#bar")).to_be_hidden()
        page.goto(f"/join/{token}")
        page.get_by_role("button", name="加入").click()
        page.get_by_text("已绑定：王建").wait_for()
        expect(page.locator("#bar")).to_be_visible()
        expect(page.get_by_text("还不认识您")).to_have_count(0)
        page.goto(f"/join/{token}")
        page.get_by_role("button", name="加入").click()
        page.get_by_text("请向销售运营要邀请二维码").wait_for()
        context.close()
