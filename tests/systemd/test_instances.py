"""tidegate as a user of the machine: an instance of the template, and under the user's own service manager."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from installed import until

from systemd.conftest import SOURCE, VENV, blocks
from systemd.machine import Machine
from systemd.service import Service, disturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def alice(machine: Machine) -> Iterator[Service]:
    """The service of a person, not started yet."""
    machine("useradd", "--create-home", "alice")
    machine.write("/etc/tidegate/config.toml", "")
    home = "/home/alice"
    yield Service(machine, "tidegate@alice.service", f"{home}/.local/state/tidegate", home, user="alice")
    machine("loginctl", "disable-linger", "alice", check=False)
    uid = machine("id", "-u", "alice").strip()
    machine("systemctl", "stop", "tidegate@alice.service", f"user@{uid}.service")
    machine("pkill", "-KILL", "-u", "alice", check=False)
    until(lambda: machine.run("userdel", "--remove", "alice").returncode == 0)


def asks(service: Service, *args: str) -> str:
    """What the person's own command prints."""
    return service.machine("/opt/tidegate/bin/tidegate", *args, user=service.user, env={"HOME": service.home})


def test_an_instance_works_as_its_user_on_the_users_own_state(alice: Service) -> None:
    alice.systemctl("start")
    alice.submit(["sh", "-c", 'echo "$USER in $PWD" > made; sleep 1000'])
    until(lambda: alice.machine.read("/home/alice/made") == "alice in /home/alice\n")
    assert "j1" in asks(alice, "status")
    before = alice.agents()
    disturbed(alice, lambda: alice.systemctl("restart"))
    assert alice.agents() == before
    alice.systemctl("stop")
    assert alice.processes() == []
    assert '"state":"queued"' in asks(alice, "list", "--json").replace(" ", "")


def test_two_instances_know_nothing_of_one_another(alice: Service) -> None:
    machine = alice.machine
    Service(machine).clear()
    machine("systemctl", "start", "tidegate.service", alice.unit)
    alice.submit(["true"])
    until(lambda: '"state":"succeeded"' in asks(alice, "list", "--json").replace(" ", ""))
    assert Service(machine).states() == {}
    assert machine.run("ls", alice.state, user="tidegate").returncode != 0
    machine("systemctl", "stop", "tidegate.service")


def test_it_works_under_a_persons_own_service_manager(alice: Service) -> None:
    machine = alice.machine
    uid = machine("id", "-u", "alice").strip()
    env = {"HOME": alice.home, "USER": "alice", "XDG_RUNTIME_DIR": f"/run/user/{uid}"}

    def as_alice(command: str) -> str:
        return machine("sh", "-c", command, user="alice", env=env, cwd=SOURCE).strip()

    for command in blocks("Without root")[0].splitlines():
        if "-m venv" in command:
            as_alice(f"mkdir -p ~/.local/share/tidegate && ln -s {VENV} ~/.local/share/tidegate/venv")
        elif command.startswith("loginctl"):  # polkit would let her; there is none here
            machine("sh", "-c", command, env=env)
            until(lambda: machine.show(f"user@{uid}.service", "ActiveState") == "active")
        elif "pip install" not in command:
            as_alice(command)
    unit = "systemctl --user {} tidegate.service"
    assert as_alice(unit.format("is-active")) == "active"
    alice.submit(["sleep", "1000"], ["sleep", "1000"])
    until(lambda: len(alice.agents()) == 2)
    before = alice.agents()
    as_alice(unit.format("kill -s SIGKILL --kill-who=main"))
    until(lambda: as_alice(unit.format("show -P NRestarts -P ActiveState")).split() == ["1", "active"])
    as_alice(unit.format("restart"))
    assert alice.agents() == before
    assert all(map(alice.lives, before))
    assert as_alice(unit.format("show -P StatusText")) == "2 running"
    as_alice(unit.format("stop"))
    assert not any(map(alice.lives, before))
    assert machine("pgrep", "-cxu", "alice", "sleep", check=False) == "0\n"
