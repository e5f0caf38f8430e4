"""What agents can still do in the hardened service, and how hardened it is."""

from __future__ import annotations

import shutil

import pytest

from systemd.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

UNIT = "/etc/systemd/system/tidegate.service"
NAMESPACES = "unshare --user --map-root-user --mount --pid --fork --net --uts --ipc --mount-proc"
PROBES = {
    "writes its home": "echo x > $HOME/x && test -O $HOME/x",
    "runs a program from /tmp": "cp /bin/echo /tmp/p && /tmp/p",
    "has a runtime directory": "touch $XDG_RUNTIME_DIR/x",
    "python": "/opt/tidegate/bin/python -c 'import ssl, ctypes, multiprocessing as m; m.Lock()'",
    "node": 'node -e \'const r = /a+b/; for (let i = 0; i < 1e5; i++) r.test("aaab"); '
    'require("child_process").execSync("true")\'',
    "git": "git init -q $HOME/r && cd $HOME/r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x "
    "&& git worktree add -q ../w && git -C ../w log --oneline",
    "gcc": "cd /tmp && echo 'int main(void){return 0;}' > a.c && gcc -o a.out a.c && ./a.out",
    "strace": "strace -f -o /tmp/trace true && test -s /tmp/trace",
    "script": "script -qec 'test -t 0' /dev/null",
    "unshare": f"{NAMESPACES} sh -c 'mount -t tmpfs tmpfs /mnt && mount --rbind /usr /mnt && test \"$(id -u)\" = 0'",
    "bwrap": "bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp true",
    "listens on the loopback": "/opt/tidegate/bin/python -c 'import socket; socket.create_server((\"127.0.0.1\", 0))'",
}
NEEDS = {
    "python": "",
    "git": "git",
    "node": "node",
    "gcc": "gcc",
    "strace": "strace",
    "script": "script",
    "bwrap": "bwrap",
}
FORBIDDEN = {
    "write the system": "touch /usr/x /etc/x",
    "read people's homes": "ls /home /root",
    "see other users' processes": "test -e /proc/1",
    "read the kernel's log": "dmesg",
    "become root": "setpriv --reuid 0 true",
    "set the clock": "date -s 2020-01-01",
    "write kernel tunables": "echo 1 > /proc/sys/kernel/panic",
}


def as_an_agent(machine: Machine, script: str) -> str:
    """Run a script with everything that tidegate.service says, but for what is about starting and ending."""
    lines = machine.read(UNIT).split("[Service]")[1].split("[Install]")[0].splitlines()
    about = ("Type", "NotifyAccess", "Exec", "KillMode", "Timeout", "Watchdog", "Restart")
    kept = [line for line in lines if line and not line.startswith(("#", *about))]
    start = [
        "ExecStart=/bin/sh /run/probe.sh",
        "Type=oneshot",
        "StandardOutput=truncate:/run/probe.out",
        "StandardError=inherit",
    ]
    machine.write("/run/probe.sh", script + "\n")
    machine.write("/run/systemd/system/probe.service", "\n".join(["[Service]", *kept, *start, ""]))
    machine("systemctl", "daemon-reload")
    done = machine.run("systemctl", "start", "probe.service")
    return "" if done.returncode == 0 else machine.read("/run/probe.out") + done.stderr


@pytest.mark.parametrize("what", PROBES)
def test_an_agent_in_the_service_still_works(machine: Machine, what: str) -> None:
    program = NEEDS.get(what, "")
    if program and shutil.which(program, path="/usr/local/bin:/usr/bin:/bin") is None:
        pytest.skip(f"{program} is not installed here")
    said = as_an_agent(machine, PROBES[what])
    if said and outside(machine, PROBES[what]):
        pytest.skip(f"works nowhere on this machine: {said.splitlines()[0]}")
    assert said == ""


def outside(machine: Machine, script: str) -> str:
    """What a script says that fails for the same user outside of the service too."""
    env = {"HOME": "/tmp/outside", "XDG_RUNTIME_DIR": "/tmp/outside"}
    machine("install", "-d", "-o", "tidegate", "/tmp/outside")
    done = machine.run("sh", "-c", script, user="tidegate", env=env)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("what", FORBIDDEN)
def test_an_agent_in_the_service_cannot(machine: Machine, what: str) -> None:
    assert as_an_agent(machine, FORBIDDEN[what]) != ""


def test_what_agents_write_to_tmp_is_nobody_elses(machine: Machine) -> None:
    assert as_an_agent(machine, "echo secret > /tmp/mine") == ""
    assert machine.run("test", "-e", "/tmp/mine").returncode != 0
    assert machine.run("cat", "/var/lib/tidegate/tmp/mine", user="nobody").returncode != 0


@pytest.mark.parametrize("unit", ["tidegate.service"])
def test_systemd_scores_the_exposure_at_most_3(machine: Machine, unit: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = machine.run("systemd-analyze", "security", "--no-pager", "--threshold=30", unit)
    with capsys.disabled():
        print(f"\n{unit}: {done.stdout.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout
