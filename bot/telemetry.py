"""What leaves for servers of others, where the firm wants it: spans by OTLP (the extra `otel`), errors to Sentry (the
extra `sentry`). The libraries are loaded only then. No words of people, no values of variables, no secrets.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from structlog.contextvars import get_contextvars

from bot.logs import FIELDS, as_text, sentence, words_of
from bot.no_secrets import NoSecrets
from bot.settings import Settings
from bot.settings_walk import variable_of

SERVICE = "zoudian"


class MissingExtra(Exception):
    """A setting asks for a library that is not installed: `setting`, and the name of the extra that brings it."""

    def __init__(self, setting: str, extra: str) -> None:
        super().__init__(f"{setting} needs zoudian[{extra}]")
        self.setting, self.extra = setting, extra


class OtlpSpans:
    """Spans of one message form one trace, whichever process made them: its number, and that of its first span
    (receive), are computed from the database and the message.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str], role: str, firm: str, no_secrets: NoSecrets) -> None:
        """Raises ImportError without the extra."""
        from opentelemetry import trace  # noqa: PLC0415 - an extra
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415

        laid = self._laid = threading.local()

        class Numbers(RandomIdGenerator):
            """Takes the numbers that this thread laid ready for the span it begins next."""

            def generate_trace_id(self) -> int:
                return laid.ready[0] if getattr(laid, "ready", None) else int(super().generate_trace_id())

            def generate_span_id(self) -> int:
                return laid.ready[1] if getattr(laid, "ready", None) else int(super().generate_span_id())

        self._trace, self._firm, self._no_secrets = trace, firm, no_secrets
        resource = Resource({SERVICE_NAME: SERVICE, "zoudian.role": role})
        self._provider = TracerProvider(resource=resource, id_generator=Numbers(), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint, headers=dict(headers), timeout=10)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE)

    def took(
        self, name: str, about: str, began: float, error: BaseException | None = None, **attributes: str | int | float
    ) -> None:
        """A span that ends now. Spans come from several threads, so each is begun and ended in one go."""
        trace = self._trace
        numbers = self._of(about)
        given = {"zoudian.about": about, **{f"zoudian.{key}": value for key, value in attributes.items()}}
        if name == "receive":
            span = self._first(numbers, name, began, given)
        else:
            parent = trace.SpanContext(*numbers, is_remote=True, trace_flags=trace.TraceFlags(1))
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
            span = self._tracer.start_span(name, context=context, start_time=int(began * 1e9), attributes=given)
        if error is not None:
            span.set_status(trace.StatusCode.ERROR)
            span.add_event("exception", self._told(error))
        span.end(int(time.time() * 1e9))

    def close(self) -> None:
        """Hand over what is left."""
        self._provider.shutdown()

    def _first(self, numbers: tuple[int, int], name: str, began: float, given: Mapping[str, Any]) -> Any:
        from opentelemetry.context import Context  # noqa: PLC0415 - an extra

        self._laid.ready = numbers
        try:
            return self._tracer.start_span(name, context=Context(), start_time=int(began * 1e9), attributes=dict(given))
        finally:
            self._laid.ready = None

    def _of(self, about: str) -> tuple[int, int]:
        digest = hashlib.sha256(f"{self._firm}:{about}".encode()).digest()
        return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1

    def _told(self, error: BaseException) -> dict[str, str]:
        return {
            "exception.type": f"{type(error).__module__}.{type(error).__qualname__}",
            "exception.message": self._no_secrets.clean(words_of(error)),
            "exception.stacktrace": self._no_secrets.clean(as_text(error)),
        }


def open_spans(settings: Settings, role: str, no_secrets: NoSecrets) -> OtlpSpans | None:
    """None where no endpoint is set. Raises MissingExtra."""
    wanted = settings.telemetry
    if not wanted.otlp_endpoint:
        return None
    pairs = (pair.partition("=") for pair in wanted.otlp_headers.get_secret_value().split(",") if "=" in pair)
    headers = {name.strip(): value.strip() for name, _, value in pairs}
    firm = hashlib.sha256(settings.database_url.encode()).hexdigest()
    try:
        return OtlpSpans(wanted.otlp_endpoint, headers, role, firm, no_secrets)
    except ImportError:
        raise MissingExtra("[外送] OTLP网址", "otel") from None


def open_sentry(settings: Settings, role: str, no_secrets: NoSecrets) -> bool:
    """Errors go to Sentry from now on; False where no DSN is set. Raises MissingExtra."""
    dsn = settings.telemetry.sentry_dsn.get_secret_value()
    if not dsn:
        return False
    try:
        import sentry_sdk  # noqa: PLC0415 - an extra
        from sentry_sdk.integrations.atexit import AtexitIntegration  # noqa: PLC0415
        from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415
        from sentry_sdk.integrations.logging import LoggingIntegration  # noqa: PLC0415
    except ImportError:
        raise MissingExtra(variable_of(("telemetry", "sentry_dsn")), "sentry") from None
    sentry_sdk.init(
        dsn=dsn,
        server_name=role,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        default_integrations=False,
        auto_enabling_integrations=False,
        # Of what is logged the errors only; what nobody catches is logged too (bot.logs). No breadcrumbs: they would
        # tell what other messages were about.
        integrations=[
            LoggingIntegration(level=None, event_level=logging.ERROR, sentry_logs_level=None),
            DedupeIntegration(),
            AtexitIntegration(callback=lambda _pending, _timeout: None),
        ],
        before_send=lambda event, hint: scrubbed(dict(event), hint, no_secrets),  # type: ignore[arg-type,return-value]
    )
    return True


def scrubbed(event: dict[str, Any], hint: Mapping[str, Any], no_secrets: NoSecrets) -> dict[str, Any]:
    """An event of Sentry's without what might be somebody's words, and without secrets in any field."""
    for name in ("request", "user", "breadcrumbs", "modules"):
        event.pop(name, None)
    may_be_said = _sayable((hint.get("exc_info") or (None, None, None))[1])
    for one in event.get("exception", {}).get("values", ()):
        if one.get("value") not in may_be_said:
            one["value"] = ""
        for frame in (one.get("stacktrace") or {}).get("frames", ()):
            frame.pop("vars", None)
    entry = event.get("logentry")
    if isinstance(entry, dict):
        said = sentence(str(event.get("logger", "")), str(entry.get("formatted") or entry.get("message") or ""))
        event["logentry"] = {"message": said}
    event["extra"] = {name: value for name, value in (event.get("extra") or {}).items() if name in FIELDS}
    event["tags"] = {name: str(value) for name, value in get_contextvars().items() if name in FIELDS}
    clean: dict[str, Any] = no_secrets.clean_all(event)
    return clean


def _sayable(error: BaseException | None) -> set[str]:
    """What an error and its causes say, where it may be said."""
    found: set[str] = set()
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if words_of(one):
            found.add(str(one))
        waiting += [one.__cause__, one.__context__]
        waiting += list(one.exceptions) if isinstance(one, BaseExceptionGroup) else []
    return found
