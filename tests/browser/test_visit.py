"""一次完整的拜访，在手机大小的网页上点完：定位、拍照、录音、确认，经理随后看到。"""

from difflib import SequenceMatcher

from playwright.sync_api import BrowserContext, FilePayload, Page, expect

from rules.evidence import Level, PlaceKind
from rules.visit import State
from storage import evidence, people, visits
from tests.browser.conftest import keep
from tests.browser.running import Running, shop_photo
from tests.databases import WHOLE

SPOKEN = "帮他调整了货架陈列，刚从大发干货行出来。"


def take_photo(chat: Page) -> None:
    """What the camera gives back after 拍照."""
    photo = FilePayload(name="IMG_0001.jpg", mimeType="image/jpeg", buffer=shop_photo())
    chat.locator("#camera").set_input_files(photo)


def record(chat: Page, milliseconds: int) -> None:
    chat.locator("#voice").click()
    expect(chat.locator("#record-time")).to_have_text("0:01")
    chat.wait_for_timeout(milliseconds)
    chat.locator("#record-send").click()


def answer_what_is_left(chat: Page) -> int:
    """Tap or type whatever is still asked, until the visit is closed; how many actions that took."""
    for actions in range(12):
        chat.wait_for_timeout(700)
        if chat.get_by_text("拜访已记录").count():
            return actions
        open_buttons = chat.locator(".row.bot").last.locator(".choices button:not(:disabled)")
        if open_buttons.count():
            open_buttons.first.click()
        else:
            chat.locator("#text").fill("货架陈列位置太差")
            chat.locator("#text").press("Enter")
    raise AssertionError(chat.locator("#chat").inner_text())


def test_a_whole_visit_is_clicked_through(chat: Page, desk: BrowserContext, bot: Running) -> None:
    chat.locator("#place").click()
    expect(chat.locator(".row.me .pin")).to_contain_text("误差约 12 米")
    chat.get_by_text("已到店：柯桥老灶台酒家").wait_for()
    take_photo(chat)
    chat.get_by_text("门头照已收").wait_for()
    record(chat, 5200)
    chat.get_by_text("拜访小结").wait_for()
    keep(chat, "chat_card")
    assert 3 + answer_what_is_left(chat) <= 5  # 定位、照片、语音，再加至多两下
    keep(chat, "chat_closed")

    with bot.database.read(WHOLE) as work:
        rep = people.employee_named(work, "王建")
        assert rep is not None
        [visit] = visits.last_closed(work, rep.code, 5)
        place = evidence.places(work, [int(str(visit.value("place")))])[int(str(visit.value("place")))]
        [note] = evidence.notes(work, visit.ids("report")).values()
        [photo] = evidence.photos(work, visit.ids("photo")).values()
    assert (visit.state, visit.outlet) == (State.CLOSED, "C0001")
    assert (place.kind, place.accuracy_m) == (PlaceKind.BROWSER, 12.0)
    assert visit.grade is not None
    assert visit.grade.level is Level.VERIFIED
    assert bot.files.get(photo.file) == shop_photo()
    # Chromium's microphone path filters the sound, and its clip starts anywhere; most of the words come through.
    assert note.state == "heard"
    assert note.mime.startswith("audio/webm")

    page = desk.new_page()
    page.goto("/manager")
    row = page.get_by_role("row").filter(has_text="柯桥老灶台酒家")
    expect(row).to_contain_text("王建")
    expect(row).to_contain_text("已核实")
    keep(page, "manager_day")
    row.click()
    expect(page.locator("#drawer")).to_contain_text("浏览器定位")
    page.locator(".shots img").wait_for()
    assert page.locator(".shots img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 960
    page.wait_for_timeout(300)
    keep(page, "manager_visit")


def test_a_visit_by_samples_alone(chat: Page, bot: Running) -> None:
    """没有定位、摄像头和麦克风的新手，用演示按钮也能走完一次拜访，三步之后点一下确认。"""
    chat.get_by_role("button", name="选一家店").click()
    chat.get_by_role("button", name="柯桥老灶台酒家").click()
    expect(chat.locator(".row.me .pin")).to_contain_text("演示：柯桥老灶台酒家门口")
    chat.get_by_role("button", name="用示例照片").click()
    chat.get_by_text("门头照已收").wait_for()
    chat.get_by_role("button", name="用示例语音").click()
    chat.get_by_role("button", name=SPOKEN).click()
    chat.get_by_text("拜访小结").wait_for()
    answer_what_is_left(chat)
    with bot.database.read(WHOLE) as work:
        rep = people.employee_named(work, "王建")
        assert rep is not None
        [visit] = visits.last_closed(work, rep.code, 5)
        [note] = evidence.notes(work, visit.ids("report")).values()
    assert SequenceMatcher(None, note.text, SPOKEN).ratio() > 0.9
