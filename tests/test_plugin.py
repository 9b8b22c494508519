"""An optional summarizer fills only what the rules left open, and only with what it can show in the text."""

import logging
import threading
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from bot.replay import Replay
from bot.script import read_script
from handlers.tools import make_tools
from nlp.firm_words import FirmWords, OutletWords, ProductWords
from nlp.plugin import NoPlugin, Plugin, load_plugin, understander
from nlp.plugin_answers import merged
from nlp.understand import Found, Line, Payment, Understander, Understanding
from rules.limits import CLOSE_FACTORS, ROOT_CAUSES, Limits
from rules.visit import Visit
from rules.windows import Window
from storage import visits
from storage.files import LocalFiles
from tests.chatfirm import fresh_firm
from tests.databases import WHOLE
from tests.summarizers import Answering, Hanging, Leaving, Odd, Raising

AT = datetime(2026, 11, 23, 9, 30, tzinfo=ZoneInfo("Asia/Shanghai"))
WORDS = FirmWords(
    outlets=(OutletWords("C1", "柯桥老灶台酒家"), OutletWords("C2", "城东阿福面馆"), OutletWords("C3", "城西阿福面馆")),
    products=(ProductWords("P001", "金牌小酥肉", ("小酥肉",), ("箱", "包")),),
    competitors=("味农",),
    close_factors=CLOSE_FACTORS,
    root_causes=ROOT_CAUSES,
)
RULES = Understander(WORDS)
SILENT = "今天天气蛮好的，聊了聊孩子上学的事"


def read(text: str, answer: Any) -> Understanding:
    """What the rules and a plug-in with this answer make of a note, without building another understander for it."""
    plugin = Plugin(Answering(answer), 5)
    plugin.consult(text, AT, WORDS)
    return merged(RULES.understand(text, AT), plugin.answers(text, AT), text, AT, WORDS)


def test_it_fills_what_the_rules_leave_open_with_its_quote_and_little_confidence() -> None:
    text = "墙钟停摆那件事，他犹疑得很"
    assert RULES.understand(text, AT).objections == ()
    plugin = load_plugin("tests.summarizers:Regular", 5)
    plugin.consult(text, AT, WORDS)
    found = understander(WORDS, plugin).understand(text, AT)
    assert found.problem == Found("墙钟停摆", "墙钟停摆", 0.5, "plugin")
    assert found.objections == (Found("price", "犹疑", 0.5, "plugin"),)


def test_what_the_rules_found_stays() -> None:
    text = "小酥肉要了五箱，配送及时"
    by_rules = RULES.understand(text, AT)
    liar = {
        "outcome": "lost",
        "close_factor": "竞品缺货",
        "orders": [["P001", 5, "箱"], ["P001", 5, "箱"]],
        "quotes": {"outcome": "小酥肉", "close_factor": "配送及时", "orders": ["五箱", "五箱"]},
    }
    assert read(text, liar) == by_rules


@pytest.mark.parametrize(
    "answer",
    [
        {"outcome": "won", "quotes": {"outcome": "老板当场拍板"}},  # words that were never said
        {"outcome": "won", "quotes": {"outcome": ""}},
        {"outcome": "won", "quotes": {"outcome": "，"}},
        {"outcome": "won", "quotes": {}},
        {"outcome": "won"},
        {"outcome": "won", "quotes": "天气"},
        {"outcome": "won", "quotes": {"outcome": SILENT * 10}},
        {"outcome": "sold", "quotes": {"outcome": "天气"}},
        {"outcome": ["won"], "quotes": {"outcome": "天气"}},
        {"customer": "C999", "quotes": {"customer": "天气"}},
        {"objections": ["weather"], "quotes": {"objections": ["天气"]}},
        {"objections": ["price"], "quotes": {"objections": "天气"}},
        {"objections": "price", "quotes": {"objections": "天气"}},
        {"objections": [["price"]], "quotes": {"objections": ["天气"]}},
        {"competitors": ["安井"], "quotes": {"competitors": ["天气"]}},
        {"contacts": ["孩子"], "quotes": {"contacts": ["孩子上学"]}},
        {"contacts": ["老板"], "quotes": {"contacts": ["孩子上学"]}},
        {"problem": "解决了世界和平", "quotes": {"problem": "天气"}},
        {"problem": SILENT * 3, "quotes": {"problem": "天气"}},
        {"samples": [["P001", 5, "箱"]], "quotes": {"samples": ["天气蛮好"]}},
        {"samples": [["P001", "__import__('os')", "箱"]], "quotes": {"samples": ["天气蛮好"]}},
        {"samples": [["P001", 5]], "quotes": {"samples": ["天气蛮好"]}},
        {"payment": [3200, "30天"], "quotes": {"payment": "天气蛮好"}},
        {"payment": [None, None], "quotes": {"payment": "天气蛮好"}},
        {"payment": 3200, "quotes": {"payment": "天气蛮好"}},
        {"follow_up": {"from": "2026-13-01", "to": "2026-13-02"}, "quotes": {"follow_up": "今天天气"}},
        {"follow_up": {"from": "2026-11-20", "to": "2026-11-20"}, "quotes": {"follow_up": "聊了聊"}},
        {"follow_up": {"from": "2029-11-20", "to": "2029-11-20"}, "quotes": {"follow_up": "聊了聊"}},
        {"follow_up": {"from": "2026-11-24", "to": "2027-11-20"}, "quotes": {"follow_up": "聊了聊"}},
        {"follow_up": {"from": "2026-11-24", "to": "2026-11-24", "time": "25:00"}, "quotes": {"follow_up": "聊了聊"}},
        {"follow_up": "明天", "quotes": {"follow_up": "聊了聊"}},
        {"actions": ["rm -rf /"], "outlet_candidates": ["C1"], "again_next_week": True, "quotes": {}},
        {"quotes": {"outcome": "天气"}},
        {},
    ],
)
def test_nothing_that_cannot_be_shown_is_taken(answer: dict[str, Any]) -> None:
    assert read(SILENT, answer) == RULES.understand(SILENT, AT)


def test_a_value_is_taken_where_the_same_answer_can_be_shown() -> None:
    """The counterpart of the refusals above: each of these differs from one of them by its evidence only."""
    assert read(SILENT, {"outcome": "won", "quotes": {"outcome": "天气"}}).outcome == Found(
        "won", "天气", 0.5, "plugin"
    )
    assert read(SILENT, {"customer": "C1", "quotes": {"customer": "聊了聊"}}).outlet is not None
    later = {"from": "2026-11-24", "to": "2026-11-24", "time": "15:00"}
    window = read(SILENT, {"follow_up": later, "quotes": {"follow_up": "聊了聊"}}).follow_up
    assert window is not None
    assert window.value == Window(AT.date().replace(day=24), AT.date().replace(day=24), "15:00", "聊了聊")
    text = "叫声沈老板，酥肉样儿来三箱，三千二月底打过来，30天"
    answer = {
        "samples": [["P001", 3, "箱"]],
        "contacts": ["沈老板"],
        "quotes": {"samples": ["来三箱"], "contacts": ["沈老板"]},
    }
    found = read(text, answer)
    rules = RULES.understand(text, AT)
    assert found.samples == (rules.samples or (Found(Line("P001", 3, "箱"), "来三箱", 0.5, "plugin"),))
    assert found.contacts == (rules.contacts or (Found("沈老板", "沈老板", 0.5, "plugin"),))


def test_a_number_must_be_readable_in_its_quote() -> None:
    text = SILENT + "，样儿拿三箱，一共1600块"
    assert RULES.understand(text, AT).samples == ()

    def samples(quantity: Any, quote: str) -> tuple[Found[Line], ...]:
        return read(text, {"samples": [["P001", quantity, "箱"]], "quotes": {"samples": [quote]}}).samples

    assert samples(3, "拿三箱") == (Found(Line("P001", 3, "箱"), "拿三箱", 0.5, "plugin"),)
    assert samples(30, "拿三箱") == ()
    assert samples(3, "样儿拿") == ()
    assert samples(True, "拿三箱") == ()
    assert samples(-3, "拿三箱") == ()


def test_a_sum_must_be_readable_in_its_quote() -> None:
    text = SILENT + "，1600块的样子"
    assert RULES.understand(text, AT).payment is None

    def payment(value: Any) -> Found[Payment] | None:
        return read(text, {"payment": value, "quotes": {"payment": "1600块的样子"}}).payment

    assert payment([1600, None]) == Found(Payment(1600, None), "1600块的样子", 0.5, "plugin")
    assert payment([16000, None]) is None
    assert payment([1600, "30天"]) is None  # the term was not said


def test_days_our_reader_understands_must_agree() -> None:
    text = "老板讲明天在的"
    answer = {"follow_up": {"from": "2026-12-20", "to": "2026-12-20", "time": None}, "quotes": {"follow_up": "明天在"}}
    assert read(text, answer).follow_up == RULES.understand(text, AT).follow_up


def test_an_ambiguous_outlet_stays_a_question() -> None:
    text = "去了阿福面馆"
    by_rules = RULES.understand(text, AT)
    assert by_rules.outlet is None
    assert len(by_rules.outlet_candidates) == 2
    assert read(text, {"customer": "C2", "quotes": {"customer": "阿福面馆"}}).outlet is None


def test_reasons_and_orders_go_with_the_outcome() -> None:
    quotes = {"root_cause": "天气", "close_factor": "天气"}
    cause = {"root_cause": "竞品锁定", "close_factor": "配送及时", "quotes": quotes}
    assert read(SILENT, cause).root_cause is None
    lost = read(SILENT, {**cause, "outcome": "lost", "quotes": {**quotes, "outcome": "上学"}})
    assert lost.root_cause is not None
    assert lost.close_factor is None


def test_many_items_are_cut_short_and_told_once() -> None:
    answer = {"objections": ["price"] * 500, "quotes": {"objections": ["天气"] * 500}}
    assert len(read(SILENT, answer).objections) == 1


# --- it may fail in any way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "summarizer",
    [
        Raising(),
        Leaving(),
        Odd(),
        Answering(None),
        Answering("won"),
        Answering([1]),
        Answering({"problem": "长" * 70_000}),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_failure_leaves_the_rules_and_a_line_in_the_log(summarizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    plugin = Plugin(summarizer, 5)
    text = "小酥肉要了五箱"
    with caplog.at_level(logging.WARNING):
        plugin.consult(text, AT, WORDS)
    assert plugin.answers(text, AT) == []
    (line,) = caplog.records
    assert "rules only" in line.getMessage()
    assert "小酥肉" not in line.getMessage()  # what customers say does not belong into a log


def test_one_that_hangs_is_left_behind_and_later_ones_are_not_let_in(caplog: pytest.LogCaptureFixture) -> None:
    hanging = Hanging()
    plugin = Plugin(hanging, 0.05)
    before = threading.active_count()
    for number in range(5):
        plugin.consult(f"第{number}条小结", AT, WORDS)
    assert threading.active_count() - before == 2
    assert len(caplog.records) == 5
    hanging.gate.set()


def test_it_is_asked_once_a_note_and_a_day() -> None:
    summarizer = Answering({"outcome": "won", "quotes": {"outcome": "天气"}})
    plugin = Plugin(summarizer, 5)
    for _ in range(3):
        plugin.consult(SILENT + "。", AT, WORDS)
    assert summarizer.asked == [SILENT]
    assert plugin.answers(SILENT + "。又说了一段", AT)
    assert not plugin.answers(SILENT, AT.replace(day=24))
    assert not plugin.answers("别的话", AT)


def test_only_so_many_answers_are_kept() -> None:
    plugin = Plugin(Answering({"outcome": "won"}), 5)
    for number in range(300):
        plugin.consult(f"第{number}条。", AT, WORDS)
    assert plugin.answers("第0条", AT) == []
    assert plugin.answers("第299条", AT) != []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no.such.module:factory", "ModuleNotFoundError"),
        ("tests.summarizers:nothing", "AttributeError"),
        ("tests.summarizers:not_one", "nothing that can summarize"),
        ("tests.summarizers:broken", "no model file"),
    ],
)
def test_one_that_cannot_be_loaded_says_why(name: str, why: str) -> None:
    with pytest.raises(NoPlugin, match=why):
        load_plugin(name, 5)


# --- in the house -----------------------------------------------------------------------------------------------------

ARRIVED = """at: 2026-11-23 10:00
rep: [place 30.08218 120.49390 live accuracy=8]
rep: [photo 门头.jpg]
"""


def visit_after(folder: Path, lines: str, plugin: Plugin | None) -> Visit:
    with fresh_firm(folder) as (database, _):
        tools = make_tools(Limits(), LocalFiles(folder / "files"), plugin=plugin)
        Replay(database, tools).run(read_script(ARRIVED + lines))
        with database.read(WHOLE) as work:
            return visits.open_visits(work, "E101")[0]


@pytest.mark.parametrize(
    "lines",
    [
        "rep: 墙钟停摆那件事，他犹疑得很\n",
        "rep: [voice 1.ogg 9s]\nheard: 墙钟停摆那件事，他犹疑得很\n",
    ],
    ids=["typed", "heard"],
)
def test_its_findings_come_as_proposals_to_be_confirmed(tmp_path: Path, lines: str) -> None:
    plugin = load_plugin("tests.summarizers:Regular", 5)
    with_plugin = visit_after(tmp_path, lines, plugin)
    assert with_plugin.value("problem") == "墙钟停摆"
    assert not with_plugin.sure("problem")
    assert [trace.rule for trace in with_plugin.answers["problem"].traces] == ["plugin"]


def test_without_one_the_same_note_leaves_the_question_open(tmp_path: Path) -> None:
    assert "problem" not in visit_after(tmp_path, "rep: 墙钟停摆那件事，他犹疑得很\n", None).answers


def test_summarize_asks_the_one_of_the_settings_and_goes_on_without_a_broken_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def problem(plugin: str) -> str:
        config = tmp_path / "config.toml"
        config.write_text(f'["理解"]\n"插件" = "{plugin}"\n', encoding="utf-8")
        note = "墙钟停摆那件事"
        result = CliRunner().invoke(main, ["--config", str(config), "summarize", "--json", "-"], input=note)
        assert result.exit_code == 0
        return result.stdout

    assert '"problem": "墙钟停摆"' in problem("tests.summarizers:Regular")
    assert '"problem": null' in problem("tests.summarizers:broken")
    assert "no model file" in caplog.text
    assert '"problem": null' in problem("")


def test_replay_takes_the_one_of_the_settings_as_run_does(tmp_path: Path) -> None:
    script = tmp_path / "小结.txt"
    script.write_text(
        ARRIVED
        + "rep: 墙钟停摆那件事，他犹疑得很\n"
        + "saved: state = open\nsaved: rep = 王建\nsaved: outlet = C0001 柯桥老灶台酒家\n"
        + "saved: place = live 30.08218 120.49390 ±8\nsaved: photos = 1\n"
        + "saved: note = typed 墙钟停摆那件事，他犹疑得很\n"
        + "saved: problem? = 墙钟停摆\nsaved: objections? = price\nsaved: actions = 3\n",
        encoding="utf-8",
    )

    def replayed(plugin: str) -> Result:
        config = tmp_path / "config.toml"
        config.write_text(f'["理解"]\n"插件" = "{plugin}"\n', encoding="utf-8")
        return CliRunner().invoke(main, ["--config", str(config), "replay", str(script)])

    with_plugin = replayed("tests.summarizers:Regular")
    assert with_plugin.exit_code == 0, with_plugin.output
    assert "墙钟停摆（「墙钟停摆」）" in with_plugin.stdout
    without = replayed("")
    assert without.exit_code == 1
    assert "- problem? = 墙钟停摆" in without.stderr


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('["理解"]\n"插件" = "os.system(1)"\n', encoding="utf-8")
    result = CliRunner().invoke(main, ["--config", str(config), "check-config"])
    assert result.exit_code == 2
    assert "插件" in result.stderr
