"""SenseVoice through the real sherpa-onnx, on a network of the right shape (tests/media/sensevoice), without weights.

That network knows two clips by heart. What it shows is that the sound goes the right way: cut at silences, features,
the language and punctuation asked for, CTC, joined, guarded; and what becomes of models that are none.
"""

import importlib.metadata
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bot.cli import main
from nlp.models import NoModel, TranscribeSettings
from nlp.speech_process import SpeechCrashed, SpeechProcess
from nlp.transcribe import Hints, NoEngine, SherpaTranscriber, check_model
from tests.speech import CLIPS, SPEECH, unspoken_clips, wav

SHAPE = SPEECH.parent / "sensevoice"
CLIP = (CLIPS / "note00.ogg").read_bytes()
SAID = {one["file"]: one["text"] for one in json.loads((CLIPS / "manifest.json").read_text("utf-8"))}


def sensevoice(model: str) -> TranscribeSettings:
    return TranscribeSettings(engine="sensevoice", model=model)


def test_sensevoice_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.int8.onnx").write_bytes(b"x")
    (tmp_path / "tokens.txt").write_text("<blk> 0\n")
    monkeypatch.setitem(__import__("sys").modules, "sherpa_onnx", None)
    with pytest.raises(NoEngine, match="sensevoice"):
        SherpaTranscriber(sensevoice(str(tmp_path))).load()


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A copy of the model, to be spoilt."""
    return shutil.copytree(SHAPE, tmp_path / "model")


def spoilt(folder: Path, change: Callable[[bytes], bytes]) -> str:
    (folder / "model.onnx").write_bytes(change((SHAPE / "model.onnx").read_bytes()))
    return str(folder)


def test_the_library_is_the_one_that_is_advised() -> None:
    """The tests below run wherever this one does: the package belongs to the tests' own environment."""
    assert int(importlib.metadata.version("sherpa-onnx").split(".")[0]) >= 2


@pytest.mark.parametrize("name", ["note00.ogg", "note02.ogg"])
def test_sound_goes_all_the_way_through_the_library(name: str) -> None:
    """Note 02 is longer than the detector lets one stretch be: its two halves are heard apart and joined."""
    heard = SherpaTranscriber(sensevoice(str(SHAPE))).transcribe((CLIPS / name).read_bytes(), Hints())
    assert heard.text == SAID[name]
    assert len(heard.segments) == (1 if name == "note00.ogg" else 2)
    assert heard.engine == "sensevoice:sensevoice"
    assert all(one.start < one.end <= heard.seconds + 0.01 for one in heard.segments)


def test_another_clip_gives_other_text() -> None:
    """So the words do come out of the sound."""
    heard = SherpaTranscriber(sensevoice(str(SHAPE))).transcribe((CLIPS / "note01.ogg").read_bytes(), Hints())
    assert heard.text
    assert heard.text not in SAID.values()


def test_it_tells_no_probabilities() -> None:
    heard = SherpaTranscriber(sensevoice(str(SHAPE))).transcribe(CLIP, Hints())
    assert math.isnan(heard.segments[0].logprob)
    assert heard.confidence == 0.5
    assert heard.doubtful == ()


def test_a_short_file_is_marked_and_silence_is_not_heard() -> None:
    hears = SherpaTranscriber(sensevoice(str(SHAPE)))
    assert hears.transcribe(CLIP, Hints(claimed_seconds=20.0)).doubtful == ("truncated",)
    quiet = hears.transcribe(wav(np.zeros(16_000, np.float32)), Hints())
    assert (quiet.text, quiet.doubtful) == ("", ("silence",))


@pytest.mark.parametrize("ms", [1, 10, 26, 60, 90])
def test_a_moment_of_sound_does_no_harm(ms: int) -> None:
    """Shorter than the seven frames the network looks at together."""
    noise = np.random.default_rng(ms).normal(0, 0.2, 16 * ms).astype(np.float32)
    assert SherpaTranscriber(sensevoice(str(SHAPE))).transcribe(wav(noise), Hints()).text == ""


@pytest.mark.recogniser
def test_it_hears_in_the_child_process() -> None:
    with SpeechProcess(sensevoice(str(SHAPE))) as speech:
        assert speech.transcribe(CLIP, Hints()).text == SAID["note00.ogg"]
        assert speech.transcribe((CLIPS / "note02.ogg").read_bytes(), Hints()).text == SAID["note02.ogg"]


@pytest.mark.recogniser
@pytest.mark.parametrize("change", [lambda data: data[:30_000], lambda data: b"this is no network"])
def test_half_a_model_counts_as_none(ours: Path, change: Callable[[bytes], bytes]) -> None:
    """Notes then wait for a whole one, as without any."""
    with SpeechProcess(sensevoice(spoilt(ours, change))) as speech, pytest.raises(NoModel) as caught:
        speech.transcribe(CLIP, Hints())
    assert caught.value.missing == ("model*.onnx",)


@pytest.mark.recogniser
def test_the_token_list_of_another_model_counts_as_none(ours: Path) -> None:
    (ours / "tokens.txt").write_text("<blank> 0\n")
    with SpeechProcess(sensevoice(str(ours))) as speech, pytest.raises(NoModel) as caught:
        speech.transcribe(CLIP, Hints())
    assert caught.value.missing == ("tokens.txt",)


@pytest.mark.recogniser
def test_a_network_that_ends_the_process_ends_the_child_only(ours: Path) -> None:
    """The library calls exit() over a network without SenseVoice's facts."""
    model = spoilt(ours, lambda data: data.replace(b"neg_mean", b"neg_meen"))
    with SpeechProcess(sensevoice(model)) as speech, pytest.raises(SpeechCrashed) as caught:
        speech.transcribe(CLIP, Hints())
    assert caught.value.exitcode not in (0, None)


def test_model_check_reports_on_it(tmp_path: Path) -> None:
    assert check_model(sensevoice(str(SHAPE)), CLIP).transcript.text == SAID["note00.ogg"]
    config = tmp_path / "config.toml"
    config.write_text('["语音"]\n"引擎" = "sensevoice"\n', encoding="utf-8")
    arguments = ["--config", str(config), "model", "check", "--model", str(SHAPE)]
    result = CliRunner().invoke(main, [*arguments, "--clip", str(CLIPS / "note00.ogg")])
    assert result.exit_code == 0, result.output
    assert SAID["note00.ogg"] in result.stdout


def test_fifty_clips_without_speech_give_no_word() -> None:
    hears = SherpaTranscriber(sensevoice(str(SHAPE)))
    for number, data in enumerate(unspoken_clips()):
        heard = hears.transcribe(data, Hints())
        assert (heard.text, heard.segments, heard.confidence) == ("", (), 0), number
        assert heard.doubtful in (("silence",), ("nothing_heard",)), number
