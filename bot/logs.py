"""What is logged, and how: structlog lays out the records of the standard library's logging, those of libraries too.

What is bound for the moment (`about`: the delivery all this goes back to, `out`, `job`) is added to every line, secrets
are taken out of every field, and what people write is in none: libraries that would show it are kept quiet, and of an
error only those words are shown that cannot repeat it.
"""

import logging
import re
import sys
import threading
import traceback
from datetime import datetime
from types import TracebackType
from typing import Final, Literal
from zoneinfo import ZoneInfo

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.no_secrets import NoSecrets, secret_values
from bot.settings import Settings

log = logging.getLogger(__name__)

# What a log call may say beside its sentence (`extra=`); everything else that libraries attach is left out.
FIELDS: Final = (
    "about",
    "channel",
    "count",
    "intent",
    "job",
    "ms",
    "out",
    "provider_id",
    "result",
    "task",
    "tries",
)
# At a lower level these show addresses with tokens, or what people write; no level set anywhere changes that.
QUIET: Final = (
    "PIL",
    "aiohttp.access",
    "apscheduler",
    "faster_whisper",
    "httpcore",
    "httpx",
    "httpx2",
    "obstore",
    "opentelemetry",
    "procrastinate",
    "psycopg",
    "requests",
    "sentry_sdk",
    "sqlalchemy",
    "telegram",
    "urllib3",
    "wechatpy",
)
_TOOK = re.compile(r"took [\d.]+ seconds$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


def set_up_logging(settings: Settings) -> NoSecrets:
    """Log to standard error as the settings say."""
    no_secrets = NoSecrets(secret_values(settings))
    handler = logging.StreamHandler()
    handler.addFilter(_not_too_talkative)
    handler.setFormatter(formatter(settings.log_format, no_secrets, ZoneInfo(settings.limits.time_zone)))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for noisy in QUIET:
        logging.getLogger(noisy).setLevel(logging.WARNING)  # spares making what would be left out
    return no_secrets


def log_what_nobody_catches() -> None:
    """Python prints such errors itself, whole, with whatever secret or word stands in them; and warnings likewise."""

    def died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("the program ended with an error", exc_info=(kind, error, trace))

    def thread_died(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            name = args.thread.name if args.thread is not None else "?"
            log.critical("the thread %s ended with an error", name, exc_info=args.exc_value)

    def could_not_be_raised(args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            log.error("an error that could not be raised", exc_info=args.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = died, thread_died, could_not_be_raised
    logging.captureWarnings(True)


def formatter(kind: Literal["text", "json"], no_secrets: NoSecrets, zone: ZoneInfo) -> logging.Formatter:
    """Lines for people, or one JSON object a line."""

    def when(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        made = datetime.fromtimestamp(event["_record"].created, zone)
        event["timestamp"] = made.isoformat(timespec="milliseconds")
        return event

    def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        # Nearly always there is nothing to be taken out: one look at everything is cheaper than one at each field.
        plain = "\n".join(value for value in event.values() if isinstance(value, str))
        clean = no_secrets.clean(plain) == plain
        return {
            name: value if clean and isinstance(value, str) else no_secrets.clean_all(value)
            for name, value in event.items()
        }

    if kind == "json":
        renderer: Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = _line
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(allow=FIELDS),
            when,
            _exception,
            _sentence,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
    )


def _line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """For people. structlog's own renderer took a quarter of the time of a line, for colours and columns."""
    head = [f"{event.pop('timestamp')} [{event.pop('level')}] {event.pop('event')} [{event.pop('logger')}]"]
    trace = event.pop("exception", "")
    for name, value in event.items():
        shown = str(value)
        head.append(f"{name}={shown if shown.isalnum() else _CONTROL.sub('?', shown)}")
    return " ".join(head) + (f"\n{trace}" if trace else "")


def _not_too_talkative(record: logging.LogRecord) -> bool:
    if record.levelno >= logging.WARNING:
        return True
    return not any(record.name == name or record.name.startswith(f"{name}.") for name in QUIET)


def sentence(logger: str, said: str) -> str:
    """In one line, so that nobody from outside writes lines of ours. asyncio repeats arguments of calls: only how its
    sentences begin is shown, and how long a call took.
    """
    if logger == "asyncio":
        took = _TOOK.search(said)
        said = re.split(r"[<(\n]", said, maxsplit=1)[0].strip() + (f" … {took[0]}" if took else " …")
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], said)


def _sentence(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["event"] = sentence(event.get("logger", ""), str(event["event"]))
    return event


def _exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    given = event.pop("exc_info", None)
    if isinstance(given, tuple) and given[1] is not None:
        event["exception"] = as_text(given[1])
    elif not given and event["_record"].exc_text:  # a filter of a library's logger has dealt with it
        event["exception"] = event["_record"].exc_text
    return event


# --- errors ---------------------------------------------------------------------------------------------------------

# Errors whose words come from the program, the machine or a platform. Others (ValueError, KeyError …) repeat what they
# could not deal with, and that may be what somebody wrote.
_SPEAK: Final = (OSError, TypeError, AttributeError, NameError, ImportError, AssertionError, RecursionError)
_SPEAK_IN: Final = ("bot.", "storage.", "nlp.", "telegram.error", "aiohttp.client", "concurrent.futures")
_SPEAK_AS: Final = ("OperationalError", "InterfaceError")  # of the databases' drivers and of SQLAlchemy


def words_of(error: BaseException) -> str:
    """What an error says, in one line, where that cannot be somebody's own words; else nothing."""
    kinds = type(error).__mro__
    if not (
        isinstance(error, _SPEAK)
        or any(kind.__module__.startswith(_SPEAK_IN) or kind.__name__ in _SPEAK_AS for kind in kinds)
    ):
        return ""
    return " ".join(str(error).split())[:500]


def as_text(error: BaseException) -> str:
    """A traceback as Python prints it, causes first, without values of variables; see `words_of`."""
    parts = [_one_as_text(error)]
    seen = {id(error)}
    while True:
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None or id(cause) in seen:
            return "\n".join(reversed(parts))
        seen.add(id(cause))
        follows = "The above exception was the direct cause of" if error.__cause__ else "While handling it came"
        parts.append(f"{_one_as_text(cause)}\n\n{follows} the following:\n")
        error = cause


def _one_as_text(error: BaseException) -> str:
    said = words_of(error)
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    inside = "".join(
        f"\n  with {line}"
        for one in (error.exceptions if isinstance(error, BaseExceptionGroup) else ())
        for line in as_text(one).split("\n")
    )
    head = f"Traceback (most recent call last):\n{frames}\n" if frames else ""
    return f"{head}{name}{f': {said}' if said else ''}{inside}"
