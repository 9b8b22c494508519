"""What a firm may set, from four places: the defaults, config.toml, files of secrets, the environment; later ones win.

The fields' titles are the keys of config.toml. In the environment the same field is ZOUDIAN_WEB__PORT. Secrets are
read from the environment or from a folder of files (ZOUDIAN_SECRETS_DIR, one file a secret: `telegram__token`).
"""

import difflib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    SecretsSettingsSource,
)

from bot.config_file import Problem, SettingsRefused, line_of, parse
from bot.sayings import meanings, saying
from bot.settings_fields import (
    BETWEEN,
    PREFIX,
    WEBHOOK_PATH,
    WEEK,
    MetricsValues,
    MpValues,
    PhraseValues,
    SayingValues,
    TelegramValues,
    TelemetryValues,
    Values,
    WebValues,
    WecomValues,
)
from handlers.tools import ChannelWords
from nlp.transcribe import TranscribeSettings
from rules.limits import Limits, PhraseActions
from storage.files import FilesSettings

HIDDEN = "●●●"
CONFIG_FILE = "config.toml"
CONFIG_VARIABLE = "ZOUDIAN_CONFIG"
_SECRETS_DIR = "ZOUDIAN_SECRETS_DIR"
# A password inside an address, or a Telegram token, under whatever key it stands.
_LOOKS_SECRET = re.compile(r"://[^/@\s]*:[^/@\s]+@|\b\d{6,}:[A-Za-z0-9_-]{30,}")


Path_ = tuple[str, ...]
Origin = Literal["default", "file", "secret", "environment"]


@dataclass(frozen=True, slots=True)
class InForce:
    """One setting as it holds: its table and key in config.toml, its value (secrets hidden), where it came from."""

    table: str
    key: str
    value: Any
    origin: Origin
    variable: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force. Relative folders count from the folder of config.toml, or from where the bot started."""

    values: Values
    base: Path
    path: Path | None
    origins: Mapping[Path_, Origin]

    @property
    def limits(self) -> Limits:
        own = {name: getattr(self.values, name) for name in Limits.__dataclass_fields__}
        rules = tuple(PhraseActions(rule.phrases, rule.actions, rule.evidence) for rule in self.values.phrase_actions)
        sayings = tuple(saying(one.title, one.means, one.words) for one in self.values.sayings)
        return Limits(**{**own, "phrase_actions": rules, "sayings": sayings})

    @property
    def data_dir(self) -> Path:
        return self._at(self.values.data.folder)

    @property
    def database_url(self) -> str:
        return self.values.data.url or f"sqlite:///{self.data_dir / 'zoudian.db'}"

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file; None where it is a server."""
        head, _, path = self.database_url.partition(":///")
        return Path(path.partition("?")[0]) if head.startswith("sqlite") else None

    @property
    def model_dir(self) -> Path:
        """Where `zoudian model pull` puts models and the recogniser looks first."""
        return (
            self._at(Path(self.values.speech.model_dir)) if self.values.speech.model_dir else self.data_dir / "models"
        )

    @property
    def transcribe(self) -> TranscribeSettings:
        speech = self.values.speech
        beside = self._at(Path(speech.model))  # a model given as a folder
        return TranscribeSettings(
            engine=speech.engine,
            model=str(beside) if beside.is_dir() else speech.model,
            model_dir=str(self.model_dir),
            compute_type=speech.compute_type,
            cpu_threads=speech.cpu_threads,
            beam_size=speech.beam_size,
            prompt=speech.prompt,
            hotword_tokens=speech.hotword_tokens,
            max_seconds=speech.max_seconds,
            allow_small_models=speech.allow_small_models,
        )

    @property
    def channel_words(self) -> ChannelWords:
        """What becomes of words that a channel itself recognised in a voice note."""
        meant: dict[str, ChannelWords] = {"不用": "never", "后备": "fallback", "优先": "first"}
        return meant[self.values.speech.channel_words]

    @property
    def plugin(self) -> tuple[str, float] | None:
        """(module:factory, longest seconds a note) of the summarizer that reads what the rules leave open."""
        understanding = self.values.understanding
        return (understanding.plugin, understanding.plugin_seconds) if understanding.plugin else None

    @property
    def files(self) -> FilesSettings:
        kept = self.values.files
        return FilesSettings(
            kind="s3" if kept.kind == "S3" else "local",
            folder=self._at(Path(kept.folder)) if kept.folder else self.data_dir / "files",
            bucket=kept.bucket,
            endpoint=kept.endpoint,
            region=kept.region,
            prefix=kept.prefix,
            access_key=kept.access_key.get_secret_value(),
            secret_key=kept.secret_key.get_secret_value(),
        )

    @property
    def mirror(self) -> str | None:
        return self.values.speech.mirror or None

    @property
    def language(self) -> str:
        return self.values.language

    @property
    def log_level(self) -> str:
        return self.values.log_level

    @property
    def log_format(self) -> Literal["text", "json"]:
        return "json" if self.values.log_format == "JSON" else "text"

    @property
    def metrics(self) -> MetricsValues:
        return self.values.metrics

    @property
    def telemetry(self) -> TelemetryValues:
        return self.values.telemetry

    @property
    def web(self) -> WebValues:
        return self.values.web

    @property
    def telegram(self) -> TelegramValues:
        return self.values.telegram

    @property
    def wecom(self) -> WecomValues:
        return self.values.wecom

    @property
    def mp(self) -> MpValues:
        return self.values.mp

    def in_force(self) -> Iterator[InForce]:
        """Every setting in the order of config.toml, for people to read."""
        for path, field, value in _leaves(Values, self.values):
            shown = HIDDEN if _is_secret(field) and value.get_secret_value() else _readable(field, value)
            table = Values.model_fields[path[0]].title or "" if len(path) > 1 else ""
            yield InForce(table, field.title or "", shown, self.origins.get(path, "default"), variable_of(path))

    def _at(self, folder: Path) -> Path:
        return self.base / folder.expanduser()


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this file, else of ./config.toml, else the defaults. Raises SettingsRefused.

    `environment` takes the place of the process's own variables.
    """
    surroundings = os.environ if environment is None else environment
    if path is None and Path(CONFIG_FILE).is_file():
        path = Path(CONFIG_FILE)
    text = "" if path is None else _read(path)
    from_file, problems = _translated(text)
    layers: tuple[tuple[Origin, dict[str, Any]], ...] = (
        ("file", from_file),
        ("secret", _from_secrets(surroundings.get(_SECRETS_DIR))),
        ("environment", _from_environment(surroundings)),
    )
    merged: dict[str, Any] = {}
    origins: dict[Path_, Origin] = {}
    for origin, layer in layers:
        _merge(merged, layer)
        origins |= {leaf: origin for leaf, _, _ in _given(Values, layer)}
    try:
        values = Values(**merged)
    except ValidationError as error:
        problems += [_problem(dict(one), origins, text) for one in error.errors()]
    if not problems:
        problems = _at_odds(values)
    if problems:
        raise SettingsRefused(tuple(problems))
    base = Path.cwd() if path is None else path.resolve().parent
    return Settings(values, base, path, origins)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like ours and set nothing."""
    known = {variable_of(path) for path, _, _ in _leaves(Values, Values())}
    known |= {variable_of((name,)) for name in Values.model_fields} | {_SECRETS_DIR, CONFIG_VARIABLE}
    return sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)


def variable_of(path: Path_) -> str:
    """The environment variable of a setting: ZOUDIAN_WEB__PORT."""
    return PREFIX + BETWEEN.join(path).upper()


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsRefused((Problem("settings.no_file", {"path": path, "detail": error.strerror}),)) from None
    except UnicodeDecodeError:
        raise SettingsRefused((Problem("settings.not_utf8", {"path": path}),)) from None


def _from_secrets(folder: str | None) -> dict[str, Any]:
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise SettingsRefused((Problem("settings.no_secrets_dir", {"path": folder}),))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty folder is no news
        flat = SecretsSettingsSource(Values, secrets_dir=folder)
        found = NestedSecretsSettingsSource(flat, secrets_nested_delimiter=BETWEEN, env_prefix="")()
    return {name: value for name, value in found.items() if value}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    class Given(EnvSettingsSource):
        def _load_env_vars(self) -> Mapping[str, str | None]:
            return {name.lower(): value for name, value in environment.items() if value}

        def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
            """Lists as JSON, or as words with commas between. What is neither is refused with the other values."""
            try:
                return json.loads(value)
            except ValueError:
                return re.split("[,，、]", value) if get_origin(field.annotation) is tuple else value

    return {name: value for name, value in Given(Values)().items() if value != {}}


def _translated(text: str) -> tuple[dict[str, Any], list[Problem]]:
    """The file's tables under the names of our fields, and what must not stand there."""
    problems: list[Problem] = []
    return _fields_of(Values, parse(text), "", text, problems), problems


def _fields_of(
    model: type[BaseModel], table: dict[str, Any], where: str, text: str, problems: list[Problem]
) -> dict[str, Any]:
    by_title = {field.title: (name, field) for name, field in model.model_fields.items()}
    by_title |= {name: (name, field) for name, field in model.model_fields.items() if _is_secret(field)}
    found: dict[str, Any] = {}
    for key, value in table.items():
        place = {"key": key, "table": where, "line": line_of(text, where, key)}
        if key not in by_title:
            problems.append(_unknown(model, place))
            continue
        name, field = by_title[key]
        if _is_secret(field) or any(_LOOKS_SECRET.search(word) for word in _strings(value)):
            variable = variable_of(tuple(filter(None, (_table_name(where), name))))
            problems.append(
                Problem("settings.secret", {**place, "variable": variable, "file": variable_file(variable)})
            )
            continue
        inner = _inner_model(field)
        tables = value if isinstance(value, list) else [value]
        if inner is not None and all(isinstance(one, dict) for one in tables):
            read = [_fields_of(inner, one, key, text, problems) for one in tables]
            found[name] = read if isinstance(value, list) else read[0]
        else:
            found[name] = value
    return found


def variable_file(variable: str) -> str:
    """The name of a secret's file in ZOUDIAN_SECRETS_DIR."""
    return variable.removeprefix(PREFIX).lower()


def _unknown(model: type[BaseModel], place: dict[str, Any]) -> Problem:
    names = {name: field.title or name for name, field in model.model_fields.items()}
    key = place["key"]
    near = [names[key]] if key in names else difflib.get_close_matches(key, names.values(), 1, cutoff=0.5)
    if near:
        return Problem("settings.unknown_near", {**place, "near": near[0]})
    elsewhere = [_titles(path) for path, field, _ in _leaves(Values, Values()) if field.title == key]
    if elsewhere:
        return Problem("settings.unknown_elsewhere", {**place, "right": elsewhere[0]})
    return Problem("settings.unknown", place)


def _problem(error: dict[str, Any], origins: Mapping[Path_, Origin], text: str) -> Problem:
    """A bad value as a person reads it: which setting, what stood there, what may stand there."""
    loc = tuple(str(part) for part in error["loc"])
    path = _known_path(loc)
    field = _field_at(path)
    place = {"name": _titles(path), "variable": variable_of(loc)}
    if error["type"] == "extra_forbidden":
        return Problem("settings.unknown_variable", place)
    shown = HIDDEN if field is None or _is_secret(field) else _brief(error["input"])
    origin = origins.get(path, "file")
    where = Problem(f"settings.in.{origin}", {**place, "line": line_of(text, _table_title(path), _last_title(path))})
    if error["type"] == "missing":
        return Problem("settings.missing", {"name": _titles(path), "key": _title_in(path, loc), "where": where})
    return Problem(
        "settings.bad",
        {
            "name": _titles(path),
            "value": shown,
            "allowed": _allowed(_in_a_list(path, loc) or field, error["type"]),
            "where": where,
        },
    )


def _allowed(field: FieldInfo | None, kind: str) -> Problem:
    if kind in ("zone", "days", "words", "token", "long_key", "evidence", "aes_key", "robots", "verify_files", "dsn"):
        return Problem(f"settings.allowed.{kind}")
    if field is None or _inner_model(field) is not None:
        return Problem("settings.allowed.table")
    if get_origin(field.annotation) is Literal:
        return Problem("settings.allowed.choice", {"choices": list(get_args(field.annotation))})
    bounds = {name: getattr(rule, name) for rule in field.metadata for name in ("ge", "le") if hasattr(rule, name)}
    if field.annotation in (int, float):
        key = "settings.allowed.whole" if field.annotation is int else "settings.allowed.number"
        return Problem(key, {"low": bounds.get("ge"), "high": bounds.get("le")})
    if field.annotation is time:
        return Problem("settings.allowed.time")
    if field.annotation is bool:
        return Problem("settings.allowed.yes_no")
    if field.title == TelegramValues.model_fields["webhook_url"].title:
        return Problem("settings.allowed.webhook", {"path": WEBHOOK_PATH})
    if kind == "string_pattern_mismatch":
        return Problem("settings.allowed.address")
    return Problem("settings.allowed.words" if get_origin(field.annotation) is tuple else "settings.allowed.text")


def _at_odds(values: Values) -> list[Problem]:
    """Settings that are fine alone and not together."""
    odd: list[Problem] = []
    if values.day_starts >= values.day_ends:
        odd.append(Problem("settings.day_backwards", {"starts": values.day_starts, "ends": values.day_ends}))
    telegram = values.telegram
    if telegram.mode == "webhook" and not telegram.webhook_url:
        odd.append(Problem("settings.webhook_needs_url"))
    if telegram.mode == "webhook" and not re.fullmatch(
        r"[A-Za-z0-9_-]{1,256}", telegram.webhook_secret.get_secret_value()
    ):
        odd.append(Problem("settings.webhook_needs_secret", {"variable": variable_of(("telegram", "webhook_secret"))}))
    odd += _missing_for_wechat(values)
    for one in values.sayings:
        allowed = meanings(one.title, values.close_factors, values.root_causes)
        if one.means not in allowed:
            odd.append(Problem("settings.saying", {"title": one.title, "means": one.means, "allowed": list(allowed)}))
    if values.files.kind == "S3" and not values.files.bucket:
        odd.append(Problem("settings.s3_needs_bucket"))
    return odd


def _missing_for_wechat(values: Values) -> Iterator[Problem]:
    """A channel that is switched on has everything without which no message comes in or goes out."""
    wecom, mp = values.wecom, values.mp
    needed: list[tuple[str, str]] = []
    if wecom.secret.get_secret_value():
        needed += [("wecom", name) for name in ("corp_id", "agent_id", "token", "aes_key")]
    if mp.token.get_secret_value():
        needed += [("mp", name) for name in ("app_id", "aes_key")]
        needed += [("mp", "secret")] if mp.mode == "完整" else []
    for path in needed:
        value = getattr(getattr(values, path[0]), path[1])
        if not (value.get_secret_value() if isinstance(value, SecretStr) else value):
            place = {"product": _table_title(path), "key": _last_title(path), "variable": variable_of(path)}
            yield Problem("settings.wechat_needs", place)


# --- walking the fields -------------------------------------------------------------------------------------------


def _leaves(model: type[BaseModel], values: BaseModel) -> Iterator[tuple[Path_, FieldInfo, Any]]:
    for name, field in model.model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            yield from (((name, *path), leaf, inner) for path, leaf, inner in _leaves(type(value), value))
        else:
            yield (name,), field, value


def _given(model: type[BaseModel], layer: dict[str, Any]) -> Iterator[tuple[Path_, FieldInfo, Any]]:
    for name, value in layer.items():
        field = model.model_fields.get(name)
        inner = None if field is None else _inner_model(field)
        if field is not None and inner is not None and isinstance(value, dict):
            yield from (((name, *path), leaf, one) for path, leaf, one in _given(inner, value))
        elif field is not None:
            yield (name,), field, value


def _merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    for name, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, dict) else value


def _inner_model(field: FieldInfo) -> type[BaseModel] | None:
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr


def _known_path(loc: Path_) -> Path_:
    """The part of an error's place that names a setting: without list positions and unknown names."""
    if loc and loc[0] in Values.model_fields:
        inner = _inner_model(Values.model_fields[loc[0]])
        if inner is not None and get_origin(Values.model_fields[loc[0]].annotation) is None and len(loc) > 1:
            return loc[:2] if loc[1] in inner.model_fields else loc[:1]
        return loc[:1]
    return ()


def _field_at(path: Path_) -> FieldInfo | None:
    if not path:
        return None
    field = Values.model_fields[path[0]]
    inner = _inner_model(field)
    return inner.model_fields[path[1]] if inner is not None and len(path) > 1 else field


def _in_a_list(path: Path_, loc: Path_) -> FieldInfo | None:
    """The field of a table that may stand several times ([[说法]])."""
    inner = _inner_model(Values.model_fields[path[0]]) if len(path) == 1 else None
    return None if inner is None else inner.model_fields.get(loc[-1])


def _titles(path: Path_) -> str:
    """A setting's name as config.toml has it: 网页.端口."""
    return ".".join(part for part in (_table_title(path), _last_title(path)) if part)


def _table_title(path: Path_) -> str:
    return Values.model_fields[path[0]].title or "" if len(path) > 1 else ""


def _last_title(path: Path_) -> str:
    field = _field_at(path)
    return "" if field is None else field.title or ""


def _title_in(path: Path_, loc: Path_) -> str:
    inner = _inner_model(Values.model_fields[path[0]])
    return inner.model_fields[loc[-1]].title or "" if inner is not None and loc[-1] in inner.model_fields else loc[-1]


def _table_name(title: str) -> str:
    return next((name for name, field in Values.model_fields.items() if field.title == title), "")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


def _brief(value: Any) -> str:
    return str(value)[:60]


def _with_proof(rule: PhraseValues) -> list[str]:
    proofs = rule.evidence or ("",) * len(rule.actions)
    return [f"{action}({proof})" if proof else action for action, proof in zip(rule.actions, proofs, strict=True)]


def _readable(field: FieldInfo, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return ""
    if field.title == Values.model_fields["work_days"].title:
        return [f"周{WEEK[day]}" for day in value]
    if isinstance(value, time):
        return f"{value:%H:%M}"
    if isinstance(value, tuple) and value and isinstance(value[0], PhraseValues):
        return [" / ".join(rule.phrases) + " → " + " / ".join(_with_proof(rule)) for rule in value]
    if isinstance(value, tuple) and value and isinstance(value[0], SayingValues):
        return [" / ".join(one.words) + f" → {one.title} {one.means}" for one in value]
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and "://" in value:
        return re.sub(r"://[^\n]*@", f"://{HIDDEN}@", value)  # a password may hold any sign
    return value
