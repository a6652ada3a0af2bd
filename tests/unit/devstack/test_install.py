"""The virtualenv is filled once, and again when a requirement changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from booking_service.devstack import install


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The steps taken, in a checkout with an empty virtualenv."""
    taken: list[tuple[str, ...]] = []
    for name in ("run.txt", "test.txt"):
        (tmp_path / name).write_text("Django==5.2\n")
    requirements = {"run": [tmp_path / "run.txt"], "test": [tmp_path / "run.txt", tmp_path / "test.txt"]}
    monkeypatch.setattr(install, "REQUIREMENTS", requirements)
    monkeypatch.setattr(install, "VENV", tmp_path)
    monkeypatch.setattr(install, "PYTHON", tmp_path / "python")
    (tmp_path / "python").touch()
    monkeypatch.setattr(install, "call", lambda *command: taken.append(command))
    return taken


def test_it_installs_once(commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    install.main("run")
    install.main("run")
    assert len(commands) == 1
    assert commands[0][-2:] == ("-r", str(tmp_path / "run.txt"))


def test_it_installs_again_when_a_requirement_changes(commands: list[tuple[str, ...]], tmp_path: Path) -> None:
    install.main("run")
    (tmp_path / "run.txt").write_text("Django==5.3\n")
    install.main("run")
    assert len(commands) == 2


def test_what_the_tests_need_is_enough_to_run(commands: list[tuple[str, ...]]) -> None:
    install.main("test")
    install.main("run")
    assert len(commands) == 1


def test_what_runs_is_not_enough_for_the_tests(commands: list[tuple[str, ...]]) -> None:
    install.main("run")
    install.main("test")
    assert len(commands) == 2


def test_it_makes_the_virtualenv_anew_when_it_is_gone(
    commands: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install.main("run")
    (tmp_path / "python").unlink()
    install.main("run")
    assert [command[1:3] for command in commands[1:]] == [("-m", "venv"), ("-m", "pip")]


def test_a_step_that_fails_is_one_line() -> None:
    with pytest.raises(SystemExit) as ended:
        install.call("sh", "-c", "echo first >&2; echo the reason >&2; exit 3")
    assert str(ended.value) == "`sh -c echo first >&2; echo the reason >&2; exit 3 …` failed: the reason"
