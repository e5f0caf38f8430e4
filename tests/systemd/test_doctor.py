"""What the doctor says of the service under a real systemd."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from installed import Json, until

from systemd.machine import Machine
from systemd.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    """The service, enabled, as it is before its first start; other tests find the machine likewise."""
    service = Service(machine)
    service.clear()
    yield service
    service.configure("")
    service.clear()


def findings(service: Service) -> dict[str, Json]:
    """What doctor says to the operator, by check."""
    told = service.machine("tidegate", "doctor", "--json", check=False)
    return {one["check"]: one for one in map(json.loads, told.splitlines())}


def test_the_doctor_tells_how_the_unit_is(service: Service) -> None:
    service.configure("[supervisor]\nslots = 2\n")
    service.systemctl("start")
    found = findings(service)
    assert found["systemd"]["said"] == f"tidegate.service is active (running), pid {service.pid}"
    assert f"pid {service.pid} works here" in found["supervisor"]["said"]
    assert "tidegate.service" in found["cgroups"]["said"], "of the service, though the doctor works outside of it"
    assert not [one for one in found.values() if one["verdict"] == "wrong"]
    service.systemctl("stop")
    service.configure("[supervisor]\nslots = 0\n")
    service.systemctl("start", check=False)
    until(lambda: service.show("ActiveState") == "failed")
    found = findings(service)
    assert found["systemd"]["verdict"] == "wrong"
    assert found["systemd"]["do"] == "systemctl status tidegate.service"
    assert "slots" in found["configuration"]["said"]
