"""Numbers, quantities and money as they are said and written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp.numbers import find_amounts, find_quantities, read_number
from nlp.spoken import even_out
from tests.growth import SQUARE, growth

DIGITS = "零一二三四五六七八九"


def spoken(number: int) -> str:
    """A number below 100000 as it is read aloud, in full."""
    out, gap = "", False
    for unit, value in (("万", 10_000), ("千", 1_000), ("百", 100), ("十", 10), ("", 1)):
        digit, number = divmod(number, value)
        if digit:
            out += ("零" if gap and out else "") + DIGITS[digit] + unit
        gap = not digit
    return out or "零"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("三百八", 380),
        ("一百八", 180),
        ("两万三", 23_000),
        ("一万二", 12_000),
        ("2万3", 23_000),
        ("1.5万", 15_000),
        ("两千一", 2_100),
        ("三百零八", 308),
        ("十二", 12),
        ("廿", 20),
        ("廿五", 25),
        ("俩", 2),
        ("仨", 3),
        ("二零二六", 2026),
        ("幺八六", 186),
        ("一万八千五", 18_500),
        ("五千三百六", 5_360),
        ("12", 12),
        ("0.5", 0.5),
        ("一万", 10_000),
        ("百", 100),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert read_number(text) == value


@pytest.mark.parametrize("text", ["", "二三十", "两三", "三五", "箱", "几十", "一二三箱"])
def test_no_one_number(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("鸡翅六箱薯条十包", [(6, "箱"), (10, "包")]),
        ("２箱", [(2, "箱")]),
        ("2箱", [(2, "箱")]),
        ("半箱", [(0.5, "箱")]),
        ("一箱半", [(1.5, "箱")]),
        ("十来箱", [(10, "箱")]),
        ("两三箱", []),
        ("三十天", []),
        ("一百二十袋", [(120, "袋")]),
        ("零箱", []),
        ("20公斤", [(20, "公斤")]),
    ],
)
def test_quantities(text: str, found: list[tuple[float, str]]) -> None:
    assert [(quantity.value, quantity.unit) for quantity in find_quantities(even_out(text))] == found


def test_about_ten_is_marked() -> None:
    assert find_quantities("十来箱")[0].about
    assert not find_quantities("十箱")[0].about


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("三块八", [3.8]),
        ("六十八块五", [68.5]),
        ("68块5", [68.5]),
        ("68.5元", [68.5]),
        ("收款一万二", [12_000]),
        ("2.3万元", [23_000]),
        ("现结五千三百六", [5_360]),
        ("二百箱", []),
        ("六十天", []),
        ("八百六十块五毛", [860.5]),
        ("三块五箱", [3]),
        ("一百八十八号", []),
    ],
)
def test_amounts(text: str, values: list[float]) -> None:
    assert [amount.value for amount in find_amounts(text)] == values


@given(st.integers(0, 99_999))
def test_a_number_read_aloud_is_read_back(number: int) -> None:
    assert read_number(spoken(number)) == number
    assert read_number(str(number)) == number


@given(st.integers(1, 999), st.sampled_from(["箱", "包", "瓶", "公斤"]))
def test_a_quantity_is_read_back_in_any_digits(number: int, unit: str) -> None:
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in str(number))
    for written in (spoken(number), str(number), wide):
        assert [(q.value, q.unit) for q in find_quantities(even_out(f"要{written}{unit}"))] == [(number, unit)]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("零一二两三十百千万半廿0９.5箱块元来几"), max_size=40) | st.text(max_size=40))
def test_any_text_is_read_without_error(text: str) -> None:
    even = even_out(text)
    assert len(even) == len(text)
    for quantity in find_quantities(even):
        assert quantity.value > 0
        assert even[quantity.start : quantity.end].rstrip("半").endswith(quantity.unit)
    for amount in find_amounts(even):
        assert 0 <= amount.start < amount.end <= len(even)


@pytest.mark.parametrize("piece", ["9", "万", "三", "十二万", "1.", "半箱"])
def test_the_cost_of_a_long_text_grows_with_its_length_only(piece: str) -> None:
    assert growth(lambda text: (find_quantities(text), find_amounts(text)), piece) < SQUARE
