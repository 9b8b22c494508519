"""Every transcript comes out as it is written, on every channel; and together they take and skip every branch."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from bot.abilities import BY_NAME
from bot.channels import Abilities, Rendered
from bot.loopback.work import WorkPlatform
from bot.rendering import render
from bot.replay import Replay, keys_of
from bot.saved_lines import ALERT
from bot.script import BadScript, Script, read_script
from bot.script_check import Mismatch, as_json, check, saved_of
from bot.wecom_cards import card_of
from handlers.steps import always
from handlers.visit_flow import visit_flow
from rules.anomalies import Anomaly
from rules.evidence import Level
from rules.follow_up import TodoState
from rules.limits import Limits
from rules.visit import Outcome, State
from storage import firm_tables, outbox
from tests.chatfirm import ROOT, TRANSCRIPTS, fresh_firm, played
from tests.databases import WHOLE
from texts import load


@dataclass(frozen=True)
class Played:
    """What became of one transcript."""

    script: Script
    mismatches: list[str]
    bodies: list[dict[str, Any]]  # every message as it lies in the outbox
    data: dict[str, Any]
    saved: list[str]
    closed: list[set[str]]  # the answers of each closed visit

    @property
    def keys(self) -> set[str]:
        """Every text key that was said or offered."""
        labels = [label for body in self.bodies for _, label in body.get("choices", []) if isinstance(label, dict)]
        return {key for say in (*self.bodies, *labels) for key in keys_of(say["say"])}

    @property
    def asked(self) -> set[str]:
        """The steps that were asked."""
        return {key.split(".")[1] for key in self.keys if key.startswith("visit.") and key.endswith(".ask")}


@cache
def play(path: Path) -> Played:
    script = read_script(path.read_text(encoding="utf-8"), path)
    with TemporaryDirectory() as folder, fresh_firm(Path(folder)) as (database, tools):
        replay = Replay(database, tools)
        replay.run(script)
        with database.read(WHOLE) as work:
            bodies = [message.body for message in outbox.after(work, 0)]
            closed = [set(visit.answers) for _, visit in firm_tables.visits(work) if visit.state is State.CLOSED]
        mismatches = [str(item) for item in check(replay, script)]
        return Played(script, mismatches, bodies, as_json(replay), saved_of(replay), closed)


@cache
def everything() -> dict[str, Played]:
    return {path.stem: play(path) for path in TRANSCRIPTS}


EACH = pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)


@EACH
def test_comes_out_as_written(path: Path) -> None:
    assert play(path).mismatches == []


@EACH
def test_states_what_is_said_and_saved(path: Path) -> None:
    """A transcript that states nothing would pass whatever happens."""
    words = {line.word for line in play(path).script.lines}
    assert "bot" in words
    assert "saved" in words or not [line for line in play(path).saved if not line.startswith(ALERT)]


@EACH
@pytest.mark.parametrize("channel", list(BY_NAME))
def test_fits_every_channel(path: Path, channel: str) -> None:
    assert play(path).bodies
    for body in play(path).bodies:
        shown = render(body, BY_NAME[channel])
        fits(shown, BY_NAME[channel], len(body.get("choices", [])))
        if channel == "wecom" and shown.buttons:
            card = card_of(shown, "q1-x", load("zh-CN"))
            assert card is not None
            WorkPlatform().check_card(card.body)


def fits(shown: Rendered, abilities: Abilities, choices: int) -> None:
    """Nothing the platform would cut, refuse or leave without a way to answer."""
    for text in shown.texts:
        size = len(text.encode("utf-16-le")) // 2 if abilities.text_unit == "utf16" else len(text.encode())
        assert 0 < size <= abilities.text_limit
    buttons = [button for row in shown.buttons for button in row]
    assert len(buttons) <= abilities.buttons
    for button in buttons:
        assert len(button.data.encode()) <= min(64, abilities.button_data)
        assert 0 < len(button.label) <= abilities.button_label
    if choices and not buttons:
        assert re.search(rf"\b{choices} ", shown.texts[-1]), "neither buttons nor numbers"
    else:
        assert len(buttons) == choices


@EACH
def test_json_has_everything(path: Path) -> None:
    data = play(path).data
    assert json.loads(json.dumps(data, ensure_ascii=False))
    assert sum(len(turn["replies"]) for turn in data["turns"]) == len(play(path).bodies)
    assert all(said["text"] and said["keys"] for turn in data["turns"] for said in turn["replies"])
    assert len(data["saved"]["visits"]) >= len(play(path).closed)


def test_every_condition_is_asked_and_skipped() -> None:
    kept = [answers for one in everything().values() for answers in one.closed]
    for step in visit_flow(Limits()).steps:
        assert any(step.name in one.asked for one in everything().values()), f"{step.name} is never asked"
        if step.when is not always:
            assert any(step.name in answers for answers in kept), f"{step.name} is never needed"
            assert any(step.name not in answers for answers in kept), f"{step.name} is always needed"


def test_every_answer_is_also_given_without_being_asked() -> None:
    for step in visit_flow(Limits()).steps:
        unasked = [one for one in everything().values() if step.name not in one.asked]
        assert any(step.name in answers for one in unasked for answers in one.closed), f"{step.name} is always asked"


# What no transcript of one process can bring about, and where it is said instead.
SAID_ELSEWHERE = {
    "alert.missed",  # after a standstill: test_schedules
    "alert.rest",  # a firm of hundreds of reps: test_large_alert
    "alert.total",
    "appeal.filed_nobody",  # a firm without managers: test_receive
    "between",  # what joins an enumeration, never said by itself
    "broken.apology",  # our own fault: test_receive
    "channel.telegram",  # the channels' names: test_channel_words
    "channel.web",
    "channel.mp",
    "channel.wecom",
    "grade.none",  # a visit does not close without a position
    "media.no_silk",  # a machine without the SILK decoder
    "objection.stock",  # as the others; which words mean it is tested with the understanding
    "payment.amount",  # test_sentences
    "payment.term",  # test_sentences
    "photo.empty",  # an empty file is told apart before it is opened, as media.empty
    "photo.too_big",  # likewise, as media.too_big
    "photo.too_many_pixels",  # test_receive
    "reason.appeal_upheld",  # on the manager's page: a verified visit is not appealed against
    "reason.outlet_has_no_point",  # a firm whose outlets have no coordinates: test_receive
    "todo.came_late",  # after a standstill too
    "todo_state.open",  # an open 待办 is answered, not told its state
    "visit.place.not_a_pin",  # test_receive
}


def test_every_sentence_is_said_somewhere() -> None:
    files = ROOT / "texts" / "zh_CN"
    keys = {key for name in ("visit", "people", "time") for key in keys_in(files / f"{name}.toml")}
    said = {key for one in everything().values() for key in one.keys}
    keys -= {key for key in keys if key.startswith("menu.")}  # what Telegram shows beside the text field
    assert sorted(keys - said - set(SAID_ELSEWHERE)) == []
    assert sorted(set(SAID_ELSEWHERE) - keys) == []
    assert sorted(set(SAID_ELSEWHERE) & said) == [], "said after all: take it off the list"


def keys_in(path: Path) -> set[str]:
    found, table = set(), ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[(.+)\]", line.strip()):
            table = match.group(1) + "."
        elif match := re.match(r"(\w+) = ", line):
            found.add(table + match.group(1))
    return found


def test_every_outcome_grade_and_end_is_reached() -> None:
    lines = [re.sub(r"^#\d+ ", "", line) for one in everything().values() for line in one.saved]
    for outcome in Outcome:
        assert f"outcome = {outcome.value}" in lines
    for level in Level:
        assert any(line.startswith(f"grade = {level.value} (") for line in lines), level
    for state in State:
        assert f"state = {state.value}" in lines
    for ended in TodoState:
        assert any(line.startswith("todo = ") and line.endswith(ended.value) for line in lines), ended
    for rule in Anomaly:
        assert any(line.startswith(ALERT) and f" {rule.value} " in line for line in lines), rule


def test_a_visit_takes_five_actions_at_most() -> None:
    """The promise: at most 5 messages or taps, by pin, photo and voice, in any order."""
    for name in ("happy_path", "voice_first", "photo_first", "everything_late", "several_in_fence_named"):
        assert 3 <= max(everything()[name].data["actions"].values()) <= 5, name


def test_at_least_thirty() -> None:
    assert len(TRANSCRIPTS) >= 30


# --- the checking itself ----------------------------------------------------------------------------------------------

CHAT = """at: 2026-11-23 10:00
rep: [place 30.08218 120.49390 live accuracy=8]
bot: 📍 已到店：柯桥老灶台酒家
    第一次到这家店。
    配送要求：冷链配送
    请拍一张门头照，再用一段语音说说这次拜访。
rep: 帮我
bot: 这不是照片，请发门头照。
    请拍一张门头照，再用一段语音说说这次拜访。
saved: state = open
saved: rep = 王建
saved: outlet = C0001 柯桥老灶台酒家
saved: place = live 30.08218 120.49390 ±8
saved: actions = 2
"""


def mismatches(folder: Path, stated: str) -> list[Mismatch]:
    script = read_script(stated)
    with fresh_firm(folder) as (database, tools):
        replay = Replay(database, tools)
        replay.run(script)
        return check(replay, script)


def test_check_finds_nothing_where_all_is_as_stated(tmp_path: Path) -> None:
    assert mismatches(tmp_path, CHAT) == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("第二次到这家店。", "第一次到这家店。"),
        ("C0002 柯桥老灶台酒家", "C0001 柯桥老灶台酒家"),
        ("actions = 3", "actions = 2"),
    ],
)
def test_check_names_the_line_that_differs(tmp_path: Path, wrong: str, right: str) -> None:
    (found,) = mismatches(tmp_path, CHAT.replace(right, wrong))
    assert wrong in found.wanted
    assert right in found.got
    assert 1 < found.line <= len(CHAT.splitlines())


@pytest.mark.parametrize(
    "missing",
    ["bot: 这不是照片，请发门头照。\n    请拍一张门头照，再用一段语音说说这次拜访。\n", "saved: rep = 王建\n"],
)
def test_check_misses_what_is_not_stated(tmp_path: Path, missing: str) -> None:
    assert mismatches(tmp_path, CHAT.replace(missing, "", 1))


def test_check_compares_pushes_only_for_whom_it_names(tmp_path: Path) -> None:
    script = "at: 2026-11-23 10:00\nrep: 帮助\nat: 2026-11-23 18:00\nmanager: 🔔 什么都没有\n"
    found = mismatches(tmp_path, script)
    assert any("什么都没有" in item.wanted for item in found)
    assert any("今天没有拜访" in item.got for item in found)
    assert not any("钱总" in item.got for item in found)


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("rep: [place 30 120 live]\n说什么", 2),
        ("rep: [fly 30]", 1),
        ("rep: 你好\nas 王键: 你好", 2),
        ("rep: [tap 没有的按钮]", 1),
        ("again:", 1),
        ("rep: [voice x.ogg]", 1),
        ("rep: [voice x.ogg]\nheard: [whisper] 你好", 1),
        ("at: 明天早上", 1),
        ("rep: 你好\nat: 2020-01-01", 2),
    ],
)
def test_a_bad_script_says_where(tmp_path: Path, lines: str, line: int) -> None:
    with pytest.raises(BadScript, match=rf":{line}: "), played(tmp_path, lines):
        pass
