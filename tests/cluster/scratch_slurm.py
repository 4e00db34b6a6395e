"""A real one-node SLURM for the tests: its daemons run from a scratch folder, on free ports, and end with the tests."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from background import wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")

# More processors than the machine may have, so that what runs side by side does not depend on the machine.
CONFIGURATION = """\
ClusterName=scratch
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=300
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverTimeLimit=0
"""


def missing_programs() -> list[str]:
    """Programs of SLURM and munge that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=_search_path()) is None]


class Slurm:
    """A running SLURM without accounting; `environment` makes its commands, and all that calls them, talk to it."""

    def __init__(self) -> None:
        # Directly under /tmp: the name of a socket may have 108 characters, and pytest's folders use them up.
        self.former = 0
        self.root = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.environment = {**os.environ, "PATH": _search_path(), "SLURM_CONF": str(self.root / "slurm.conf")}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def command(self, *arguments: str, seconds: float = 10.0) -> str:
        """Output of one of SLURM's commands; with the controller gone these retry for long, hence the bound."""
        done = subprocess.run(
            arguments, env=self.environment, capture_output=True, text=True, timeout=seconds, check=True
        )
        return done.stdout.strip()

    def jobs(self) -> dict[str, str]:
        """State of every job that was submitted in this test, by id, in the order of their submission."""
        lines = self.command("squeue", "--states=all", "--noheader", "--sort=i", "--format=%i %T").splitlines()
        return {job: state for job, state in map(str.split, lines) if int(job) > self.former}

    def forget(self) -> None:
        """Count jobs from here on."""
        self.former = max(map(int, self.jobs()), default=self.former)

    def start_now(self, job: str) -> None:
        """Spare a requeued job the two minutes that SLURM lets it wait, once it has arrived in the queue.

        What attended to its former start has to have left: its late message would end the new one. And the second in
        which the node was told to end the former has to be over: it would refuse a new one that began in the same.
        """
        wait_until(lambda: not any(title.startswith(f"slurmstepd: [{job}.") for title in _titles()), 30)
        time.sleep(1.1)

        def spared() -> bool:
            with suppress(subprocess.CalledProcessError):  # still on its way, or started by itself
                self.command("scontrol", "update", f"jobid={job}", "StartTime=now")
                return True
            return self.jobs()[job] != "PENDING"

        wait_until(spared, 30)

    def cancel_all(self) -> None:
        """End every job, at once."""
        self.command("scancel", "--signal=KILL", f"--user={_user()}")
        self.command("scancel", f"--user={_user()}")
        wait_until(lambda: not self._active(), 20, fail=False)

    def close(self) -> None:
        """End the daemons by their own pid files, jobs first, and remove the folder."""
        if (self.root / "slurmctld.pid").exists():
            self.cancel_all()
        for daemon in ("slurmd", "slurmctld", "munged"):
            _end(self.root / f"{daemon}.pid")
        shutil.rmtree(self.root, ignore_errors=True)

    def _active(self) -> bool:
        return any(state in ("RUNNING", "COMPLETING", "PENDING") for state in self.jobs().values())

    def _start(self) -> None:
        for name, mode in (("munge", 0o711), ("state", 0o755), ("spool", 0o755)):
            (self.root / name).mkdir(mode=mode)
        self.root.chmod(0o755)
        key = self.root / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        controller_port, node_port = _free_ports(2)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        host = socket.gethostname().split(".")[0]
        values = {"root": self.root, "user": _user(), "host": host, "memory": memory}
        (self.root / "slurm.conf").write_text(
            CONFIGURATION.format(**values, controller_port=controller_port, node_port=node_port)
        )
        munge = {"key-file": key, "socket": self.root / "munge" / "socket", "pid-file": self.root / "munged.pid"}
        munge |= {"log-file": self.root / "munge" / "log", "seed-file": self.root / "munge" / "seed"}
        self.command("munged", "--force", *(f"--{name}={value}" for name, value in munge.items()))
        self.command("slurmctld", "-c")
        wait_until(lambda: "UP" in self._ask("scontrol", "ping"), 20)
        self.command("slurmd", "-c")
        wait_until(lambda: "idle" in self._ask("sinfo", "--noheader", "--format=%T"), 20)

    def _ask(self, *arguments: str) -> str:
        try:
            return self.command(*arguments, seconds=2)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return ""


def _titles() -> list[str]:
    """What each process of this machine is called."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            found.append(path.read_text(errors="replace"))
    return found


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _search_path() -> str:
    """Debian keeps the daemons in /usr/sbin, which is not on every user's path."""
    return os.pathsep.join([os.environ["PATH"], "/usr/local/sbin", "/usr/sbin", "/sbin"])


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def _end(pid_file: Path) -> None:
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, 15)
    except (OSError, ValueError):
        return
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10, fail=False)
