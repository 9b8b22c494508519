"""What a transcript needs no file beside it for: a recogniser that hears what the script says, photos, sounds."""

import hashlib
import io
import wave
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from bot.script import bracket
from nlp.models import NoModel
from nlp.sound_limits import BadAudio, BadReason
from nlp.transcribe import Hints, Transcriber, Transcript
from rules.places import Point

if TYPE_CHECKING:
    import numpy as np

_BAD: dict[str, BadReason] = {"broken": "broken", "not_audio": "not_audio", "too_long": "too_long"}
HEARD_FORMS = ("silent", "unsure", "truncated", "no_model", "crash", *_BAD)


class RecogniserDied(Exception):
    """The script wants the recogniser to die of this sound."""


class StandIn:
    """A recogniser that returns what the script says was heard, by the sound's content; others go to the real one.

    `heard: [unsure] …` and the other HEARD_FORMS are the ways a recogniser may fail. After `model: ready` a note
    marked [no_model] is heard.
    """

    def __init__(self, real: Transcriber | None) -> None:
        self._real = real
        self._heard: dict[str, str] = {}
        self.has_model = False

    def expect(self, audio: bytes, text: str) -> None:
        """Raises ValueError for an unknown form."""
        self._heard[hashlib.sha256(audio).hexdigest()] = text
        _form(text)

    def transcribe(self, audio: bytes, hints: Hints) -> Transcript:
        key = hashlib.sha256(audio).hexdigest()
        if key not in self._heard:
            if self._real is None:
                raise LookupError("neither a heard: line nor a recogniser for this sound")
            return self._real.transcribe(audio, hints)
        form, text = _form(self._heard[key])
        if form == "crash":
            raise RecogniserDied
        if form == "no_model" and not self.has_model:
            raise NoModel("script", (), ())
        if form in _BAD:
            raise BadAudio(_BAD[form])
        seconds = hints.claimed_seconds or 5.0
        if not text:
            return Transcript("", (), 0.0, "script", seconds, ("silence",))
        if form == "unsure":
            return Transcript(text, (), 0.3, "script", seconds, ("unsure",))
        return Transcript(text, (), 0.95, "script", seconds, ("truncated",) if form == "truncated" else ())


def _form(heard: str) -> tuple[str, str]:
    """(how it fails or "", the words) of what stands behind `heard:`."""
    parts = bracket(heard)
    if parts is None:
        return "", heard
    if parts[0] not in HEARD_FORMS:
        raise ValueError(f"heard: 不认识 [{parts[0]}]，可用：{'、'.join(HEARD_FORMS)}")
    return parts[0], parts[2]


def made_photo(
    name: str,
    *,
    taken_at: datetime | None = None,
    taken_where: Point | None = None,
    quality: int = 85,
) -> bytes:
    """A real JPEG whose picture follows from its name, with the camera's time and place where they are given.

    Pictures of different names differ as much as photos of different shops do; another `quality` gives a near-same
    one, as chat apps make by recompressing.
    """
    coarse = _noise(name).integers(0, 256, (9, 12, 3), dtype="uint8")
    picture = Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    if taken_at is not None:
        camera = exif.get_ifd(IFD.Exif)
        camera[Base.DateTimeOriginal] = f"{taken_at:%Y:%m:%d %H:%M:%S}"
    if taken_where is not None:
        exif[IFD.GPSInfo] = {
            GPS.GPSLatitudeRef: "N",
            GPS.GPSLatitude: _sexagesimal(taken_where.lat),
            GPS.GPSLongitudeRef: "E",
            GPS.GPSLongitude: _sexagesimal(taken_where.lon),
        }
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()


def spoilt_photo(name: str, how: Sequence[str]) -> bytes | None:
    """A photo that is `broken` (cut off), `heic`, `text`, or `empty`; None where `how` holds none of them."""
    if "broken" in how:
        whole = made_photo(name)
        return whole[: len(whole) // 3]
    if "heic" in how:
        return b"\0\0\0\x18ftypheic" + bytes(64)
    if "text" in how:
        return "这不是照片".encode()
    return b"" if "empty" in how else None


def made_sound(name: str) -> bytes:
    """A second of real, soft noise that follows from its name, as WAV."""
    samples = _noise(name).integers(-800, 800, 16_000, dtype="int16")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(samples.tobytes())
    return buffer.getvalue()


def _noise(name: str) -> "np.random.Generator":
    import numpy as np  # noqa: PLC0415  15 MB, only where something is made up

    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    """Degrees, minutes and seconds, as EXIF wants them."""
    minutes, seconds = divmod(round(degrees * 3600, 2), 60)
    whole, minutes = divmod(minutes, 60)
    return whole, minutes, seconds
