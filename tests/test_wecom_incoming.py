"""What members of 企业微信 send, read into deliveries; and that nothing that may be sent breaks the reading."""

from datetime import UTC, datetime
from typing import Any

import pytest
import xmltodict
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.loopback.signer import Messages
from bot.wecom_incoming import Datums, Heard, read_callback
from handlers.messages import Incoming, Kind
from handlers.wire import incoming_from_plain
from rules.evidence import DEVICE_FIXES, PlaceKind

NOW = datetime(2026, 11, 23, 2, 0, 7, tzinfo=UTC)
AT = 1_795_399_200  # 2026-11-23 02:00:00 UTC
ACCOUNT = "ww1:1000002"
MESSAGES = Messages("ww1", "1000002")


def read(xml: str, datums: Datums | None = None) -> Heard:
    return read_callback(xmltodict.parse(xml)["xml"], ACCOUNT, datums or Datums(), NOW)


def heard(xml: str, datums: Datums | None = None) -> Incoming:
    delivery = read(xml, datums).delivery
    assert delivery.error == ""
    assert delivery.message is not None
    return incoming_from_plain(delivery.message)


def event(name: str, raw: str = "", **fields: str) -> str:
    return MESSAGES.event("WangJian", name, at=AT, raw=raw, **fields)


def test_a_text_with_whose_it_is_and_when() -> None:
    delivery = read(MESSAGES.text("WangJian", "你好 ]]> <b>", at=AT)).delivery
    assert (delivery.channel, delivery.account) == ("wecom", ACCOUNT)
    assert (delivery.person, delivery.chat_ref) == ("wecom:wangjian", "wangjian")
    assert delivery.position == AT
    assert delivery.raw["FromUserName"] == "WangJian"
    message = heard(MESSAGES.text("WangJian", "你好 ]]> <b>", at=AT))
    assert (message.kind, message.text, message.at) == (Kind.TEXT, "你好 ]]> <b>", datetime.fromtimestamp(AT, UTC))


def test_files_are_known_by_their_media_id() -> None:
    photo, voice = heard(MESSAGES.image("a", "M1", at=AT)), heard(MESSAGES.voice("a", "M2", at=AT))
    assert photo.media is not None
    assert voice.media is not None
    assert (photo.kind, photo.media.ref, photo.media.mime) == (Kind.PHOTO, "M1", "image/jpeg")
    assert (voice.kind, voice.media.ref, voice.media.mime) == (Kind.VOICE, "M2", "audio/amr")
    lost = heard(MESSAGES.image("a", "", at=AT))
    assert lost.media is not None
    assert lost.media.problem == "gone"


@pytest.mark.parametrize("xml", [MESSAGES.video("a", "M", at=AT), MESSAGES.link("a", "x", "http://x", at=AT)])
def test_a_video_and_a_link_are_somebodys_message(xml: str) -> None:
    assert heard(xml).kind is Kind.OTHER


def test_a_message_of_a_kind_nobody_knows_is_still_somebodys_message() -> None:
    assert heard(MESSAGES.message("a", "hologram", AT)).kind is Kind.OTHER
    assert heard(MESSAGES.text("a", "", at=AT)).kind is Kind.OTHER


def test_a_pin_is_chosen_on_a_map_and_never_a_device_fix() -> None:
    place = heard(MESSAGES.location("a", 30.0797, 120.4986, label="老灶台门口", at=AT)).place
    assert place is not None
    assert (place.lat, place.lon, place.title) == (30.0797, 120.4986, "老灶台门口")
    assert (place.kind, place.datum, place.accuracy_m, place.fixed_at) == (PlaceKind.PIN, "gcj02", None, None)
    assert place.kind not in DEVICE_FIXES


def test_what_the_app_reports_is_a_device_fix_with_its_precision_and_no_message() -> None:
    datums = Datums(pins="gcj02", reports="wgs84")
    message = heard(MESSAGES.position("a", 30.0797, 120.4986, 25.5, at=AT), datums)
    assert message.kind is Kind.EDIT
    assert message.place is not None
    assert (message.place.kind, message.place.datum) == (PlaceKind.REPORT, "wgs84")
    assert (message.place.accuracy_m, message.place.fixed_at) == (25.5, message.at)
    vague = heard(event("LOCATION", Latitude="30.1", Longitude="120.1"))
    assert vague.place is not None
    assert vague.place.accuracy_m is None, "no precision is not the best one"


@pytest.mark.parametrize(
    ("name", "fields", "kind"),
    [
        ("subscribe", {}, Kind.JOIN),
        ("unsubscribe", {}, Kind.LEAVE),
        ("enter_agent", {"EventKey": ""}, Kind.ENTER),
        ("ENTER_AGENT", {}, Kind.ENTER),
        ("view", {"EventKey": "http://x"}, Kind.NOTICE),
        ("pic_sysphoto", {}, Kind.NOTICE),
        ("pic_photo_or_album", {}, Kind.NOTICE),
        ("pic_weixin", {}, Kind.NOTICE),
        ("location_select", {}, Kind.NOTICE),
        ("change_contact", {}, Kind.NOTICE),
        ("kf_msg_or_event", {}, Kind.NOTICE),
        ("", {}, Kind.NOTICE),
    ],
)
def test_events(name: str, fields: dict[str, str], kind: Kind) -> None:
    assert heard(event(name, **fields)).kind is kind


def test_pictures_that_come_twice_in_one_event_break_nothing() -> None:
    """A PicList with several entries makes the library's own reading fail (defect 14)."""
    pictures = "".join(f"<PicList><item><PicMd5Sum>{n}</PicMd5Sum></item></PicList>" for n in "ab")
    raw = f"<SendPicsInfo><Count>2</Count>{pictures}</SendPicsInfo>"
    assert heard(event("pic_weixin", raw, EventKey="k")).kind is Kind.NOTICE


def test_a_menu_entry_is_the_command_of_its_name() -> None:
    assert heard(event("click", EventKey="todos")).text == "/todos"
    assert heard(event("click", EventKey="rm -rf")).kind is Kind.NOTICE


def card(raw: str = "", key: str = "submit-7", name: str = "template_card_event", code: str = "C1") -> str:
    return event(name, raw, EventKey=key, TaskId="q7-abc", CardType="x", ResponseCode=code)


def selected(*groups: str) -> str:
    return (
        "<SelectedItems>"
        + "".join(
            f"<SelectedItem><QuestionKey>k</QuestionKey><OptionIds>{group}</OptionIds></SelectedItem>"
            for group in groups
        )
        + "</SelectedItems>"
    )


def ids(*options: str) -> str:
    return "".join(f"<OptionId>{option}</OptionId>" for option in options)


@pytest.mark.parametrize(
    ("xml", "tapped"),
    [
        (card(key="q7.1"), "q7.1"),
        (card(key="q7.1", name="template_card_menu_event"), "q7.1"),
        (card(selected(ids("q7.0"))), "q7.0"),
        (card(selected(ids("q7.0", "q7.2"))), "q7.0,2"),
        (card(selected(ids("none"), ids("q7.9"), ids("none"))), "q7.9"),
        (card(selected(ids("q7.0", "q8.1"))), ""),
        (card(selected("")), ""),
        (card("<SelectedItems/>"), ""),
        (card("<SelectedItems><SelectedItem/></SelectedItems>"), ""),
        (card("<SelectedItems>x</SelectedItems>"), ""),
        (card(key="made up"), ""),
        (card(selected(ids("q7.0")) + selected(ids("q7.3"))), "q7.0,3"),
    ],
)
def test_what_was_tapped_on_a_card(xml: str, tapped: str) -> None:
    found = read(xml)
    assert (found.task_id, found.response_code) == ("q7-abc", "C1")
    message = heard(xml)
    assert (message.kind, message.tapped) == (Kind.TAP, tapped)


def test_each_thing_has_its_own_key_and_a_repeat_the_same() -> None:
    text = MESSAGES.text("a", "x", at=AT)
    assert read(text).delivery.delivery_key == read(text).delivery.delivery_key
    several = [
        text,
        MESSAGES.text("a", "x", at=AT),
        card(key="q7.1"),
        card(key="q7.2"),
        card(key="q7.1", code="C2"),
        event("subscribe"),
        event("unsubscribe"),
        event("enter_agent"),
        MESSAGES.position("WangJian", 30.1, 120.1, 5, at=AT),
        MESSAGES.position("WangJian", 30.2, 120.1, 5, at=AT),
        MESSAGES.event("SunHao", "subscribe", at=AT),
    ]
    assert len({read(xml).delivery.delivery_key for xml in several}) == len(several)


@pytest.mark.parametrize(
    "xml",
    [
        "<xml><a>1</a></xml>",
        MESSAGES.location("a", 1, 2, at=AT).replace("1.000000", "north"),
        MESSAGES.location("a", 1, 2, at=AT).replace("1.000000", "nan"),
        MESSAGES.text("a", "x", at=AT).replace(str(AT), "yesterday"),
        MESSAGES.text("a", "x", at=AT).replace(str(AT), "9" * 30),
        MESSAGES.text("a", "x", at=AT).replace("<MsgType>", "<Content>y</Content><MsgType>"),
        MESSAGES.position("a", 1, 2, -5, at=AT),
        MESSAGES.text("a", "x", at=int("9" * 400)),
    ],
)
def test_what_cannot_be_read_is_kept_and_says_why(xml: str) -> None:
    delivery = read(xml).delivery
    assert delivery.message is None
    assert delivery.error


def test_a_message_number_of_any_length_is_a_key() -> None:
    xml = xmltodict.parse(MESSAGES.text("a", "x", at=AT))["xml"] | {"MsgId": "9" * 10_000}
    assert len(read_callback(xml, ACCOUNT, Datums(), NOW).delivery.delivery_key) == 200


@pytest.mark.parametrize("sender", ["", "../etc", "a b", "x" * 65, "王建", "@all"])
def test_a_sender_that_is_no_userid_is_nobody(sender: str) -> None:
    assert read(MESSAGES.text(sender, "x", at=AT)).delivery.person == "wecom:"


VALUES: Any = st.recursive(
    st.none() | st.text(max_size=30) | st.sampled_from(["q7.1", "text", "event", "0", "1e999", "LOCATION"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "ToUserName FromUserName CreateTime MsgType Event EventKey Content MsgId MediaId Location_X Location_Y Latitude "
    "Longitude Precision Label TaskId ResponseCode SelectedItems SendPicsInfo AgentID"
)
NAMES = st.sampled_from(FIELDS.split())
KINDS = st.sampled_from(["text", "image", "voice", "location", "link", "event", "EVENT", "x"])
EVENTS = st.sampled_from(["LOCATION", "click", "template_card_event", "template_card_menu_event", "subscribe", "x"])


@settings(max_examples=2000, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=12), KINDS, EVENTS)
def test_nothing_that_xml_may_hold_breaks_the_reading(fields: dict[str, Any], kind: str, name: str) -> None:
    for xml in (fields, {"MsgType": kind, "Event": name, **fields}, {**fields, "MsgType": kind, "Event": name}):
        found = read_callback(xml, ACCOUNT, Datums(), NOW)
        assert (found.delivery.message is None) == bool(found.delivery.error)
        assert 0 < len(found.delivery.delivery_key) <= 200
        assert len(found.delivery.chat_ref) <= 64
        if found.delivery.message is not None:
            incoming_from_plain(found.delivery.message)
