"""Walking the settings' fields: by path, by the titles that config.toml shows, by the variable that sets them."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from bot.settings_fields import BETWEEN, PREFIX, Values

Path_ = tuple[str, ...]


def variable_of(path: Path_) -> str:
    """The environment variable of a setting: ZOUDIAN_WEB__PORT."""
    return PREFIX + BETWEEN.join(path).upper()


def variable_file(variable: str) -> str:
    """The name of a secret's file in ZOUDIAN_SECRETS_DIR."""
    return variable.removeprefix(PREFIX).lower()


def leaves(model: type[BaseModel], values: BaseModel) -> Iterator[tuple[Path_, FieldInfo, Any]]:
    """Every setting with its path and value; a table's settings one by one."""
    for name, field in model.model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            yield from (((name, *path), leaf, inner) for path, leaf, inner in leaves(type(value), value))
        else:
            yield (name,), field, value


def given(model: type[BaseModel], layer: dict[str, Any]) -> Iterator[tuple[Path_, FieldInfo, Any]]:
    """Those that a layer sets, by the names of our fields."""
    for name, value in layer.items():
        field = model.model_fields.get(name)
        inner = None if field is None else inner_model(field)
        if field is not None and inner is not None and isinstance(value, dict):
            yield from (((name, *path), leaf, one) for path, leaf, one in given(inner, value))
        elif field is not None:
            yield (name,), field, value


def inner_model(field: FieldInfo) -> type[BaseModel] | None:
    """What a field's table is made of; None where it is no table."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def is_secret(field: FieldInfo) -> bool:
    """Whether it may only come from the environment or a file of secrets."""
    return field.annotation is SecretStr


def known_path(loc: Path_) -> Path_:
    """The part of an error's place that names a setting: without list positions and unknown names."""
    if loc and loc[0] in Values.model_fields:
        inner = inner_model(Values.model_fields[loc[0]])
        if inner is not None and get_origin(Values.model_fields[loc[0]].annotation) is None and len(loc) > 1:
            return loc[:2] if loc[1] in inner.model_fields else loc[:1]
        return loc[:1]
    return ()


def field_at(path: Path_) -> FieldInfo | None:
    """The field of a path as `known_path` gives it; None where nothing is known."""
    if not path:
        return None
    field = Values.model_fields[path[0]]
    inner = inner_model(field)
    return inner.model_fields[path[1]] if inner is not None and len(path) > 1 else field


def in_a_list(path: Path_, loc: Path_) -> FieldInfo | None:
    """The field of a table that may stand several times ([[说法]])."""
    inner = inner_model(Values.model_fields[path[0]]) if len(path) == 1 else None
    return None if inner is None else inner.model_fields.get(loc[-1])


def titles(path: Path_) -> str:
    """A setting's name as config.toml has it: 网页.端口."""
    return ".".join(part for part in (table_title(path), last_title(path)) if part)


def table_title(path: Path_) -> str:
    """The table's name in config.toml; empty at the top."""
    return Values.model_fields[path[0]].title or "" if len(path) > 1 else ""


def last_title(path: Path_) -> str:
    """The key's name in config.toml, without its table."""
    field = field_at(path)
    return "" if field is None else field.title or ""


def title_in(path: Path_, loc: Path_) -> str:
    """The name of a key within a table that may stand several times."""
    inner = inner_model(Values.model_fields[path[0]])
    return inner.model_fields[loc[-1]].title or "" if inner is not None and loc[-1] in inner.model_fields else loc[-1]


def table_name(title: str) -> str:
    """Our name of the table with this title; empty where there is none."""
    return next((name for name, field in Values.model_fields.items() if field.title == title), "")


def strings(value: Any) -> Iterator[str]:
    """Every text in a value read from TOML."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
