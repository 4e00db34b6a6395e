"""Where features lie that config.yaml gives of a network. Imports no torch, so that plans are made at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tada import paths
from tada.models.definitions import model_options
from tada.recipes import LOCALIZATION, videos_of


def given_features(data: Mapping[str, Any], dataset: str, model: str, folder: Path = paths.CONFIG) -> str:
    """Folder of the features that are given for a run; empty where they are to be extracted.

    Args:
        data: `data` of config.yaml.
        dataset: the run's, e.g. "hacs-localization"; of any other kind uses no features.
        model: the run's.
        folder: where models.yaml lies.

    Raises:
        TadaError: features are given of a network that does not exist.
    """
    place = data.get(videos_of(dataset))
    if not isinstance(place, Mapping) or not dataset.endswith(LOCALIZATION):
        return ""
    features = place.get("features") or {}
    for name in features:
        model_options(name, folder)
    return features.get(model) or ""
