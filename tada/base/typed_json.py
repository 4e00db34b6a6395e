"""JSON files as dataclasses: written, read and checked, so that nobody reads their content by key.

A dataclass that stands in a file ends with a field `extra: dict[str, Any]`, which keeps the keys of a newer version.
Optional fields (those with a default) are left out of the file where they hold the default. A sealed file ends with a
checksum of all else in it, so that a number changed by hand is noticed.
"""

import dataclasses
import typing
from pathlib import Path
from typing import Any, TypeVar

from tada.base.files import DamagedFile, json_sha256, read_json, readable, write_json

CHECKSUM = "checksum"
"""Key of a sealed file's checksum."""

T = TypeVar("T")


def load(kind: type[T], path: Path) -> T:
    """The content of a JSON file as a `kind`, a dataclass.

    Raises:
        FileNotFoundError: there is no such file.
        DiskError: it cannot be read.
        DamagedFile: it is no JSON, or a value is missing, of another type or not finite.
    """
    return from_json(kind, read(path), str(path))


def read(path: Path) -> Any:
    """The content of a JSON file, whatever it is.

    Raises:
        FileNotFoundError: there is no such file.
        DiskError: it cannot be read.
        DamagedFile: it is no JSON.
    """
    try:
        with readable(path):
            return read_json(path)
    except ValueError as error:  # no JSON, or no UTF-8
        raise DamagedFile(f"{path}: cannot be read as JSON ({error}); {REMEDY}") from error


def save(path: Path, value: Any) -> None:
    """Write a dataclass to a JSON file in one step."""
    write_json(path, to_json(value))


def save_sealed(path: Path, value: Any) -> None:
    """The same, with a checksum of the content."""
    content = to_json(value)
    write_json(path, content | {CHECKSUM: json_sha256(content)})


def load_sealed(kind: type[T], path: Path) -> T:
    """The content of a sealed JSON file as a `kind`.

    Raises:
        FileNotFoundError: there is no such file.
        DiskError: it cannot be read.
        DamagedFile: as `load`, or its checksum is missing or that of another content.
    """
    return from_sealed_json(kind, read(path), str(path))


def to_json(value: Any) -> Any:
    """A dataclass, or a container of some, as what JSON has; `extra` stands among the other keys."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        content = {}
        for field in dataclasses.fields(value):
            part = getattr(value, field.name)
            if field.name != "extra" and part != field.default:
                content[field.name] = to_json(part)
        return content | to_json(getattr(value, "extra", {}))
    if isinstance(value, dict):
        return {key: to_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    return value


def from_json(kind: type[T], content: Any, where: str) -> T:
    """`content` of a JSON file as a `kind`: a dataclass, list, dict, number, string or union of these.

    Args:
        kind: the type that is expected.
        content: as `json` reads it.
        where: the file, for messages.

    Raises:
        DamagedFile: a value is missing, of another type or not finite.
    """
    return _checked(kind, content, where, ())


def from_sealed_json(kind: type[T], content: Any, where: str) -> T:
    """The same of a sealed file, whose checksum is no part of the value.

    Raises:
        DamagedFile: as `from_json`, or the checksum is missing or that of another content.
    """
    written = None
    if isinstance(content, dict):
        written, content = content.get(CHECKSUM), {key: of for key, of in content.items() if key != CHECKSUM}
    value = from_json(kind, content, where)
    if written != json_sha256(content):
        raise DamagedFile(f"{where}: its content does not give its checksum; {REMEDY}")
    return value


def is_sealed(content: Any) -> bool:
    """Whether the content of a file has a checksum, whatever that is."""
    return isinstance(content, dict) and CHECKSUM in content


# Larger numbers, and NaN, which is no smaller, come from damage alone.
_LARGEST = 1e300
REMEDY = "it was damaged or changed by hand: ask for the same target again, and it is made anew"
_NAMES = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text", type(None): "null"}


def _checked(kind: Any, content: Any, where: str, path: tuple[str, ...]) -> Any:
    """`content`, whose place in the file is `path`, as a `kind`."""
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, _mapping(content, where, path), where, path)
    if (origin := typing.get_origin(kind)) is not None:
        return _generic(origin, typing.get_args(kind), content, where, path)
    if kind is Any:
        return content
    fits = isinstance(content, int | float if kind is float else kind) and isinstance(content, bool) == (kind is bool)
    if not fits or (isinstance(content, int | float) and not abs(content) < _LARGEST):
        raise _fault(_NAMES[kind], content, where, path)
    return content


def _generic(origin: Any, arguments: tuple[Any, ...], content: Any, where: str, path: tuple[str, ...]) -> Any:
    """The same for `dict[str, ...]`, `list[...]`, `Literal[...]` and `... | None`."""
    if origin is dict:
        items = _mapping(content, where, path).items()
        return {key: _checked(arguments[1], part, where, (*path, key)) for key, part in items}
    if origin is list:
        if not isinstance(content, list):
            raise _fault("a list", content, where, path)
        return [_checked(arguments[0], part, where, (*path, str(place))) for place, part in enumerate(content)]
    if origin is typing.Literal:
        if content not in arguments:
            raise _fault(" or ".join(map(repr, arguments)), content, where, path)
        return content
    return None if content is None else _checked(arguments[0], content, where, path)


def _dataclass(kind: Any, content: dict[str, Any], where: str, path: tuple[str, ...]) -> Any:
    types_of = typing.get_type_hints(kind)
    values, known = {}, set()
    for field in dataclasses.fields(kind):
        if field.name == "extra":
            continue
        known.add(field.name)
        if field.name in content:
            values[field.name] = _checked(types_of[field.name], content[field.name], where, (*path, field.name))
        elif field.default is dataclasses.MISSING:
            raise DamagedFile(f"{where}: {'.'.join((*path, field.name))} is missing; {REMEDY}")
    if "extra" in types_of:
        values["extra"] = {key: part for key, part in content.items() if key not in known}
    return kind(**values)


def _mapping(content: Any, where: str, path: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise _fault("keys with values", content, where, path)
    return content


def _fault(expected: str, content: Any, where: str, path: tuple[str, ...]) -> DamagedFile:
    shown = repr(content)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    key = f"{'.'.join(path)}: " if path else ""
    return DamagedFile(f"{where}: {key}expected {expected}, found {shown}; {REMEDY}")
