"""Where the values of a recipe come from: the paper's text, the authors' releases, or a choice with its reason.

A value of `config/recipes/paper.yaml` stands as `{value: 256, text: A.1, first: same, later: 128, why: ...}`; the head
of that file explains the keys. `plain` takes the sources away, `settings` lists them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tada.base.errors import TadaError, unknown

RELEASES = ("first", "later")
SAME = "same"
_KIND = ("task", "videos")  # what a recipe is, and not a setting
_KEYS = ("value", "text", *RELEASES, "choice", "why")


@dataclass(frozen=True)
class Setting:
    """One value of a recipe and what the sources say of it.

    Attributes:
        name: key in the recipe, e.g. "train.base_lr", or "16 frames: train.base_lr" where it differs by frames.
        value: what is used.
        section: of the paper, where its text says something.
        text, first, later: what the text and the two releases say, `value` itself where they say the same; None where
            they say nothing.
        why: the reason of a choice, or why one source is followed and not another.
    """

    name: str
    value: Any
    section: str
    text: Any
    first: Any
    later: Any
    why: str


def has_sources(content: Mapping[str, Any]) -> bool:
    """Whether the values of a recipe file name their sources: it says which releases these are."""
    return "releases" in content


def plain(content: Any) -> Any:
    """The same without sources: every `{value: ..., ...}` becomes its value."""
    if isinstance(content, Mapping):
        return plain(content["value"]) if "value" in content else {key: plain(part) for key, part in content.items()}
    return content


def settings(recipe: Mapping[str, Any], where: str) -> list[Setting]:
    """Every value of a recipe with its sources, in the order of the file.

    Args:
        recipe: as it stands in the file.
        where: file and recipe, for messages.

    Raises:
        TadaError: a value without a source, an unknown key (such as a release that there is not), a choice that a
            source contradicts or supports, or sources that disagree without a word on why.
    """
    return [
        _setting(_name(path), value, f"{where}: {'.'.join(path)}")
        for path, value in _values(recipe, ())
        if path[0] not in _KIND
    ]


def _values(content: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, part in content.items():
        if isinstance(part, Mapping) and "value" not in part and part:
            yield from _values(part, (*path, str(key)))
        else:
            yield (*path, str(key)), part


def _name(path: tuple[str, ...]) -> str:
    if path[0] == "frames":
        return f"{path[1]} frames: {'.'.join(path[2:])}"
    return ".".join(path)


def _setting(name: str, entry: Any, where: str) -> Setting:
    if not isinstance(entry, Mapping):
        raise TadaError(
            f"{where}: {entry!r} has no source; write {{value: {entry!r}, text: SECTION}} or "
            f"{{value: {entry!r}, choice: the reason}}"
        )
    for key in entry:
        if key not in _KEYS:
            raise unknown("source", key, _KEYS, where)
    value, choice = entry["value"], entry.get("choice")
    section, text = _text(entry.get("text"), value, where)
    releases = {name: value if entry.get(name) == SAME else entry.get(name) for name in RELEASES}
    said = [found for found in (text, *releases.values()) if found is not None]
    if choice and said:
        raise TadaError(f"{where}: a choice is what no source says; leave out either `choice` or the sources")
    if not choice and not said:
        raise TadaError(f"{where}: no source; name `text`, `first` or `later`, or give the reason of a `choice`")
    if any(found != value for found in said) and not entry.get("why"):
        raise TadaError(f"{where}: a source says otherwise; `why` has to say why {value!r} is used")
    return Setting(name, value, section, text, releases["first"], releases["later"], choice or entry.get("why", ""))


def _text(text: Any, value: Any, where: str) -> tuple[str, Any]:
    """Section of the paper, and what it says."""
    if text is None:
        return "", None
    if isinstance(text, Mapping):
        if len(text) != 1:
            raise TadaError(f"{where}: text: expected a section, or {{section: what it says}}")
        section, says = next(iter(text.items()))
        return str(section), says
    return str(text), value
