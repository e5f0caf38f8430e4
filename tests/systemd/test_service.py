"""The service under a real systemd, from its installation to its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from installed import until

from systemd.machine import Machine
from systemd.service import Service, disturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CONFIG = "[supervisor]\nslots = 20\ngrace = 2\n"


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    """The service, enabled and started; afterwards a stop has left nothing."""
    service = Service(machine)
    service.clear()
    service.configure(CONFIG)
    service.systemctl("start")
    yield service
    service.systemctl("stop")
    until(lambda: not service.processes())
    service.configure(CONFIG)
    service.clear()


def test_the_installed_service_works_through_what_is_submitted(service: Service) -> None:
    assert service.machine("systemctl", "is-enabled", service.unit).strip() == "enabled"
    assert service.machine("stat", "-c", "%a %U", service.state, service.home).split() == ["700", "tidegate"] * 2
    for n in range(10):
        service.tidegate("submit", "--name", f"j{n}", "--cwd", service.home, "--", "echo", str(n))
    until(lambda: set(service.states().values()) == {"succeeded"})
    assert len(service.states()) == 10
    assert service.tidegate("logs", "j4") == "4\n"
    assert service.show("StatusText") == "nothing to do"


def test_journal_lines_carry_their_priority_and_their_job(service: Service) -> None:
    service.submit(["sh", "-c", "exit 3"], max_attempts=1)
    until(lambda: service.states() == {"j1": "failed"})

    def told() -> list[tuple[str, dict[str, object]]]:
        entries = [entry for entry in service.journal() if entry["MESSAGE"].startswith("{")]
        return [(entry["PRIORITY"], json.loads(entry["MESSAGE"])) for entry in entries]

    until(lambda: [one for _, one in told() if one["event"] == "job ended"])
    priorities = {"debug": "7", "info": "6", "warning": "4", "error": "3"}
    assert all(priority == priorities[str(one["level"])] for priority, one in told())
    assert {str(one.get("job")) for _, one in told() if str(one["event"]).startswith("attempt")} == {"j1"}


def test_usr1_pauses_and_usr2_resumes(service: Service) -> None:
    service.systemctl("kill", "-s", "SIGUSR1", "--kill-who=main")
    until(lambda: "paused" in service.show("StatusText"))
    service.submit(["true"])
    assert service.states() == {"j1": "queued"}
    assert "paused" in service.machine("systemctl", "status", "--no-pager", service.unit)
    disturbed(service, lambda: service.systemctl("restart"))
    assert service.states() == {"j1": "queued"}
    service.systemctl("kill", "-s", "SIGUSR2", "--kill-who=main")
    until(lambda: service.states() == {"j1": "succeeded"})


def test_a_signal_to_the_whole_unit_ends_no_agent(service: Service) -> None:
    service.submit(["sleep", "1000"], ["sh", "-c", "while :; do sleep 0.2; done"])
    until(lambda: len(service.agents()) == 2)
    before = service.agents()
    service.systemctl("kill", "-s", "SIGUSR1")
    until(lambda: "this host paused" in service.show("StatusText"))
    service.systemctl("kill", "-s", "SIGUSR2")
    until(lambda: service.show("StatusText") == "2 running")
    assert service.agents() == before
    assert set(service.states().values()) == {"running"}


def test_a_reload_changes_the_configuration_and_no_agent(service: Service) -> None:
    service.configure("[supervisor]\nslots = 2\n")
    service.systemctl("reload")
    service.machine.write("/usr/local/bin/wait.sh", '#!/bin/sh\nuntil [ -e "$HOME/go" ]; do sleep 0.05; done\n', 0o755)
    service.submit(*[["/usr/local/bin/wait.sh"]] * 4)
    until(lambda: len(service.agents()) == 2)
    before, pid = service.agents(), service.pid
    service.configure("[supervisor]\nslots = 3\n")
    service.systemctl("reload")
    until(lambda: len(service.agents()) == 3)
    assert before < service.agents()
    assert service.pid == pid


def test_a_bad_configuration_leaves_the_old_one_in_force(service: Service) -> None:
    service.counters(2)
    before, pid = service.agents(), service.pid
    service.configure("[supervisor]\nslots = 'many'\n")
    begun = time.monotonic()
    service.systemctl("reload", check=False)
    assert time.monotonic() - begun < 10
    until(lambda: "old configuration in force" in service.show("StatusText"))
    assert "[supervisor] slots" in service.show("StatusText")
    assert (service.pid, service.agents()) == (pid, before)
    assert service.is_up()


def test_a_start_with_a_bad_configuration_is_tried_once(service: Service) -> None:
    service.systemctl("stop")
    service.configure("[supervisor]\nslots = 'many'\n")
    service.systemctl("start", check=False)
    until(lambda: service.show("ActiveState") == "failed")
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("2", "0")
    assert any("[supervisor] slots" in entry["MESSAGE"] for entry in service.journal())


def test_agents_outlive_a_restart_with_a_bad_configuration(service: Service) -> None:
    service.submit(["sleep", "1000"])
    until(lambda: len(service.agents()) == 1)
    before = service.agents()
    service.configure("[supervisor]\nslots = 'many'\n")
    service.systemctl("restart", check=False)
    until(lambda: service.show("ActiveState") == "failed")
    assert all(map(service.lives, before))
    service.configure(CONFIG)
    service.systemctl("start")
    assert service.agents() == before
    assert service.states() == {"j1": "running"}


def test_agents_from_before_and_after_a_restart_have_one_tmp(service: Service) -> None:
    service.submit(["sh", "-c", "mkdir /tmp/here; until [ -e /tmp/here/there ]; do sleep 0.1; done"])
    until(lambda: service.machine.run("test", "-d", f"{service.state}/tmp/here").returncode == 0)
    disturbed(service, lambda: service.systemctl("restart"))
    service.tidegate("submit", "--wait", "--cwd", service.home, "--", "touch", "/tmp/here/there")
    until(lambda: set(service.states().values()) == {"succeeded"})


def kills(service: Service) -> None:
    service.systemctl("kill", "-s", "SIGKILL", "--kill-who=main")


def stops_answering(service: Service) -> None:
    service.systemctl("kill", "-s", "SIGSTOP", "--kill-who=main")


def restarts(service: Service) -> None:
    service.systemctl("restart")


@pytest.mark.parametrize("disturb", [restarts, kills, stops_answering], ids=lambda one: one.__name__)
def test_twenty_agents_outlive_what_happens_to_the_main_process(
    service: Service, disturb: Callable[[Service], None]
) -> None:
    if disturb is stops_answering:
        service.drop_in("[Service]\nWatchdogSec=2\n")
        service.systemctl("restart")
    service.counters(20)
    before = service.agents()
    for _ in range(1 if disturb is stops_answering else 2):  # the second start meets what the first one adopted
        disturbed(service, lambda: disturb(service))
        assert service.agents() == before
        assert all(map(service.lives, before))
    service.let_go()
    until(lambda: "running" not in service.states().values())
    assert service.states() == {f"j{n}": "succeeded" if n % 3 else "failed" for n in range(1, 21)}
    assert all(job["launches"] == 1 for job in service.lines("list"))
    for number in range(1, 21):
        *counted, last = service.outputs()[f"{number}/1"]
        assert counted == [f"agent{number} {n}" for n in range(1, len(counted) + 1)]
        assert last == f"agent{number} ends after {len(counted)}"
    if disturb is stops_answering:
        assert "Watchdog timeout" in service.machine("journalctl", "-u", service.unit, "--no-pager")


def test_an_agent_that_the_next_start_may_not_see_is_not_started_twice(service: Service) -> None:
    service.drop_in("[Service]\nPrivateUsers=yes\n")  # each start in a user namespace of its own
    service.systemctl("restart")
    service.counters(2)
    before = service.agents()
    disturbed(service, lambda: service.systemctl("restart"))
    assert service.agents() == before
    service.let_go()
    until(lambda: set(service.states().values()) == {"succeeded"})
    assert all(job["launches"] == 1 for job in service.lines("list"))


LEAVES = """\
#!/bin/sh
sleep 1000 &
setsid sleep 1001 &
setsid sh -c 'sleep 1002 & exit' &
(setsid env -i sleep 1003 &)
trap '' TERM
sleep 1004 & wait
while :; do sleep 0.1; done
"""


def test_a_stop_ends_everything_that_agents_left_and_the_next_start_goes_on(service: Service) -> None:
    service.machine.write("/usr/local/bin/leaves.sh", LEAVES, 0o755)
    service.submit(["/usr/local/bin/leaves.sh"], ["sleep", "1000"])
    until(lambda: service.machine("pgrep", "-cxu", service.user, "sleep", check=False) == "6\n")
    service.systemctl("stop")
    assert service.processes() == []
    assert service.states() == {"j1": "queued", "j2": "queued"}
    assert [job["attempts"] for job in service.lines("list")] == [0, 0]
    assert service.show("Result") == "success"
    service.systemctl("start")
    until(lambda: len(service.agents()) == 2)
    assert service.states() == {"j1": "running", "j2": "running"}


def test_each_attempt_has_a_cgroup_which_a_restart_keeps_and_a_stop_removes(service: Service) -> None:
    service.submit(["sh", "-c", "(setsid env -i sleep 1000 &); exec sleep 1000"], ["sleep", "1000"])

    def groups() -> dict[str, int]:
        """How many processes are in each."""
        place = service.machine.root / f"sys/fs/cgroup/system.slice/{service.unit}"
        return {group.parent.name: len(group.read_text().split()) for group in place.glob("attempt-*/cgroup.procs")}

    until(lambda: sorted(groups().values()) == [1, 2])
    before = groups()
    disturbed(service, lambda: service.systemctl("restart"))
    assert groups() == before
    service.systemctl("stop")
    assert groups() == {}
    assert service.processes() == []


def test_a_stop_takes_the_time_that_agents_are_given(service: Service) -> None:
    service.drop_in("[Service]\nTimeoutStopSec=4\n")
    service.configure("[supervisor]\ngrace = 10\n")
    service.systemctl("reload")
    service.submit(["sh", "-c", "trap 'sleep 6; echo tidy; exit' TERM; while :; do sleep 0.1; done"])
    until(service.agents)
    service.systemctl("stop")
    assert service.outputs() == {"1/1": ["tidy"]}
    assert service.show("Result") == "success"


def test_a_detached_main_process_that_nobody_starts_again_leaves_no_agents(service: Service) -> None:
    service.counters(2)
    service.systemctl("kill", "-s", "SIGTERM", "--kill-who=main")
    until(lambda: service.show("ActiveState") == "inactive")
    assert service.processes() == []


def test_what_a_shutdown_stops_is_stopped_whole(service: Service) -> None:
    service.machine.write("/run/systemd/system/bare.target", "[Unit]\nRequires=basic.target\nAllowIsolate=yes\n")
    service.counters(2)
    service.machine("systemctl", "isolate", "bare.target")
    until(lambda: service.show("ActiveState") == "inactive")
    assert service.processes() == []
    service.machine("systemctl", "isolate", "test.target")


def test_a_drained_service_ends_when_its_agents_have(service: Service) -> None:
    service.counters(2)
    service.tidegate("drain")
    service.submit(["true"])
    until(lambda: "draining" in service.show("StatusText"))
    assert len(service.agents()) == 2
    service.let_go()
    until(lambda: service.show("ActiveState") == "inactive")
    assert (service.show("Result"), service.show("NRestarts")) == ("success", "0")
    assert sorted(job["state"] for job in service.lines("list")) == ["queued", "succeeded", "succeeded"]


TOKEN = "sk-ant-oat01-secretsecretsecretsecret"


WITH_ACCOUNT = """
[accounts.claude-max]
agent = "mycli"
credential = "claude-max"
[agents.mycli]
start = ["sh", "-c", 'printf %s "$MYCLI_KEY" | sha256sum; echo "$MYCLI_KEY"; exec sleep 1000', "{prompt}"]
credential = "MYCLI_KEY"
proof = false
has_limits = false
"""


def test_a_credential_reaches_its_agents_and_nobody_else(service: Service) -> None:
    machine = service.machine
    machine.write("/etc/tidegate/credentials/claude-max", TOKEN + "\n", 0o600)
    service.configure(CONFIG + WITH_ACCOUNT)
    service.drop_in("[Service]\nLoadCredential=claude-max:/etc/tidegate/credentials/claude-max\n")
    service.systemctl("restart")
    ask = ("--agent", "mycli", "--account", "claude-max", "--cwd", service.home, "hello")
    service.tidegate("submit", "--name", "j1", *ask)
    until(lambda: len(service.outputs().get("1/1", [])) == 2)
    assert service.outputs()["1/1"][0].split()[0] == sha256(TOKEN.encode()).hexdigest()
    for look in (
        ["cat", "/run/credentials/tidegate.service/claude-max"],
        ["cat", "/etc/tidegate/credentials/claude-max"],
        ["cat", f"/proc/{service.pid}/environ"],
        ["cat", f"/proc/{next(iter(service.agents()))}/environ"],
        ["ls", service.state],
    ):
        assert machine.run(*look, user="nobody").returncode != 0, look
    assert TOKEN not in machine("systemctl", "show", service.unit, user="nobody")
    assert TOKEN not in machine("ps", "axeww", user="nobody")
    assert TOKEN not in machine("journalctl", "--no-pager", "-o", "json")
    for verb in (["show", "j1"], ["list"], ["events"], ["status"]):
        assert TOKEN not in service.tidegate(*verb, "--json")
    assert machine.run("grep", "-rq", TOKEN, service.state, "--include=tidegate.db*").returncode == 1
