"""Words that a channel itself recognised in a voice note: the third source, taken only where the settings let it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.replay import START, Replay
from bot.saved_lines import saved_lines
from bot.script import BadScript, read_script
from bot.settings import load_settings
from bot.stored_chat import stored_script
from handlers.card import spoken
from handlers.messages import Incoming, Kind, Media
from handlers.receive import receive
from handlers.sentences import sentence
from handlers.tools import ChannelWords, Ear
from handlers.wire import incoming_from_plain, incoming_to_plain
from nlp.guards import LONGEST_WORDS, believable, plain_words
from nlp.plugin import Plugin
from nlp.transcribe import WhisperTranscriber
from rules.limits import Limits
from storage import evidence, firm_tables, inbox
from storage.evidence import Note
from storage.files import LocalFiles
from storage.inbox import Delivery
from storage.visits import to_plain
from tests.chatfirm import fresh_firm
from tests.databases import WHOLE
from tests.speech import TEST_MODEL, unspoken_clips
from tests.summarizers import Answering
from texts import load

ARRIVED = """at: 2026-11-23 10:00
rep: [place 30.08218 120.49390 live accuracy=8]
rep: [photo 门头.jpg]
"""
SAID = "老板要了五箱小酥肉，当面拍板，解决了出餐慢的问题。"


def after(
    folder: Path, lines: str, policy: ChannelWords = "fallback", plugin: Plugin | None = None
) -> tuple[list[str], list[Note], list[str]]:
    """(what was said, the notes, the saved lines) after a visit went on with these lines."""
    with fresh_firm(folder) as (database, tools):
        ear = tools.ear if plugin is None else Ear(Limits(), plugin)
        replay = Replay(database, replace(tools, ear=ear, channel_words=policy))
        replay.run(read_script(ARRIVED + lines))
        said = [one.plain for turn in replay.turns for one in turn.said]
        with database.read(WHOLE) as work:
            ids = [row["id"] for row in firm_tables.rows(work, "note")]
            return said, list(evidence.notes(work, ids).values()), saved_lines(work, replay.zone)


def voice(heard: str, given_words: str) -> str:
    return f"rep: [voice 小结.ogg 9s]\ngiven: {given_words}\nheard: {heard}\n"


def test_by_default_they_are_the_second_choice() -> None:
    assert load_settings(None, {}).channel_words == "fallback"


@pytest.mark.parametrize(("word", "policy"), [("不用", "never"), ("后备", "fallback"), ("优先", "first")])
def test_the_setting_has_three_values(tmp_path: Path, word: str, policy: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'["语音"]\n"平台转写" = "{word}"\n', encoding="utf-8")
    assert load_settings(config, {}).channel_words == policy


def test_never_means_neither_taken_nor_kept(tmp_path: Path) -> None:
    said, (note,), saved = after(tmp_path, voice("[no_model]", SAID), "never")
    assert (note.state, note.text, note.channel_text) == ("no_model", "", "")
    assert "还没有语音识别模型" in said[-1]
    assert not [line for line in saved if line.startswith("orders")]


def test_as_fallback_they_are_kept_and_taken_where_there_is_no_model(tmp_path: Path) -> None:
    said, (note,), saved = after(tmp_path, voice("[no_model]", SAID))
    assert (note.state, note.text, note.words_from, note.channel_text) == ("heard", SAID, "terminal", SAID)
    assert note.confidence == 0.5
    assert f"原话（文字来自终端，请核对）：{SAID}" in said[-1]
    # Nothing of them is settled before the rep confirms the card.
    assert "orders? = P001 5箱" in saved
    assert "outcome? = won" in saved


@pytest.mark.parametrize("fails", ["crash", "broken", "not_audio", "too_long"])
def test_as_fallback_they_are_taken_at_once_where_ours_fails(tmp_path: Path, fails: str) -> None:
    _, (note,), saved = after(tmp_path, voice(f"[{fails}]", SAID))
    assert (note.state, note.words_from) == ("heard", "terminal")
    assert "orders? = P001 5箱" in saved


@pytest.mark.parametrize(
    ("heard", "state", "text"),
    [
        ("老板要了六箱小酥肉。", "heard", "老板要了六箱小酥肉。"),
        ("[silent]", "silent", ""),
        ("[unsure] 嗯", "unsure", "嗯"),
    ],
)
def test_as_fallback_ours_wins_whatever_it_heard(tmp_path: Path, heard: str, state: str, text: str) -> None:
    """That nobody spoke, or that it is hard to hear, is an answer: invented words come from channels too."""
    _, (note,), saved = after(tmp_path, voice(heard, SAID))
    assert (note.state, note.text, note.words_from) == (state, text, "")
    assert "orders? = P001 5箱" not in saved


def test_first_means_ours_is_not_asked(tmp_path: Path) -> None:
    _, (note,), saved = after(tmp_path, voice("老板要了六箱小酥肉。", SAID), "first")
    assert (note.text, note.words_from) == (SAID, "terminal")
    assert "orders? = P001 5箱" in saved


def test_first_without_words_of_the_channel_asks_ours(tmp_path: Path) -> None:
    _, (note,), _ = after(tmp_path, "rep: [voice 小结.ogg 9s]\nheard: 老板要了六箱小酥肉。\n", "first")
    assert (note.text, note.words_from) == ("老板要了六箱小酥肉。", "")


@pytest.mark.parametrize("policy", ["fallback", "first"])
def test_they_pass_the_same_guards(tmp_path: Path, policy: ChannelWords) -> None:
    """What subtitles say over silence is no report, whoever invented it."""
    _, (note,), saved = after(tmp_path, voice("[no_model]", "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目"), policy)
    assert (note.state, note.text) == ("no_model", "")
    assert not [line for line in saved if "? =" in line and not line.startswith("outlet")]


def test_guards_without_sound() -> None:
    assert believable("老闆要了五箱小酥肉。字幕由 Amara.org 社群提供") == "老板要了五箱小酥肉。"
    assert believable("老板要了五箱小酥肉，" * 4) == "老板要了五箱小酥肉，"
    assert believable("") == ""


@given(st.text())
def test_words_from_outside_are_one_line_a_database_takes(text: str) -> None:
    clean = plain_words(text)
    assert clean.encode() is not None  # no half of a surrogate pair
    assert all(char.isprintable() for char in clean)
    assert clean == plain_words(clean)
    assert believable(clean) == believable(believable(clean))


def test_words_from_outside_are_cut() -> None:
    assert len(plain_words("酥" * 9999)) == LONGEST_WORDS


@pytest.mark.recogniser
def test_fifty_clips_without_speech_give_no_field(tmp_path: Path) -> None:
    """Through the whole bot with a real recogniser, and with a channel that invents a report for every one of them."""
    lines = ARRIVED
    for number, data in enumerate(unspoken_clips()):
        (tmp_path / f"{number}.wav").write_bytes(data)
        lines += f"rep: [voice {number}.wav 5s]\ngiven: {SAID}\n"
    with fresh_firm(tmp_path) as (database, tools):
        replay = Replay(database, tools, transcriber=WhisperTranscriber(TEST_MODEL), media=(tmp_path,))
        replay.run(read_script(lines))
        with database.read(WHOLE) as work:
            assert {note["state"] for note in firm_tables.rows(work, "note")} == {"silent"}
            (visit,) = [visit for _, visit in firm_tables.visits(work)]
        assert set(visit.answers) == {"place", "outlet", "photo"}


def test_words_written_below_a_voice_note_are_no_recognition(tmp_path: Path) -> None:
    """Telegram puts a caption there, written by a person: it must not pass for what was said."""
    _, (note,), _ = after(tmp_path, f"rep: [voice 小结.ogg 9s] {SAID}\nheard: [no_model]\n")
    assert (note.state, note.channel_text) == ("no_model", "")


def test_a_plugin_reads_them_before_the_card_is_made(tmp_path: Path) -> None:
    reader = Answering({"problem": "墙钟停摆", "quotes": {"problem": "墙钟停摆"}})
    _, _, saved = after(tmp_path, voice("[no_model]", "墙钟停摆那件事，他犹疑得很"), plugin=Plugin(reader, 5))
    assert reader.asked == ["墙钟停摆那件事，他犹疑得很"]
    assert "problem? = 墙钟停摆" in saved


@pytest.mark.parametrize("policy", ["fallback", "first"])
def test_of_a_stranger_nothing_is_read(tmp_path: Path, policy: ChannelWords) -> None:
    reader = Answering({})
    _, notes, _ = after(
        tmp_path,
        f"stranger 老六: [voice 小结.ogg 9s]\ngiven: {SAID}\nheard: {SAID}\nstranger 老六: {SAID}\n",
        policy,
        Plugin(reader, 5),
    )
    assert notes == []
    assert reader.asked == []


def test_what_somebody_of_the_firm_types_is_still_read_ahead(tmp_path: Path) -> None:
    reader = Answering({})
    after(tmp_path, f"rep: {SAID}\n", plugin=Plugin(reader, 5))
    assert reader.asked == [SAID.rstrip("。")]


def test_they_survive_the_inbox() -> None:
    sent = Incoming(Kind.VOICE, START, media=Media("", name="a.amr", size=9, file="0" * 64, recognised=SAID))
    assert incoming_from_plain(incoming_to_plain(sent)) == sent
    old = incoming_to_plain(sent)
    del old["media"]["recognised"]  # a row of the release before
    assert incoming_from_plain(old).media == replace(sent.media or Media(""), recognised="")


def test_a_stored_conversation_plays_again_with_them(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()

    def saved_after(folder: Path, script: str, media: Sequence[Path] = ()) -> tuple[list[dict[str, Any]], str]:
        with fresh_firm(folder) as (database, tools):
            replay = Replay(database, tools, media=tuple(media))
            replay.run(read_script(script))
            lines = stored_script(database, tools.files, Limits(), "王建", folder / "media")
            with database.read(WHOLE) as work:
                return [to_plain(visit)["answers"] for _, visit in firm_tables.visits(work)], "\n".join(lines)

    answers, printed = saved_after(first, ARRIVED + voice("[crash]", SAID) + "rep: 确认\n")
    assert f"given: {SAID}" in printed
    assert saved_after(second, printed, (first / "media",))[0] == answers


def test_given_stands_below_a_voice_note() -> None:
    with pytest.raises(BadScript, match="given"):
        read_script("rep: 你好\ngiven: 老板\n")


@pytest.mark.parametrize("channel", ["telegram", "mp", "wecom", "web", "terminal"])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_channel_has_a_name_to_show(channel: str, language: str) -> None:
    line = sentence(load(language), spoken(SAID, channel))
    assert SAID in line
    assert load(language).say(f"channel.{channel}") in line


def test_the_delivery_of_a_former_release_is_applied(tmp_path: Path) -> None:
    """A voice note stored before the update, without the new field, is taken afterwards."""
    with fresh_firm(tmp_path) as (database, tools):
        replay = Replay(database, tools)
        replay.run(read_script(ARRIVED))
        sound = Media("", name="a.ogg", size=9, file=LocalFiles(tmp_path / "files").put(b"123456789"))
        message = incoming_to_plain(Incoming(Kind.VOICE, replay.clock, media=sound))
        del message["media"]["recognised"]
        with database.work(WHOLE) as work:
            row = inbox.accept(
                work, Delivery("terminal", "replay", "old", "terminal:E101", "E101", {}, message, replay.clock)
            )
        assert row is not None
        receive(database, tools, row, replay.clock)
        with database.read(WHOLE) as work:
            assert [note["state"] for note in firm_tables.rows(work, "note")] == ["waiting"]
