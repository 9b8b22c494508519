"""What a firm may set, from four places: the defaults, config.toml, files of secrets, the environment; later ones win.

The fields' titles are the keys of config.toml. In the environment the same field is ZOUDIAN_WEB__PORT. Secrets are
read from the environment or from a folder of files (ZOUDIAN_SECRETS_DIR, one file a secret: `telegram__token`).
"""

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    SecretsSettingsSource,
)

from bot.config_file import Problem, SettingsRefused, line_of, parse
from bot.sayings import saying
from bot.settings_fields import (
    BETWEEN,
    PREFIX,
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
from bot.settings_problems import HIDDEN, Origin, at_odds, bad_value, unknown_key
from bot.settings_walk import (
    Path_,
    given,
    inner_model,
    is_secret,
    leaves,
    strings,
    table_name,
    variable_file,
    variable_of,
)
from handlers.tools import ChannelWords
from nlp.models import TranscribeSettings
from rules.limits import Limits, PhraseActions
from storage.files import FilesSettings

CONFIG_FILE = "config.toml"
CONFIG_VARIABLE = "ZOUDIAN_CONFIG"
_SECRETS_DIR = "ZOUDIAN_SECRETS_DIR"
# A password inside an address, or a Telegram token, under whatever key it stands.
_LOOKS_SECRET = re.compile(r"://[^/@\s]*:[^/@\s]+@|\b\d{6,}:[A-Za-z0-9_-]{30,}")


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
        for path, field, value in leaves(Values, self.values):
            shown = HIDDEN if is_secret(field) and value.get_secret_value() else _readable(field, value)
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
        origins |= {leaf: origin for leaf, _, _ in given(Values, layer)}
    try:
        values = Values(**merged)
    except ValidationError as error:
        problems += [bad_value(dict(one), origins, text) for one in error.errors()]
    if not problems:
        problems = at_odds(values)
    if problems:
        raise SettingsRefused(tuple(problems))
    base = Path.cwd() if path is None else path.resolve().parent
    return Settings(values, base, path, origins)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like ours and set nothing."""
    known = {variable_of(path) for path, _, _ in leaves(Values, Values())}
    known |= {variable_of((name,)) for name in Values.model_fields} | {_SECRETS_DIR, CONFIG_VARIABLE}
    return sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)


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
    by_title |= {name: (name, field) for name, field in model.model_fields.items() if is_secret(field)}
    found: dict[str, Any] = {}
    for key, value in table.items():
        place = {"key": key, "table": where, "line": line_of(text, where, key)}
        if key not in by_title:
            problems.append(unknown_key(model, place))
            continue
        name, field = by_title[key]
        if is_secret(field) or any(_LOOKS_SECRET.search(word) for word in strings(value)):
            variable = variable_of(tuple(filter(None, (table_name(where), name))))
            problems.append(
                Problem("settings.secret", {**place, "variable": variable, "file": variable_file(variable)})
            )
            continue
        inner = inner_model(field)
        tables = value if isinstance(value, list) else [value]
        if inner is not None and all(isinstance(one, dict) for one in tables):
            read = [_fields_of(inner, one, key, text, problems) for one in tables]
            found[name] = read if isinstance(value, list) else read[0]
        else:
            found[name] = value
    return found


def _merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    for name, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, dict) else value


# --- as people read them -------------------------------------------------------------------------------------------


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
