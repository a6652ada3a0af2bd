"""Log files of several processes."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from booking_service.operations.log_files import ProcessFileHandler

LINES = 20_000
WRITES = f"""
import logging, sys
from booking_service.operations.log_files import ProcessFileHandler

logger = logging.getLogger("test")
logger.addHandler(ProcessFileHandler(sys.argv[1], maxBytes=20_000, backupCount=10_000))
print("ready", flush=True)
sys.stdin.readline()
for number in range({LINES}):
    logger.warning("%s %d", sys.argv[2], number)
"""


def test_two_processes_that_rotate_lose_no_line(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITES, str(tmp_path / "service.log"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n", timeout=60)

    written = [line for file in tmp_path.glob("service.*.log*") for line in file.read_text().splitlines()]
    assert sorted(written) == sorted(f"{name} {number}" for name in ("one", "two") for number in range(LINES))


def test_a_process_goes_on_in_the_file_of_one_that_ended(tmp_path: Path) -> None:
    for text in ("first", "second"):
        handler = ProcessFileHandler(str(tmp_path / "service.log"))
        handler.emit(logging.LogRecord("test", logging.INFO, "", 0, text, (), None))
        handler.close()

    assert (tmp_path / "service.0.log").read_text() == "first\nsecond\n"
    assert list(tmp_path.glob("service.*.log")) == [tmp_path / "service.0.log"]
