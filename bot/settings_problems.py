"""What is wrong with settings, told so that an operations person can mend it."""

import difflib
import re
from collections.abc import Iterator, Mapping
from datetime import time
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from bot.config_file import Problem, line_of
from bot.sayings import meanings
from bot.settings_fields import WEBHOOK_PATH, TelegramValues, Values
from bot.settings_walk import (
    Path_,
    field_at,
    in_a_list,
    inner_model,
    is_secret,
    known_path,
    last_title,
    leaves,
    table_title,
    title_in,
    titles,
    variable_of,
)

HIDDEN = "●●●"
Origin = Literal["default", "file", "secret", "environment"]


def unknown_key(model: type[BaseModel], place: dict[str, Any]) -> Problem:
    """A key that sets nothing here, with the one that was probably meant, or the table it belongs to."""
    names = {name: field.title or name for name, field in model.model_fields.items()}
    key = place["key"]
    near = [names[key]] if key in names else difflib.get_close_matches(key, names.values(), 1, cutoff=0.5)
    if near:
        return Problem("settings.unknown_near", {**place, "near": near[0]})
    elsewhere = [titles(path) for path, field, _ in leaves(Values, Values()) if field.title == key]
    if elsewhere:
        return Problem("settings.unknown_elsewhere", {**place, "right": elsewhere[0]})
    return Problem("settings.unknown", place)


def bad_value(error: dict[str, Any], origins: Mapping[Path_, Origin], text: str) -> Problem:
    """A bad value as a person reads it: which setting, what stood there, what may stand there."""
    loc = tuple(str(part) for part in error["loc"])
    path = known_path(loc)
    field = field_at(path)
    place = {"name": titles(path), "variable": variable_of(loc)}
    if error["type"] == "extra_forbidden":
        return Problem("settings.unknown_variable", place)
    shown = HIDDEN if field is None or is_secret(field) else _brief(error["input"])
    origin = origins.get(path, "file")
    where = Problem(f"settings.in.{origin}", {**place, "line": line_of(text, table_title(path), last_title(path))})
    if error["type"] == "missing":
        return Problem("settings.missing", {"name": titles(path), "key": title_in(path, loc), "where": where})
    return Problem(
        "settings.bad",
        {
            "name": titles(path),
            "value": shown,
            "allowed": _allowed(in_a_list(path, loc) or field, error["type"]),
            "where": where,
        },
    )


def _allowed(field: FieldInfo | None, kind: str) -> Problem:
    if kind in ("zone", "days", "words", "token", "long_key", "evidence", "aes_key", "robots", "verify_files", "dsn"):
        return Problem(f"settings.allowed.{kind}")
    if field is None or inner_model(field) is not None:
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


def at_odds(values: Values) -> list[Problem]:
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
            place = {"product": table_title(path), "key": last_title(path), "variable": variable_of(path)}
            yield Problem("settings.wechat_needs", place)


def _brief(value: Any) -> str:
    return str(value)[:60]
