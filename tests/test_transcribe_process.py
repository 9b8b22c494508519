"""The recogniser in its own process: what kills it costs one note."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nlp.models import NoModel, TranscribeSettings
from nlp.sound_limits import BadAudio
from nlp.speech_process import SpeechCrashed, SpeechProcess, SpeechTimeout
from nlp.transcribe import Hints

FIRM = Path("tests/media/speech")
SETTINGS = TranscribeSettings(model=str(FIRM / "test_model"), prompt="", hotword_tokens=0, cpu_threads=1)
NOTE = (FIRM / "clips/note00.ogg").read_bytes()
SAID = "赵经理说了算，他嫌价格太贵。"

pytestmark = pytest.mark.recogniser


@pytest.fixture
def speech() -> Iterator[SpeechProcess]:
    with SpeechProcess(SETTINGS) as process:
        yield process


def test_one_warm_child_hears_note_after_note(speech: SpeechProcess) -> None:
    before = speech.pid
    speech.warm()
    first = speech.pid
    assert before is None
    assert first not in (None, os.getpid())
    assert [speech.transcribe(NOTE, Hints()).text for _ in range(3)] == [SAID] * 3
    assert speech.pid == first


def test_what_the_recogniser_raises_arrives_and_the_child_lives_on(speech: SpeechProcess) -> None:
    with pytest.raises(BadAudio) as caught:
        speech.transcribe(b"<html></html>", Hints())
    assert caught.value.reason == "not_audio"
    assert any("Traceback" in note for note in caught.value.__notes__)
    pid = speech.pid
    assert speech.transcribe(NOTE, Hints()).text == SAID
    assert speech.pid == pid


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_over_a_note(speech: SpeechProcess, deadly: signal.Signals) -> None:
    speech.warm()
    pid = speech.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # holds the child, so that it certainly dies with the note in hand
    caught: list[BaseException] = []

    def ask() -> None:
        try:
            speech.transcribe(NOTE, Hints())
        except SpeechCrashed as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(0.3)
    os.kill(pid, deadly)
    os.kill(pid, signal.SIGCONT)
    thread.join(20)
    assert [type(error) for error in caught] == [SpeechCrashed]
    assert isinstance(caught[0], SpeechCrashed)
    assert caught[0].exitcode == -deadly
    assert speech.transcribe(NOTE, Hints()).text == SAID
    assert speech.pid != pid


def test_a_child_that_died_between_two_notes_is_replaced(speech: SpeechProcess) -> None:
    speech.warm()
    pid = speech.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert speech.transcribe(NOTE, Hints()).text == SAID
    assert speech.pid != pid


def test_a_note_that_takes_too_long_is_given_up() -> None:
    with SpeechProcess(SETTINGS, note_seconds=10) as speech:
        speech.warm()
        speech._note_seconds = 0.2
        pid = speech.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # hangs for good, as native code may, and would ignore a polite end
        caught: list[BaseException] = []

        def ask() -> None:
            try:
                speech.transcribe(NOTE, Hints())
            except SpeechTimeout as error:
                caught.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(10)
        assert len(caught) == 1
        assert not Path(f"/proc/{pid}").exists()
        speech._note_seconds = 10
        assert speech.transcribe(NOTE, Hints()).text == SAID


def test_the_child_is_replaced_after_so_many_notes() -> None:
    pids = set()
    with SpeechProcess(SETTINGS, recycle_after=2) as speech:
        for _ in range(4):
            speech.warm()
            pids.add(speech.pid)
            assert speech.transcribe(NOTE, Hints()).text == SAID
    assert len(pids) == 2


def test_too_little_memory_is_a_crash_not_a_hang() -> None:
    with SpeechProcess(SETTINGS, memory_bytes=300 * 1024**2) as poor, pytest.raises((SpeechCrashed, ImportError)):
        poor.transcribe(NOTE, Hints())


def test_no_model_is_told_and_can_be_healed(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with SpeechProcess(replace(SETTINGS, model="later", model_dir=str(tmp_path))) as speech:
        with pytest.raises(NoModel):
            speech.transcribe(NOTE, Hints())
        folder.symlink_to((FIRM / "test_model").resolve())
        assert speech.transcribe(NOTE, Hints()).text == SAID


def test_two_threads_at_once(speech: SpeechProcess) -> None:
    heard = []
    threads = [threading.Thread(target=lambda: heard.append(speech.transcribe(NOTE, Hints()).text)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [SAID] * 4


def test_closing_leaves_no_process_behind() -> None:
    speech = SpeechProcess(SETTINGS)
    speech.warm()
    pid = speech.pid
    assert pid is not None
    speech.close()
    assert not Path(f"/proc/{pid}").exists()
    speech.close()
