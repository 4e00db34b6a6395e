"""Something-Something-V2 as users have it on disk: either naming of its annotations, WebM or mp4 files."""

from pathlib import Path

from tada.base import TadaError, counted
from tada.data.clips import Annotations, Clip, Split, SplitRows, mirror_classes
from tada.data.readers import check_root, read_annotations

ANNOTATION_NAMES = ("something-something-v2-{}.json", "labels/{}.json", "{}.json")


VIDEO_FOLDERS = ("20bn-something-something-v2", "videos", ".")


SUFFIXES = (".webm", ".mp4")


EXPECTED = f"""expected there:
  annotations: something-something-v2-{{train,validation,labels}}.json, or labels/{{train,validation,labels}}.json
  videos: 1.webm, 2.webm, ... (or .mp4) in {VIDEO_FOLDERS[0]}/, in {VIDEO_FOLDERS[1]}/, or beside the annotations"""


def read(root: Path, annotations: Path | None = None, videos: Path | None = None) -> Annotations:
    """Training and validation clips with their labels.

    Rows without a video and rows of unknown class are skipped, each with its reason; `Split.check` judges their number.

    Args:
        root: folder of the dataset.
        annotations: folder of the annotations where it is not in a usual place under `root`.
        videos: folder of the video files where it is not in a usual place under `root`.

    Raises:
        TadaError: the folder, the annotations or all videos are missing, or an annotation file is malformed.
    """
    check_root(root, EXPECTED)
    annotated = _annotation_files(annotations or root)
    folder, files = _video_files([videos] if videos else [root / name for name in VIDEO_FOLDERS], root)
    classes = _classes(annotated["labels"])
    train, validation = (_split(split, annotated[split], classes, files) for split in ("train", "validation"))
    listed = _tested(annotated["train"])
    for split in (train, validation):
        listed |= {*split.skipped, *(clip.name for clip in split.clips)}
    suffixes = " and ".join(sorted({path.suffix for path in files.values()}))
    return Annotations(
        train=train,
        validation=validation,
        classes=tuple(classes),
        mirror=mirror_classes(list(classes)),
        layout=f"annotations as {annotated['train']}, {counted(len(files), f'{suffixes} video')} in {folder}",
        unlisted=tuple(path for video, path in files.items() if video not in listed),
    )


def _annotation_files(folder: Path) -> dict[str, Path]:
    """The annotation files by part: train, validation, labels."""
    for name in ANNOTATION_NAMES:
        files = {part: folder / name.format(part) for part in ("train", "validation", "labels")}
        missing = [path for path in files.values() if not path.is_file()]
        if not missing:
            return files
        if len(missing) < len(files):
            raise TadaError(f"{missing[0]}: missing, though other annotations are there; {EXPECTED}")
    raise TadaError(f"{folder}: no annotations of Something-Something-V2; {EXPECTED}")


def _video_files(folders: list[Path], root: Path) -> tuple[Path, dict[str, Path]]:
    """The first folder that holds videos, and its files by identifier."""
    for folder in folders:
        if folder.is_dir():
            # Where a video is there in both forms, the original (.webm, later in the alphabet) counts.
            listing = sorted(folder.iterdir(), key=lambda path: path.name)
            files = {path.stem: path for path in listing if path.suffix.lower() in SUFFIXES}
            if files:
                return folder, files
    raise TadaError(f"{root}: no video files; {EXPECTED}")


def _classes(path: Path) -> dict[str, int]:
    """Index of every template, in the order of the indices."""
    content = read_annotations(path)
    try:
        classes = {str(template): int(index) for template, index in content.items()}
    except (AttributeError, TypeError, ValueError):
        raise TadaError(f'{path}: not a mapping of templates to numbers, {{"Holding something": "0", ...}}') from None
    if sorted(classes.values()) != list(range(len(classes))):
        raise TadaError(f"{path}: the classes are not numbered 0 to {len(classes) - 1}")
    return dict(sorted(classes.items(), key=lambda item: item[1]))


def _split(name: str, path: Path, classes: dict[str, int], files: dict[str, Path]) -> Split:
    split = SplitRows(name)
    for number, row in enumerate(read_annotations(path)):
        try:
            video, template = str(row["id"]), str(row["template"]).replace("[", "").replace("]", "")
        except (TypeError, KeyError):
            raise TadaError(f"{path}: row {number} has no id or no template: {str(row)[:80]}") from None
        if template not in classes:
            split.skip(video, f"class {template!r} is not in the list of labels")
        elif video not in files:
            split.skip(video, "no video file")
        else:
            split.use(Clip(video, files[video], classes[template]))
    return split.split()


def _tested(train: Path) -> set[str]:
    """Videos of the test split, which lie beside the others."""
    path = train.with_name(train.name.replace("train", "test"))
    return {str(row.get("id")) for row in read_annotations(path)} if path.is_file() else set()
