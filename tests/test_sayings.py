"""The firm's own sayings (config.toml, 说法): words unknown before are understood after, without a line of code."""

from datetime import datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from bot.cli import main
from bot.config_file import SettingsRefused
from bot.settings import load_settings
from nlp.firm_words import FirmWords, OwnWords, ProductWords
from nlp.understand import Found, Understander, Understanding
from rules.limits import CLOSE_FACTORS, ROOT_CAUSES, Limits, Saying

AT = datetime(2026, 11, 23, 9, 30, tzinfo=ZoneInfo("Asia/Shanghai"))
PRODUCTS = (ProductWords("P001", "金牌小酥肉", ("小酥肉",), ("箱",)),)
OWN = (
    OwnWords("objections", "price", ("杀手锏", "肉麻钿")),
    OwnWords("objections", "storage", ("轧煞",)),
    OwnWords("outcome", "lost", ("凉透",)),
    OwnWords("outcome", "won", ("搞落定",)),
    OwnWords("close_factor", "配送及时", ("车子灵光",)),
    OwnWords("root_cause", "决策人未覆盖", ("头脑不拢面",)),
)


@cache
def ear(*own: OwnWords) -> Understander:
    return Understander(FirmWords((), PRODUCTS, (), CLOSE_FACTORS, ROOT_CAUSES, own_words=own))


def before(text: str) -> Understanding:
    return ear().understand(text, AT)


def after(text: str) -> Understanding:
    return ear(*OWN).understand(text, AT)


def test_an_objection_in_the_firms_words() -> None:
    text = "小酥肉没订，老板讲肉麻钿"
    assert before(text).objections == ()
    assert after(text).objections == (Found("price", "肉麻钿", 0.9, "price.own"),)
    assert after(text).root_cause == Found("价格未匹配", "肉麻钿", 0.8, "价格未匹配.derived")


@pytest.mark.parametrize("text", ["小酥肉没订，老板没说肉麻钿", "上次讲肉麻钿，小酥肉没订"])
def test_not_said_or_said_long_ago_is_no_objection(text: str) -> None:
    assert [found.value for found in after(text).objections] == []


def test_several_sayings_stand_side_by_side() -> None:
    assert {found.value for found in after("小酥肉没订，肉麻钿，冰箱里轧煞").objections} == {"price", "storage"}


@pytest.mark.parametrize(("text", "outcome"), [("生意凉透", "lost"), ("生意搞落定", "won")])
def test_an_outcome(text: str, outcome: str) -> None:
    assert before(text).outcome is None
    found = after(text).outcome
    assert found is not None
    assert (found.value, found.rule) == (outcome, f"{outcome}.own")


def test_an_order_says_more_than_a_saying() -> None:
    found = after("凉透的鸡爪不要，小酥肉要了五箱").outcome
    assert found is not None
    assert found.value == "won"


def test_a_close_factor() -> None:
    text = "小酥肉要了五箱，你们车子灵光"
    assert before(text).close_factor is None
    assert after(text).close_factor == Found("配送及时", "车子灵光", 0.9, "配送及时.own")


def test_a_root_cause_said_in_the_firms_words_goes_before_a_likely_one() -> None:
    text = "小酥肉没订，嫌贵，头脑不拢面"
    assert before(text).root_cause is not None
    assert after(text).root_cause == Found("决策人未覆盖", "头脑不拢面", 0.9, "决策人未覆盖.own")


def test_traditional_and_full_width_writing_is_the_same_word() -> None:
    own = (OwnWords("objections", "price", ("肉麻鈿",)),)
    assert [found.value for found in ear(*own).understand("小酥肉没订，肉麻钿", AT).objections] == ["price"]


# --- in config.toml ---------------------------------------------------------------------------------------------------


def config(tmp_path: Path, title: str, means: str, words: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[["说法"]]\n"栏目" = "{title}"\n"意思" = "{means}"\n"说法" = {words}\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("title", "means", "field", "code"),
    [
        ("异议", "价格", "objections", "price"),
        ("异议", "做不了主", "objections", "authority"),
        ("结果", "还在谈", "outcome", "pending"),
        ("本次成交关键因素", "配送及时", "close_factor", "配送及时"),
        ("未成交根因", "竞品锁定", "root_cause", "竞品锁定"),
    ],
)
def test_it_is_written_in_chinese(tmp_path: Path, title: str, means: str, field: str, code: str) -> None:
    limits = load_settings(config(tmp_path, title, means, '["肉麻钿"]'), {}).limits
    assert limits.sayings == (Saying(field, code, ("肉麻钿",)),)


@pytest.mark.parametrize(
    ("title", "means", "words"),
    [
        ("异议", "价钱", '["肉麻钿"]'),
        ("成交关键因素", "配送及时", '["肉麻钿"]'),
        ("本次成交关键因素", "竞品锁定", '["肉麻钿"]'),
        ("异议", "价格", "[]"),
        ("异议", "价格", '["肉麻钿", "肉麻钿"]'),
        ("异议", "", '["肉麻钿"]'),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, title: str, means: str, words: str) -> None:
    with pytest.raises(SettingsRefused):
        load_settings(config(tmp_path, title, means, words), {})


def test_the_refusal_names_what_may_stand_there(tmp_path: Path) -> None:
    path = config(tmp_path, "异议", "价钱", '["肉麻钿"]')
    result = CliRunner().invoke(main, ["--config", str(path), "check-config"])
    assert (result.exit_code, "「异议」里没有「价钱」这个意思，应为其中之一：价格、" in result.stderr) == (2, True)
    path = config(tmp_path, "意义", "价格", '["肉麻钿"]')
    result = CliRunner().invoke(main, ["--config", str(path), "check-config"])
    assert "应为其中之一：异议、结果、本次成交关键因素、未成交根因" in result.stderr


def test_the_command_line_understands_it(tmp_path: Path) -> None:
    path = config(tmp_path, "异议", "价格", '["肉麻钿"]')
    result = CliRunner().invoke(
        main, ["--config", str(path), "summarize", "--json", "-"], input="小酥肉没订，老板讲肉麻钿"
    )
    assert '"objections": ["price"]' in result.stdout


def test_the_shipped_example_is_understood_by_default() -> None:
    own = tuple(OwnWords(one.field, one.means, one.words) for one in Limits().sayings)
    assert own
    for one in own:
        for word in one.words:
            assert [found.value for found in ear(*own).understand(f"小酥肉没订，{word}", AT).objections] == [one.means]
