"""What happens to a message, told once: as a line of the log, a count, and a span where spans are wanted.

`about` is the name under which all of it is found again, from the webhook to the reply: `in-12`, the delivery's number
in the database. It outlives a restart, and it is the same in every process.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from structlog.contextvars import bound_contextvars, get_contextvars

from bot.channels import SendError
from bot.meters import Meters
from nlp.transcribe import Hints, Transcriber, Transcript
from storage.database import will_pass
from storage.inbox import Delivery
from storage.outbox import Outgoing

log = logging.getLogger(__name__)


class Spans(Protocol):
    """Where spans go. `about` names the message; times are seconds since 1970."""

    def took(
        self, name: str, about: str, began: float, error: BaseException | None = None, **attributes: str | int | float
    ) -> None: ...


class Watch:
    """One for a process. Every method is cheap and raises nothing of its own."""

    def __init__(self, spans: Spans | None = None) -> None:
        self.meters = Meters()
        self._spans = spans

    def transaction(self, seconds: float) -> None:
        self.meters.transaction.observe(seconds)

    def received(self, delivery: Delivery, row: int | None, began: float) -> None:
        """A delivery was stored as `row`, or had been before (None). `began`: time.time() when it came."""
        if row is None:
            self.meters.repeated.labels(delivery.channel).inc()
            return
        self.meters.received.labels(delivery.channel).inc()
        about = f"in-{row}"
        log.info("received", extra={"about": about, "channel": delivery.channel})
        self._span("receive", about, began, channel=delivery.channel)

    @contextmanager
    def message(self, delivery: Delivery) -> Iterator[None]:
        """Whatever is logged meanwhile is about this delivery."""
        with bound_contextvars(about=f"in-{delivery.id}", channel=delivery.channel):
            yield

    @contextmanager
    def turn(self, delivery: Delivery) -> Iterator[None]:
        began, ticks = time.time(), time.perf_counter()
        try:
            yield
        except Exception as trouble:
            if not will_pass(trouble):
                self.meters.failed.labels(delivery.channel, "turn").inc()
            self._span("turn", f"in-{delivery.id}", began, trouble, channel=delivery.channel)
            raise
        took = time.perf_counter() - ticks
        self.meters.turn.observe(took)
        self.meters.applied.labels(delivery.channel).inc()
        log.info("applied", extra={"ms": round(took * 1000, 1)})
        self._span("turn", f"in-{delivery.id}", began, channel=delivery.channel)

    def not_fetched(self, delivery: Delivery, trouble: Exception) -> None:
        self.meters.failed.labels(delivery.channel, "fetch").inc()
        self.meters.provider_errors.labels(delivery.channel, type(trouble).__name__).inc()

    @contextmanager
    def outgoing(self, message: Outgoing) -> Iterator[None]:
        """Whatever is logged meanwhile is about sending this."""
        with bound_contextvars(about=_about(message), out=f"out-{message.id}", channel=message.channel):
            yield

    def sent(self, batch: Sequence[Outgoing], provider_id: str, began: float) -> None:
        """All of `batch` went out as one, and it is marked. `began`: time.time() before the call."""
        took = time.time() - began
        for message in batch:
            self.meters.sent.labels(message.channel).inc()
            named = {"about": _about(message), "out": f"out-{message.id}", "channel": message.channel}
            log.info("sent", extra={**named, "provider_id": provider_id, "ms": round(took * 1000, 1)})
        self.meters.send.labels(batch[0].channel).observe(took)
        self._span("send", _about(batch[0]), began, channel=batch[0].channel, out=f"out-{batch[0].id}")

    def not_sent(self, message: Outgoing, trouble: SendError, began: float) -> None:
        self.meters.failed.labels(message.channel, "send").inc()
        self.meters.provider_errors.labels(message.channel, type(trouble).__name__).inc()
        self._span("send", _about(message), began, trouble, channel=message.channel, out=f"out-{message.id}")

    def transcribed(self, took: float, began: float, transcript: Transcript | None, trouble: Exception | None) -> None:
        self.meters.transcribed.labels("failed" if transcript is None else "ok").inc()
        about = str(get_contextvars().get("about", ""))
        if transcript is None:
            self._span("transcribe", about, began, trouble)
            return
        if transcript.seconds > 0:
            self.meters.real_time_factor.observe(took / transcript.seconds)
        self._span("transcribe", about, began, engine=transcript.engine, sound_s=round(transcript.seconds, 1))

    def _span(
        self, name: str, about: str, began: float, error: BaseException | None = None, **attributes: str | int | float
    ) -> None:
        if self._spans is not None:
            self._spans.took(name, about, began, error, **attributes)


class WatchedTranscriber:
    """The recogniser, with its speed noted."""

    def __init__(self, transcriber: Transcriber, watch: Watch) -> None:
        self._transcriber, self._watch = transcriber, watch

    def transcribe(self, audio: bytes, hints: Hints) -> Transcript:
        began, ticks = time.time(), time.perf_counter()
        try:
            transcript = self._transcriber.transcribe(audio, hints)
        except Exception as trouble:
            self._watch.transcribed(time.perf_counter() - ticks, began, None, trouble)
            raise
        self._watch.transcribed(time.perf_counter() - ticks, began, transcript, None)
        return transcript


def _about(message: Outgoing) -> str:
    """The delivery a message goes back to; itself where it goes back to none, as a reminder."""
    return f"in-{message.cause}" if message.cause is not None else f"out-{message.id}"
