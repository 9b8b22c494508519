"""The whole bot behind the web chat, in a thread of its own: real door, sender, recogniser, files and database."""

import asyncio
import io
import threading
import wave
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw

from bot.app import App, utc_now
from bot.web_channel import WebChannel
from bot.wiring import SAMPLE_FIRM
from handlers.tools import make_tools
from nlp.transcribe import WhisperTranscriber
from reports.firm_import import read_firm, save_firm
from rules.limits import Limits
from storage.files import LocalFiles
from tests.databases import WHOLE, open_migrated
from tests.speech import CLIPS, TEST_MODEL
from web.sessions import Sessions
from web.site import WebSettings


class Running:
    """The bot at `url`, on the wall clock."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.database = open_migrated(folder)
        with self.database.work(WHOLE) as work:
            save_firm(work, read_firm(SAMPLE_FIRM))
        self.files = LocalFiles(folder / "files")
        limits = Limits()
        site = WebSettings(port=0, demo_clips=CLIPS, **settings)
        self.channel = WebChannel(site, self.database, self.files, limits, Sessions(b"k" * 32), utc_now)
        tools = make_tools(limits, self.files)
        self.app = App(self.database, tools, WhisperTranscriber(TEST_MODEL), [self.channel])
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="bot", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.channel.port}"

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the bot's loop, from the test's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def start(self) -> None:
        self._thread.start()
        self.call(self.app.start())

    def stop(self) -> None:
        self.call(self.app.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        self.database.close()


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Running]:
    bot = Running(folder, **settings)
    bot.start()
    try:
        yield bot
    finally:
        bot.stop()


def as_wave(clip: Path) -> bytes:
    """A clip as 48 kHz mono WAV with half a second of silence around it, for a browser's pretended microphone."""
    with av.open(str(clip)) as source:
        to_48k = av.AudioResampler("s16", "mono", 48_000)
        frames = [made for frame in source.decode(audio=0) for made in to_48k.resample(frame)]
        parts = [made.to_ndarray()[0] for made in [*frames, *to_48k.resample(None)]]
    quiet = np.zeros(24_000, np.int16)
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(np.concatenate([quiet, *parts, quiet]).tobytes())
    return made.getvalue()


def shop_photo() -> bytes:
    """A store front, as a JPEG."""
    image = Image.new("RGB", (960, 720), "lightsteelblue")
    draw = ImageDraw.Draw(image)
    draw.rectangle((120, 160, 840, 660), "tan")
    for row in range(12):
        for brick in range(14):
            left, top = 122 + brick * 51, 164 + row * 41
            draw.rectangle((left, top, left + 46, top + 36), "peru" if (row + brick) % 3 else "sienna")
    draw.rectangle((140, 190, 820, 290), "darkred")
    draw.rectangle((430, 420, 560, 660), "saddlebrown")
    draw.rectangle((180, 380, 370, 540), "skyblue")
    made = io.BytesIO()
    image.save(made, "JPEG", quality=88)
    return made.getvalue()
