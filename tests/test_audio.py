"""Every voice format of the platforms decodes; everything else is refused quickly and by name."""

import io
import struct
import sys
import wave
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from nlp.audio import Samples, decode
from nlp.sound_limits import RATE, BadAudio
from tests.speech import wav

CLIP = Path("tests/media/speech/clips/note00.ogg")
LONG_CLIP = Path("tests/media/speech/clips/note02.ogg")
MEDIA = Path("tests/media/audio")


@pytest.fixture(scope="module")
def spoken() -> Samples:
    return decode(CLIP.read_bytes()).samples


def encoded(samples: Samples, container: str, codec: str, rate: int, **options: str) -> bytes:
    """The samples in a container, written by FFmpeg's own encoder."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono"
        context = stream.codec_context
        context.open()
        fit = AudioResampler(format=context.format, layout="mono", rate=rate, frame_size=context.frame_size or None)
        frame = AudioFrame.from_ndarray((samples * 32767).astype(np.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = RATE
        for piece in [*fit.resample(frame), *fit.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return out.getvalue()


def envelope(samples: Samples) -> NDArray[np.float64]:
    """Loudness in steps of 20 ms."""
    steps = samples[: samples.size // 320 * 320].reshape(-1, 320).astype(np.float64)
    loudness: NDArray[np.float64] = np.sqrt(np.square(steps).mean(axis=1))
    return loudness


def likeness(one: Samples, other: Samples) -> float:
    """Correlation of the two envelopes at the best shift of up to 0.2 s (codecs delay)."""
    a, b = envelope(one), envelope(other)
    best = 0.0
    for shift in range(-10, 11):
        x, y = a[max(0, shift) :], b[max(0, -shift) :]
        size = min(x.size, y.size)
        best = max(best, float(np.corrcoef(x[:size], y[:size])[0, 1]))
    return best


@pytest.mark.parametrize(
    ("container", "encoder", "rate", "options", "codec"),
    [
        pytest.param("ogg", "libopus", 48_000, {"b": "16000"}, "opus", id="ogg-opus"),
        pytest.param("webm", "libopus", 48_000, {"b": "24000"}, "opus", id="webm-opus"),
        pytest.param("ipod", "aac", 44_100, {"b": "48000"}, "aac", id="m4a"),
        pytest.param("adts", "aac", 44_100, {"b": "48000"}, "aac", id="aac-adts"),
        pytest.param("mp3", "libmp3lame", 16_000, {"b": "32000"}, "mp3float", id="mp3"),
        pytest.param("mp3", "libmp3lame", 44_100, {"write_id3v2": "0"}, "mp3float", id="mp3-no-tag"),
        pytest.param("wav", "pcm_s16le", 44_100, {}, "pcm_s16le", id="wav"),
        pytest.param("wav", "pcm_mulaw", 8_000, {}, "pcm_mulaw", id="wav-mulaw-8k"),
        pytest.param("flac", "flac", 16_000, {}, "flac", id="flac"),
        pytest.param("asf", "wmav2", 44_100, {"b": "64000"}, "wmav2", id="wma"),
        pytest.param("amr", "libopencore_amrnb", 8_000, {"b": "12200"}, "amrnb", id="amr-nb"),
        pytest.param("amr", "libopencore_amrnb", 8_000, {"b": "12200", "dtx": "1"}, "amrnb", id="amr-nb-dtx"),
        pytest.param("3gp", "libopencore_amrnb", 8_000, {"b": "12200"}, "amrnb", id="3gp-amr"),
    ],
)
def test_formats(spoken: Samples, container: str, encoder: str, rate: int, options: dict[str, str], codec: str) -> None:
    sound = decode(encoded(spoken, container, encoder, rate, **options))
    assert sound.codec == codec
    assert sound.samples.dtype == np.float32
    assert sound.samples.ndim == 1
    assert sound.seconds == pytest.approx(spoken.size / RATE, abs=0.2)
    assert likeness(spoken, sound.samples) > 0.9
    assert not sound.truncated


@pytest.mark.parametrize(
    ("name", "codec", "seconds"),
    [
        ("amrnb_dtx.amr", "amrnb", 7.0),
        ("amrwb.amr", "amrwb", 6.98),
        ("amrwb_dtx.amr", "amrwb", 6.98),
        ("speex_header_byte.speex", "speex", 3.5),
    ],
)
def test_recorded_formats(spoken: Samples, name: str, codec: str, seconds: float) -> None:
    sound = decode((MEDIA / name).read_bytes(), claimed_seconds=round(seconds))
    assert sound.codec == codec
    assert sound.seconds == pytest.approx(seconds, abs=0.05)
    lead = np.zeros(int(1.5 * RATE) if name.endswith(".amr") else 0, np.float32)
    assert likeness(np.concatenate([lead, spoken]), sound.samples) > 0.9
    assert not sound.truncated


@pytest.mark.parametrize("name", ["amrnb_dtx.amr", "amrwb_dtx.amr"])
def test_dtx_files_really_have_silence_frames(name: str) -> None:
    """The frames (types 8 and 9 describe noise, 15 is "nothing sent") over which FFmpeg's own decoders give up."""
    with av.open(str(MEDIA / name)) as file, pytest.raises(av.error.PatchWelcomeError):
        for _ in file.decode(audio=0):
            pass


@pytest.mark.parametrize("tencent", [True, False])
def test_silk(spoken: Samples, tencent: bool) -> None:
    pysilk = pytest.importorskip("pysilk")
    out = io.BytesIO()
    pysilk.encode(io.BytesIO((spoken * 32767).astype("<i2").tobytes()), out, RATE, 24_000, tencent=tencent)
    sound = decode(out.getvalue(), claimed_seconds=4)
    assert sound.codec == "silk"
    assert sound.seconds == pytest.approx(spoken.size / RATE, abs=0.05)
    assert likeness(spoken, sound.samples) > 0.9
    half = decode(out.getvalue()[: len(out.getvalue()) // 2], claimed_seconds=4)
    assert 1 < half.seconds < 2.5
    assert half.truncated
    with pytest.raises(BadAudio, match="too_long"):
        decode(out.getvalue(), max_seconds=3)


def test_silk_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilk", None)
    with pytest.raises(BadAudio, match="no_silk"):
        decode(b"\x02#!SILK_V3\x02\x00ab")


def test_stereo_is_mixed(spoken: Samples) -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        left = (spoken * 32767).astype("<i2")
        file.writeframes(np.stack([left, left], axis=1).tobytes())
    sound = decode(out.getvalue())
    assert sound.samples.size == spoken.size
    assert likeness(spoken, sound.samples) > 0.99


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_truncated_is_noticed_by_the_claimed_duration(share: float) -> None:
    data = LONG_CLIP.read_bytes()
    cut = decode(data[: int(len(data) * share)], claimed_seconds=13)
    assert cut.seconds < 11.5
    assert cut.truncated
    assert not decode(data, claimed_seconds=13).truncated


def test_a_rounded_duration_is_no_truncation() -> None:
    assert not decode(CLIP.read_bytes(), claimed_seconds=4).truncated


def test_damage_inside_costs_only_the_damaged_part() -> None:
    data = bytearray(LONG_CLIP.read_bytes())
    data[9_000:12_000] = bytes(3_000)
    assert 8 < decode(bytes(data)).seconds < 13.1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "empty", id="no-bytes"),
        pytest.param(b"#!AMR\n", "empty", id="amr-header-only"),
        pytest.param(b"\x00\x01\x02\x03\x04", "not_audio", id="five-bytes"),
        pytest.param(b"OggS\x00", "broken", id="five-bytes-of-ogg"),
        pytest.param(b"<!DOCTYPE html><html><body>504 Gateway Time-out</body></html>", "not_audio", id="html"),
        pytest.param(b'{"errcode":40007,"errmsg":"invalid media_id"}', "not_audio", id="json-error"),
        pytest.param(b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "not_audio", id="playlist"),
        pytest.param(b"ffconcat version 1.0\nfile /etc/passwd\n", "not_audio", id="concat"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(200), "not_audio", id="png"),
        pytest.param(b"\xff\xd8\xff\xe0" + bytes(200), "not_audio", id="jpeg"),
        pytest.param(bytes(4_000), "not_audio", id="zeros"),
        pytest.param(b"OggS" + bytes(4_000), "broken", id="ogg-of-zeros"),
        pytest.param(b"\x1aE\xdf\xa3" + bytes(4_000), "broken", id="webm-of-zeros"),
        pytest.param(b"\x02#!SILK_V3", "broken", id="silk-header-only"),
    ],
)
def test_what_is_no_sound(data: bytes, reason: str) -> None:
    if reason == "broken" and b"SILK" in data:
        pytest.importorskip("pysilk")
    with pytest.raises(BadAudio) as caught:
        decode(data)
    assert caught.value.reason == reason


def test_a_zip_is_no_sound() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", bytes(1_000_000))
    with pytest.raises(BadAudio, match="not_audio"):
        decode(out.getvalue())


def test_random_bytes_behind_every_header() -> None:
    noise = np.random.default_rng(7).bytes(20_000)
    headers = [b"OggS\0\2", b"#!AMR\n", b"#!AMR-WB\n", b"RIFF\xff\xff\xff\x7fWAVE", b"\0\0\0\x20ftypM4A ", b"ID3\4"]
    for header in [*headers, b"fLaC", b"\xff\xfb\x90", b"\xff\xf1\x50", b"\x02#!SILK_V3", b"\x1aE\xdf\xa3"]:
        try:
            sound = decode(header + noise)
        except BadAudio:
            continue
        assert np.isfinite(sound.samples).all(), header
        assert sound.seconds < 60, header


def test_a_film_without_sound_is_not_audio() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            file.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        file.mux(stream.encode(None))
    with pytest.raises(BadAudio, match="not_audio"):
        decode(out.getvalue())


def test_too_long_by_claim_and_too_big_by_bytes() -> None:
    data = CLIP.read_bytes()
    with pytest.raises(BadAudio, match="too_long"):
        decode(data, claimed_seconds=3 * 3600)
    with pytest.raises(BadAudio, match="too_big"):
        decode(data, max_bytes=len(data) - 1)
    with pytest.raises(BadAudio, match="too_long"):
        decode(data, max_seconds=3)


def test_three_hours_are_left_at_the_cap() -> None:
    """A small file may hold hours: AMR sends one byte for 20 ms of nothing."""
    hours = b"#!AMR\n" + bytes([0x7C]) * (3 * 3600 * 50)
    with pytest.raises(BadAudio, match="too_long"):
        decode(hours, max_seconds=60)


@pytest.mark.parametrize("rate", [1, 1_000, 400_000])
def test_absurd_sample_rates_are_broken(spoken: Samples, rate: int) -> None:
    """One hertz would blow 20 MB up to days of sound before the first look at the cap."""
    with pytest.raises(BadAudio, match="broken"):
        decode(wav(spoken, rate))


def test_a_wav_written_to_a_pipe_has_no_length(spoken: Samples) -> None:
    data = bytearray(wav(spoken))
    struct.pack_into("<I", data, 4, 0xFFFFFFFF)
    struct.pack_into("<I", data, 40, 0xFFFFFFFF)
    assert decode(bytes(data)).seconds == pytest.approx(spoken.size / RATE, abs=0.01)


def test_two_recordings_chained_with_another_rate() -> None:
    """Joined files change their setup half way."""
    tone = np.sin(np.arange(2 * RATE, dtype=np.float32) / 10) * np.float32(0.3)
    plain = {"write_id3v2": "0", "write_xing": "0"}
    first = encoded(tone, "mp3", "libmp3lame", 44_100, **plain)
    second = encoded(tone, "mp3", "libmp3lame", 16_000, **plain)
    sound = decode(first + second)
    assert sound.seconds == pytest.approx(4.0, abs=0.2)
    assert not sound.truncated


def test_what_was_heard_before_an_impossible_rate_counts() -> None:
    """Sound is resampled a second at a time: the last half second before the error must not be lost with it."""
    tone = np.sin(np.arange(int(2.5 * RATE), dtype=np.float32) / 10) * np.float32(0.3)
    sound = decode(encoded(tone, "flac", "flac", 16_000) + encoded(tone, "flac", "flac", 2_000))
    assert sound.seconds == pytest.approx(2.5, abs=0.02)
    assert sound.truncated


def test_speex_is_told_from_other_bytes() -> None:
    data = (MEDIA / "speex_header_byte.speex").read_bytes()
    assert decode(data[:-30]).seconds == pytest.approx(3.48, abs=0.03)
    with pytest.raises(BadAudio, match="not_audio"):
        decode(data[1:])
