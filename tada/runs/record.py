"""TODO."""

from typing import Any

from tada.base.files import write_json
from tada.runs.run import Run


def record_outcome(run: Run, attempt: int, error: str | None = None) -> dict[str, Any]:
    """Write and return outcome.json: "done", or "failed" with the error's text."""
    outcome = {
        "status": "failed" if error else "done",
        "attempt": attempt,
        "signature": run.signature,
        "error": error,
    }
    write_json(run.file("outcome.json"), outcome)
    return outcome
