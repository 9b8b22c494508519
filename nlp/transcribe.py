"""A voice note in, its words out.

Two recognisers stand behind one seam: faster-whisper (default) and SenseVoice through sherpa-onnx (extra `sensevoice`).
Both run on the CPU, never download by themselves, and pass what they hear through the guards of nlp/guards.py.
"""

import math
import os
import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from nlp import guards
from nlp.models import NoModel, TranscribeSettings, find_model
from nlp.sound_limits import RATE

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

    from nlp.audio import Samples, Sound

Doubt: TypeAlias = Literal["silence", "nothing_heard", "invented", "echo", "repeats", "unsure", "truncated"]

# Silero's defaults hold 2 s of silence together; a window packed with fast Mandarin then meets Whisper's token cap.
_VAD = {"min_silence_duration_ms": 500, "max_speech_duration_s": 20.0}
# The upper rungs of the usual ladder (to 1.0) mostly invent, and cost up to six decodes.
_TEMPERATURES = [0.0, 0.2, 0.4]
_PUNCTUATION = "，。！？；：、…,.!?;:"


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known about a note before it is heard.

    `names`: outlets and products that may be said, the likeliest first. `claimed_seconds`: the channel's duration.
    """

    names: tuple[str, ...] = ()
    claimed_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """`start`, `end`: seconds from the beginning of the note. `logprob`: mean natural log probability of a token.

    `no_speech`: probability that nobody spoke, 0..1.
    """

    start: float
    end: float
    text: str
    logprob: float
    no_speech: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """`text`: simplified characters, guards applied; empty when nobody spoke. `seconds`: length of the sound.

    `confidence`: 0..1, the geometric mean probability of a token; 0 for no text. `engine`: "whisper:small".
    `doubtful`: why a person should look at it: "silence" (too quiet for speech), "nothing_heard", "invented"
    (subtitle credits were cut out), "echo" (only the hints came back), "repeats" (a loop was shortened), "unsure"
    (low probability), "truncated" (the file ends before the channel's duration).
    """

    text: str
    segments: tuple[Segment, ...]
    confidence: float
    engine: str
    seconds: float
    doubtful: tuple[Doubt, ...]


class Transcriber(Protocol):
    """Whatever turns one voice note into a transcript. Safe to call from several threads."""

    def transcribe(self, audio: bytes, hints: Hints) -> Transcript:
        """Raises BadAudio for a file without sound, NoModel when the model is not on this machine."""
        ...


class NoEngine(Exception):
    """The package a setting asks for is not installed. `extra`: the extra that brings it."""

    def __init__(self, extra: str) -> None:
        super().__init__(extra)
        self.extra = extra


def make_transcriber(settings: TranscribeSettings) -> "WhisperTranscriber | SherpaTranscriber":
    """The recogniser the settings name. Nothing is loaded yet."""
    return SherpaTranscriber(settings) if settings.engine == "sensevoice" else WhisperTranscriber(settings)


class WhisperTranscriber:
    """faster-whisper with one model, loaded at the first note (or by `load`) and kept."""

    def __init__(self, settings: TranscribeSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._model: WhisperModel | None = None

    def load(self) -> None:
        """Load the model now. Raises NoModel or ModelTooSmall."""
        self._loaded()

    def _loaded(self) -> "WhisperModel":
        with self._lock:
            if self._model is None:
                folder = find_model(self._settings)
                from faster_whisper import WhisperModel  # noqa: PLC0415  half a second and 70 MB, only for voice

                self._model = WhisperModel(
                    str(folder),
                    device="cpu",
                    compute_type=self._settings.compute_type,
                    cpu_threads=self._settings.cpu_threads or physical_cores(),
                    local_files_only=True,
                )
            return self._model

    def transcribe(self, audio: bytes, hints: Hints) -> Transcript:
        """Hear one note. Raises BadAudio, NoModel, ModelTooSmall."""
        sound = _decoded(audio, hints, self._settings)
        engine = f"whisper:{Path(self._settings.model).name}"
        if guards.near_silent(sound.samples):
            return _nobody_spoke(sound, engine)
        model = self._loaded()
        names = self._fitting(model, hints.names)
        heard, _ = model.transcribe(
            sound.samples,
            language="zh",
            beam_size=self._settings.beam_size,
            temperature=_TEMPERATURES,
            condition_on_previous_text=False,
            initial_prompt=self._settings.prompt or None,
            hotwords="，".join(names) or None,
            vad_filter=True,
            vad_parameters=_VAD,
        )
        # The library decodes while the list is being read: it must be read to its end here, in the worker.
        segments = [Segment(s.start, s.end, s.text, s.avg_logprob, s.no_speech_prob) for s in heard]
        return _transcript(segments, sound, engine, unsure_logprob=self._settings.unsure_logprob, names=names)

    def _fitting(self, model: "WhisperModel", names: Iterable[str]) -> list[str]:
        """The first names that together stay within the token budget; more would push out the answer itself."""
        left = self._settings.hotword_tokens
        fitting = []
        for name in names:
            left -= len(model.hf_tokenizer.encode(name, add_special_tokens=False).ids) + 1
            if left < 0:
                break
            fitting.append(name)
        return fitting


class SherpaTranscriber:
    """SenseVoice-Small through sherpa-onnx. It takes no hotwords, so `hints.names` is not used, and tells no
    probabilities, so its confidence is always 0.5 and "unsure" is never reported.

    SenseVoice hears at most half a minute at a time: the note is cut at silences by the same voice detector.
    """

    def __init__(self, settings: TranscribeSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._recognizer: Any = None  # sherpa-onnx ships no types

    def load(self) -> None:
        """Load the model now. Raises NoModel, or NoEngine without the extra."""
        self._loaded()

    def _loaded(self) -> Any:
        with self._lock:
            if self._recognizer is None:
                # The files are checked first: sherpa-onnx ends the whole process over a missing one.
                folder = find_model(self._settings)
                try:
                    import sherpa_onnx  # noqa: PLC0415  an optional extra
                except ImportError as error:
                    raise NoEngine("sensevoice") from error
                try:
                    self._recognizer = sherpa_onnx.OfflineRecognizer.from_sense_voice(
                        model=str(next(folder.glob("model*.onnx"))),
                        tokens=str(folder / "tokens.txt"),
                        num_threads=self._settings.cpu_threads or physical_cores(),
                        language="zh",
                        use_itn=True,
                    )
                except RuntimeError as error:  # half a download, or something else under that name
                    raise NoModel(self._settings.model, (str(folder),), ("model*.onnx",)) from error
            return self._recognizer

    def transcribe(self, audio: bytes, hints: Hints) -> Transcript:
        """Hear one note. Raises BadAudio, NoModel, NoEngine."""
        sound = _decoded(audio, hints, self._settings)
        engine = f"sensevoice:{Path(self._settings.model).name}"
        if guards.near_silent(sound.samples):
            return _nobody_spoke(sound, engine)
        recognizer = self._loaded()
        segments = []
        for start, end in speech_spans(sound.samples):
            stream = recognizer.create_stream()
            stream.accept_waveform(RATE, sound.samples[start:end])
            try:
                recognizer.decode_stream(stream)
            except IndexError as error:  # a token the list has no name for
                raise NoModel(self._settings.model, (self._settings.model,), ("tokens.txt",)) from error
            result = stream.result
            probabilities = list(result.ys_log_probs)
            logprob = sum(probabilities) / len(probabilities) if probabilities else math.nan
            segments.append(Segment(start / RATE, end / RATE, result.text, logprob, no_speech=0.0))
        return _transcript(segments, sound, engine, unsure_logprob=self._settings.unsure_logprob)


def speech_spans(samples: "Samples") -> list[tuple[int, int]]:
    """Stretches of speech as (first, end) sample numbers, none longer than 20 s, by the Silero detector."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps  # noqa: PLC0415  slow import

    options = VadOptions(min_silence_duration_ms=500, max_speech_duration_s=20.0)
    return [(span["start"], span["end"]) for span in get_speech_timestamps(samples, options)]


def _decoded(data: bytes, hints: Hints, settings: TranscribeSettings) -> "Sound":
    from nlp.audio import decode  # noqa: PLC0415  20 MB of decoders, only where notes are heard

    return decode(
        data,
        max_seconds=settings.max_seconds,
        max_bytes=settings.max_bytes,
        claimed_seconds=hints.claimed_seconds,
    )


def _nobody_spoke(sound: "Sound", engine: str) -> Transcript:
    doubts: tuple[Doubt, ...] = ("silence", "truncated") if sound.truncated else ("silence",)
    return Transcript("", (), 0.0, engine, sound.seconds, doubts)


def _transcript(
    heard: Sequence[Segment],
    sound: "Sound",
    engine: str,
    *,
    unsure_logprob: float,
    names: Sequence[str] = (),
) -> Transcript:
    """What was heard, through every guard."""
    doubts: list[Doubt] = ["truncated"] if sound.truncated else []
    segments = []
    for segment in heard:
        text = guards.simplify(segment.text).strip()
        cleaned = guards.drop_credits(text)
        if cleaned != text:
            doubts.append("invented")
        if guards.compression(cleaned) > guards.LOOP_COMPRESSION:
            doubts.append("repeats")
        if cleaned:
            segments.append(Segment(segment.start, segment.end, cleaned, segment.logprob, segment.no_speech))
    joined = _joined([segment.text for segment in segments])
    text = guards.collapse_repeats(joined)
    if text != joined:
        doubts.append("repeats")
    if guards.echoes_hints(text, names):
        text, segments = "", []
        doubts.append("echo")
    logprob = _mean_logprob(segments)
    if logprob < unsure_logprob:
        doubts.append("unsure")
    if not text:
        doubts.append("nothing_heard")
    return Transcript(
        text=text,
        segments=tuple(segments),
        confidence=_confidence(logprob) if text else 0.0,
        engine=engine,
        seconds=sound.seconds,
        doubtful=tuple(dict.fromkeys(doubts)),
    )


def _joined(texts: Sequence[str]) -> str:
    """Segments end at pauses; without punctuation the pause would be lost and two sentences grow together."""
    parts = [text if text[-1] in _PUNCTUATION else text + "，" for text in texts[:-1]]
    return "".join([*parts, *texts[-1:]])


def _mean_logprob(segments: Sequence[Segment]) -> float:
    """Mean over the characters; nan when no segment has one (SenseVoice may give none)."""
    weights = [(len(s.text), s.logprob) for s in segments if not math.isnan(s.logprob)]
    total = sum(weight for weight, _ in weights)
    return sum(weight * logprob for weight, logprob in weights) / total if total else math.nan


def _confidence(logprob: float) -> float:
    # An engine that reports no probabilities is neither sure nor unsure.
    return 0.5 if math.isnan(logprob) else min(1.0, math.exp(logprob))


def physical_cores() -> int:
    """Cores this process may use, hyper-threads counted once: two threads on one core only slow each other down."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return allowed
    packages = re.findall(r"^physical id\s*:\s*(\d+)", cpuinfo, re.MULTILINE)
    cores = re.findall(r"^core id\s*:\s*(\d+)", cpuinfo, re.MULTILINE)
    return min(allowed, len(set(zip(packages, cores, strict=False))) or allowed)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """`files`: name and size in bytes. `load_seconds`: from nothing to ready. `rtf`: time to hear / length of clip."""

    folder: Path
    files: tuple[tuple[str, int], ...]
    load_seconds: float
    rtf: float
    transcript: Transcript


def check_model(settings: TranscribeSettings, clip: bytes) -> ModelReport:
    """Find the model, load it, hear `clip` (a short voice note) twice, time the second. Raises as transcribe does."""
    folder = find_model(settings)
    transcriber = make_transcriber(settings)
    began = time.perf_counter()
    transcriber.load()
    loaded = time.perf_counter()
    transcriber.transcribe(clip, Hints())  # the first one also loads the voice detector
    warm = time.perf_counter()
    transcript = transcriber.transcribe(clip, Hints())
    took = time.perf_counter() - warm
    files = tuple((file.name, file.stat().st_size) for file in sorted(folder.iterdir()) if file.is_file())
    return ModelReport(folder, files, loaded - began, took / transcript.seconds, transcript)
