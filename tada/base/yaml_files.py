"""YAML files, checked against their JSON schema so that a typo is an error that names file, key and nearest key."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tada.base import TadaError, unknown
from tada.base.files import SCHEMAS


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
        TadaError: the file is missing, or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        neighbours = (file.stem for file in path.parent.glob(f"*{path.suffix}"))
        raise unknown("file", path.stem, neighbours, where=str(path.parent)) from None
    except yaml.YAMLError as error:
        raise TadaError(f"{path}: not valid YAML: {error}") from None


def validate(content: Any, schema: str, where: str, names: Mapping[str, Iterable[str]] | None = None) -> None:
    """Check `content` against a schema of `workflow/schemas`; every fault found is one line of the error.

    Args:
        content: of a YAML file.
        schema: what it is, e.g. "recipes".
        where: the file, for messages.
        names: valid names that the schema leaves open, since another place knows them: key of its `$defs` -> names
            that its enumeration has besides those that stand there. A key that the schema does not have is ignored.

    Raises:
        TadaError: one line a fault: `where`, the key's path, what is wrong, and the nearest valid key of a typo.
    """
    rules = yaml.safe_load((SCHEMAS / f"{schema}.schema.yaml").read_text(encoding="utf-8"))
    for key, valid in (names or {}).items():
        if key in rules.get("$defs", {}):
            rules["$defs"][key]["enum"] += valid
    faults = [
        message
        for error in jsonschema.Draft202012Validator(rules).iter_errors(content)
        for message in _messages(error, where)
    ]
    if faults:
        raise TadaError("\n".join(faults))


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
        if all(inner.validator == "enum" for inner in error.context):
            values = [str(value) for inner in error.context for value in inner.validator_value]
            return [str(unknown("value", str(error.instance), values, place))]
        # Of the alternatives, the one that fits best: whose fault lies deepest, or that is at least of the right type.
        deepest = max(error.context, key=lambda inner: (len(inner.absolute_path), inner.validator != "type"))
        return _messages(deepest, where)
    return [f"{place}: {error.message}"]
