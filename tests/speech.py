"""The first small recogniser and its twelve notes, on which the speech code is tested. The demo's own lies in bot/."""

import io
import wave
from pathlib import Path

from nlp.audio import RATE, Samples
from nlp.transcribe import TranscribeSettings

SPEECH = Path(__file__).parent / "media" / "speech"
CLIPS = SPEECH / "clips"
TEST_MODEL = TranscribeSettings(model=str(SPEECH / "test_model"), prompt="", hotword_tokens=0, unsure_logprob=-0.6)


def wav(samples: Samples, rate: int = RATE) -> bytes:
    """Samples as a 16-bit file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return out.getvalue()
