"""Points, distances and the two datums, against published figures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.places import Point, gcj02_from_wgs84, is_plausible, metres_between, to_wgs84, wgs84_from_gcj02

# WGS-84 and GCJ-02 of the same places, from the test suite of googollee/eviltransform, which other libraries reuse.
PUBLISHED = {
    "上海": (Point(31.1774276, 121.5272106), Point(31.17530398364597, 121.531541859215)),
    "深圳": (Point(22.543847, 113.912316), Point(22.540796131694766, 113.9171764808363)),
    "北京": (Point(39.911954, 116.377817), Point(39.91334545536069, 116.38404722455657)),
}
SHAOXING = Point(30.0303, 120.5802)
GLOBE = st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))
MAINLAND = st.builds(Point, st.floats(18.2, 53.5), st.floats(73.7, 135.0))
AROUND_SHAOXING = st.builds(Point, st.floats(29.5, 30.5), st.floats(120.0, 121.3))


@pytest.mark.parametrize("city", PUBLISHED)
def test_the_published_points_both_ways(city: str) -> None:
    wgs84, gcj02 = PUBLISHED[city]
    assert metres_between(gcj02_from_wgs84(wgs84), gcj02) < 0.01
    assert metres_between(wgs84_from_gcj02(gcj02), wgs84) < 0.01


@given(MAINLAND)
def test_there_and_back_over_the_mainland_is_under_half_a_metre(point: Point) -> None:
    assert metres_between(wgs84_from_gcj02(gcj02_from_wgs84(point)), point) < 0.5
    assert metres_between(gcj02_from_wgs84(wgs84_from_gcj02(point)), point) < 0.5


@given(MAINLAND)
def test_the_shift_is_of_hundreds_of_metres_never_kilometres(point: Point) -> None:
    """坐标系弄错一次就偏几百米，超出 200 米围栏"""
    assert 20 < metres_between(gcj02_from_wgs84(point), point) < 1500


@given(AROUND_SHAOXING)
def test_in_shaoxing_a_wrong_datum_leaves_the_fence(point: Point) -> None:
    assert metres_between(gcj02_from_wgs84(point), point) > 400


@pytest.mark.parametrize(
    "abroad",
    [Point(35.68, 139.69), Point(48.86, 2.35), Point(-33.86, 151.21), Point(40.7, -74.0), Point(0.5, 110.0)],
    ids=["东京", "巴黎", "悉尼", "纽约", "赤道"],
)
def test_abroad_nothing_is_shifted(abroad: Point) -> None:
    assert gcj02_from_wgs84(abroad) == abroad
    assert wgs84_from_gcj02(abroad) == abroad


def test_a_channel_states_its_datum() -> None:
    wgs84, gcj02 = PUBLISHED["上海"]
    assert to_wgs84(wgs84, "wgs84") == wgs84
    assert metres_between(to_wgs84(gcj02, "gcj02"), wgs84) < 0.01


@given(GLOBE, GLOBE)
def test_distance_is_symmetric_and_at_most_half_way_round(a: Point, b: Point) -> None:
    assert metres_between(a, b) == pytest.approx(metres_between(b, a), abs=1e-6)
    assert 0 <= metres_between(a, b) <= math.pi * 6_371_008.8 + 1


@given(GLOBE, GLOBE, GLOBE)
def test_no_way_round_is_shorter(a: Point, b: Point, c: Point) -> None:
    assert metres_between(a, c) <= metres_between(a, b) + metres_between(b, c) + 0.01


@given(GLOBE)
def test_a_point_is_no_distance_from_itself(point: Point) -> None:
    assert metres_between(point, point) == 0


def test_known_distances() -> None:
    assert metres_between(Point(0, 0), Point(1, 0)) == pytest.approx(111_195, abs=1)  # 6 371 008.8 m x pi / 180
    assert metres_between(Point(60, 0), Point(60, 1)) == pytest.approx(55_597, rel=1e-3)  # half as long at 60 degrees
    assert metres_between(Point(39.9042, 116.4074), Point(31.2304, 121.4737)) == pytest.approx(1_067_000, rel=2e-3)
    assert metres_between(Point(0, 0), Point(0, 180)) == pytest.approx(math.pi * 6_371_008.8)


@given(st.floats(0, 5000), st.floats(0, 5000), st.sampled_from([(1, 0), (0, 1)]))
def test_walking_away_is_never_coming_nearer(one: float, more: float, way: tuple[int, int]) -> None:
    def at(metres: float) -> Point:
        north, east = way
        degrees = metres / 111_195
        return Point(SHAOXING.lat + north * degrees, SHAOXING.lon + east * degrees)

    assert metres_between(SHAOXING, at(one)) <= metres_between(SHAOXING, at(one + more)) + 1e-6


@pytest.mark.parametrize(
    ("point", "plausible"),
    [
        (SHAOXING, True),
        (Point(0.0, 0.0), False),
        (Point(0.005, -0.005), False),
        (Point(0.0, 101.0), True),
        (Point(90.1, 0), False),
        (Point(30, 180.1), False),
        (Point(math.nan, 120.0), False),
        (Point(30.0, math.inf), False),
    ],
)
def test_what_a_phone_can_have_meant(point: Point, plausible: bool) -> None:
    assert is_plausible(point) is plausible
