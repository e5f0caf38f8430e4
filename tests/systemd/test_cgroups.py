"""The cgroups of attempts in a unit that systemd delegates one to."""

from __future__ import annotations

import pytest

from systemd.machine import Machine
from systemd.test_sandbox import as_an_agent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

BATCH = """
[[job]]
id = "hides"
command = ["sh", "-c", '''
    (env -i setsid sh -c "ulimit -Sw unlimited; sleep 300 & exit" &)
    sleep 0.2; cat /proc/self/cgroup''']
"""


def test_each_attempt_of_the_service_has_one_and_leaves_nothing_in_it(machine: Machine) -> None:
    machine.write("/run/batch.toml", BATCH)
    worked = as_an_agent(
        machine,
        "PATH=/opt/tidegate/bin:$PATH; tidegate run /run/batch.toml && tidegate logs hides && tidegate doctor;"
        "ls -d /sys/fs/cgroup/system.slice/probe.service/attempt-*; exit 1",
    )
    assert "::/system.slice/probe.service/attempt-1-1-" in worked
    assert "gets one of its own in /sys/fs/cgroup/system.slice/probe.service" in worked.replace("\n", " ")
    assert "attempt-*': No such file" in worked
    assert machine.run("sh", "-c", "cat /proc/[0-9]*/comm | grep -cx sleep").stdout == "0\n"
