"""What each kind of Telegram update becomes, and that no update, however broken, makes the reader raise."""

import copy
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.telegram_updates import MAX_FILE, Heard, group_joined, read_update, scrub
from handlers.messages import Incoming, Kind
from handlers.wire import incoming_from_plain
from rules.evidence import PlaceKind
from storage.inbox import Delivery
from tests.botapi import updates
from tests.botapi.updates import Json, Person, numbered

NOW = datetime(2026, 3, 2, 4, 0, 5, tzinfo=UTC)
NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # of updates.NOON


def hear(update: Any) -> Heard:
    return read_update(update, "123456", NOW)


def delivery(update: Json) -> Delivery:
    found = hear(numbered(update)).delivery
    assert found is not None
    return found


def read(update: Json) -> Incoming:
    found = delivery(update)
    assert found.error == ""
    assert found.message is not None
    return incoming_from_plain(found.message)


def test_a_delivery_names_its_bot_its_person_and_its_place_in_the_order() -> None:
    update = numbered(updates.text("我到了"), 700_000_017)
    found = hear(update).delivery
    assert found is not None
    assert (found.channel, found.account, found.delivery_key) == ("telegram", "123456", "700000017")
    assert (found.person, found.chat_ref) == ("telegram:5000000001", "5000000001")
    assert (found.position, found.received_at, found.raw) == (700_000_017, NOW, update)


def test_text() -> None:
    message = read(updates.text("老板说下周再约 👍"))
    assert (message.kind, message.text, message.at) == (Kind.TEXT, "老板说下周再约 👍", NOON)
    assert message.at.tzinfo is not None
    assert (message.person_name, message.forwarded) == ("建 王", False)


@pytest.mark.parametrize(("token", "read_as"), [("", ""), ("a1_B2-c3", "a1_B2-c3")])
def test_start_opens_the_chat_perhaps_with_an_invite(token: str, read_as: str) -> None:
    message = read(updates.start(token))
    assert (message.kind, message.text) == (Kind.JOIN, read_as)


def test_a_forwarded_start_or_a_word_like_it_is_only_text() -> None:
    assert read(updates.forwarded(updates.start("stolen"))).kind is Kind.TEXT
    assert read(updates.text("/started")).kind is Kind.TEXT


def test_a_photo_is_its_largest_size_with_the_caption_as_text() -> None:
    message = read(updates.photo(caption="门头", file_id="AgACbig"))
    assert (message.kind, message.text) == (Kind.PHOTO, "门头")
    assert message.media is not None
    assert (message.media.ref, message.media.mime, message.media.unique) == ("AgACbig", "image/jpeg", "AQAD1280")


def test_the_largest_size_is_found_wherever_it_stands() -> None:
    update = updates.photo(file_id="AgACbig")
    update["message"]["photo"].reverse()
    media = read(update).media
    assert media is not None
    assert media.ref == "AgACbig"


def test_an_album_is_one_photo_a_message_with_one_name() -> None:
    first, second, third = [read(update) for update in updates.album(3)]
    assert first.album
    assert first.album == second.album == third.album
    assert [first.text, second.text, third.text] == ["门头和货架", "", ""]


def test_a_picture_sent_as_a_file_is_a_photo_and_keeps_its_name() -> None:
    message = read(updates.document())
    assert message.kind is Kind.PHOTO
    assert message.media is not None
    assert (message.media.name, message.media.mime, message.media.size) == ("门头.jpg", "image/jpeg", 3_145_728)


@pytest.mark.parametrize(
    ("mime", "name", "kind"),
    [
        (None, "IMG_0001.JPG", Kind.PHOTO),
        ("IMAGE/PNG", "x", Kind.PHOTO),
        ("audio/amr", "note.amr", Kind.VOICE),
        ("application/ogg", "note.ogg", Kind.VOICE),
        ("application/pdf", "合同.pdf", Kind.OTHER),
        (None, "", Kind.OTHER),
    ],
)
def test_a_file_is_what_its_type_or_else_its_name_says(mime: str | None, name: str, kind: Kind) -> None:
    message = read(updates.document(mime=mime, name=name))
    assert message.kind is kind
    assert (message.media is None) == (kind is Kind.OTHER)


def test_voice_and_audio() -> None:
    voice = read(updates.voice(seconds=42))
    assert voice.kind is Kind.VOICE
    assert voice.media is not None
    assert (voice.media.seconds, voice.media.mime, voice.media.unique) == (42.0, "audio/ogg", "AgADvoice")
    audio = read(updates.audio())
    assert audio.kind is Kind.VOICE
    assert audio.media is not None
    assert (audio.media.name, audio.media.mime, audio.media.seconds) == ("录音.m4a", "audio/mp4", 31.0)


def test_a_file_over_20_mb_says_so_by_itself() -> None:
    for size, problem in ((MAX_FILE, ""), (MAX_FILE + 1, "too_big")):
        media = read(updates.voice(size=size)).media
        assert media is not None
        assert media.problem == problem


def test_a_static_pin_with_and_without_accuracy() -> None:
    place = read(updates.pin(30.08, 120.49, accuracy=17.0)).place
    assert place is not None
    assert (place.lat, place.lon, place.datum) == (30.08, 120.49, "wgs84")
    assert (place.kind, place.accuracy_m, place.fixed_at) == (PlaceKind.PIN, 17.0, None)
    bare = read(updates.pin()).place
    assert bare is not None
    assert bare.accuracy_m is None


def test_a_live_location_is_a_fix_of_its_moment() -> None:
    message = read(updates.live())
    assert message.kind is Kind.PLACE
    assert message.place is not None
    assert (message.place.kind, message.place.accuracy_m, message.place.fixed_at) == (PlaceKind.LIVE, 12.5, NOON)


def test_the_next_points_of_a_live_location_are_edits_with_a_place() -> None:
    first = updates.live()
    moving = read(updates.live_edit(first, 30.081, 120.495, after_s=30))
    assert (moving.kind, moving.at) == (Kind.EDIT, NOON + timedelta(seconds=30))
    assert moving.place is not None
    assert (moving.place.kind, moving.place.lat, moving.place.fixed_at) == (PlaceKind.LIVE, 30.081, moving.at)
    ended = read(updates.live_edit(first, 30.081, 120.495, after_s=900, ended=True))
    assert ended.place is not None
    assert (ended.place.kind, ended.place.fixed_at) == (PlaceKind.LIVE, None)


@pytest.mark.parametrize("original", [updates.pin, updates.live, updates.venue])
@pytest.mark.parametrize("sender", [None, Person(5_000_000_002, "伟", "李")])
def test_a_forwarded_place_is_no_fix_whatever_it_was(original: Any, sender: Person | None) -> None:
    message = read(updates.forwarded(original(), sender))
    assert message.forwarded
    assert message.place is not None
    assert (message.place.kind, message.place.fixed_at) == (PlaceKind.FORWARDED, None)


def test_a_live_location_by_an_inline_bot_is_worth_a_pin_set_by_hand() -> None:
    update = updates.live(via_bot={"id": 99, "is_bot": True, "first_name": "假定位"})
    place = read(update).place
    assert place is not None
    assert (place.kind, place.fixed_at) == (PlaceKind.PIN, None)


def test_a_venue_is_one_place_with_a_name() -> None:
    message = read(updates.venue())
    assert message.kind is Kind.PLACE
    assert message.place is not None
    assert (message.place.kind, message.place.title) == (PlaceKind.VENUE, "鲜丰水果(柯桥店)")


def test_every_kind_says_that_it_was_forwarded() -> None:
    for update in (updates.text("好"), updates.photo(), updates.voice(), updates.document(), updates.sticker()):
        assert read(updates.forwarded(update)).forwarded


def test_a_tap_carries_its_data_and_the_query_to_answer() -> None:
    update = updates.tap("q12.0")
    message = read(update)
    assert (message.kind, message.tapped, message.at) == (Kind.TAP, "q12.0", NOW)
    assert hear(numbered(update)).callback_id == update["callback_query"]["id"]


def test_a_tap_on_a_message_that_telegram_no_longer_shows() -> None:
    update = updates.tap("q12.0")
    shown = update["callback_query"]["message"]
    update["callback_query"]["message"] = {"chat": shown["chat"], "message_id": shown["message_id"], "date": 0}
    assert read(update).tapped == "q12.0"
    del update["callback_query"]["message"]
    assert delivery(update).chat_ref == "5000000001"


def test_an_edited_text() -> None:
    message = read(updates.edited(updates.text("卖了三箱"), "卖了五箱"))
    assert (message.kind, message.text, message.place) == (Kind.EDIT, "卖了五箱", None)


def test_blocking_the_bot_is_leaving_and_coming_back_is_nothing() -> None:
    left = delivery(updates.member_change("kicked"))
    assert left.person == "telegram:5000000001"
    assert read(updates.member_change("kicked")).kind is Kind.LEAVE
    assert hear(numbered(updates.member_change("member"))).delivery is None


@pytest.mark.parametrize(
    "update", [updates.sticker(), updates.contact(), updates.message(dice={"emoji": "🎲", "value": 3})]
)
def test_what_the_bot_cannot_use_is_still_heard(update: Json) -> None:
    assert read(update).kind is Kind.OTHER


def test_telegrams_own_notices_are_nobodys_message() -> None:
    assert (
        hear(numbered(updates.message(message_auto_delete_timer_changed={"message_auto_delete_time": 86_400}))).delivery
        is None
    )


def test_groups_are_not_served_and_leave_no_trace() -> None:
    for update in (updates.text("大家好"), updates.photo(), updates.poison()):
        assert hear(numbered(updates.in_group(update))) == Heard(None)
    pressed = updates.tap("q1.0")
    pressed["callback_query"]["message"]["chat"] = updates.group_chat()
    assert hear(numbered(pressed)) == Heard(None)


def test_being_added_to_a_group_is_seen() -> None:
    joined = numbered(updates.member_change("member", chat=updates.group_chat(-100_77)))
    assert group_joined(joined) == "-10077"
    assert hear(joined) == Heard(None)
    assert group_joined(numbered(updates.member_change("member"))) == ""
    assert group_joined({"my_chat_member": 3}) == ""


def test_an_unreadable_update_is_a_delivery_that_says_why_and_whose() -> None:
    found = delivery(updates.poison())
    assert found.message is None
    assert "TypeError" in found.error
    assert (found.delivery_key, found.chat_ref, found.position) == ("700000001", "5000000001", 700_000_001)


@pytest.mark.parametrize(
    "location",
    [
        {"latitude": 91.0, "longitude": 120.0},
        {"latitude": 30.0, "longitude": 181.0},
        {"latitude": "30.0", "longitude": 120.0},
        {"latitude": True, "longitude": 120.0},
        {"latitude": float("nan"), "longitude": 120.0},
        {"latitude": 30.0, "longitude": 120.0, "horizontal_accuracy": -1},
    ],
)
def test_no_such_place_on_earth(location: Json) -> None:
    found = delivery(updates.message(location=location))
    assert found.message is None
    assert "Unreadable" in found.error


def test_zero_zero_is_a_place_and_not_for_the_channel_to_judge() -> None:
    place = read(updates.pin(0.0, 0.0)).place
    assert place is not None
    assert (place.lat, place.lon) == (0.0, 0.0)


@pytest.mark.parametrize("raw", [None, 7, "x", [], {}, {"update_id": "7"}, {"update_id": True}, {"update_id": 2**63}])
def test_what_is_no_update_at_all_still_has_a_key_of_its_own(raw: Any) -> None:
    found = hear(raw).delivery
    assert found is not None
    assert found.message is None
    assert found.delivery_key.startswith("sha256:")
    assert found.delivery_key == hear(copy.deepcopy(raw)).delivery.delivery_key  # type: ignore[union-attr] # it is


def test_scrubbing_takes_out_what_no_database_takes() -> None:
    assert scrub({"a\0": ["\ud83d", float("inf"), "好👍", 1.5]}) == {"a\ufffd": ["?", None, "好👍", 1.5]}
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    assert len(json.dumps(scrub(deep))) < 200


def test_a_name_with_half_an_emoji_is_stored_and_read() -> None:
    person = Person(5_000_000_003, "小\ud83d王\0", "🚗")
    found = delivery(updates.text("在吗", person))
    json.dumps(found.message, ensure_ascii=False).encode()
    assert found.error == ""


SAMPLES: list[Json] = [
    updates.text("我到了"),
    updates.start("token"),
    updates.photo(caption="门头"),
    updates.album(2)[0],
    updates.document(),
    updates.voice(),
    updates.audio(),
    updates.pin(accuracy=20.0),
    updates.live(),
    updates.live_edit(updates.live(), 30.1, 120.5),
    updates.forwarded(updates.pin(), Person(5_000_000_002)),
    updates.venue(),
    updates.tap("q1.0"),
    updates.edited(updates.text("三箱"), "五箱"),
    updates.member_change("kicked"),
    updates.sticker(),
    updates.poison(),
]
JUNK: list[Any] = [
    None, True, 0, -1, 2**70, 1.5, float("nan"), float("inf"), "", "\0", "\ud800", "x" * 5000,
    [], [[]], {}, {"id": 1}, {"update_id": {}}, {"type": "private", "id": "x"}, "private", "kicked", 10**400,
]  # fmt: skip


def _spots(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value, as (container, key)."""
    found: list[tuple[Any, Any]] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        found.append((value, key))
        found.extend(_spots(item))
    return found


def _mutated(sample: Json, chance: random.Random) -> Any:
    """The sample with one to four places removed, replaced with junk, or swapped with another."""
    update = copy.deepcopy(numbered(sample))
    for _ in range(chance.randint(1, 4)):
        spots = _spots(update)
        if not spots:
            break
        container, key = chance.choice(spots)
        match chance.randrange(4):
            case 0:
                del container[key]
            case 1:
                other, other_key = chance.choice(spots)
                container[key] = copy.deepcopy(other[other_key])
            case 2 if isinstance(container, dict):
                container[chance.choice(["api_kwargs", "self", "x\0", "location", "text"])] = container.pop(key)
            case _:
                container[key] = copy.deepcopy(chance.choice(JUNK))
    return update


@given(st.sampled_from(SAMPLES), st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None)
def test_no_mutated_update_gets_past_the_reader(sample: Json, chance: random.Random) -> None:
    """It never raises; what it stores is clean JSON; a message that it lets through can be read back."""
    heard = hear(_mutated(sample, chance))
    if heard.delivery is None:
        return
    found = heard.delivery
    assert 0 < len(found.delivery_key) <= 200
    assert (found.message is None) == bool(found.error)
    stored = json.dumps([found.raw, found.message, found.error, found.chat_ref], ensure_ascii=False, allow_nan=False)
    assert "\\u0000" not in stored
    stored.encode()
    if found.message is not None:
        message = incoming_from_plain(json.loads(json.dumps(found.message)))
        assert message.at.tzinfo is not None
        assert found.person.removeprefix("telegram:").isdigit()
        for text in (message.text, message.tapped, message.album, message.person_name):
            assert isinstance(text, str)
        if message.place is not None:
            assert -90 <= message.place.lat <= 90
            assert -180 <= message.place.lon <= 180
