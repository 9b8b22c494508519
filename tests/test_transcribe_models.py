"""Finding, fetching and checking models: everything on this machine, the hub played by a loopback server."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from faster_whisper.utils import _MODELS
from huggingface_hub import constants

from nlp import models
from nlp.audio import Samples, decode
from nlp.models import ModelTooSmall, NoModel, PullFailed, TranscribeSettings, find_model, pull_model
from nlp.sound_limits import BadAudio
from nlp.transcribe import (
    Hints,
    SherpaTranscriber,
    WhisperTranscriber,
    check_model,
    make_transcriber,
    physical_cores,
    speech_spans,
)

FIRM = Path("tests/media/speech")
SENSEVOICE = TranscribeSettings(engine="sensevoice", model="sensevoice-small")
MODEL = FIRM / "test_model"
CLIP = (FIRM / "clips/note02.ogg").read_bytes()
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def test_a_folder_is_taken_as_it_is() -> None:
    assert find_model(TranscribeSettings(model=str(MODEL))) == MODEL


def test_a_name_is_looked_for_in_the_model_folder_then_in_the_cache(tmp_path: Path, cache: Path) -> None:
    settings = TranscribeSettings(model="small", model_dir=str(tmp_path / "models"))
    with pytest.raises(NoModel) as caught:
        find_model(settings)
    assert caught.value.looked == (str(tmp_path / "models/small"), f"{cache} (Systran/faster-whisper-small)")
    snapshot = cache / "models--Systran--faster-whisper-small" / "snapshots" / SHA
    shutil.copytree(MODEL, snapshot)
    refs = cache / "models--Systran--faster-whisper-small" / "refs"
    refs.mkdir()
    (refs / "main").write_text(SHA)
    assert find_model(settings) == snapshot
    shutil.copytree(MODEL, tmp_path / "models/small")
    assert find_model(settings) == tmp_path / "models/small"


@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json", "vocabulary.json"])
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_model_that_is_not_whole_is_none(tmp_path: Path, name: str, how: str) -> None:
    folder = tmp_path / "small"
    shutil.copytree(MODEL, folder)
    (folder / name).unlink()
    if how == "empty":
        (folder / name).touch()
    with pytest.raises(NoModel) as caught:
        find_model(TranscribeSettings(model="small", model_dir=str(tmp_path)))
    assert caught.value.missing == (name.replace("vocabulary.json", "vocabulary.*"),)


@pytest.mark.parametrize("name", ["tiny", "base", "base.en", "Systran/faster-whisper-tiny"])
def test_small_models_are_refused_for_mandarin(tmp_path: Path, cache: Path, name: str) -> None:
    settings = TranscribeSettings(model=name, model_dir=str(tmp_path))
    with pytest.raises(ModelTooSmall) as caught:
        find_model(settings)
    assert caught.value.cer == (31.9 if "tiny" in name else 22.2)
    with pytest.raises(ModelTooSmall):
        pull_model(name, tmp_path)
    with pytest.raises(NoModel):
        find_model(TranscribeSettings(model=name, model_dir=str(tmp_path), allow_small_models=True))


def test_an_unknown_name_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(NoModel):
        find_model(TranscribeSettings(model="grande"))
    with pytest.raises(PullFailed) as caught:
        pull_model("grande", tmp_path)
    assert caught.value.reason == "unknown"
    assert "small" in caught.value.detail


def test_names_mean_what_they_mean_in_faster_whisper() -> None:
    for name, repository in models._REPOSITORIES.items():
        assert name == "sensevoice-small" or _MODELS[name] == repository


def test_without_a_model_nothing_is_heard_but_bad_files_are_still_told(tmp_path: Path) -> None:
    deaf = WhisperTranscriber(TranscribeSettings(model="small", model_dir=str(tmp_path)))
    with pytest.raises(BadAudio):
        deaf.transcribe(b"", Hints())


def test_check_reports_place_size_and_speed() -> None:
    report = check_model(TranscribeSettings(model=str(MODEL), prompt="", hotword_tokens=0), CLIP)
    assert report.folder == MODEL
    assert dict(report.files)["model.bin"] == (MODEL / "model.bin").stat().st_size
    assert len(report.files) == 5
    assert 0 < report.load_seconds < 30
    assert 0 < report.rtf < 1
    assert report.transcript.text.startswith("答应下周日")


def test_physical_cores() -> None:
    assert 1 <= physical_cores() <= 1024


class Hub(ThreadingHTTPServer):
    """As much of the model hub's protocol as a snapshot download needs; serves the test model under every name."""

    files = tuple(sorted(MODEL.iterdir()))


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        names = {file.name: file for file in self.server.files}
        if "nobody" in path:
            return self._send(404, b'{"error":"Repository not found"}', body, {"X-Error-Code": "RepoNotFound"})
        if path.startswith("/api/models/") and "/tree/" in path:
            entries = [{"type": "file", "path": n, "size": f.stat().st_size, "oid": etag(f)} for n, f in names.items()]
            return self._send(200, json.dumps(entries).encode(), body, {})
        if path.startswith("/api/models/"):
            siblings = [{"rfilename": n} for n in [*names, "README.md"]]
            info = {"id": "Systran/faster-whisper-small", "sha": SHA, "siblings": siblings, "tags": []}
            return self._send(200, json.dumps(info).encode(), body, {})
        name = path.rsplit("/", 1)[-1]
        if "/resolve/" in path and name in names:
            file = names[name]
            head = {"ETag": f'"{etag(file)}"', "X-Repo-Commit": SHA}
            return self._send(200, file.read_bytes(), body, head)
        return self._send(404, b"{}", body, {"X-Error-Code": "EntryNotFound"})

    def _send(self, status: int, content: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


def etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    server = Hub(("127.0.0.1", 0), HubHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(hub: Hub) -> str:
    return f"http://127.0.0.1:{hub.server_address[1]}"


def test_pull_fetches_a_model_that_hears(tmp_path: Path, hub: Hub) -> None:
    told: list[tuple[int, int | None]] = []
    folder = pull_model("small", tmp_path, address(hub), lambda done, total: told.append((done, total)))
    assert folder == tmp_path / "small"
    size = sum(file.stat().st_size for file in hub.files)
    assert told[-1] == (size, size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert not (folder / "README.md").exists()
    settings = TranscribeSettings(model="small", model_dir=str(tmp_path), prompt="", hotword_tokens=0)
    assert WhisperTranscriber(settings).transcribe(CLIP, Hints()).text.startswith("答应下周日")


def test_pull_of_a_model_with_a_file_missing(tmp_path: Path, hub: Hub) -> None:
    hub.files = tuple(file for file in hub.files if file.name != "tokenizer.json")
    with pytest.raises(PullFailed) as caught:
        pull_model("small", tmp_path, address(hub))
    assert (caught.value.reason, caught.value.detail) == ("incomplete", "tokenizer.json")


def test_pull_of_what_the_hub_does_not_have(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(PullFailed) as caught:
        pull_model("nobody/no-such-model", tmp_path, address(hub))
    assert caught.value.reason == "refused"


def test_pull_offline(tmp_path: Path, hub: Hub) -> None:
    closed = address(hub)
    hub.shutdown()
    hub.server_close()
    with pytest.raises(PullFailed) as caught:
        pull_model("small", tmp_path, closed)
    assert caught.value.reason == "offline"


def test_pull_where_the_hub_may_not_be_asked(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PullFailed) as caught:
        pull_model("small", tmp_path, address(hub))
    assert caught.value.reason == "offline"


def test_pull_into_a_place_that_cannot_be_written(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "small").write_text("a file where the folder should be")
    with pytest.raises(PullFailed) as caught:
        pull_model("small", tmp_path, address(hub))
    assert caught.value.reason == "disk"


def test_sensevoice_looks_for_its_own_files(tmp_path: Path, cache: Path) -> None:
    assert isinstance(make_transcriber(SENSEVOICE), SherpaTranscriber)
    with pytest.raises(NoModel) as caught:
        make_transcriber(SENSEVOICE).load()
    assert "csukuangfj/sherpa-onnx-sense-voice" in caught.value.looked[0]
    with pytest.raises(NoModel) as caught:
        SherpaTranscriber(replace(SENSEVOICE, model=str(MODEL))).transcribe(CLIP, Hints())
    assert caught.value.missing == ("model*.onnx", "tokens.txt")


def test_speech_is_cut_at_silences() -> None:
    samples: Samples = decode(CLIP).samples
    spans = speech_spans(samples)
    assert spans
    assert all(0 <= start < end <= samples.size for start, end in spans)
    assert sum(end - start for start, end in spans) > samples.size * 0.7
