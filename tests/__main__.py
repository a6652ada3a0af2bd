"""`python -m tests [pytest's arguments]`, behind `make test`: the tests, what they covered, and what was left out.

Each run keeps its coverage in a folder of its own, so that two may go side by side. The thresholds hold for a whole
run; one that names files or options is left to pytest alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PYTEST = ["-m", "pytest"]
COVERED = ["--cov", "--cov-report=", "--durations=15"]
WHOLE, WITHOUT_GAPS = 80, 100
NOTHING_LEFT_OUT = ["bookings/services.py", "bookings/payments.py", "catalog/pricing.py"]


def python(*arguments: str, **environment: str) -> int:
    """Run this Python with `arguments`; its exit code."""
    return subprocess.run([sys.executable, *arguments], env={**os.environ, **environment}, check=False).returncode


def coverage_check(coverage_file: str) -> int:
    """The thresholds: all of the code, and without a gap what books, what prices and what takes payments."""
    report = ["-m", "coverage", "report"]
    whole = python(*report, f"--fail-under={WHOLE}", COVERAGE_FILE=coverage_file)
    without_gaps = [f"--include={','.join(NOTHING_LEFT_OUT)}", f"--fail-under={WITHOUT_GAPS}"]
    print(f"\nCovered without a gap, as booking, price and payment must be: {', '.join(NOTHING_LEFT_OUT)}", flush=True)
    return whole or python(*report, *without_gaps, COVERAGE_FILE=coverage_file)


def whole_run() -> int:
    """Every test, then the thresholds; the last line says what was skipped for want of a broker."""
    with tempfile.TemporaryDirectory(prefix="booking-coverage-") as folder:
        coverage_file, notes = f"{folder}/coverage", Path(folder, "notes")
        code = python(*PYTEST, *COVERED, COVERAGE_FILE=coverage_file, TEST_NOTES=str(notes))
        code = code or coverage_check(coverage_file)
        if notes.exists():
            print(notes.read_text().strip())
    return code


if __name__ == "__main__":
    sys.exit(python(*PYTEST, *sys.argv[1:]) if sys.argv[1:] else whole_run())
