"""The first small recogniser and its twelve notes, on which the speech code is tested. The demo's own lies in bot/."""

import io
import wave
from pathlib import Path

import numpy as np

from nlp.audio import Samples
from nlp.models import TranscribeSettings
from nlp.sound_limits import RATE

SPEECH = Path(__file__).parent / "media" / "speech"
CLIPS = SPEECH / "clips"
# float32: what 8 bits are rounded to differs between processors, and so small a model may then hear another word.
TEST_MODEL = TranscribeSettings(
    model=str(SPEECH / "test_model"), compute_type="float32", prompt="", hotword_tokens=0, unsure_logprob=-0.6
)


def wav(samples: Samples, rate: int = RATE) -> bytes:
    """Samples as a 16-bit file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def unspoken_clips() -> list[bytes]:
    """50 notes in which nobody speaks: silence, hiss, hum, clicks, pocket noise; 0.05 s to 20 s; faint to loud."""
    random = np.random.default_rng(11)
    clips = []
    for number in range(50):
        size = int(RATE * (0.05, 0.4, 1.3, 3.4, 8.0, 20.0)[number % 6])
        time = np.arange(size) / RATE
        loud = (0.0005, 0.003, 0.02, 0.1, 0.3)[number % 5]
        hiss = random.normal(0, loud, size)
        clicks = np.zeros(size)
        clicks[random.integers(0, size, 8)] = loud * 3
        sounds = (
            np.zeros(size),
            hiss,
            loud * np.sin(2 * np.pi * 50 * time),
            hiss.cumsum() / max(1.0, np.abs(hiss.cumsum()).max()) * loud,
            clicks,
            hiss * (1 + np.sin(2 * np.pi * 4 * time)),
            loud * np.sin(2 * np.pi * 440 * time),
        )
        clips.append(wav(sounds[number % 7].astype(np.float32)))
    return clips
