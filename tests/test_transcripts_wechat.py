"""Every transcript through 企业微信 and 公众号: real AES callbacks, XML, cards and numbers over real sockets.

In the end the same is kept as everywhere else. How many acts of the rep each visit took is printed (pytest -s).
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.script import Script, read_script
from bot.script_check import check, saved_of
from tests.chatfirm import TRANSCRIPTS, fresh_firm
from tests.wechatreplay import CannotCarry, WechatReplay, Wire, as_this_channel_tells

# What these platforms have no way to carry, and the transcripts that are about just that. What happens there instead
# is told where it says so.
CANNOT = {
    "forwarded flag": "a forwarded pin looks like any other; as a pin it is never a device fix",
    "venue told from a pin": "a place picked from the list looks like a pin dropped by hand",
    "live location that moves on": "neither platform hands live locations to a bot",
    "edit": "what was sent cannot be edited",
    "caption": "a picture has no text of its own",
    "invite": "people of 企业微信 are tied by the import (tests/test_wecom_channel.py)",
    "words that the platform recognised": "企业微信 sends no transcript of its own",
    "account without rights": "an app of 企业微信 may always fetch files",
    "button of an old question": "a number answers the open question only; there are no buttons",
    "position that is none": "a map offers no such place; set aside as unreadable (tests/test_mp_incoming.py)",
}
LEFT_OUT = {
    "wecom": {
        "appeal_upheld": "forwarded flag",
        "channel_words_not_needed": "words that the platform recognised",
        "channel_words_when_failing": "words that the platform recognised",
        "channel_words_without_model": "words that the platform recognised",
        "commands": "invite",
        "graded_places": "venue told from a pin",
        "live_location": "live location that moves on",
        "no_right_and_news": "account without rights",
        "odd_messages": "edit",
        "photo_with_caption": "caption",
        "strangers_and_invites": "invite",
    },
    "mp": {
        "appeal_upheld": "forwarded flag",
        "daily_alert": "button of an old question",
        "graded_places": "venue told from a pin",
        "impossible_pin": "position that is none",
        "live_location": "live location that moves on",
        "odd_messages": "edit",
        "photo_with_caption": "caption",
        "stale_buttons": "button of an old question",
        "todo_by_tap": "button of an old question",
        "undo_after_reminder": "button of an old question",
    },
}


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    wire = Wire()
    try:
        yield wire
    finally:
        wire.close()


@pytest.fixture(scope="module")
def acts() -> Iterator[dict[str, Counter[int]]]:
    """By channel: how many visits took how many acts."""
    counted: dict[str, Counter[int]] = {channel: Counter() for channel in LEFT_OUT}
    yield counted
    for channel, counts in counted.items():
        shown = ", ".join(f"{visits} by {number}" for number, visits in sorted(counts.items()))
        print(f"\n{channel}: visits by number of acts: {shown}")  # noqa: T201 - what the test is asked to print


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("channel", list(LEFT_OUT))
def test_keeps_the_same(tmp_path: Path, wire: Wire, acts: dict[str, Counter[int]], channel: str, path: Path) -> None:
    script = only_what_is_kept(path)
    with fresh_firm(tmp_path) as (database, tools):
        replay = WechatReplay(wire, database, tools, channel)
        try:
            if path.stem in LEFT_OUT[channel]:
                with pytest.raises(CannotCarry) as why:
                    replay.run(script)
                assert str(why.value) == LEFT_OUT[channel][path.stem]
                return
            replay.run(script)
        finally:
            replay.close()
        assert [str(one) for one in check(replay, script)] == []
        assert replay.held == [], "all that was said could be sent"
        assert replay.carried >= sum(line.speaks for line in script.lines)
        taken = [int(line.rpartition("= ")[2]) for line in saved_of(replay) if re.search(r"^(#\d+ )?actions = ", line)]
        acts[channel].update(taken)


def only_what_is_kept(path: Path) -> Script:
    """A transcript without what the bot says, which differs: lengths of notes are not told, and metres are rounded."""
    script = read_script(as_this_channel_tells(path.read_text(encoding="utf-8")), path)
    script.lines = [line for line in script.lines if line.word not in ("bot", "manager", "to")]
    return script


def test_every_reason_is_used_and_few_are_left_out() -> None:
    assert {reason for reasons in LEFT_OUT.values() for reason in reasons.values()} == set(CANNOT)
    for left_out in LEFT_OUT.values():
        assert set(left_out) < {path.stem for path in TRANSCRIPTS}
        assert len(left_out) <= len(TRANSCRIPTS) // 6


def test_a_visit_takes_five_acts_at_most(tmp_path: Path, wire: Wire) -> None:
    for channel in LEFT_OUT:
        folder = tmp_path / channel
        folder.mkdir()
        with fresh_firm(folder) as (database, tools):
            replay = WechatReplay(wire, database, tools, channel)
            try:
                replay.run(only_what_is_kept(next(path for path in TRANSCRIPTS if path.stem == "happy_path")))
            finally:
                replay.close()
            (taken,) = [line for line in saved_of(replay) if line.startswith("actions = ")]
            assert 3 <= int(taken.rpartition("= ")[2]) <= 5
