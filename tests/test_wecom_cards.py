"""Choices as cards of 企业微信: which form, what fits, and what goes as numbers instead."""

import pytest
import xmltodict
from hypothesis import given
from hypothesis import strategies as st

from bot.abilities import WECOM, WECOM_GROUP, WECOM_PLAIN
from bot.channels import Button, Rendered
from bot.loopback.work import WorkPlatform, choices_of
from bot.rendering import render
from bot.wecom_cards import Card, card_of, numbered, question_of
from bot.wecom_incoming import Datums, read_callback
from handlers.messages import Choice, Reply, Say
from handlers.wire import incoming_from_plain, reply_to_plain
from tests.test_wecom_incoming import NOW
from texts import load

TEXTS = load("zh-CN")


def body(labels: list[str], *, multi: bool = False, again: bool = False, say: str = "问题") -> dict[str, object]:
    choices = tuple(Choice(str(number), label) for number, label in enumerate(labels))
    return reply_to_plain(Reply(Say("lines", {"lines": [say]}), choices, multi=multi, again=again), 7, "zh-CN")


def shown(labels: list[str], *, multi: bool = False, say: str = "问题") -> Rendered:
    return render(body(labels, multi=multi, say=say), WECOM)


def made(message: Rendered) -> Card:
    card = card_of(message, "q7-x", TEXTS)
    assert card is not None
    return card


@pytest.mark.parametrize(
    ("count", "length", "multi", "kind"),
    [
        (1, 10, False, "button_interaction"),
        (6, 10, False, "button_interaction"),
        (6, 11, False, "vote_interaction"),
        (7, 2, False, "vote_interaction"),
        (2, 2, True, "vote_interaction"),
        (20, 16, False, "vote_interaction"),
        (21, 16, False, "multiple_interaction"),
        (27, 16, True, "multiple_interaction"),
    ],
)
def test_the_form_by_how_many_and_how_long(count: int, length: int, multi: bool, kind: str) -> None:
    card = made(shown([f"{number:02}".ljust(length, "字") for number in range(count)], multi=multi)).body
    assert card["card_type"] == kind
    assert card["task_id"] == "q7-x"
    if kind == "vote_interaction":
        assert card["checkbox"]["mode"] == int(multi)
    if kind == "multiple_interaction":
        assert len(card["select_list"]) == 3
        assert all(len(one["option_list"]) <= 10 for one in card["select_list"])
        assert all(one["option_list"][0]["id"] == one["selected_id"] == "none" for one in card["select_list"])
    WorkPlatform().check_card(card)


@pytest.mark.parametrize("labels", [["字" * 17, "x"], [str(number) for number in range(28)]])
def test_what_no_card_holds_goes_as_numbers_in_full(labels: list[str]) -> None:
    message = shown(labels)
    assert not message.buttons
    assert f"1 {labels[0]}" in message.texts[-1]
    assert f"{len(labels)} {labels[-1]}" in message.texts[-1]


def test_where_cards_are_switched_off_all_goes_as_numbers_and_a_group_is_asked_nothing() -> None:
    assert "1 是  2 否" in render(body(["是", "否"]), WECOM_PLAIN).texts[-1]
    group = render(body(["是", "否"]), WECOM_GROUP)
    assert (group.texts, group.buttons) == (("问题",), ())


@pytest.mark.parametrize(
    ("say", "title", "below", "alone"),
    [
        ("结果？", "结果？", "", True),
        ("已到店\n请拍门头照", "已到店", "请拍门头照", True),
        ("一\n二\n三", "三", "", False),
        ("长" * 37, "长" * 35 + "…", "", False),
        ("短\n" + "长" * 161, "长" * 35 + "…", "", False),
        ("尾巴空着\n第二\n第三\n\n", "第三", "", False),
    ],
)
def test_what_stands_on_the_card_and_whether_that_is_all(say: str, title: str, below: str, alone: bool) -> None:
    card = made(shown(["是", "否"], say=say))
    assert (card.body["main_title"]["title"], card.body.get("sub_title_text", ""), card.alone) == (title, below, alone)


@given(
    st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=30),
    st.text(max_size=300),
    st.booleans(),
)
def test_any_choices_become_a_card_the_platform_takes_or_numbers(labels: list[str], say: str, multi: bool) -> None:
    message = shown(labels, multi=multi, say=say)
    if not message.buttons:
        assert message.texts
        return
    card = made(message).body
    WorkPlatform().check_card(card)
    options = [(key, label) for key, label in choices_of(card) if key != "none"]
    assert [label for _, label in options] == labels
    assert question_of(message) == 7


@pytest.mark.parametrize("count", [3, 12, 25])
@pytest.mark.parametrize("multi", [False, True])
def test_what_is_tapped_comes_back_as_what_was_offered(count: int, multi: bool) -> None:
    platform = WorkPlatform()
    labels = [f"选项{number:02}" for number in range(count)]
    card = made(shown(labels, multi=multi)).body
    picked = [0, count - 1] if multi else [count - 1]
    xml = platform.tap("wangjian", *(labels[number] for number in picked), card=card)
    delivery = read_callback(xmltodict.parse(xml)["xml"], "a", Datums(), NOW).delivery
    assert delivery.message is not None
    assert incoming_from_plain(delivery.message).tapped == f"q7.{','.join(map(str, picked))}"


def test_numbers_for_a_card_that_was_refused() -> None:
    assert numbered(shown(["是", "否"])) == ("问题\n1 是\n2 否",)


def test_buttons_of_no_question_make_no_card() -> None:
    foreign = Rendered(("x",), ((Button("pay:1", "付款"),),))
    assert question_of(foreign) is None
    assert card_of(foreign, "t", TEXTS) is None
