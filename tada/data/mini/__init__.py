"""Mini datasets: real video files in the real layouts, rendered from a seed.

A folder is rendered whole beside its place and moved there; its manifest, written last, says that it is complete.
"""

import dataclasses
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from tada.base import TadaError
from tada.base.files import read_json, write_json, write_text
from tada.data import catalog
from tada.data.mini.rendering import RenderSpec
from tada.data.mini.scenes import Track

MARK = ".rendered"


def render(root: Path, spec: RenderSpec | Mapping[str, Any], workers: int = 1, dataset: str = "ssv2") -> dict[str, Any]:
    """Render a mini dataset into `root`, unless it stands there already, and return its manifest.

    The same spec gives the same videos, whatever the number of workers. An interrupted rendering leaves no manifest and
    is begun anew.

    Args:
        root: folder of the dataset; other than rendered files, it must not hold any.
        spec: what to render.
        workers: processes that render.
        dataset: whose layout and contents; a name of `tada.data.catalog`.

    Raises:
        TadaError: an unknown dataset, one without a mini version, a spec that cannot be rendered, or a folder with
            files that were not rendered.
    """
    spec = spec if isinstance(spec, RenderSpec) else RenderSpec.of(spec)
    entry = catalog.find(dataset)
    renderer = entry.load_renderer()
    wanted = {"format": entry.rendering, "dataset": dataset, "spec": _jsonable(spec)}
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f".{root.name}.lock"):
        manifest = root / "manifest.json"
        if (rendered := _rendered(manifest)) and wanted.items() <= rendered.items():
            return rendered
        _empty(root)
        unfinished = root / ".unfinished"
        counts = renderer(unfinished, spec, workers)
        content = {**wanted, "counts": counts, "sha256": _hash(unfinished)}
        for made in unfinished.iterdir():
            made.replace(root / made.name)
        unfinished.rmdir()
        write_json(manifest, content)
        return content


def find_object(root: Path, dataset: str, video: str) -> Track | None:
    """Where the object of a video of the mini dataset in `root` is, frame by frame; None where nobody knows.

    Nobody knows of other folders, of another version of the renderer, and of datasets whose entry names no finder.
    """
    entry = catalog.find(dataset)
    rendered = _rendered(root / "manifest.json")
    finder = entry.load_finder()
    if finder is None or (rendered.get("dataset"), rendered.get("format")) != (dataset, entry.rendering):
        return None
    return finder(video, RenderSpec.of(rendered["spec"]))


def _rendered(manifest: Path) -> dict[str, Any]:
    """What an earlier rendering notes of itself; empty where there is none, or a damaged note."""
    try:
        content = read_json(manifest)
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _empty(root: Path) -> None:
    """Remove an earlier rendering; refuse to touch anything else."""
    mark = root / MARK
    if any(root.iterdir()) and not mark.exists():
        raise TadaError(f"{root}: holds files that were not rendered here; choose another folder, or empty this one")
    write_text(mark, "Rendered by `tada render`, which may replace everything in this folder.\n")
    for entry in root.iterdir():
        if entry != mark:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _hash(folder: Path) -> str:
    """SHA-256 over the names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\n{path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _jsonable(spec: RenderSpec) -> dict[str, Any]:
    values = {key: value for key, value in dataclasses.asdict(spec).items() if value is not None}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
