"""Which outlet a pin means; where that is not clear, nobody guesses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.outlets import Near, Outlet, clear_match, nearby
from rules.places import Point, metres_between

PIN = Point(30.0812, 120.4903)
RATIO = 2.0
DISTANCES = st.lists(st.floats(0, 400), max_size=8)


def outlet(code: str, metres_north: float | None = 0.0) -> Outlet:
    """A shop so many metres north of the pin, or one where nobody has stood yet."""
    point = None if metres_north is None else Point(PIN.lat + metres_north / 111_195.08, PIN.lon)
    return Outlet(code, f"{code}餐馆", "餐饮", "柯桥区", "", point, "R01", None)


def near(*metres: float) -> list[Near]:
    return [Near(outlet(f"C{at}", away), away) for at, away in enumerate(sorted(metres))]


def test_nearest_first_and_only_within_the_fence() -> None:
    shops = [outlet("far", 250), outlet("second", 120), outlet("first", 30), outlet("unknown", None)]
    found = nearby(PIN, shops, 200)
    assert [item.outlet.code for item in found] == ["first", "second"]
    assert found[0].metres == pytest.approx(30, abs=0.1)


def test_two_shops_at_one_address_come_in_a_stable_order() -> None:
    found = nearby(PIN, [outlet("B", 10), outlet("A", 10)], 200)
    assert [item.outlet.code for item in found] == ["A", "B"]


@pytest.mark.parametrize(
    ("away", "accuracy", "found"),
    [(199, 0, True), (201, 0, False), (249, 50, True), (251, 50, False), (399, 5000, True), (401, 5000, False)],
)
def test_a_vague_fix_widens_the_fence_at_most_to_the_double(away: float, accuracy: float, found: bool) -> None:
    assert bool(nearby(PIN, [outlet("C", away)], 200, accuracy)) is found


@given(DISTANCES, st.floats(0, 400), st.floats(0, 400))
def test_a_wider_fence_never_loses_an_outlet(distances: list[float], fence: float, more: float) -> None:
    shops = [outlet(f"C{at}", away) for at, away in enumerate(distances)]
    narrow = [item.outlet for item in nearby(PIN, shops, fence)]
    wide = [item.outlet for item in nearby(PIN, shops, fence + more)]
    assert wide[: len(narrow)] == narrow


@given(DISTANCES, st.floats(0, 400), st.floats(0, 1000))
def test_what_is_found_is_near_and_sorted(distances: list[float], fence: float, accuracy: float) -> None:
    found = nearby(PIN, [outlet(f"C{at}", away) for at, away in enumerate(distances)], fence, accuracy)
    for item in found:
        assert item.outlet.point is not None
        assert item.metres == metres_between(PIN, item.outlet.point) <= 2 * fence
    assert [item.metres for item in found] == sorted(item.metres for item in found)


@pytest.mark.parametrize(
    ("metres", "accuracy", "clear"),
    [
        ((), 0, False),
        ((180,), 0, True),
        ((20, 60), 0, True),
        ((0, 30), 0, True),
        ((0, 29), 0, False),
        ((50, 99), 0, False),
        ((50, 100), 0, True),
        ((10, 12, 190), 0, False),
        ((20, 60), 20, True),
        ((20, 60), 21, False),
        ((20, 60), 150, False),
        ((180,), 150, True),
    ],
    ids=[
        "附近没有店",
        "只有一家，远一点也是它",
        "一家近一家远",
        "站在店里，隔壁三十米",
        "隔壁不到三十米：要问",
        "不到两倍远：要问",
        "刚好两倍远",
        "市场里两个摊位：要问",
        "定位误差 20 米，还分得清",
        "定位误差 21 米，分不清：要问",
        "定位误差 150 米：要问",
        "误差大但只有一家",
    ],
)
def test_one_clear_outlet_is_taken_and_anything_else_is_asked(
    metres: tuple[float, ...], accuracy: float, clear: bool
) -> None:
    match = clear_match(near(*metres), RATIO, accuracy)
    assert (match is not None) is clear
    if match is not None:
        assert match.code == "C0"


@given(st.floats(0, 200), st.floats(0, 200), st.floats(0, 100), st.floats(0, 1), st.floats(0, 2 * math.pi))
def test_a_clear_match_is_right_wherever_the_rep_really_stands(
    first: float, second: float, accuracy: float, off: float, way: float
) -> None:
    """定位误差之内，无论人实际站在哪里，认定的店都是最近的店"""
    a, b = sorted((first, second))
    shops = [outlet("A", a), outlet("B", -b)]
    match = clear_match([Near(shops[0], a), Near(shops[1], b)], RATIO, accuracy)
    really = Point(
        PIN.lat + off * accuracy * math.cos(way) / 111_195.08,
        PIN.lon + off * accuracy * math.sin(way) / 111_195.08 / math.cos(math.radians(PIN.lat)),
    )
    if match is not None:
        assert shops[0].point is not None
        assert shops[1].point is not None
        assert metres_between(really, shops[0].point) <= metres_between(really, shops[1].point) + 0.1
