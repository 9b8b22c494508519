"""Sound files of every chat platform in, mono 16 kHz samples out.

The header decides the format, never the file's name: WeChat sends SILK under the name `.amr`. Each format gets its own
demuxer, so that a hostile file cannot pose as a playlist and make FFmpeg open other files or addresses.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from nlp.sound_limits import MAX_BYTES, MAX_SECONDS, RATE, BadAudio

Samples: TypeAlias = NDArray[np.float32]

_MIN_SOURCE_RATE, _MAX_SOURCE_RATE = 4_000, 192_000
_DEMUXERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"OggS", "ogg"),
    (0, b"#!AMR", "amr"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (4, b"ftyp", "mov"),
    (8, b"WAVE", "wav"),
    (0, b"ID3", "mp3"),
    (0, b"fLaC", "flac"),
    (0, b"caff", "caf"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
)
# FFmpeg's own AMR decoders give up at the first frame of silence suppression (DTX); the opencore ones read it.
_DECODERS = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}

_SILK = b"#!SILK_V3"
_SILK_BLOCK_SECONDS = 0.02
# Bits of one Speex frame by submode, header bits included: The Speex Codec Manual, narrowband and wideband tables.
_SPEEX_LOW_BITS = (5, 43, 119, 160, 220, 300, 364, 492, 79)
_SPEEX_HIGH_BITS = (4, 36, 112, 192, 352)


@dataclass(frozen=True, slots=True)
class Sound:
    """`samples`: shape (n,), float32 in -1..1, mono, 16 kHz. `seconds`: n / 16000. `codec`: FFmpeg's name, or "silk".

    `truncated`: the file ends early, by the channel's duration or by an error after the first samples.
    """

    samples: Samples
    seconds: float
    codec: str
    truncated: bool


def decode(
    data: bytes,
    *,
    max_seconds: float = MAX_SECONDS,
    claimed_seconds: float | None = None,
    max_bytes: int = MAX_BYTES,
) -> Sound:
    """Decode a whole voice note.

    `claimed_seconds` is the duration the channel gave; a file clearly shorter than that is marked truncated.
    Decoding stops at `max_seconds`, so a three-hour file never lies decoded in memory. Raises BadAudio.
    """
    if not data:
        raise BadAudio("empty")
    if len(data) > max_bytes:
        raise BadAudio("too_big")
    if claimed_seconds is not None and claimed_seconds > max_seconds:
        raise BadAudio("too_long")
    codec, pieces = _open(data, max_seconds)
    samples, ended_early = _collect(pieces, int(max_seconds * RATE))
    seconds = samples.size / RATE
    missing = claimed_seconds is not None and _clearly_shorter(seconds, claimed_seconds)
    return Sound(samples, seconds, codec, truncated=ended_early or missing)


def _clearly_shorter(seconds: float, claimed: float) -> bool:
    # Channels round to whole seconds and some count the codec's padding: below this a difference says nothing.
    return claimed - seconds > 1.0 + 0.05 * claimed


def _open(data: bytes, max_seconds: float) -> tuple[str, Iterator[Samples]]:
    """The codec's name and the samples, lazily."""
    if data.startswith((_SILK, b"\x02" + _SILK)):
        return "silk", _silk(data, max_seconds)
    demuxer = _demuxer(data)
    if demuxer is not None:
        if _lasts_longer(data, demuxer, max_seconds):
            raise BadAudio("too_long")
        try:
            container = av.open(io.BytesIO(data), "r", format=demuxer, metadata_errors="ignore")
        except (av.FFmpegError, ValueError) as error:
            raise BadAudio("broken") from error
        if not container.streams.audio:
            container.close()
            raise BadAudio("not_audio")
        return container.streams.audio[0].codec_context.name, _resampled(_container_frames(container))
    packets = _speex_packets(data)
    if packets:
        return "speex", _resampled(_speex_frames(packets))
    raise BadAudio("not_audio")


def _lasts_longer(data: bytes, demuxer: str, max_seconds: float) -> bool:
    """Whether the packets, which nobody decodes here, say that they are too long together: a tenth of the time that
    decoding up to the limit takes. What says nothing, or says less than there is, meets the limit when it is decoded.
    """
    try:
        with av.open(io.BytesIO(data), "r", format=demuxer, metadata_errors="ignore") as container:
            stream = container.streams.audio[0]
            if not _MIN_SOURCE_RATE <= stream.codec_context.sample_rate <= _MAX_SOURCE_RATE:
                return False
            left = max_seconds
            for packet in container.demux(stream):
                if packet.duration and packet.time_base:
                    left -= packet.duration * float(packet.time_base)
                if left < 0:
                    return True
    except (av.FFmpegError, ValueError, IndexError):
        return False  # told by who decodes it
    return False


def _demuxer(data: bytes) -> str | None:
    for at, magic, name in _DEMUXERS:
        if data.startswith(magic, at):
            return name
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        # MPEG sync word; layer 0 is AAC in an ADTS stream, layers 1-3 are MP1-MP3.
        return "aac" if data[1] & 0x06 == 0 else "mp3"
    return None


def _collect(pieces: Iterator[Samples], cap: int) -> tuple[Samples, bool]:
    """All samples, and whether an error cut them off. Raises BadAudio when nothing or too much comes."""
    kept: list[Samples] = []
    count = 0
    ended_early = False
    try:
        for piece in pieces:
            kept.append(piece)
            count += piece.size
            if count > cap:
                raise BadAudio("too_long")
    except (av.FFmpegError, ValueError) as error:
        if not count:
            raise BadAudio("broken") from error
        ended_early = True
    if not count:
        raise BadAudio("empty")
    return np.concatenate(kept), ended_early


def _container_frames(container: av.container.InputContainer) -> Iterator[AudioFrame]:
    with container:
        stream = container.streams.audio[0]
        context = stream.codec_context
        decoder = context
        if context.name in _DECODERS:
            decoder = _decoder(_DECODERS[context.name], context.sample_rate)
        yield from _decoded(decoder, container.demux(stream))


def _decoder(name: str, rate: int) -> AudioCodecContext:
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, AudioCodecContext)  # noqa: S101  tells the type checker what kind of codec it is
    decoder.sample_rate = rate
    decoder.layout = "mono"
    return decoder


def _decoded(decoder: AudioCodecContext, packets: "Iterator[av.Packet[Any]]") -> Iterator[AudioFrame]:
    heard = False
    bad: av.FFmpegError | None = None
    for packet in packets:
        try:
            for frame in decoder.decode(packet):
                heard = True
                yield frame
        except (av.error.InvalidDataError, av.error.EOFError) as error:
            bad = error  # one damaged packet costs its own 20 ms, not the note
    if bad is not None and not heard:
        raise bad


def _resampled(frames: Iterator[AudioFrame]) -> Iterator[Samples]:
    """Mono 16 kHz float32 pieces. Chained files may change rate or layout half way: then the resampler is renewed."""
    resampler: AudioResampler | None = None
    setup: tuple[str, str, int] | None = None
    for frame in _seconds(frames):
        if resampler is None or setup != _setup(frame):
            if resampler is not None:
                yield from _arrays(resampler.resample(None))
            resampler = AudioResampler(format="flt", layout="mono", rate=RATE)
            setup = _setup(frame)
        yield from _arrays(resampler.resample(frame))
    if resampler is not None:
        yield from _arrays(resampler.resample(None))


def _seconds(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
    """The same sound in frames of about a second: resampled one by one, frames of 20 ms take a third longer."""
    fifo = AudioFifo()
    setup: tuple[str, str, int] | None = None
    try:
        for frame in frames:
            if not _MIN_SOURCE_RATE <= frame.sample_rate <= _MAX_SOURCE_RATE:
                raise ValueError(frame.sample_rate)
            frame.pts = None  # time stamps of chat files jump; the order of the frames is what counts
            if setup != _setup(frame):
                yield from _rest(fifo)
                fifo, setup = AudioFifo(), _setup(frame)
            fifo.write(frame)
            if fifo.samples >= frame.sample_rate:
                yield from _rest(fifo)
    except (av.FFmpegError, ValueError):
        yield from _rest(fifo)  # what was heard before the error counts
        raise
    yield from _rest(fifo)


def _rest(fifo: AudioFifo) -> Iterator[AudioFrame]:
    frame = fifo.read() if fifo.samples else None
    if frame is not None:
        yield frame


def _setup(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _arrays(frames: list[AudioFrame]) -> Iterator[Samples]:
    for frame in frames:
        yield frame.to_ndarray().reshape(-1).astype(np.float32, copy=False)


def _speex_packets(data: bytes) -> list[bytes]:
    """Frames of "Speex with header byte" (WeCom): one length byte before each frame, no file header.

    Empty when the bytes are anything else: every length must be what the frame's own mode bits say. A cut last frame
    is left out.
    """
    packets = []
    at = 0
    while at < len(data):
        size = data[at]
        packet = data[at + 1 : at + 1 + size]
        if len(packet) < size:
            break
        if _speex_size(packet) != size:
            return []
        packets.append(packet)
        at += 1 + size
    return packets


def _speex_size(packet: bytes) -> int | None:
    """Bytes a wideband Speex frame must have by its mode bits; None when these are no such frame."""
    if not packet or packet[0] & 0x80:
        return None
    low = packet[0] >> 3 & 0x0F
    if low >= len(_SPEEX_LOW_BITS):
        return None
    start = _SPEEX_LOW_BITS[low]
    bits = int.from_bytes(packet[start // 8 : start // 8 + 2].ljust(2, b"\0"), "big")
    high = bits >> (12 - start % 8) & 0x0F
    if not high & 0x08 or high & 0x07 >= len(_SPEEX_HIGH_BITS):
        return None
    return (start + _SPEEX_HIGH_BITS[high & 0x07] + 7) // 8


def _speex_frames(packets: list[bytes]) -> Iterator[AudioFrame]:
    yield from _decoded(_decoder("speex", RATE), (av.Packet(packet) for packet in packets))


def _silk(data: bytes, max_seconds: float) -> Iterator[Samples]:
    """SILK v3 as WeChat writes it, with or without the leading 0x02: blocks of 20 ms behind a two-byte length."""
    try:
        import pysilk  # type: ignore[import-untyped]  # noqa: PLC0415  no stubs; needed by WeChat alone
    except ImportError as error:
        raise BadAudio("no_silk") from error
    start = data.index(_SILK) + len(_SILK)
    end = start
    blocks = 0
    while end + 2 <= len(data):
        size = int.from_bytes(data[end : end + 2], "little")
        if size == 0xFFFF or end + 2 + size > len(data):
            break
        end += 2 + size
        blocks += 1
    if blocks * _SILK_BLOCK_SECONDS > max_seconds:
        raise BadAudio("too_long")
    if not blocks:
        raise BadAudio("broken")
    pcm = io.BytesIO()
    try:
        pysilk.decode(io.BytesIO(_SILK + data[start:end]), pcm, RATE)
    except pysilk.SilkError as error:
        yield _from_int16(pcm.getvalue())
        raise ValueError("silk") from error
    yield _from_int16(pcm.getvalue())


def _from_int16(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32768)
