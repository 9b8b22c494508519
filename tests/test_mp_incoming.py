"""What 公众号 sends, as one delivery each: every kind of message and event, and whatever else may be in the XML."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import xmltodict
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.loopback.signer import Messages
from bot.mp_incoming import Datums, Grant, Heard, Outcome, read_callback
from handlers.messages import Incoming, Kind
from handlers.wire import incoming_from_plain
from rules.evidence import PlaceKind

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
AT = 1_795_399_200
OPENID = "oWangJian_01"
MADE = Messages("gh_1")


def heard(xml: str, datums: Datums | None = None) -> Heard:
    return read_callback(xmltodict.parse(xml)["xml"], "wx1", datums or Datums(), NOW)


def read(xml: str) -> Incoming:
    found = heard(xml)
    assert found.delivery.error == ""
    assert found.delivery.message is not None
    return incoming_from_plain(found.delivery.message)


def test_a_text_is_a_message_with_its_own_id_time_and_answer() -> None:
    xml = MADE.text(OPENID, "解决了送货迟到", at=AT)
    found, incoming = heard(xml), read(xml)
    assert (incoming.kind, incoming.text, incoming.at) == (Kind.TEXT, "解决了送货迟到", datetime.fromtimestamp(AT, UTC))
    assert found.delivery.delivery_key.startswith("msg:7")
    assert (found.delivery.person, found.delivery.chat_ref, found.delivery.position) == (f"mp:{OPENID}", OPENID, AT)
    assert (found.answer, found.act, found.sender, found.receiver) == ("reply", "message", OPENID, "gh_1")


def test_a_click_in_a_msgmenu_is_a_tap_and_counts_as_a_click() -> None:
    xml = MADE.text(OPENID, "确认", at=AT, bizmsgmenuid="q12.0")
    assert (read(xml).kind, read(xml).tapped, heard(xml).act) == (Kind.TAP, "q12.0", "action")
    foreign = MADE.text(OPENID, "确认", at=AT, bizmsgmenuid="101")
    assert (read(foreign).kind, read(foreign).text) == (Kind.TEXT, "确认")


def test_the_clearer_voice_comes_first_and_a_picture_has_two_ways() -> None:
    voice = read(MADE.voice(OPENID, "narrow", at=AT, wide="wide")).media
    assert voice is not None
    assert (voice.ref, voice.mime) == ("wide narrow", "audio/amr")
    picture = read(MADE.image(OPENID, "media", at=AT)).media
    assert picture is not None
    assert picture.ref == "media http://127.0.0.1/pic"
    spoken = read(MADE.message(OPENID, "voice", AT, MediaId="m", Recognition="老板要了五箱小酥肉。")).media
    assert spoken is not None
    assert (spoken.recognised, voice.recognised) == ("老板要了五箱小酥肉。", "")
    nothing = read(MADE.message(OPENID, "voice", AT)).media
    assert nothing is not None
    assert nothing.problem == "gone"


def test_a_pin_is_never_a_device_fix_and_a_report_is_one_without_an_answer() -> None:
    pin = read(MADE.location(OPENID, 30.0798, 120.4985, label="老灶台", at=AT)).place
    assert pin is not None
    assert (pin.lat, pin.lon, pin.kind, pin.datum) == (30.0798, 120.4985, PlaceKind.PIN, "gcj02")
    assert (pin.accuracy_m, pin.fixed_at, pin.title) == (None, None, "老灶台")
    xml = MADE.position(OPENID, 30.0798, 120.4985, 65.0, at=AT)
    report = read(xml).place
    assert report is not None
    assert (read(xml).kind, report.kind, report.datum, report.accuracy_m) == (
        Kind.EDIT,
        PlaceKind.REPORT,
        "wgs84",
        65.0,
    )
    assert report.fixed_at == datetime.fromtimestamp(AT, UTC)
    assert (heard(xml).answer, heard(xml).act) == ("none", None)
    assert heard(xml, Datums("wgs84", "gcj02")).delivery.message["place"]["datum"] == "gcj02"  # type: ignore[index]


@pytest.mark.parametrize(
    ("event", "fields", "kind", "text"),
    [
        (
            "subscribe",
            {"EventKey": "qrscene_k3J-x_9aaaaaaaaaaaaaaaa", "Ticket": "T"},
            Kind.JOIN,
            "k3J-x_9aaaaaaaaaaaaaaaa",
        ),
        ("subscribe", {"EventKey": ""}, Kind.JOIN, ""),
        ("subscribe", {"EventKey": "last_trade_no_4001"}, Kind.JOIN, ""),
        ("SCAN", {"EventKey": "k3J-x_9aaaaaaaaaaaaaaaa", "Ticket": "T"}, Kind.JOIN, "k3J-x_9aaaaaaaaaaaaaaaa"),
        ("unsubscribe", {"EventKey": ""}, Kind.LEAVE, ""),
        ("CLICK", {"EventKey": "end"}, Kind.TEXT, "/end"),
        ("CLICK", {"EventKey": "somebody elses"}, Kind.NOTICE, ""),
        ("VIEW", {"EventKey": "https://example.com"}, Kind.NOTICE, ""),
        ("scancode_push", {"EventKey": "x"}, Kind.NOTICE, ""),
        ("location_select", {"EventKey": "x"}, Kind.NOTICE, ""),
        ("pic_weixin", {"EventKey": "x"}, Kind.NOTICE, ""),
        ("view_miniprogram", {"EventKey": "x"}, Kind.NOTICE, ""),
        ("kf_close_session", {}, Kind.NOTICE, ""),
    ],
)
def test_row_15_events_the_library_knows_and_does_not_know(
    event: str, fields: dict[str, str], kind: Kind, text: str
) -> None:
    xml = MADE.event(OPENID, event, at=AT, **fields)
    incoming, found = read(xml), heard(xml)
    assert (incoming.kind, incoming.text) == (kind, text)
    silent = kind in (Kind.LEAVE, Kind.NOTICE)
    assert (found.answer, found.act) == (("none", None) if silent else ("reply", "action"))


@pytest.mark.parametrize(
    "typed", ["加入 k3J-x_9aaaaaaaaaaaaaaaa", "邀请码：k3J-x_9aaaaaaaaaaaaaaaa", "Join k3J-x_9aaaaaaaaaaaaaaaa"]
)
def test_an_invite_may_be_typed(typed: str) -> None:
    incoming = read(MADE.text(OPENID, typed, at=AT))
    assert (incoming.kind, incoming.text) == (Kind.JOIN, "k3J-x_9aaaaaaaaaaaaaaaa")


@pytest.mark.parametrize("kind", ["video", "shortvideo", "link", "miniprogrampage", "file", "hologram"])
def test_what_the_bot_does_not_take_is_answered_politely(kind: str) -> None:
    xml = MADE.message(OPENID, kind, AT, MediaId="x", Title="y")
    assert (read(xml).kind, heard(xml).answer) == (Kind.OTHER, "reply")


def test_events_of_one_second_are_told_apart_and_a_repeat_is_the_same() -> None:
    def key(event: str, **fields: str) -> str:
        return heard(MADE.event(OPENID, event, at=AT, **fields)).delivery.delivery_key

    keys = [
        key("CLICK", EventKey="help"),
        key("CLICK", EventKey="end"),
        key("SCAN", EventKey="a", Ticket="1"),
        key("SCAN", EventKey="a", Ticket="2"),
        key("LOCATION", Latitude="30.1", Longitude="120"),
        key("LOCATION", Latitude="30.2", Longitude="120"),
        key("TEMPLATESENDJOBFINISH", MsgID="1"),
        key("TEMPLATESENDJOBFINISH", MsgID="2"),
    ]
    assert len(set(keys)) == len(keys)
    assert key("CLICK", EventKey="help") == keys[0]
    assert all(len(one) <= 200 for one in keys)


@pytest.mark.parametrize(
    ("status", "reason"), [("success", ""), ("failed:user block", "unwanted"), ("failed: system failed", "template")]
)
def test_what_became_of_a_template(status: str, reason: str) -> None:
    xml = MADE.event(OPENID, "TEMPLATESENDJOBFINISH", at=AT, MsgID="4001", Status=status)
    assert heard(xml).outcomes == (Outcome("4001", reason),)
    assert read(xml).kind is Kind.NOTICE


def test_ticks_and_their_end() -> None:
    def said(name: str, inside: str) -> Heard:
        raw = f"<{name}>{inside}</{name}>"
        event = {"P": "subscribe_msg_popup_event", "C": "subscribe_msg_change_event", "S": "subscribe_msg_sent_event"}
        return heard(MADE.event(OPENID, event[name[len("SubscribeMsg")]], at=AT, raw=raw))

    def one(template: str, status: str) -> str:
        return (
            f"<List><TemplateId>{template}</TemplateId><SubscribeStatusString>{status}</SubscribeStatusString></List>"
        )

    both = said("SubscribeMsgPopupEvent", one("T1", "accept") + one("T2", "reject"))
    assert both.grants == (Grant("T1", 1),)
    assert said("SubscribeMsgChangeEvent", one("T1", "reject")).grants == (Grant("T1", 0),)
    sent = "<List><TemplateId>T1</TemplateId><MsgID>7</MsgID><ErrorCode>43101</ErrorCode></List>"
    assert said("SubscribeMsgSentEvent", sent).outcomes == (Outcome("7", "unwanted"),)
    assert said("SubscribeMsgPopupEvent", "").grants == ()


ANYTHING = st.recursive(
    st.none()
    | st.text(max_size=30)
    | st.sampled_from(["text", "event", "LOCATION", "1e999", "nan", "-1", "\x00\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        *("MsgType", "Event", "FromUserName", "CreateTime", "MsgId", "EventKey", "Content", "MediaId", "MediaId16K"),
        *("PicUrl", "Location_X", "Location_Y", "Latitude", "Longitude", "Precision", "Status", "Ticket"),
        *("SubscribeMsgPopupEvent", "bizmsgmenuid"),
    ]
)
KINDS = st.sampled_from(["text", "image", "voice", "location", "event", "video", ""])
EVENTS = st.sampled_from(
    ["LOCATION", "subscribe", "SCAN", "CLICK", "TEMPLATESENDJOBFINISH", "subscribe_msg_popup_event"]
)


def strings(value: Any) -> Iterator[str]:
    """Every text that would be stored."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from (name, *strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


@settings(max_examples=400, deadline=None)
@given(fields=st.dictionaries(NAMES, ANYTHING, max_size=8), kind=KINDS, event=EVENTS, honest=st.booleans())
def test_nothing_in_the_xml_raises_and_nothing_unsound_is_stored(
    fields: dict[str, Any], kind: str, event: str, honest: bool
) -> None:
    xml = {**fields, "MsgType": kind, "Event": event, "FromUserName": OPENID} if honest else fields
    found = read_callback(xml, "wx1", Datums(), NOW)
    delivery = found.delivery
    assert (delivery.message is None) == bool(delivery.error)
    assert delivery.chat_ref in ("", OPENID) or not honest
    assert len(delivery.delivery_key) <= 200
    assert not any("\0" in text or text.encode("utf-8", "replace").decode() != text for text in strings(delivery.raw))
    if delivery.message is not None:
        incoming = incoming_from_plain(delivery.message)
        if incoming.place is not None:
            assert abs(incoming.place.lat) <= 90
            assert abs(incoming.place.lon) <= 180
