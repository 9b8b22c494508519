"""The guards against text nobody said, each on its own."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp import guards
from nlp.audio import Sound
from nlp.transcribe import Segment, Transcript, _transcript
from tests.growth import SQUARE, growth

CLIPS = json.loads(Path("tests/media/speech/clips/manifest.json").read_text(encoding="utf-8"))
SAID = [note["text"] for note in CLIPS] + [
    "今天去了鉴湖渔家，老板说了三遍太贵太贵太贵，下周再约",
    "要十箱，十箱，记得是十箱",
    "电话一三八八八八八八八八八",
    "他说帮我转发到朋友圈，谢谢他了",
    "嗯嗯，那个那个，我看了一下库存",
    "订货会的字幕机坏了，没关系",
]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", ""),
        ("请不吝点赞，订阅，转发，打赏支持明镜与点点栏目。", ""),
        ("字幕由 Amara.org 社群提供", ""),
        ("中文字幕志愿者 杨栋梁", ""),
        ("字幕by索兰娅", ""),
        ("优优独播剧场——YoYo Television Series Exclusive", ""),
        ("谢谢观看", ""),
        ("感谢大家收看。我们下期再见！", ""),
        ("订阅", ""),
        ("今天去了大发干货行。谢谢观看", "今天去了大发干货行。"),
        ("今天去了大发干货行谢谢观看", "今天去了大发干货行"),
        ("送了样品，请不吝点赞订阅转发打赏支持明镜与点点栏目。下周再约。", "送了样品，下周再约。"),
        ("字幕由Amara.org社区提供，老板不在。", "老板不在。"),
    ],
)
def test_credits_are_cut_and_the_rest_stays(text: str, left: str) -> None:
    assert guards.drop_credits(text) == left


def test_traditional_credits_are_cut_too() -> None:
    assert guards.drop_credits(guards.simplify("請不吝點贊 訂閱 轉發 打賞支持明鏡與點點欄目")) == ""


@pytest.mark.parametrize("text", SAID)
def test_what_reps_say_passes_untouched(text: str) -> None:
    assert guards.drop_credits(text) == text
    assert guards.collapse_repeats(text) == text
    assert guards.simplify(text) == text
    assert guards.compression(text) < 1.7


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("谢谢老板 谢谢老板 谢谢老板 谢谢老板", "谢谢老板"),
        ("我们下周再约，我们下周再约，我们下周再约", "我们下周再约"),
        ("订了十二桶豆瓣酱，订了十二桶豆瓣酱，走了", "订了十二桶豆瓣酱，走了"),
        ("嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯好的", "嗯好的"),
    ],
)
def test_loops_are_shortened(text: str, left: str) -> None:
    assert guards.collapse_repeats(text) == left


def test_compression_catches_what_whisper_would() -> None:
    assert guards.compression("谢谢观看" * 5) > guards.LOOP_COMPRESSION
    assert guards.compression("") == 0


@pytest.mark.parametrize("piece", ["的一了我", "".join(np.random.default_rng(3).choice(list("的一了我"), 8_000))])
def test_the_cost_of_shortening_loops_grows_with_the_text_only(piece: str) -> None:
    assert growth(guards.collapse_repeats, piece, 2_000) < SQUARE


@pytest.mark.parametrize("piece", [" ", "字幕"])
def test_the_cost_of_dropping_credits_grows_with_the_text_only(piece: str) -> None:
    assert growth(lambda text: guards.drop_credits("请不吝点赞" + text), piece, 2_000) < SQUARE


@given(st.text(alphabet="的了十箱，。 谢观看订阅abc", max_size=60))
def test_guards_never_add_a_character(text: str) -> None:
    for cleaned in (guards.drop_credits(text), guards.collapse_repeats(text)):
        rest = iter(text)
        assert all(character in rest for character in cleaned)


@pytest.mark.parametrize(
    ("text", "echo"),
    [
        ("大发干货行，鉴湖渔家，新昌炒年糕", True),
        ("大发干货行 鉴湖渔家 新昌炒年糕。", True),
        ("大发干货行，鉴湖渔家", False),
        ("去了大发干货行，鉴湖渔家，新昌炒年糕", False),
        ("", False),
    ],
)
def test_names_read_aloud_from_the_prompt(text: str, echo: bool) -> None:
    assert guards.echoes_hints(text, ("大发干货行", "鉴湖渔家", "新昌炒年糕", "")) is echo


def test_near_silence() -> None:
    random = np.random.default_rng(5)
    hiss = random.normal(0, 0.001, 16_000 * 8).astype(np.float32)
    assert guards.near_silent(hiss)
    assert guards.near_silent(np.zeros(0, np.float32))
    assert guards.near_silent(np.zeros(7, np.float32))
    one_loud_second = hiss.copy()
    one_loud_second[16_000 * 3 : 16_000 * 4] *= 50
    assert not guards.near_silent(one_loud_second)
    click = hiss.copy()
    click[100] = 0.2
    assert guards.near_silent(click)


def test_traditional_characters_become_simplified() -> None:
    assert guards.simplify("下週再約，裡面發麵乾貨") == "下周再约，里面发面干货"


def heard(*texts: str, logprob: float = -0.2, truncated: bool = False, names: tuple[str, ...] = ()) -> Transcript:
    sound = Sound(np.zeros(16_000, np.float32), 1.0, "opus", truncated)
    segments = [Segment(float(i), i + 1.0, text, logprob, 0.0) for i, text in enumerate(texts)]
    return _transcript(segments, sound, "test", unsure_logprob=-1.0, names=names)


def test_the_guards_together() -> None:
    plain = heard("下週再約", "老闆不在。")
    assert (plain.text, plain.doubtful) == ("下周再约，老板不在。", ())
    assert plain.confidence == pytest.approx(np.exp(-0.2))
    credit = heard("老板不在。", "请不吝点赞 订阅 转发")
    assert (credit.text, credit.doubtful, len(credit.segments)) == ("老板不在。", ("invented",), 1)
    nothing = heard("谢谢观看")
    assert (nothing.text, nothing.doubtful, nothing.confidence) == ("", ("invented", "nothing_heard"), 0.0)
    loop = heard("我们下周再约", "我们下周再约", "我们下周再约")
    assert (loop.text, loop.doubtful) == ("我们下周再约", ("repeats",))
    echo = heard("大发干货行，鉴湖渔家，新昌炒年糕", names=("大发干货行", "鉴湖渔家", "新昌炒年糕"))
    assert (echo.text, echo.segments, echo.doubtful) == ("", (), ("echo", "nothing_heard"))
    weak = heard("老板不在", logprob=-1.4, truncated=True)
    assert (weak.text, weak.doubtful) == ("老板不在", ("truncated", "unsure"))
    unrated = heard("老板不在", logprob=float("nan"))
    assert (unrated.doubtful, unrated.confidence) == ((), 0.5)
