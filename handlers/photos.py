"""What a photo's bytes say: size, when and where it was taken, and a fingerprint that survives recompression.

The bytes come from anybody, so the header is judged before a pixel is decoded, and one frame is decoded at most.
The fingerprint is PDQ (Facebook, 2019): 256 bits, of which about half differ between unrelated pictures.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from handlers.pdq import pdq
from rules.places import Point, is_plausible

MOST_BYTES = 20 * 1024 * 1024
# WebP's decoder holds four copies of the picture (765 MB at 50 million pixels, measured), the others about one.
MOST_PIXELS = {"image/jpeg": 50_000_000, "image/png": 50_000_000, "image/webp": 16_000_000}
_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
# Cameras write about ten scans of a progressive JPEG; each one costs a walk over the whole picture.
MOST_JPEG_SCANS = 100
# Cameras write one segment of EXIF. Pillow joins what many there are byte by byte: 15 MB of them take seconds.
MOST_JPEG_EXIF = 16
# PDQ's authors: below this a picture has too little structure for its hash to mean anything.
LEAST_QUALITY = 50
# A phone without satellites writes its last known position. Farther apart than this, it says nothing of the picture.
POSITION_AGE = timedelta(minutes=30)
YEARS = range(2010, 2100)  # any other date is a clock that was never set
_HASH_SIDE = 512  # PDQ's authors shrink to this first; the hash itself is made from 64 x 64
_HEX = 64
_EXIF = b"Exif\0\0"
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = (5, 6, 7, 8)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class BadPhoto(Exception):
    """Not a photo we take. `reason`: empty, too_big, heic, not_a_photo, too_many_pixels or broken."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """`width` and `height` in pixels as it is looked at; `taken_at` aware; `phash` 64 hexadecimal digits.

    `phash_quality` is PDQ's, 0 (a blank wall) to 100.
    """

    mime: str
    width: int
    height: int
    taken_at: datetime | None
    taken_where: Point | None
    phash: str
    phash_quality: int


def read_photo(data: bytes, time_zone: str) -> PhotoFacts:
    """The facts of a JPEG, PNG or WebP, or BadPhoto. A camera's time without an offset is one of `time_zone`."""
    mime = _mime(data)
    try:
        image = _opened(data, mime)
        width, height = image.size
        luma = _small_luma(image)
    except BadPhoto:
        raise
    except Exception as problem:  # Pillow raises a dozen kinds on broken files, and new releases add more
        raise BadPhoto("broken") from problem
    exif = _exif(image)
    orientation = exif.get(Base.Orientation)
    if orientation in _UPRIGHT:
        luma = luma.transpose(_UPRIGHT[orientation])
    if orientation in _ON_ITS_SIDE:
        width, height = height, width
    taken_at = _taken_at(exif, ZoneInfo(time_zone))
    phash, quality = pdq(luma)
    return PhotoFacts(mime, width, height, taken_at, _taken_where(exif, taken_at), phash, quality)


def near_same(phash: str, quality: int, other: str, other_quality: int, bits: int) -> bool:
    """Whether two fingerprints differ in at most `bits` of their 256 bits, and both mean something.

    Two blank walls look alike to PDQ: where either has a quality under 50 the answer is no, and only the same file
    is the same picture. Calling two honest pictures one would be the worse fault.
    """
    if min(quality, other_quality) < LEAST_QUALITY:
        return False
    return bits_apart(phash, other) <= bits


def bits_apart(phash: str, other: str) -> int:
    """How many of 256 bits differ."""
    if len(phash) != _HEX or len(other) != _HEX:
        raise ValueError("a fingerprint is 64 hexadecimal digits")
    return (int(phash, 16) ^ int(other, 16)).bit_count()


def _mime(data: bytes) -> str:
    if not data:
        raise BadPhoto("empty")
    if len(data) > MOST_BYTES:
        raise BadPhoto("too_big")
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    raise BadPhoto("heic" if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS else "not_a_photo")


def _opened(data: bytes, mime: str) -> Image.Image:
    """The picture with its header read and judged, no pixel decoded yet."""
    if mime == "image/jpeg" and (data.count(b"\xff\xda") > MOST_JPEG_SCANS or data.count(_EXIF) > MOST_JPEG_EXIF):
        raise BadPhoto("broken")
    try:
        image = Image.open(io.BytesIO(data), formats=[_FORMATS[mime]])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadPhoto("too_many_pixels") from None
    if image.width * image.height > MOST_PIXELS[mime]:
        raise BadPhoto("too_many_pixels")
    # Phones put a depth map or an HDR layer behind the one picture of a JPEG; that is no animation.
    if mime != "image/jpeg" and getattr(image, "is_animated", False):
        raise BadPhoto("not_a_photo")
    return image


def _small_luma(image: Image.Image) -> Image.Image:
    """The decoded picture in grey, at most 512 pixels a side. One byte a pixel keeps the second copy small."""
    image.draft("L", (_HASH_SIDE, _HASH_SIDE))
    image.load()
    image.info.pop("transparency", None)
    luma = image.convert("L")
    luma.thumbnail((_HASH_SIDE, _HASH_SIDE))
    return luma


def _exif(image: Image.Image) -> Mapping[int, Any]:
    """Every EXIF tag of the picture and of its camera and position parts; empty where they cannot be read.

    The position's own tags are numbered from 0 and collide with nothing in the other two parts.
    """
    try:
        exif = image.getexif()
        return {**exif, **exif.get_ifd(IFD.Exif), **exif.get_ifd(IFD.GPSInfo)}
    except Exception:  # whatever stands there is the camera's fault, and the picture is good without it
        return {}


def _taken_at(exif: Mapping[int, Any], zone: ZoneInfo) -> datetime | None:
    """The camera's clock, else the satellites' if the camera tells none."""
    local = _stamp(_text(exif.get(Base.DateTimeOriginal)))
    if local is None:
        return _satellite_time(exif)
    return local.replace(tzinfo=_offset(_text(exif.get(Base.OffsetTimeOriginal))) or zone).astimezone(UTC)


def _taken_where(exif: Mapping[int, Any], taken_at: datetime | None) -> Point | None:
    """Where the phone was, unless the position was measured at another time than the picture was taken."""
    measured_at = _satellite_time(exif)
    if taken_at is not None and measured_at is not None and abs(taken_at - measured_at) > POSITION_AGE:
        return None
    lat = _degrees(exif.get(GPS.GPSLatitude), _text(exif.get(GPS.GPSLatitudeRef)), "N", "S")
    lon = _degrees(exif.get(GPS.GPSLongitude), _text(exif.get(GPS.GPSLongitudeRef)), "E", "W")
    if lat is None or lon is None:
        return None
    point = Point(lat, lon)
    return point if is_plausible(point) else None


def _satellite_time(exif: Mapping[int, Any]) -> datetime | None:
    """GPSDateStamp and GPSTimeStamp, which are UTC."""
    try:
        hours, minutes, seconds = (float(part) for part in exif[GPS.GPSTimeStamp])
        day = datetime.strptime(_text(exif[GPS.GPSDateStamp]), "%Y:%m:%d").replace(tzinfo=UTC)
        at = day + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return at if at.year in YEARS else None


def _stamp(text: str) -> datetime | None:
    """A naive "2026:03:02 09:41:07"."""
    try:
        at = datetime.strptime(text, "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - the caller knows the zone
    except ValueError:
        return None
    return at if at.year in YEARS else None


def _offset(text: str) -> timezone | None:
    """ "+08:00" as a time zone."""
    found = re.fullmatch(r"([+-])(\d\d):(\d\d)", text)
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        return None
    size = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(size if found[1] == "+" else -size)


def _degrees(parts: Any, towards: str, plus: str, minus: str) -> float | None:
    """Degrees from (degrees, minutes, seconds) and the letter of the half of the globe."""
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    # Cameras that round write 60 seconds.
    if towards not in (plus, minus) or not (0 <= minutes <= 60 and 0 <= seconds <= 60):
        return None
    size = degrees + minutes / 60 + seconds / 3600
    return size if towards == plus else -size


def _text(value: Any) -> str:
    """What a camera wrote, as text without padding."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip("\0 ") if isinstance(value, str) else ""
