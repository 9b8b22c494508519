"""Files made to harm whoever opens them, and what they cost: `python -m tests.hostile_media` prints a table.

Each is opened in the process that is measured, which may take 300 MB more than it has once everything is imported.
"""

import io
import json
import resource
import struct
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import click
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from PIL import Image

from handlers.photos import BadPhoto, read_photo
from nlp.audio import decode
from nlp.sound_limits import BadAudio

MEGABYTES = 300
CLIP = Path(__file__).parent / "media" / "speech" / "clips" / "note00.ogg"
HOURS_3 = 3 * 3600


@dataclass(frozen=True, slots=True)
class Hostile:
    """`outcomes`: what may come of it; "read" where it is a photo after all, whatever hangs on it."""

    kind: str  # "photo" or "sound"
    make: Callable[[], bytes]
    outcomes: tuple[str, ...]
    claimed: float | None = None  # seconds that the channel says it lasts


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *between: bytes) -> bytes:
    """A whole black picture in as few bytes as there can be."""
    press = zlib.compressobj(9)
    rows = b"".join([press.compress(bytes(width + 1)) for _ in range(height)] + [press.flush()])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(between) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def picture(kind: str, frames: int = 1, **options: object) -> bytes:
    file = io.BytesIO()
    first, *others = [Image.new("RGB", (64, 64), (number % 256, 90, 30)) for number in range(frames)]
    more = {"save_all": True, "append_images": others} if others else {}
    first.save(file, kind, **more, **options)
    return file.getvalue()


def jpeg_of(width: int, height: int) -> bytes:
    """The header of a small one claims another size."""
    data = bytearray(picture("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def swollen_jpeg() -> bytes:
    """15 MB of EXIF before the picture."""
    data = picture("JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 65_000) + b"Exif\0\0" + bytes(64_992)
    return data[:2] + segment * 230 + data[2:]


def endless_jpeg() -> bytes:
    data = picture("JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * 20_000 + data[-2:]


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photo.jpg", bytes(50_000_000))
    return file.getvalue()


def silence(container: str, codec: str, rate: int, seconds: int) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono"
        frame = AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        frame.sample_rate = rate
        for number in range(seconds * rate // 4096):
            frame.pts = number * 4096
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def wav_of(claimed: int, held: int) -> bytes:
    head = b"RIFF" + struct.pack("<I", claimed) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    return head + b"data" + struct.pack("<I", claimed) + bytes(held)


PHOTO, SOUND = "photo", "sound"
FILES = {
    "PNG of 200 Mpx in 200 kB": Hostile(PHOTO, lambda: png(20_000, 10_000), ("too_many_pixels",)),
    "PNG of 50,000,001 x 1": Hostile(PHOTO, lambda: png(50_000_001, 1), ("too_many_pixels",)),
    "JPEG that claims 65,500 x 65,500": Hostile(PHOTO, lambda: jpeg_of(65_500, 65_500), ("too_many_pixels",)),
    "JPEG of 20,000 scans": Hostile(PHOTO, endless_jpeg, ("broken",)),
    "JPEG with 15 MB of EXIF": Hostile(PHOTO, swollen_jpeg, ("broken",)),
    "PNG whose text is 1 GB": Hostile(
        PHOTO, lambda: png(64, 64, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**9), 1))), ("broken",)
    ),
    "PNG whose colour profile is 1 GB": Hostile(
        PHOTO, lambda: png(64, 64, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**9), 1))), ("broken",)
    ),
    "GIF of 2,000 frames": Hostile(PHOTO, lambda: picture("GIF", 2000), ("not_a_photo",)),
    "WebP of 1,000 frames": Hostile(PHOTO, lambda: picture("WEBP", 1000), ("not_a_photo",)),
    "PNG of 1,000 frames": Hostile(PHOTO, lambda: picture("PNG", 1000), ("not_a_photo",)),
    "TIFF": Hostile(PHOTO, lambda: picture("TIFF"), ("not_a_photo",)),
    "SVG with a script": Hostile(
        PHOTO, lambda: b'<svg onload="alert(1)"><image href="file:///etc"/></svg>', ("not_a_photo",)
    ),
    "zip bomb": Hostile(PHOTO, zipped, ("not_a_photo",)),
    "JPEG with a zip bomb behind": Hostile(PHOTO, lambda: picture("JPEG") + zipped(), ("read",)),
    "sound instead of a photo": Hostile(PHOTO, CLIP.read_bytes, ("not_a_photo",)),
    "half a WebP": Hostile(PHOTO, lambda: picture("WEBP")[:40], ("broken",)),
    "AMR of 3 hours, declared 10 s": Hostile(SOUND, lambda: b"#!AMR\n" + b"\x7c" * (HOURS_3 * 50), ("too_long",), 10),
    "FLAC of 3 hours, declared 10 s": Hostile(
        SOUND, lambda: silence("flac", "flac", 16_000, HOURS_3), ("too_long",), 10
    ),
    "MP3 of 3 hours": Hostile(SOUND, lambda: silence("mp3", "libmp3lame", 8_000, HOURS_3), ("too_long",)),
    "a clip declared 3 hours": Hostile(SOUND, CLIP.read_bytes, ("too_long",), HOURS_3),
    "WAV that claims 2 GB and holds 10": Hostile(SOUND, lambda: wav_of(2**31, 10), ("read", "empty", "broken")),
    "WAV of 21 MB": Hostile(SOUND, lambda: wav_of(22_000_000, 22_000_000), ("too_big",)),
    "half a page of Ogg": Hostile(SOUND, lambda: CLIP.read_bytes()[:40], ("broken", "empty")),
    "photo instead of sound": Hostile(SOUND, lambda: picture("PNG"), ("not_audio",)),
    "zip instead of sound": Hostile(SOUND, zipped, ("not_audio",)),
}


def outcome(file: Hostile, data: bytes) -> str:
    try:
        if file.kind == PHOTO:
            read_photo(data, "Asia/Shanghai")
        else:
            decode(data, claimed_seconds=file.claimed)
    except (BadPhoto, BadAudio) as bad:
        return bad.reason
    except MemoryError:
        return "more than 300 MB"
    return "read"


def measured(name: str) -> dict[str, object]:
    """One file in this process."""
    file = FILES[name]
    data = file.make()
    warnings.simplefilter("ignore")
    outcome(Hostile(PHOTO, bytes, ()), picture("JPEG")), outcome(Hostile(SOUND, bytes, ()), CLIP.read_bytes())  # warm
    with open("/proc/self/statm", encoding="ascii") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    _reset_peak()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEGABYTES * 10**6, resource.RLIM_INFINITY))
    began, used = time.perf_counter(), time.process_time()
    found = outcome(file, data)
    took, used = time.perf_counter() - began, time.process_time() - used
    return {"outcome": found, "seconds": took, "cpu": used, "peak_mb": _peak() // 10**6, "bytes": len(data)}


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    if len(sys.argv) > 1:
        click.echo(json.dumps(measured(sys.argv[1])))
        return
    import subprocess  # noqa: PLC0415 - the children need it not

    click.echo("| file | bytes | outcome | seconds | CPU s | peak MB |\n| --- | --- | --- | --- | --- | --- |")
    for name in FILES:
        told = subprocess.run(
            [sys.executable, "-m", "tests.hostile_media", name], capture_output=True, text=True, check=True
        )
        found = json.loads(told.stdout)
        cost = f"{found['seconds']:.2f} | {found['cpu']:.2f} | {found['peak_mb']}"
        click.echo(f"| {name} | {found['bytes']:,} | {found['outcome']} | {cost} |")


if __name__ == "__main__":
    main()
