"""What deploy/README.md tells an operator to type, typed."""

from __future__ import annotations

import pytest
from installed import until

from systemd.conftest import bare, blocks, follow
from systemd.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_every_command_of_the_readme_does_what_it_says() -> None:
    with bare() as machine:
        install, use = blocks("Install")
        follow(machine, install)
        service = Service(machine)
        told = follow(machine, use)
        assert "1 succeeded" in told
        assert "git version" in service.tidegate("logs", "1")
        follow(machine, blocks("What agents may do")[0])
        service.submit(["sh", "-c", 'echo "$PATH" > /srv/work/made; exec sleep 1000'])
        until(lambda: machine.read("/srv/work/made") == "/opt/agents/bin:/usr/local/bin:/usr/bin:/bin\n")
        before = service.agents()
        follow(machine, blocks("Configure")[0])
        follow(machine, blocks("Credentials")[0])
        assert "credential" in service.tidegate("config")
        follow(machine, blocks("Tell a person")[0])
        assert '"job": "1"' in follow(machine, blocks("See what it does")[0])
        pid = service.pid
        follow(machine, blocks("Upgrade")[0])
        assert service.pid == pid
        assert service.is_up()
        assert service.agents() == before
        assert all(map(service.lives, before))
        save, restore = blocks("Back up")
        follow(machine, save)
        assert "tidegate-backup.timer" in machine("systemctl", "list-timers", "--no-pager")
        assert "2 jobs as of" in follow(machine, restore)
        assert service.is_up()
        assert "git version" in service.tidegate("logs", "1")
        before = {pid for pid in before if service.lives(pid)}
        assert "0 attempts running" in follow(machine, blocks("Several")[0])
        machine("systemctl", "disable", "--now", "tidegate@nightly.service")
        follow(machine, blocks("Remove")[0])
        assert not any(map(service.lives, before))
        places = "/etc /opt /usr/local /var/lib /run"
        assert machine("sh", "-c", f"find {places} -xdev -name '*tidegate[.@]*' -o -name tidegate") == ""
