"""Which model hears: where it lies, whether it will do, how it gets there. Only `pull_model` fetches anything."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from nlp import guards
from nlp.sound_limits import MAX_BYTES, MAX_SECONDS

PullReason: TypeAlias = Literal["unknown", "offline", "refused", "disk", "incomplete"]

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
