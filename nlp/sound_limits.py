"""What is taken as a voice note, for those who decode none: the library that does weighs 20 MB in memory."""

from typing import Literal, TypeAlias

RATE = 16_000  # samples a second, as the recognisers want them
MAX_SECONDS = 600.0
MAX_BYTES = 20 * 1024 * 1024

BadReason: TypeAlias = Literal["empty", "not_audio", "too_long", "too_big", "broken", "no_silk"]


class BadAudio(Exception):
    """A file that gives no sound.

    `reason`: "empty" (no bytes or no samples), "not_audio", "broken" (right header, nothing decodes), "too_long",
    "too_big", "no_silk" (SILK came and the package silk-python is not installed).
    """

    def __init__(self, reason: BadReason) -> None:
        super().__init__(reason)
        self.reason = reason
