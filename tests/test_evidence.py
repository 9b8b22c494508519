"""What a check-in is worth. Every reason once given and once not; and nobody is accused for what a phone did."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.evidence import Before, Level, Photo, Place, PlaceKind, better, grade
from rules.limits import Limits
from rules.places import Point, gcj02_from_wgs84

LIMITS = Limits()
SHOP = Point(30.0812, 120.4903)
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
EVERY_KIND = list(PlaceKind)


def away(metres: float, from_: Point = SHOP) -> Point:
    """So many metres north."""
    return Point(from_.lat + metres / 111_195.08, from_.lon)


def pin(metres: float = 0.0, kind: PlaceKind = PlaceKind.LIVE, accuracy: float | None = None) -> Place:
    point = away(metres)
    return Place(point, kind, NOON, point, "wgs84", accuracy)


def photo(
    hours_old: float | None = None, metres: float | None = None, same_as: int | None = None, at: datetime = NOON
) -> Photo:
    taken_at = None if hours_old is None else at - timedelta(hours=hours_old)
    where = None if metres is None else away(metres)
    return Photo("f" * 64, at, taken_at, where, same_as=same_as)


def graded(
    place: Place, *photos: Photo, before: Before | None = None, outlet: Point | None = SHOP
) -> tuple[Level, list[str]]:
    """The level and the reasons' names."""
    found = grade(place, outlet, photos, before, LIMITS)
    return found.level, [reason.code for reason in found.reasons]


# --- 已核实 ---


@pytest.mark.parametrize("kind", [PlaceKind.LIVE, PlaceKind.REPORT, PlaceKind.BROWSER])
def test_a_device_fix_at_the_outlet_is_verified(kind: PlaceKind) -> None:
    assert graded(pin(50, kind, accuracy=30)) == (Level.VERIFIED, ["device_fix"])


@pytest.mark.parametrize("kind", [PlaceKind.PIN, PlaceKind.VENUE])
def test_a_pin_and_a_photo_that_agree_are_verified(kind: PlaceKind) -> None:
    """静态定位，加上照片自带的时间和地点：两样独立的证据一致"""
    assert graded(pin(0, kind), photo(hours_old=0.1, metres=50)) == (Level.VERIFIED, ["photo_agrees"])


# --- 无法核实 ---


@pytest.mark.parametrize(
    ("kind", "reason"), [(PlaceKind.PIN, "hand_dropped"), (PlaceKind.VENUE, "venue")], ids=["静态定位", "选的地点"]
)
def test_a_pin_alone_proves_nothing_and_accuses_nobody(kind: PlaceKind, reason: str) -> None:
    assert graded(pin(0, kind)) == (Level.UNVERIFIABLE, [reason])


@pytest.mark.parametrize(
    "shown",
    [photo(), photo(hours_old=0.1), photo(metres=0), photo(hours_old=0.1, metres=250), photo(hours_old=-13, metres=0)],
    ids=["没有信息", "只有时间", "只有地点", "地点不够近", "时钟快了半天"],
)
def test_a_photo_that_says_only_half_verifies_no_pin(shown: Photo) -> None:
    assert graded(pin(0, PlaceKind.PIN), shown) == (Level.UNVERIFIABLE, ["hand_dropped"])


def test_an_outlet_where_nobody_has_stood_yet_verifies_nothing() -> None:
    assert graded(pin(), outlet=None) == (Level.UNVERIFIABLE, ["outlet_has_no_point"])


@pytest.mark.parametrize(
    ("metres", "accuracy", "level"),
    [
        (200, 200, Level.VERIFIED),
        (0, 201, Level.UNVERIFIABLE),
        (201, 10, Level.UNVERIFIABLE),
        (3000, 5000, Level.UNVERIFIABLE),
        (3000, 2000, Level.DOUBTFUL),
    ],
    ids=["刚好在围栏内", "误差太大", "也许在围栏内", "桌面浏览器误差五公里", "误差之外仍在远处"],
)
def test_a_vague_fix_is_neither_proof_nor_doubt(metres: float, accuracy: float, level: Level) -> None:
    assert graded(pin(metres - 0.5 if metres else 0, accuracy=accuracy))[0] is level


def test_a_vague_pin_is_not_verified_by_a_photo_taken_far_from_the_outlet() -> None:
    place = pin(3000, PlaceKind.PIN, accuracy=5000)
    assert graded(place, photo(hours_old=0.1, metres=3000)) == (Level.UNVERIFIABLE, ["vague_fix"])


# --- 存疑: each reason in both directions ---


def test_forwarded() -> None:
    """转发别人的定位"""
    assert graded(pin(0, PlaceKind.FORWARDED)) == (Level.DOUBTFUL, ["forwarded"])


@pytest.mark.parametrize(("metres", "doubtful"), [(199, False), (201, True), (5000, True)])
def test_too_far(metres: float, doubtful: bool) -> None:
    level, reasons = graded(pin(metres))
    assert (level is Level.DOUBTFUL) is doubtful
    assert ("too_far" in reasons) is doubtful


@pytest.mark.parametrize(("minutes", "doubtful"), [(0, False), (10, False), (10.1, True), (-5, False)])
def test_stale_fix(minutes: float, doubtful: bool) -> None:
    """十分钟以前测的位置"""
    place = replace(pin(), fixed_at=NOON - timedelta(minutes=minutes))
    assert ("stale_fix" in graded(place)[1]) is doubtful


@pytest.mark.parametrize(
    ("km", "minutes", "doubtful"),
    [
        (30, 12.1, False),
        (30, 11.9, True),
        (0.9, 1.1, False),
        (300, 1.1, True),
        (300, 1.0, False),
        (300, 0, False),
        (300, -5, False),
    ],
    ids=[
        "150 公里时速以内",
        "超过 150 公里时速",
        "不到一公里，不下结论",
        "一分钟三百公里",
        "没信号时攒下的定位一起到",
        "两条定位同一时刻",
        "先后颠倒",
    ],
)
def test_too_fast(km: float, minutes: float, doubtful: bool) -> None:
    before = Before(away(km * 1000), NOON - timedelta(minutes=minutes))
    assert ("too_fast" in graded(pin(), before=before)[1]) is doubtful


def test_within_a_kilometre_nothing_is_concluded_however_slow_the_firm_thinks_its_reps() -> None:
    """公司把时速上限设成 20 公里：九百米也不下结论"""
    slow = replace(LIMITS, top_speed_kmh=20.0)
    before = Before(away(900), NOON - timedelta(minutes=2))
    assert grade(pin(), SHOP, [], before, slow).level is Level.VERIFIED
    assert grade(pin(), SHOP, [], replace(before, point=away(1100)), slow).level is Level.DOUBTFUL


def test_measuring_errors_are_taken_off_the_way() -> None:
    """前后两次定位各差两公里：不算飞过去的"""
    before = Before(away(30_000), NOON - timedelta(minutes=11), accuracy_m=2000)
    assert "too_fast" in graded(pin(), before=replace(before, accuracy_m=0.0))[1]
    assert "too_fast" not in graded(pin(accuracy=2000), before=before)[1]


def test_photo_used_before() -> None:
    assert graded(pin(), photo(same_as=7)) == (Level.DOUBTFUL, ["photo_used_before"])
    assert graded(pin(), photo(same_as=None))[0] is Level.VERIFIED


@pytest.mark.parametrize(("metres", "doubtful"), [(399, False), (2000, True)])
def test_photo_elsewhere(metres: float, doubtful: bool) -> None:
    assert ("photo_elsewhere" in graded(pin(), photo(metres=metres))[1]) is doubtful


@pytest.mark.parametrize(
    ("hours", "doubtful"), [(0, False), (12, False), (12.1, True), (48, True), (-0.1, False), (-48, False)]
)
def test_photo_old(hours: float, doubtful: bool) -> None:
    """十二小时以前拍的照片。手机时钟快了两天，那不是旧照片"""
    assert ("photo_old" in graded(pin(), photo(hours_old=hours))[1]) is doubtful


def test_every_reason_is_told_not_only_the_first() -> None:
    place = replace(pin(5000, PlaceKind.FORWARDED), fixed_at=NOON - timedelta(hours=1))
    before = Before(away(500_000), NOON - timedelta(minutes=10))
    shown = photo(hours_old=30, metres=60_000, same_as=3)
    assert graded(place, shown, before=before) == (
        Level.DOUBTFUL,
        ["forwarded", "too_far", "stale_fix", "too_fast", "photo_used_before", "photo_elsewhere", "photo_old"],
    )


def test_a_reason_carries_the_figures_a_rep_can_check() -> None:
    [reason] = grade(pin(850), SHOP, [], None, LIMITS).reasons
    assert dict(reason.values) == {"metres": 850, "fence": 200}


# --- false accusations ---


@given(st.floats(0, 1000), st.floats(0, 2 * math.pi), st.sampled_from(EVERY_KIND[:5]), st.floats(1, 600))
def test_a_kilometre_of_jitter_between_two_visits_is_never_impossible_travel(
    metres: float, way: float, kind: PlaceKind, seconds: float
) -> None:
    """楼宇之间定位漂移一公里，不能说人会飞"""
    north, east = metres * 0.999 * math.cos(way), metres * 0.999 * math.sin(way)
    jumped = Point(SHOP.lat + north / 111_195.08, SHOP.lon + east / 111_195.08 / math.cos(math.radians(SHOP.lat)))
    before = Before(jumped, NOON - timedelta(seconds=seconds))
    assert graded(pin(0, kind), before=before)[0] is not Level.DOUBTFUL


@given(st.floats(0, 3000), st.floats(0, 3000), st.sampled_from(EVERY_KIND[:5]))
def test_a_rep_who_may_be_at_the_outlet_is_never_accused(metres: float, accuracy: float, kind: PlaceKind) -> None:
    """手机自己说误差有多大，误差之内不算不到店"""
    level, reasons = graded(pin(metres, kind, accuracy))
    if metres <= accuracy + LIMITS.fence_m - 0.01:
        assert level is not Level.DOUBTFUL
    if level is Level.VERIFIED:
        assert metres <= LIMITS.fence_m + 0.01
        assert reasons == ["device_fix"]


@given(st.floats(0, 3000), st.floats(0, 200), st.floats(0, 3000))
def test_a_worse_measurement_never_makes_a_doubt(metres: float, accuracy: float, worse: float) -> None:
    if graded(pin(metres, accuracy=accuracy))[0] is not Level.DOUBTFUL:
        assert graded(pin(metres, accuracy=accuracy + worse))[0] is not Level.DOUBTFUL


def test_a_camera_that_writes_gcj02_accuses_nobody() -> None:
    """国产手机的相机有的写火星坐标，与 GPS 差五百米：照片就是在店里拍的"""
    shown = replace(photo(hours_old=0.1), taken_where=gcj02_from_wgs84(SHOP))
    assert graded(pin(), shown)[0] is Level.VERIFIED
    assert graded(pin(0, PlaceKind.PIN), shown)[0] is Level.UNVERIFIABLE


@given(st.sampled_from(EVERY_KIND), st.floats(0, 3000), st.floats(0, 500))
def test_a_photo_without_data_changes_no_grade(kind: PlaceKind, metres: float, accuracy: float) -> None:
    place = pin(metres, kind, accuracy)
    assert graded(place) == graded(place, photo())


# --- which of two positions counts ---


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (pin(kind=PlaceKind.LIVE), pin(kind=PlaceKind.PIN), True),
        (pin(kind=PlaceKind.PIN), pin(kind=PlaceKind.LIVE, accuracy=900), False),
        (pin(accuracy=20), pin(accuracy=50), True),
        (pin(accuracy=50), pin(accuracy=20), False),
        (pin(accuracy=None), pin(accuracy=50), False),
        (pin(kind=PlaceKind.PIN), pin(kind=PlaceKind.FORWARDED), True),
        (pin(kind=PlaceKind.PIN), pin(kind=PlaceKind.PIN), False),
        (pin(kind=PlaceKind.FORWARDED), pin(kind=PlaceKind.PIN), False),
    ],
)
def test_the_stronger_position_counts(new: Place, old: Place, expected: bool) -> None:
    assert better(new, old) is expected
