"""The recogniser in a process of its own: a hostile file or a native crash takes down one note, not the bot."""

import multiprocessing
import signal
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from nlp.models import TranscribeSettings
from nlp.transcribe import Hints, Transcript, make_transcriber

_START_SECONDS = 120.0
_STOP_SECONDS = 5.0


class SpeechCrashed(Exception):
    """The child died over this note. `exitcode`: minus the signal's number, or the exit code; None when unknown."""

    def __init__(self, exitcode: int | None) -> None:
        super().__init__(exitcode)
        self.exitcode = exitcode


class SpeechTimeout(SpeechCrashed):
    """The note took longer than allowed and the child was killed."""


@dataclass(slots=True)
class _Child:
    process: BaseProcess
    pipe: Connection
    notes: int = 0


class SpeechProcess:
    """A Transcriber that works in one child process with one warm model; a call waits for the call before it.

    `note_seconds`: time one note may take before the child is killed. `memory_bytes`: address space of the child
    (RLIMIT_AS; None for no limit). `recycle_after`: notes until the child is replaced, against slow native leaks. The
    child starts with the first note or with `warm`. Start it under `if __name__ == "__main__"` only: the child
    imports the main module again.
    """

    def __init__(
        self,
        settings: TranscribeSettings,
        *,
        note_seconds: float = 300.0,
        memory_bytes: int | None = 8 * 1024**3,
        recycle_after: int = 200,
    ) -> None:
        self._settings = settings
        self._note_seconds = note_seconds
        self._memory_bytes = memory_bytes
        self._recycle_after = recycle_after
        self._lock = threading.Lock()
        self._child: _Child | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id; None before the first note and after a crash."""
        child = self._child
        return child.process.pid if child else None

    def warm(self) -> None:
        """Start the child and load the model now. Raises NoModel, ModelTooSmall, NoEngine, SpeechCrashed."""
        with self._lock:
            self._running()

    def transcribe(self, audio: bytes, hints: Hints) -> Transcript:
        """Hear one note in the child.

        Raises what the recogniser raises (BadAudio, NoModel, …), SpeechTimeout, or SpeechCrashed when the child died.
        After either of the last two the next call starts a fresh child.
        """
        with self._lock:
            child = self._running()
            answer = self._ask(child, (audio, hints), self._note_seconds)
            child.notes += 1
            if child.notes >= self._recycle_after:
                self._stop(patience=_STOP_SECONDS)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Transcript)  # noqa: S101  tells the type checker what the pipe carried
        return answer

    def close(self) -> None:
        """End the child. A later call would start a new one."""
        with self._lock:
            self._stop(patience=_STOP_SECONDS)

    def __enter__(self) -> "SpeechProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running(self) -> _Child:
        """The warm child, started when there is none or the old one died since the last note."""
        if self._child and self._child.process.is_alive():
            return self._child
        self._stop()
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(
            target=_serve, args=(theirs, self._settings, self._memory_bytes), name="speech", daemon=True
        )
        process.start()
        theirs.close()
        self._child = child = _Child(process, ours)
        problem = self._ask(child, None, _START_SECONDS)
        if isinstance(problem, Exception):
            self._stop()
            raise problem
        return child

    def _ask(self, child: _Child, question: tuple[bytes, Hints] | None, seconds: float) -> Any:
        """Send one question (none at the start, when the child reports by itself) and wait for the answer."""
        try:
            if question is not None:
                child.pipe.send(question)
            answered = child.pipe.poll(seconds)
            answer = child.pipe.recv() if answered else None
        except (EOFError, OSError) as error:
            child.process.join(_STOP_SECONDS)
            exitcode = child.process.exitcode
            self._stop()
            raise SpeechCrashed(exitcode) from error
        if not answered:
            self._stop()
            raise SpeechTimeout(None)
        if isinstance(answer, MemoryError):
            self._stop()
            raise SpeechCrashed(None) from answer
        return answer

    def _stop(self, patience: float = 0.0) -> None:
        """End the child: an idle one leaves by itself when its pipe closes, one that hangs is killed."""
        child, self._child = self._child, None
        if child is None:
            return
        child.pipe.close()
        child.process.join(patience)
        child.process.kill()
        child.process.join()
        child.process.close()


def _serve(pipe: Connection, settings: TranscribeSettings, memory_bytes: int | None) -> None:
    """The child. It ends in silence when its parent is gone, however suddenly."""
    with suppress(BrokenPipeError, ConnectionResetError):
        _load_and_answer(pipe, settings, memory_bytes)


def _load_and_answer(pipe: Connection, settings: TranscribeSettings, memory_bytes: int | None) -> None:
    """Load, say so (None, or the exception), then one answer for each question until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides when to stop
    if memory_bytes:
        import resource  # noqa: PLC0415  not on every system

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    transcriber = make_transcriber(settings)
    try:
        transcriber.load()
    except Exception as error:
        pipe.send(_explained(error))
        return
    pipe.send(None)
    while True:
        try:
            audio, hints = pipe.recv()
        except EOFError:
            return
        try:
            answer: Transcript | Exception = transcriber.transcribe(audio, hints)
        except Exception as error:
            answer = _explained(error)
        pipe.send(answer)


def _explained(error: Exception) -> Exception:
    # A traceback does not travel through a pipe; as a note it does, and stands in the parent's log.
    error.add_note(traceback.format_exc())
    return error
