import subprocess
import sys

import pytest

from tada import metrics
from tada.metrics.average_precision import mean_average_precision


def test_the_packages_names_are_the_modules_own():
    assert metrics.mean_average_precision is mean_average_precision
    assert all(getattr(metrics, name) for name in metrics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'top_accuracy'"):
        metrics.top_accuracy  # noqa: B018


def test_accuracies_load_no_pandas():
    code = "import sys; from tada.metrics import topk_accuracy; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
