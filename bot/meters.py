"""The counters and gauges that Prometheus reads, and the text it reads them from.

Counters are of this process, from its start. Gauges of the database are looked up when the page is asked for, never by
a turn; they are the same whichever process tells them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from storage.gauges import Gauges

# When each counter began would be a second series for every one.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_QUICK = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_ALL = "Of the whole database, the same from every process: "


class Meters:
    """What one process counts. `registry` is its own, so that several bots in one process do not mix."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        ProcessCollector(registry=own)
        PlatformCollector(registry=own)
        channel = ["channel"]
        self.received = Counter("zoudian_received", "Messages that were stored.", channel, registry=own)
        self.repeated = Counter("zoudian_repeated", "Deliveries that had come before.", channel, registry=own)
        self.applied = Counter("zoudian_applied", "Messages that were applied.", channel, registry=own)
        self.sent = Counter("zoudian_sent", "Messages that a platform took.", channel, registry=own)
        self.failed = Counter(
            "zoudian_failed", "Tries that failed; stage: fetch, turn, send.", ["channel", "stage"], registry=own
        )
        self.provider_errors = Counter(
            "zoudian_provider_errors",
            "What a platform answered instead of taking or giving something; kind as in docs/observability.md.",
            ["channel", "kind"],
            registry=own,
        )
        self.turn = Histogram("zoudian_turn_seconds", "Applying one message.", buckets=_QUICK, registry=own)
        self.transaction = Histogram(
            "zoudian_transaction_seconds",
            "One transaction that writes, with its wait for the connection, to the end of its commit.",
            buckets=_QUICK,
            registry=own,
        )
        self.send = Histogram(
            "zoudian_send_seconds",
            "One call that sends.",
            channel,
            buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
            registry=own,
        )
        self.transcribed = Counter(
            "zoudian_transcribed", "Voice notes; result: ok or failed.", ["result"], registry=own
        )
        self.real_time_factor = Histogram(
            "zoudian_stt_real_time_factor",
            "Seconds of work for each second of sound; above 1 a queue grows while people talk.",
            buckets=(0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10),
            registry=own,
        )
        self.loop_lag = Gauge("zoudian_loop_lag_seconds", "The longest the event loop was late in 10 s.", registry=own)
        self.polling = Gauge("zoudian_polling", "1 where this process receives on the channel.", channel, registry=own)


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand when the page is asked for; `gauges` is None while the database does not answer."""

    at: datetime
    gauges: Gauges | None
    schedule_lag_s: float | None
    free_bytes: int | None
    engine: str


def page(meters: Meters, standing: Standing) -> bytes:
    """The text of /metrics."""
    registry = CollectorRegistry()
    registry.register(_Standing(standing))
    return generate_latest(meters.registry) + generate_latest(registry)


class _Standing(Collector):
    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        now = self._standing
        engine, _, version = now.engine.partition(" ")
        yield InfoMetricFamily(
            "zoudian_database", "Which database, and its version.", value={"engine": engine, "version": version}
        )
        yield _one("zoudian_database_up", "Whether the database answered just now.", float(now.gauges is not None))
        if now.free_bytes is not None:
            yield _one("zoudian_disk_free_bytes", "Free space where the data folder is.", now.free_bytes)
        if now.schedule_lag_s is not None:
            yield _one("zoudian_schedule_lag_seconds", "How late the clock and its pushes are.", now.schedule_lag_s)
        if now.gauges is not None:
            yield from _of_the_database(now.gauges, now.at)


def _of_the_database(seen: Gauges, now: datetime) -> Iterator[Metric]:
    yield _one("zoudian_inbox_waiting", _ALL + "messages stored and not yet applied.", seen.waiting)
    yield _one(
        "zoudian_inbox_oldest_age_seconds", _ALL + "since the oldest of them came.", _age(seen.waiting_since, now)
    )
    yield _by(
        "zoudian_outbox_unsent",
        _ALL + "messages to be sent, later ones included.",
        "channel",
        {channel: rows for channel, (rows, _) in seen.unsent.items()},
    )
    yield _by(
        "zoudian_outbox_retrying",
        _ALL + "those of them that failed before.",
        "channel",
        {channel: tried for channel, (_, tried) in seen.unsent.items()},
    )
    yield _one(
        "zoudian_outbox_oldest_age_seconds",
        _ALL + "since the first message is due that nothing holds back and that was not sent.",
        _age(seen.unsent_since, now),
    )
    yield _one(
        "zoudian_outbox_for_their_person", _ALL + "messages kept until their person writes.", seen.for_their_person
    )
    depth = GaugeMetricFamily("zoudian_jobs", _ALL + "slow work.", labels=["task", "state"])
    oldest = GaugeMetricFamily(
        "zoudian_jobs_oldest_age_seconds", _ALL + "since the oldest is due.", labels=["task", "state"]
    )
    for job in seen.jobs:
        depth.add_metric([job.task, job.state], job.count)
        if job.state != "dead":
            oldest.add_metric([job.task, job.state], _age(job.since, now))
    yield depth
    yield oldest
    yield _by("zoudian_dead", _ALL + "given up; kind as in zoudian dead list.", "kind", seen.dead)
    yield _one("zoudian_unreachable_people", _ALL + "chat accounts that cannot be sent to.", seen.unreachable)
    yield _by("zoudian_leases", _ALL + "what processes hold: person, chat, polling.", "kind", seen.leases)


def _one(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _by(name: str, words: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
