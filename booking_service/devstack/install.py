"""Makes the virtualenv and installs the pinned packages: `python3 install.py run|test`. Only the standard library.

A stamp in the virtualenv holds the hash of the requirement files, so that a second call finds nothing to do.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
RUN = [ROOT / "requirements.txt", ROOT / "booking_service" / "devstack" / "requirements.txt"]
REQUIREMENTS = {"run": RUN, "test": [*RUN, ROOT / "tests" / "requirements.txt"]}


def stamp_of(files: list[Path]) -> str:
    """What an installation of `files` on this Python is known by."""
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def is_installed(purpose: str) -> bool:
    """Whether the virtualenv holds what `purpose` needs; what the tests need includes what a run needs."""
    wanted = [(VENV / f"{name}.stamp", stamp_of(REQUIREMENTS[name])) for name in {purpose, "test"}]
    return PYTHON.exists() and any(stamp.exists() and stamp.read_text() == text for stamp, text in wanted)


def call(*command: str) -> None:
    """Run a step; its own last words and the command are the error."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        sys.exit(f"`{' '.join(command[:4])} …` failed: {words[-1]}")


def make_virtualenv() -> None:
    """A virtualenv with pip. Debian ships venv without ensurepip; its package is installed where that is allowed."""
    try:
        import ensurepip  # noqa: F401 - absent on a plain Debian
    except ImportError:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        if os.geteuid() != 0:
            sys.exit(f"This Python cannot make a virtualenv: `sudo apt-get install {package}`, then again.")
        call("apt-get", "update", "-q")
        call("apt-get", "install", "-q", "-y", "--no-install-recommends", package)
    call(sys.executable, "-m", "venv", str(VENV))


def main(purpose: str) -> None:
    """Install what `purpose` needs unless it is there."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever calls this may have an older Python
        sys.exit(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}: `make PYTHON=python3.11 …`.")
    if is_installed(purpose):
        return
    sys.stderr.write("Installing packages into .venv (once) …\n")
    if not PYTHON.exists():
        make_virtualenv()
    files = [word for file in REQUIREMENTS[purpose] for word in ("-r", str(file))]
    call(str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check", *files)
    (VENV / f"{purpose}.stamp").write_text(stamp_of(REQUIREMENTS[purpose]))


if __name__ == "__main__":
    main(sys.argv[1])
