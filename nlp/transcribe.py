"""A voice note in, its words out.

Two recognisers stand behind one seam: faster-whisper (default) and SenseVoice through sherpa-onnx (extra `sensevoice`).
Both run on the CPU, never download by themselves, and pass what they hear through the guards of nlp/guards.py.
"""

import io
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from nlp import guards
from nlp.sound_limits import MAX_BYTES, MAX_SECONDS, RATE

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

    from nlp.audio import Samples, Sound

Doubt: TypeAlias = Literal["silence", "nothing_heard", "invented", "echo", "repeats", "unsure", "truncated"]
PullReason: TypeAlias = Literal["unknown", "offline", "refused", "disk", "incomplete"]

# Silero's defaults hold 2 s of silence together; a window packed with fast Mandarin then meets Whisper's token cap.
_VAD = {"min_silence_duration_ms": 500, "max_speech_duration_s": 20.0}
# The upper rungs of the usual ladder (to 1.0) mostly invent, and cost up to six decodes.
_TEMPERATURES = [0.0, 0.2, 0.4]
_PUNCTUATION = "，。！？；：、…,.!?;:"

# Where each named model is fetched from; the same names as faster-whisper's.
_REPOSITORIES = {
    "tiny": "Systran/faster-whisper-tiny",
    "base": "Systran/faster-whisper-base",
    "small": "Systran/faster-whisper-small",
    "medium": "Systran/faster-whisper-medium",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "sensevoice-small": "csukuangfj/sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17",
}
# Published character error rates in percent, AISHELL-1 (read Mandarin): yeyupiaoling/Whisper-Finetune, README.
_TOO_SMALL_CER = {"tiny": 31.9, "base": 22.2}
# Without tokenizer.json faster-whisper would ask the network for one.
_WHISPER_FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.*")
_SENSEVOICE_FILES = ("model*.onnx", "tokens.txt")
_PULLED_FILES = [*_WHISPER_FILES, "preprocessor_config.json", "model.int8.onnx", "tokens.txt"]


@dataclass(frozen=True, slots=True)
class TranscribeSettings:
    """How voice is heard.

    `model`: a name ("small"), a Hugging Face repository, or a folder. `model_dir`: where pulled models lie, one folder
    a name. `cpu_threads`: 0 takes the physical cores. `prompt`: shows Whisper the script and punctuation wanted.
    `hotword_tokens`: budget for the names in Hints; 0 gives none. The bundled test model was trained without a prompt
    and needs prompt="" and hotword_tokens=0. `max_seconds`, `max_bytes`: longer or bigger notes are refused.
    `unsure_logprob`: mean log probability of a token under which a transcript is marked "unsure".
    """

    engine: Literal["whisper", "sensevoice"] = "whisper"
    model: str = "small"
    model_dir: str | None = None
    compute_type: str = "int8"
    cpu_threads: int = 0
    beam_size: int = 5
    prompt: str = "以下是普通话的句子。"
    hotword_tokens: int = 60
    max_seconds: float = MAX_SECONDS
    max_bytes: int = MAX_BYTES
    unsure_logprob: float = guards.UNSURE_LOGPROB
    allow_small_models: bool = False


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


class NoModel(Exception):
    """The model is not on this machine, or not whole. `looked`: the places; `missing`: files not found there."""

    def __init__(self, name: str, looked: tuple[str, ...], missing: tuple[str, ...] = ()) -> None:
        super().__init__(name, looked, missing)
        self.name, self.looked, self.missing = name, looked, missing


class ModelTooSmall(Exception):
    """A model that mishears Mandarin too often. `cer`: published character error rate on read speech, percent."""

    def __init__(self, name: str, cer: float) -> None:
        super().__init__(name, cer)
        self.name, self.cer = name, cer


class PullFailed(Exception):
    """A model could not be fetched.

    `reason`: "unknown" (no such name), "offline" (server not reached), "refused" (server answered no), "disk",
    "incomplete" (files are missing afterwards). `detail`: the library's or the system's own words.
    """

    def __init__(self, name: str, reason: PullReason, detail: str = "") -> None:
        super().__init__(name, reason, detail)
        self.name, self.reason, self.detail = name, reason, detail


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


def find_model(settings: TranscribeSettings) -> Path:
    """The folder of the model: a given folder, `<model_dir>/<name>`, or the Hugging Face cache. Never downloads.

    Raises NoModel with the places looked at, ModelTooSmall for tiny and base unless they are allowed.
    """
    name = settings.model
    files = _SENSEVOICE_FILES if settings.engine == "sensevoice" else _WHISPER_FILES
    given = Path(name).expanduser()
    if given.is_dir():
        return _whole(name, files, given)
    if not settings.allow_small_models:
        _refuse_small(name)
    looked = []
    if settings.model_dir:
        folder = Path(settings.model_dir).expanduser() / name
        if folder.is_dir():
            return _whole(name, files, folder)
        looked.append(str(folder))
    repository = _REPOSITORIES.get(name, name)
    if repository.count("/") != 1:
        raise NoModel(name, (str(given), *looked))
    from huggingface_hub import constants, try_to_load_from_cache  # noqa: PLC0415  slow import, only for voice

    main_file = "model.int8.onnx" if settings.engine == "sensevoice" else "model.bin"
    cached = try_to_load_from_cache(repository, main_file)
    if isinstance(cached, str):
        return _whole(name, files, Path(cached).parent)
    raise NoModel(name, (*looked, f"{constants.HF_HUB_CACHE} ({repository})"))


def _whole(name: str, patterns: Sequence[str], folder: Path) -> Path:
    missing = tuple(pattern for pattern in patterns if not any(f.stat().st_size for f in folder.glob(pattern)))
    if missing:
        raise NoModel(name, (str(folder),), missing)
    return folder


def _refuse_small(name: str) -> None:
    plain = name.rsplit("/", 1)[-1].removeprefix("faster-whisper-").removesuffix(".en")
    if plain in _TOO_SMALL_CER:
        raise ModelTooSmall(name, _TOO_SMALL_CER[plain])


def pull_model(
    name: str,
    into: Path,
    mirror: str | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    *,
    allow_small_models: bool = False,
) -> Path:
    """Fetch a model into `<into>/<name>` and return that folder. The only code of this room that uses the network.

    `mirror`: address of a Hugging Face mirror. `progress` gets (bytes so far, bytes in all or None), from the
    download's own threads. Raises PullFailed, ModelTooSmall. An interrupted pull goes on where it stopped.
    """
    if not allow_small_models:
        _refuse_small(name)
    repository = _REPOSITORIES.get(name, name)
    if repository.count("/") != 1:
        raise PullFailed(name, "unknown", ", ".join(_REPOSITORIES))
    import httpx2  # noqa: PLC0415  comes with huggingface_hub
    from huggingface_hub import errors, snapshot_download  # noqa: PLC0415  slow import

    folder = into / name.rsplit("/", 1)[-1]
    wanted: Any = {"endpoint": mirror, "local_dir": folder, "allow_patterns": _PULLED_FILES}
    try:
        planned = snapshot_download(repository, dry_run=True, tqdm_class=_bar(lambda done: None), **wanted)
        total = sum(file.file_size for file in planned)
        snapshot_download(repository, tqdm_class=_bar(lambda done: progress(done, total)), **wanted)
    except (OSError, httpx2.HTTPError, errors.HFValidationError) as error:
        cause = error.__cause__ or error  # the library wraps whatever stopped the listing of files
        raise PullFailed(name, _pull_reason(cause), str(cause)) from error
    files = _SENSEVOICE_FILES if (folder / "tokens.txt").exists() else _WHISPER_FILES
    try:
        return _whole(name, files, folder)
    except NoModel as error:
        raise PullFailed(name, "incomplete", ", ".join(error.missing)) from error


def _pull_reason(error: BaseException) -> PullReason:
    import httpx2  # noqa: PLC0415  comes with huggingface_hub
    from huggingface_hub import errors  # noqa: PLC0415  slow import

    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled | httpx2.TransportError):
        return "offline"
    if isinstance(error, errors.HfHubHTTPError | errors.HFValidationError):
        return "refused"
    return "disk" if isinstance(error, OSError) else "refused"


def _bar(report: Callable[[int], None]) -> type[Any]:
    """A silent progress bar for huggingface_hub that reports bytes.

    The library keeps one byte bar for what came over the wire and one for what is on disk: the larger is told.
    """
    from huggingface_hub.utils.tqdm import tqdm  # noqa: PLC0415  slow import

    done = 0

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            silent = kwargs | {"file": io.StringIO(), "disable": False}
            super().__init__(*args, **silent)  # type: ignore[no-untyped-call]  # huggingface_hub left it untyped

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal done
            shown: bool | None = super().update(n)
            if self.unit == "B" and self.n > done:
                done = int(self.n)
                report(done)
            return shown

    return Bar


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
