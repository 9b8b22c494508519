"""The command line as a person meets it: help, exit codes, invites, models, and summaries of notes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli import SAMPLE_FIRM, main
from bot.speech_commands import TEST_MODEL
from storage import people
from storage.migrate import newest
from tests.databases import POSTGRES, WHOLE, database_url, open_database, sqlite_only

ROOT = Path(__file__).resolve().parent.parent
CLIP = SAMPLE_FIRM / "clips" / "note00.ogg"
NOTE = "刚跑完城南烧烤，老板要了鸡翅六箱薯条十包，说我们价格有优势，下周五上午十点送到。"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in with a config file that keeps everything there."""
    (tmp_path / "config.toml").write_text('"数据"."目录" = "库"', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    if POSTGRES:
        monkeypatch.setenv("ZOUDIAN_DATA__URL", database_url(tmp_path / "库", "zoudian.db"))
    return tmp_path


@pytest.fixture
def firm(home: Path) -> Path:
    assert zoudian("import", str(SAMPLE_FIRM)).exit_code == 0
    return home


def zoudian(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=stdin)


def started(*arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "bot", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def wait_until_it_reads(process: "subprocess.Popen[str]") -> None:
    """Until it waits for its standard input; before that a library may be loading, which is another case."""
    read_of_0 = re.compile(r"\d+ 0x0 ")
    kernel = Path(f"/proc/{process.pid}/syscall")
    in_a_row = 0
    for _ in range(1200):
        in_a_row = in_a_row + 1 if read_of_0.match(kernel.read_text()) else 0
        if in_a_row == 3:
            return
        threading.Event().wait(0.05)
    raise AssertionError("it never came to its input")


def used(link: str, home: Path) -> str | None:
    """Whose invite a link is, using it up."""
    token = re.split(r"start=|/join/", link)[1]
    database = open_database(home / "库", "zoudian.db")
    try:
        with database.work(WHOLE) as work:
            return people.use_invite(work, token, datetime.now(UTC))
    finally:
        database.close()


# --- all commands -----------------------------------------------------------------------------------------------------


def test_help_lists_every_command_and_its_exit_codes() -> None:
    result = zoudian("--help")
    assert result.exit_code == 0
    for name in ("demo", "run", "chat", "replay", "transcript", "summarize", "import", "export", "invite", "migrate"):
        assert f"  {name} " in result.stdout
    assert "退出码" in result.stdout


def test_help_loads_no_command() -> None:
    code = (
        "import sys\nfrom bot.cli import main\nmain(['--help'], standalone_mode=False)\n"
        "heavy = {'sqlalchemy', 'pydantic', 'jieba', 'telegram', 'faster_whisper', 'aiohttp', 'openpyxl', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("name", ["demo", "run", "chat", "replay", "transcript", "summarize", "import", "export"])
def test_every_command_has_help_with_exit_codes(name: str) -> None:
    result = zoudian(name, "--help")
    assert result.exit_code == 0
    assert "退出码" in result.stdout


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["import"], ["import", "/does/not/exist"], ["invite", "--hours", "0"]]
)
def test_wrong_usage_ends_with_2(home: Path, arguments: list[str]) -> None:
    assert zoudian(*arguments).exit_code == 2


@sqlite_only
def test_a_database_in_use_ends_with_3_and_says_so(firm: Path) -> None:
    database = open_database(firm / "库", "zoudian.db")
    try:
        result = zoudian("migrate")
    finally:
        database.close()
    assert result.exit_code == 3
    assert "正被另一个走店进程使用" in result.stderr
    assert zoudian("migrate").stdout == f"数据库已经是最新（{newest()}）。\n"


def test_a_data_folder_that_cannot_be_made_ends_with_3(home: Path) -> None:
    (home / "库").write_text("a file where the folder should be")
    assert zoudian("migrate").exit_code == 3


def test_an_interrupt_ends_with_130_and_a_sentence(home: Path) -> None:
    process = started("summarize", "-")
    assert process.stderr is not None
    assert "示例公司" in process.stderr.readline()
    wait_until_it_reads(process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "已中断" in told
    assert "Traceback" not in told


def test_the_module_runs_and_gives_its_exit_code(home: Path) -> None:
    process = started("--config", "none.toml", "check-config")
    _, told = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "打不开 none.toml" in told


# --- invites ----------------------------------------------------------------------------------------------------------


def test_an_invite_prints_a_link_that_works_once_and_its_code(firm: Path) -> None:
    result = zoudian("invite", "王建", "--bot", "@ZoudianBot", "--png", "王建.png")
    assert result.exit_code == 0
    link = result.stdout.splitlines()[1]
    assert re.fullmatch(r"https://t\.me/ZoudianBot\?start=[A-Za-z0-9_-]{22}", link)
    assert "▄" in result.stdout
    assert (firm / "王建.png").read_bytes().startswith(b"\x89PNG")
    assert used(link, firm) == "E101"
    assert used(link, firm) is None


def test_without_a_telegram_bot_the_link_opens_the_web_page(firm: Path) -> None:
    link = zoudian("invite", "E101").stdout.splitlines()[1]
    assert link.startswith("http://127.0.0.1:8350/join/")
    assert used(link, firm) == "E101"


def test_an_invite_for_telegram_needs_the_bots_name(firm: Path) -> None:
    result = zoudian("invite", "E101", "--channel", "telegram")
    assert (result.exit_code, "--bot" in result.stderr) == (2, True)
    with (firm / "config.toml").open("a", encoding="utf-8") as config:
        config.write('\n[telegram]\n"机器人用户名" = "ZoudianBot"\n')
    assert "https://t.me/ZoudianBot?start=" in zoudian("invite", "E101").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["王健"], 1, "是不是「王建」"),
        (["何平"], 1, "已离职"),
        ([], 2, "姓名或工号"),
        (["王建", "--all", "码"], 2, "给所有人"),
    ],
)
def test_whom_an_invite_cannot_be_for(firm: Path, arguments: list[str], code: int, words: str) -> None:
    result = zoudian("invite", *arguments)
    assert (result.exit_code, words in result.stderr) == (code, True)


def test_invites_for_everybody_leave_out_who_left(firm: Path) -> None:
    result = zoudian("invite", "--all", "码", "--bot", "ZoudianBot")
    assert result.exit_code == 0
    names = {path.name for path in (firm / "码").iterdir()}
    assert "E101-王建.png" in names
    assert not [name for name in names if "何平" in name]
    assert f"{len(names)} 名在职员工" in result.stdout


# --- models and notes -------------------------------------------------------------------------------------------------


def test_a_note_is_summarized_for_people_and_as_json(home: Path) -> None:
    (home / "note.txt").write_text(NOTE, encoding="utf-8")
    command = ["summarize", "--firm", str(SAMPLE_FIRM), "--at", "2026-10-13T10:05", "note.txt"]
    shown = zoudian(*command)
    assert shown.exit_code == 0
    assert "  门店：C0017  「城南烧烤」" in shown.stdout
    assert "  订单：P004 6 箱、P003 10 包" in shown.stdout
    found = json.loads(zoudian(*command, "--json").stdout)
    assert found["id"] == "note.txt"
    assert found["customer"] == "C0017"
    assert found["orders"] == [["P004", 6, "箱"], ["P003", 10, "包"]]
    assert found["follow_up"] == {"from": "2026-10-23", "to": "2026-10-23", "time": "10:00"}
    assert set(found) == {
        *("id", "customer", "contacts", "problem", "outcome", "close_factor", "root_cause", "objections"),
        *("competitors", "orders", "samples", "payment", "follow_up", "actions", "quotes", "confidence"),
    }


def test_standard_input_and_lines_with_their_own_times(home: Path) -> None:
    lines = [{"id": "a", "at": "2026-10-13T10:05:00+08:00", "text": NOTE}, {"text": NOTE}]
    (home / "notes.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    result = zoudian("summarize", "--json", "--at", "2026-11-23", "notes.jsonl", "-", stdin=NOTE)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["id"], one["follow_up"]["from"]) for one in found] == [
        ("a", "2026-10-23"),
        ("2", "2026-12-04"),
        ("-", "2026-12-04"),
    ]


def test_scores_are_printed_by_field(home: Path) -> None:
    labels = {"customer": "C0017", "outcome": "won", "orders": [["P004", 7, "箱"]]}
    line = {"id": "n1", "at": "2026-10-13T10:05:00+08:00", "text": "城南烧烤要了鸡翅六箱。", "expect": labels}
    (home / "notes.jsonl").write_text(json.dumps(line), encoding="utf-8")
    figures = json.loads(zoudian("summarize", "--score", "--json", "notes.jsonl").stdout)
    assert figures["customer"] == {"precision": 1, "recall": 1, "f1": 1, "right": 1, "wrong": 0, "missed": 0}
    assert (figures["orders"]["right"], figures["orders"]["wrong"], figures["orders"]["missed"]) == (0, 1, 1)
    shown = zoudian("summarize", "--score", "notes.jsonl")
    assert "· n1：orders" in shown.stdout
    assert zoudian("summarize", "--score", "--firm", str(SAMPLE_FIRM), "-", stdin=NOTE).exit_code == 1


@pytest.mark.parametrize(
    ("content", "line"), [("{", 1), ('{"text": "好"}\n{"at": "昨天", "text": "好"}', 2), ('{"id": 1}', 1), ("[]", 1)]
)
def test_a_line_that_is_no_note_is_named(home: Path, content: str, line: int) -> None:
    (home / "notes.jsonl").write_text(content, encoding="utf-8")
    result = zoudian("summarize", "--json", "notes.jsonl")
    assert result.exit_code == 1
    assert f"notes.jsonl 第 {line} 行不是一条小结" in result.stderr


def test_a_firm_with_problems_is_refused_like_an_import(home: Path) -> None:
    (home / "竞品.csv").write_text("竞品名称,产品线\n味农,冻品\n", encoding="utf-8")
    result = zoudian("summarize", "--firm", ".", "-", stdin=NOTE)
    assert result.exit_code == 1
    assert "「产品线」：不认识的列，是不是「对应产品线」？" in result.stderr


def test_files_and_times_that_cannot_be_read(home: Path) -> None:
    assert zoudian("summarize", "none.txt").exit_code == 2
    assert zoudian("summarize", "--at", "昨天", "-", stdin=NOTE).exit_code == 2
    (home / "bad.ogg").write_bytes(b"OggS\xff\xfe" * 9)
    broken = zoudian("summarize", "--model", str(TEST_MODEL), "bad.ogg")
    assert (broken.exit_code, "不是能听的语音" in broken.stderr) == (1, True)


def test_without_a_model_a_voice_note_says_how_to_get_one(home: Path) -> None:
    for arguments in (["summarize", str(CLIP)], ["model", "check"]):
        result = zoudian(*arguments)
        assert result.exit_code == 3
        assert "zoudian model pull small" in result.stderr
    too_small = zoudian("model", "check", "--model", "tiny")
    assert (too_small.exit_code, "31.9%" in too_small.stderr) == (3, True)


@pytest.mark.recogniser
def test_a_voice_note_is_heard_and_understood(home: Path) -> None:
    result = zoudian("summarize", "--model", str(TEST_MODEL), str(CLIP))
    assert result.exit_code == 0
    assert "听到：刚跑完城南烧烤，老板要了鸡翅六箱薯条十包" in result.stdout
    assert "见到的人：老板  「老板」" in result.stdout
    checked = zoudian("model", "check", "--model", str(TEST_MODEL))
    assert checked.exit_code == 0
    assert "model.bin  1.7 MB" in checked.stdout
    assert "试听结果：刚跑完城南烧烤，老板要了鸡翅六箱薯条十包" in checked.stdout


@pytest.mark.parametrize(
    ("name", "code", "words"), [("nonsense", 2, "没有叫「nonsense」的模型"), ("tiny", 3, "听中文错得太多")]
)
def test_models_that_cannot_be_pulled(home: Path, name: str, code: int, words: str) -> None:
    result = zoudian("model", "pull", name)
    assert (result.exit_code, words in result.stderr) == (code, True)


def test_an_unreachable_mirror_is_told_with_what_helps(home: Path) -> None:
    result = zoudian("model", "pull", "small", "--mirror", "http://127.0.0.1:9")
    assert result.exit_code == 3
    assert "--mirror" in result.stderr
