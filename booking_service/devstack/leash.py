"""Runs one command that must not outlive the process that asked for it: `python leash.py command …`.

The owner keeps the other end of this process's standard input. When the owner ends, however it ends, the pipe closes
and the command's whole process group is stopped. Only the standard library, so that it starts in a blink.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

GRACE_SECONDS = 10
PR_SET_PDEATHSIG = 1


def die_with_the_leash() -> None:
    """Ask Linux to kill this process when its parent dies; other systems rely on the pipe alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def stop_when_the_owner_is_gone() -> None:
    """Block until the owner closes its end, then end the group: first asked, then forced."""
    while os.read(0, 64):
        continue
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run `command` in this process's group and return its exit code."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the command gets the group's signals itself; this one waits for it
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_the_leash)
    threading.Thread(target=stop_when_the_owner_is_gone, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
