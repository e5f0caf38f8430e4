"""Where the state and the configuration are, from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate import places

HOME = {"HOME": "/home/me"}


@pytest.mark.parametrize(
    ("flag", "environ", "place"),
    [
        (None, {}, "/home/me/.local/state/tidegate"),
        (None, {"XDG_STATE_HOME": "/s"}, "/s/tidegate"),
        (None, {"XDG_STATE_HOME": "relative"}, "/home/me/.local/state/tidegate"),
        (None, {"XDG_STATE_HOME": ""}, "/home/me/.local/state/tidegate"),
        (None, {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/s"}, "/var/lib/a"),
        (None, {"TIDEGATE_STATE_DIR": "/t", "STATE_DIRECTORY": "/var/lib/a"}, "/t"),
        (None, {"TIDEGATE_STATE_DIR": "", "STATE_DIRECTORY": "/var/lib/a"}, "/var/lib/a"),
        (None, {"TIDEGATE_STATE_DIR": "~/t"}, "/home/me/t"),
        ("/flag", {"TIDEGATE_STATE_DIR": "/t"}, "/flag"),
        ("~", {}, "/home/me"),
        ("here", {}, f"{Path.cwd()}/here"),
    ],
)
def test_the_state_directory_is_the_flags_the_variables_systemds_or_the_users(
    flag: str | None, environ: dict[str, str], place: str
) -> None:
    assert str(places.state_dir(flag, HOME | environ)) == place


def test_a_user_without_home_has_that_of_the_user_database() -> None:
    assert places.home({}).is_absolute()


def test_an_attempts_directory_is_named_by_numbers_alone() -> None:
    assert places.attempt(Path("/s"), 7, 2) == Path("/s/attempts/7/2") == places.attempts(Path("/s")) / "7" / "2"


def test_what_is_in_a_state_directory_keeps_its_name_from_version_to_version() -> None:
    assert (places.database(Path("/s")), places.lock(Path("/s"))) == (Path("/s/tidegate.db"), Path("/s/lock"))
    assert places.workspaces(Path("/s")) == Path("/s/work")
    assert (places.secrets(Path("/s")), places.backups(Path("/s"))) == (Path("/s/secrets"), Path("/s/backups"))


def test_a_path_that_is_written_lies_beside_something_or_at_home() -> None:
    said = {"x/y": "/s/x/y", "/z": "/z", "~/w": "/home/me/w"}
    assert {one: str(places.named(one, HOME, Path("/s"))) for one in said} == said


@pytest.mark.parametrize(
    ("flag", "environ", "found"),
    [
        (None, {}, ["/home/me/.config/tidegate/config.toml", "/etc/tidegate/config.toml"]),
        (None, {"XDG_CONFIG_HOME": "/c"}, ["/c/tidegate/config.toml", "/etc/tidegate/config.toml"]),
        (None, {"TIDEGATE_CONFIG": "/x.toml"}, ["/x.toml"]),
        ("/y.toml", {"TIDEGATE_CONFIG": "/x.toml"}, ["/y.toml"]),
    ],
)
def test_a_configuration_that_is_named_is_the_only_one(
    flag: str | None, environ: dict[str, str], found: list[str]
) -> None:
    assert [str(path) for path in places.config_files(flag, HOME | environ)] == found
