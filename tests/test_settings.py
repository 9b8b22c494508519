"""Settings: what config.toml, secrets and the environment may say, and how what is wrong is told."""

import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from datetime import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from bot.cli import main
from bot.config_file import SettingsRefused, line_of, parse
from bot.no_secrets import secret_values
from bot.settings import Settings, load_settings, unknown_variables
from bot.settings_fields import WEBHOOK_PATH, Values
from bot.settings_problems import HIDDEN
from bot.settings_walk import variable_of
from bot.telegram_channel import WEBHOOK_PATH as OF_THE_CHANNEL
from rules.limits import Limits, PhraseActions
from storage.files import FilesSettings

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "123456:" + "aB3_" * 9


def settings(tmp_path: Path, text: str = "", environment: dict[str, str] | None = None) -> Settings:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environment or {})


def refusal(tmp_path: Path, text: str = "", environment: dict[str, str] | None = None) -> list[str]:
    """The sentences of a refusal, as the command line says them."""
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    result = check_config(path, environment)
    assert result.exit_code == 2
    assert result.stdout == ""
    return [line.removeprefix("· ") for line in result.stderr.splitlines()[1:]]


def check_config(path: Path, environment: dict[str, str] | None = None, *options: str) -> Result:
    return CliRunner().invoke(main, ["--config", str(path), "check-config", *options], env=environment)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ZOUDIAN_"):
            monkeypatch.delenv(name)


def titles() -> Iterator[tuple[str, str]]:
    """(table, key) of everything but secrets."""
    for one in Settings(Values(), Path(), None, {}).in_force():
        if not re.search(r"TOKEN$|SECRET$|_KEY$|ROBOTS$|HEADERS$|DSN$", one.variable):
            yield one.table, one.key


def test_the_shipped_file_is_plain_toml_and_shows_every_setting_with_its_default() -> None:
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    written = tomllib.loads(text)
    flat = {
        (table, key)
        for table, inner in (("", written), *((name, one) for name, one in written.items() if isinstance(one, dict)))
        for key, value in inner.items()
        if not isinstance(value, dict)
    }
    assert flat == set(titles())
    shipped = load_settings(ROOT / "config.toml", {})
    assert shipped.values == Values()
    assert set(shipped.origins.values()) == {"file"}


def test_the_defaults_are_those_of_the_rules(tmp_path: Path) -> None:
    plain = settings(tmp_path)
    assert plain.limits == Limits()
    assert plain.data_dir == tmp_path / "data"
    assert plain.database_url == f"sqlite:///{tmp_path}/data/zoudian.db"
    assert plain.files == FilesSettings(folder=tmp_path / "data" / "files")
    assert plain.transcribe.model_dir == str(tmp_path / "data" / "models")
    assert not plain.telegram.token.get_secret_value()


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}).values == Values()
    (tmp_path / "config.toml").write_text('"围栏半径米" = 300', encoding="utf-8")
    assert load_settings(None, {}).limits.fence_m == 300


def test_every_business_setting_reaches_the_rules(tmp_path: Path) -> None:
    read = settings(
        tmp_path,
        """
        围栏半径米 = 150
        最近门店倍数 = 3
        定位有效分钟 = 11
        最高时速公里 = 120
        照片有效小时 = 13
        照片相似位数 = 20
        拜访最短分钟 = 4
        忘记结束分钟 = 61
        可撤销小时 = 23
        自动待办超过分钟 = 26
        工作日 = ["星期一", "周天", "礼拜三"]
        上班时间 = "9:00"
        下班时间 = "17:30"
        提醒时间 = "08:45"
        提前提醒分钟 = 30
        预警时间 = "17点30分"
        预警补发小时 = 6
        每日新客目标 = 2
        连续未完成天数 = 3
        时区 = "Asia/Urumqi"
        本次成交关键因素 = ["便宜", "近"]
        未成交根因 = ["贵"]
        [[再跟进短语]]
        短语 = ["回头说"]
        动作 = ["是否报价"]
        凭据 = ["照片"]
        """,
    )
    assert read.limits == Limits(
        time_zone="Asia/Urumqi",
        fence_m=150,
        clear_match_ratio=3,
        pin_fresh_minutes=11,
        top_speed_kmh=120,
        photo_fresh_hours=13,
        near_same_bits=20,
        todo_over_minutes=26,
        forgotten_after_minutes=61,
        undo_hours=23,
        shortest_visit_minutes=4,
        work_days=(0, 2, 6),
        day_starts=time(9),
        day_ends=time(17, 30),
        remind_at=time(8, 45),
        remind_ahead_minutes=30,
        alert_at=time(17, 30),
        alert_catch_up_hours=6,
        new_outlets_a_day=2,
        new_outlet_run_days=3,
        close_factors=("便宜", "近"),
        root_causes=("贵",),
        phrase_actions=(PhraseActions(("回头说",), ("是否报价",), ("照片",)),),
    )


def test_what_a_chinese_keyboard_types_is_read(tmp_path: Path) -> None:
    read = settings(
        tmp_path,
        "围栏半径米 ＝ ２５０　＃ 注释\n预警时间 = “１８：３０”\n提醒时间＝9：05\n"
        "工作日 = 【“周一”，“周二”】\n【网页】\n端口 = “９０００”\n公网网址 = “https://a.cn”\n［文件］\n桶='a＝b'\n",
    )
    assert read.limits.fence_m == 250
    assert read.limits.alert_at == time(18, 30)
    assert read.limits.remind_at == time(9, 5)
    assert read.limits.work_days == (0, 1)
    assert (read.web.port, read.web.public_url) == (9000, "https://a.cn")
    assert read.files.bucket == "a＝b"


def test_a_table_and_a_dotted_key_say_the_same(tmp_path: Path) -> None:
    assert settings(tmp_path, '语音.模型 = "medium"').values == settings(tmp_path, '[语音]\n模型 = "medium"').values


@given(st.text(alphabet='围栏= ＝“”"[]【】\n2２:：#.', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(SettingsRefused):
        assert isinstance(parse(text), dict)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("围栏半经米 = 2", "第 1 行：不认识的设置「围栏半经米」，是不是「围栏半径米」？"),
        ("\n[网页]\n断口 = 1", "第 3 行：[网页] 里不认识的设置「断口」，是不是「端口」？"),
        ("[网业]\n端口 = 1", "第 1 行：不认识的设置「网业」，是不是「网页」？"),
        ("端口 = 1", "第 1 行：没有设置「端口」，它是不是该写成「网页.端口」？"),
        ("[文件]\nkind = 'S3'", "第 2 行：[文件] 里不认识的设置「kind」，是不是「存放方式」？"),
        ("zzz = 1", "第 1 行：不认识的设置「zzz」。"),
        ("\n围栏半径米 = 2", "第 2 行：「围栏半径米」不能是「2」，应为 20 到 5000 之间的数。"),
        ("围栏半径米 = nan", "第 1 行：「围栏半径米」不能是「nan」，应为 20 到 5000 之间的数。"),
        ("每日新客目标 = true", "第 1 行：「每日新客目标」不能是「True」，应为 0 到 100 之间的整数。"),
        ("每日新客目标 = 1.5", "第 1 行：「每日新客目标」不能是「1.5」，应为 0 到 100 之间的整数。"),
        ("预警时间 = '25:00'", "第 1 行：「预警时间」不能是「25:00」，应为时间，例如 18:00。"),
        ("工作日 = ['周八']", "第 1 行：「工作日」不能是「['周八']」，应为星期几，例如 [\"周一\", \"周二\"]。"),
        (
            "未成交根因 = ['贵', '贵']",
            "第 1 行：「未成交根因」不能是「['贵', '贵']」，应为几个不重复的词，每个不超过 40 个字。",
        ),
        ("时区 = '北京'", "第 1 行：「时区」不能是「北京」，应为时区的名字，例如 Asia/Shanghai。"),
        ("网页 = 3", "第 1 行：「网页」不能是「3」，应为一张表，例如 [网页]。"),
        ("[telegram]\n方式 = '轮询'", "第 2 行：「telegram.方式」不能是「轮询」，应为其中之一：polling、webhook。"),
        ("[[再跟进短语]]\n短语 = ['a']", "第 1 行：「再跟进短语」少了「动作」。"),
        (
            "[[再跟进短语]]\n短语 = ['a']\n动作 = ['b']\n凭据 = ['口说']",
            "第 1 行：「再跟进短语」不能是「['口说']」，"
            "应为照片、小结、定位、待办之一，和动作一一对应，有几个动作就写几个。",
        ),
        (
            "[[再跟进短语]]\n短语 = ['a']\n动作 = ['b', 'c']\n凭据 = ['照片']",
            "第 1 行：「再跟进短语」不能是「['照片']」，"
            "应为照片、小结、定位、待办之一，和动作一一对应，有几个动作就写几个。",
        ),
        ("上班时间 = '19:00'", "上班时间 19:00:00 要早于下班时间 18:30:00。"),
        ("[文件]\n存放方式 = 'S3'", "文件的存放方式是 S3，要写「桶」。"),
        (
            "[telegram]\n网址 = 'https://a.cn'",
            f"第 2 行：「telegram.网址」不能是「https://a.cn」，应为 https:// 开头、{WEBHOOK_PATH} 结尾的网址。",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    assert refusal(tmp_path, text) == [sentence]


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, "围栏半径米 = 1\n拜访最短分钟 = -1\nx = 1\n[网页]\n端口 = 70000")) == 4


def test_a_line_that_is_no_setting_is_shown_without_its_value(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, f"围栏半径米 = 200\n令牌 = {TOKEN} {TOKEN}")
    assert line.startswith("第 2 行看不懂：「令牌」")
    assert TOKEN not in line


def test_a_file_that_is_not_utf8_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes("围栏半径米 = 200".encode("gb18030"))
    assert "不是 UTF-8 编码" in check_config(path).stderr
    assert "打不开" in check_config(tmp_path / "none.toml").stderr


@pytest.mark.parametrize(
    "text",
    [
        f"[telegram]\n令牌 = '{TOKEN}'",
        f"[telegram]\ntoken = '{TOKEN}'",
        f"[telegram]\n网址 = '{TOKEN}'",
        "[数据]\n数据库 = 'postgresql://zoudian:hunter2@db/firm'",
        "[文件]\n访问密钥口令 = 'hunter2'",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    (line,) = refusal(tmp_path, text)
    assert line.startswith("第 2 行：")
    assert "环境变量 ZOUDIAN_" in line
    assert TOKEN not in line
    assert "hunter2" not in line


def test_secrets_come_from_the_environment_or_from_files(tmp_path: Path) -> None:
    assert settings(tmp_path, "", {"ZOUDIAN_TELEGRAM__TOKEN": TOKEN}).telegram.token.get_secret_value() == TOKEN
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "telegram__token").write_text(TOKEN + "\n")
    (folder / "web__cookie_key").write_text("k" * 32)
    from_files = settings(tmp_path, "", {"ZOUDIAN_SECRETS_DIR": str(folder)})
    assert from_files.telegram.token.get_secret_value() == TOKEN
    assert from_files.web.cookie_key.get_secret_value() == "k" * 32
    assert from_files.origins["telegram", "token"] == "secret"
    assert TOKEN not in repr(from_files)


def test_a_bad_secret_is_refused_without_being_shown(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, "", {"ZOUDIAN_TELEGRAM__TOKEN": "hunter2"})
    assert line.startswith(f"环境变量 ZOUDIAN_TELEGRAM__TOKEN：「telegram.令牌」不能是「{HIDDEN}」，")
    (line,) = refusal(tmp_path, "", {"ZOUDIAN_SECRETS_DIR": str(tmp_path / "none")})
    assert "文件夹不存在" in line


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    variables = {"ZOUDIAN_WEB__PORT": "9001", "ZOUDIAN_WORK_DAYS": "周一，周二", "ZOUDIAN_ROOT_CAUSES": '["贵"]'}
    read = settings(tmp_path, "工作日 = ['周日']\n[网页]\n端口 = 9000\n上传上限MB = 5", variables)
    assert (read.web.port, read.web.upload_mb) == (9001, 5)
    assert read.limits.work_days == (0, 1)
    assert read.limits.root_causes == ("贵",)
    assert read.origins["web", "port"] == "environment"
    assert read.origins["web", "upload_mb"] == "file"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("ZOUDIAN_WEB__PROT", "1", "环境变量 ZOUDIAN_WEB__PROT 没有对应的设置"),
        ("ZOUDIAN_WEB__PORT", "99999", "环境变量 ZOUDIAN_WEB__PORT：「网页.端口」不能是「99999」"),
        ("ZOUDIAN_WORK_DAYS", "[1", "环境变量 ZOUDIAN_WORK_DAYS：「工作日」不能是"),
    ],
)
def test_a_bad_variable_is_named(tmp_path: Path, variable: str, value: str, sentence: str) -> None:
    (line,) = refusal(tmp_path, "", {variable: value})
    assert line.startswith(sentence)


def test_check_config_prints_everything_in_force_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("围栏半径米 = 250", encoding="utf-8")
    variables = {
        "ZOUDIAN_TELEGRAM__TOKEN": TOKEN,
        "ZOUDIAN_DATA__URL": "postgresql://zoudian:hunter2@db/firm",
        "ZOUDIAN_ODD": "1",
    }
    result = check_config(path, variables, "--env")
    assert result.exit_code == 0
    assert "围栏半径米 = 250    （文件，ZOUDIAN_FENCE_M）" in result.stdout
    assert f'令牌 = "{HIDDEN}"    （环境变量，ZOUDIAN_TELEGRAM__TOKEN）' in result.stdout
    assert "拜访最短分钟 = 3    （默认" in result.stdout
    assert all(f"\n{key} = " in result.stdout for _, key in titles())
    assert TOKEN not in result.output
    assert "hunter2" not in result.output
    assert "ZOUDIAN_ODD" in result.stderr


def test_variables_that_set_nothing_are_found() -> None:
    assert unknown_variables({"ZOUDIAN_FENCE_M": "1", "ZOUDIAN_FENSE": "1", "PATH": ""}) == ["ZOUDIAN_FENSE"]
    assert variable_of(("web", "port")) == "ZOUDIAN_WEB__PORT"


def test_a_webhook_needs_its_address_and_secret(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, "[telegram]\n方式 = 'webhook'")) == 2
    url = f"https://a.cn{WEBHOOK_PATH}"
    variables = {"ZOUDIAN_TELEGRAM__WEBHOOK_SECRET": "s3cret"}
    assert settings(tmp_path, f"[telegram]\n方式='webhook'\n网址='{url}'", variables).telegram.webhook_url == url


WECHAT = {
    "ZOUDIAN_WECOM__CORP_ID": "ww1",
    "ZOUDIAN_WECOM__AGENT_ID": "1000002",
    "ZOUDIAN_WECOM__SECRET": "wecom-secret-canary",
    "ZOUDIAN_WECOM__TOKEN": "wecom-token-canary",
    "ZOUDIAN_WECOM__AES_KEY": "k" * 43,
    "ZOUDIAN_WECOM__PROXY": "http://user:proxy-canary@127.0.0.1:7890",
    "ZOUDIAN_WECOM__ROBOTS": "E001=robot-canary-1，吴经理 ＝ robot-canary-2",
    "ZOUDIAN_MP__APP_ID": "wx1",
    "ZOUDIAN_MP__SECRET": "mp-secret-canary",
    "ZOUDIAN_MP__TOKEN": "mp-token-canary",
    "ZOUDIAN_MP__AES_KEY": "m" * 43,
}


def test_both_wechat_channels_are_set_without_showing_a_secret(tmp_path: Path) -> None:
    read = settings(tmp_path, "", WECHAT)
    assert (read.wecom.corp_id, read.mp.app_id, read.wecom.datum) == ("ww1", "wx1", "gcj02")
    secrets = ["k" * 43, "m" * 43, *re.findall(r"[a-z-]+-canary(?:-\d)?", " ".join(WECHAT.values()))]
    assert len(secrets) == 9
    assert set(secrets) <= set(secret_values(read))
    path = tmp_path / "config.toml"
    shown = check_config(path, WECHAT, "--env").output
    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize("left_out", ["CORP_ID", "AGENT_ID", "TOKEN", "AES_KEY"])
def test_wecom_switched_on_needs_everything_for_a_message(tmp_path: Path, left_out: str) -> None:
    (line,) = refusal(tmp_path, "", {**WECHAT, f"ZOUDIAN_WECOM__{left_out}": ""})
    assert line.startswith("[企业微信] 已启用")
    assert f"ZOUDIAN_WECOM__{left_out}" in line


def test_the_passive_mode_needs_no_secret(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, "", {**WECHAT, "ZOUDIAN_MP__SECRET": ""})
    assert "ZOUDIAN_MP__SECRET" in line
    passive = settings(tmp_path, "[公众号]\n方式 = '只被动回复'", {**WECHAT, "ZOUDIAN_MP__SECRET": ""})
    assert passive.mp.mode == "只被动回复"


@pytest.mark.parametrize("key", ["k" * 42, "k" * 44, "k" * 42 + "-"])
def test_an_aes_key_that_is_none_is_refused_without_being_shown(tmp_path: Path, key: str) -> None:
    (line,) = refusal(tmp_path, "", {**WECHAT, "ZOUDIAN_WECOM__AES_KEY": key})
    assert "43 个字母和数字" in line
    assert key not in line


def test_the_webhook_path_is_the_channels() -> None:
    assert WEBHOOK_PATH == OF_THE_CHANNEL


def test_lines_of_keys_are_found_in_their_own_table() -> None:
    text = "目录 = 1\n['数据']\n\"目录\" = 2\n[文件]\n目录 = 3"
    assert [line_of(text, table, "目录") for table in ("", "数据", "文件")] == [1, 3, 5]
