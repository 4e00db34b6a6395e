"""YAML files, checked against their JSON schema so that a typo is an error that names file, key and nearest key."""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tada.base import TadaError, unknown
from tada.base.files import PRECISIONS, SCHEMAS


def load_yaml(path: Path, schema: str, names: Mapping[str, Iterable[str]] | None = None) -> Any:
    """The content of a YAML file after a check against `workflow/schemas/<schema>.schema.yaml`.

    Args:
        path: the file.
        schema: what it is, e.g. "recipes".
        names: see `validate`.

    Raises:
        TadaError: the file is missing or is not YAML, or breaks the schema; the message names file and key.
    """
    content = read_yaml(path)
    validate(content, schema, where=str(path), names=names)
    return content


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, unchecked.

    Raises:
        TadaError: the file is missing or no text, or is not YAML, or has a key twice.
    """
    try:
        return parse_yaml(path.read_bytes().decode("utf-8-sig"), str(path))
    except FileNotFoundError:
        neighbours = (file.stem for file in path.parent.glob(f"*{path.suffix}"))
        none = f"no {path.suffix} files lie there" if path.parent.is_dir() else "there is no such folder"
        raise unknown("file", path.stem, neighbours, where=str(path.parent), none=none) from None
    except OSError as error:
        raise TadaError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TadaError(f"{path}: not UTF-8 text ({error.reason}, byte {error.start}); save it as UTF-8") from None


def parse_yaml(text: str, where: str) -> Any:
    """The value of YAML text; `where` it is from stands before every message.

    Raises:
        TadaError: it is not YAML, has a key twice, or contains itself.
    """
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        message = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise TadaError(f"{where}: not valid YAML: {message}") from None
    except (ValueError, RecursionError) as error:  # of a date that does not exist, of depth
        raise TadaError(f"{where}: not valid YAML: {error}") from None
    _check_plain(content, where)
    return content


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML forbids it, and PyYAML would take the last one's value."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<" and first.setdefault(key.value, key) is not key:
                line = first[key.value].start_mark.line + 1
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice, first in line {line}", problem_mark=key.start_mark
                )
        return node


def without_sources(content: Any) -> Any:
    """The same without the sources of its values: every `{value: ..., ...}` becomes its value."""
    if isinstance(content, Mapping):
        if "value" in content:
            return without_sources(content["value"])
        return {key: without_sources(part) for key, part in content.items()}
    return content


def validate(content: Any, schema: str, where: str, names: Mapping[str, Iterable[str]] | None = None) -> None:
    """Check `content` against a schema of `workflow/schemas`; every fault found is one line of the error.

    Args:
        content: of a YAML file.
        schema: what it is, e.g. "recipes".
        where: the file, for messages.
        names: valid names that the schema leaves open, since another place knows them: key of its `$defs` -> names
            that its enumeration has besides those that stand there. A key that the schema does not have is ignored.
            Those of precisions are always known.

    Raises:
        TadaError: one line a fault: `where`, the key's path, what is wrong, and the nearest valid key of a typo.
    """
    rules = copy.deepcopy(_read_schema(SCHEMAS / f"{schema}.schema.yaml"))
    for key, valid in {"precision": PRECISIONS, **(names or {})}.items():
        if key in rules.get("$defs", {}):
            rules["$defs"][key]["enum"] += valid
    _check_plain(content, where)
    faults = [message for error in _Validator(rules).iter_errors(content) for message in _messages(error, where)]
    if faults:
        raise TadaError("\n".join(faults))


@cache
def _read_schema(file: Path) -> dict[str, Any]:
    """Read once: a dozen tables share one, and reading it takes longer than checking by it."""
    rules: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return rules


_types = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
    "integer", lambda checker, value: isinstance(value, int) and not isinstance(value, bool)
)
_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=_types)
"""JSON has one kind of number, to which 10.0 epochs are as good as 10; Python has two."""


def _check_plain(content: Any, where: str) -> None:
    """Raise a TadaError for what YAML can say and no file here has use for, and a validator would stumble over."""
    try:
        faults = list(_unusual(content, where))
    except RecursionError:
        faults = [f"{where}: contains itself, or is nested too deeply"]
    if faults:
        raise TadaError("\n".join(faults))


def _unusual(content: Any, place: str) -> Iterator[str]:
    """Keys that are no text, and numbers that are not finite."""
    if isinstance(content, Mapping):
        for key, part in content.items():
            if not isinstance(key, str):
                yield f"{place}: the key {key} has to be text; put it in quotes"
            else:
                yield from _unusual(part, f"{place}.{key}" if ": " in place else f"{place}: {key}")
    elif isinstance(content, list):
        for number, part in enumerate(content):
            yield from _unusual(part, f"{place}.{number}" if ": " in place else f"{place}: {number}")
    elif isinstance(content, float) and not math.isfinite(content):
        yield f"{place}: {content} is no finite number"


def _messages(error: jsonschema.ValidationError, where: str) -> Iterable[str]:
    place = ": ".join([where, *([".".join(map(str, error.absolute_path))] if error.absolute_path else [])])
    if error.validator == "additionalProperties" and error.validator_value is False:
        keys = set(error.schema.get("properties", {}))
        if not error.schema.get("patternProperties"):
            return [str(unknown("key", str(key), keys, place)) for key in sorted(set(error.instance) - keys, key=str)]
    if error.validator == "enum":
        kind = "key" if "propertyNames" in error.absolute_schema_path else "value"
        return [str(unknown(kind, str(error.instance), map(str, error.validator_value), place))]
    if error.validator in ("oneOf", "anyOf") and error.context:
        if all(inner.validator in ("enum", "pattern") for inner in error.context):
            listed = [inner for inner in error.context if inner.validator == "enum"]
            values = [str(value) for inner in listed for value in inner.validator_value]
            return [str(unknown("value", str(error.instance), values, place))]
        # Of the alternatives, the one that fits best: whose fault lies deepest, or that is at least of the right type.
        deepest = max(error.context, key=lambda inner: (len(inner.absolute_path), inner.validator != "type"))
        return _messages(deepest, where)
    return [f"{place}: {error.message}"]
