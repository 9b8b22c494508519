"""The first small recogniser and its twelve notes, on which the speech code is tested. The demo's own lies in bot/."""

from pathlib import Path

from nlp.transcribe import TranscribeSettings

SPEECH = Path(__file__).parent / "media" / "speech"
CLIPS = SPEECH / "clips"
TEST_MODEL = TranscribeSettings(model=str(SPEECH / "test_model"), prompt="", hotword_tokens=0, unsure_logprob=-0.6)
