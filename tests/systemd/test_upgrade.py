"""The service becoming another version under a real systemd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from installed import until

from systemd.machine import Machine
from systemd.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    service = Service(machine)
    service.clear()
    service.configure("[supervisor]\nslots = 20\ngrace = 2\n")
    service.systemctl("start")
    yield service
    service.clear()


def test_an_upgrade_in_place_keeps_the_unit_the_process_and_every_agent(service: Service) -> None:
    service.counters(10)
    pid, agents, restarts = service.pid, service.agents(), service.show("NRestarts")
    assert f"pid {pid} goes on as tidegate" in service.tidegate("upgrade")
    until(lambda: service.show("StatusText") == "10 running" and service.is_up())
    assert (service.pid, service.agents(), service.show("NRestarts")) == (pid, agents, restarts)
    service.systemctl("reload")
    assert service.pid == pid, "it hears signals as before"
    service.let_go()
    until(lambda: "running" not in service.states().values())
    assert service.states() == {f"j{n}": "succeeded" if n % 3 else "failed" for n in range(1, 11)}
    for lines in service.outputs().values():
        assert lines[-1].endswith(f"ends after {len(lines) - 1}"), "no line is lost or doubled"
