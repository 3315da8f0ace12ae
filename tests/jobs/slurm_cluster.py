"""A SLURM cluster of one node in its own folder, from Debian's packages: munged, slurmctld, slurmd.

It needs an empty folder and provides the variables that select this cluster in SLURM's commands. This process starts
every daemon as the current user; the daemons listen only on free ports of 127.0.0.1, keep their files in the folder,
and end when the cluster is closed. The machine's configuration in /etc is neither read nor changed.

Features that a container does not allow are left out: cgroups (processes are tracked by their parents) and the
accounting database. The node declares four cores and two GPUs (represented by character devices of the kernel).
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
CONFIGURATION = """
ClusterName=tried
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
PlugStackConfig={folder}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
ReturnToService=2
SlurmdTimeout=5
SlurmctldTimeout=10
MessageTimeout=10
KillWait=30
MinJobAge={remembered}
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 \
RealMemory=4000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=1-00:00:00 State=UP PriorityTier=1
PartitionName=short Nodes=ALL MaxTime=5 State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> list[str]:
    """Return the programs that a cluster needs and this machine lacks."""
    return [name for name in (*DAEMONS, *COMMANDS) if not _which(name)]


class Cluster:
    """One node, from :meth:`open` to :meth:`close`."""

    def __init__(self, folder: Path, remembered: int = 300) -> None:
        self.folder = folder
        self.remembered = remembered
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def open(self) -> None:
        """Write the configuration and start the daemons; return when the node accepts jobs."""
        for name in ("", "state", "spool"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        values = {
            "host": socket.gethostname().split(".")[0],
            "folder": self.folder,
            "user": getpass.getuser(),
            "remembered": self.remembered,
            "ctld_port": _free_port(),
            "slurmd_port": _free_port(),
        }
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(**values))
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        (self.folder / "plugstack.conf").write_text("")
        self.start("munged")
        self.start("slurmctld")
        self.start("slurmd")
        self.until_ready()

    def start(self, name: str) -> None:
        """Start a daemon in its own session."""
        at = self.folder
        arguments = {
            "munged": [
                "--foreground",
                "--force",
                f"--key-file={at}/munge.key",
                f"--socket={at}/munge.socket",
                f"--pid-file={at}/munged.pid",
                f"--seed-file={at}/munged.seed",
                f"--log-file={at}/munged.log",
            ],
            "slurmctld": ["-D", "-f", f"{at}/slurm.conf"],
            "slurmd": ["-D", "-f", f"{at}/slurm.conf"],
        }
        with (at / f"{name}.out").open("ab") as out:
            self._running[name] = subprocess.Popen(
                [str(_which(name)), *arguments[name]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=os.environ | self.environment,
            )
        if name == "munged":
            self._until(lambda: (at / "munge.socket").exists(), "reachable through munged")

    def kill(self, name: str) -> None:
        """End a daemon; its jobs continue.

        The node's daemon is killed. The controller is terminated, so that it saves its state: if it is killed between
        two saves, it forgets jobs, reuses their ids and drains the node on the conflict, which is SLURM's own fault and
        not tested here.
        """
        process = self._running.pop(name)
        if name == "slurmctld":
            _stop(process)
        else:
            process.kill()
            process.wait()

    def lose_node(self) -> None:
        """Kill the node's daemon and all of its children, as a power cut would."""
        self.kill("slurmd")
        for pid in self.left():
            if pid not in (process.pid for process in self._running.values()):
                with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                    if psutil.Process(pid).name() == "slurmstepd" or "SLURM_JOB_ID" in psutil.Process(pid).environ():
                        os.kill(pid, signal.SIGKILL)

    def runs(self, name: str) -> bool:
        """Return True if a daemon is running."""
        return name in self._running and self._running[name].poll() is None

    def path(self, name: str) -> str:
        """Return the path of a SLURM program."""
        return str(_which(name))

    def empty(self) -> None:
        """Cancel all jobs and wait until they are gone."""
        self.command("scancel", "--me")
        self._until(lambda: not self.command("squeue", "--noheader"), "without jobs")

    def until_ready(self) -> None:
        """Wait until the node accepts jobs."""
        self._until(
            lambda: self.command("sinfo", "-h", "-o", "%T").split("\n")[0] in ("idle", "mixed", "allocated"), "up"
        )

    def command(self, *command: str) -> str:
        """Run a SLURM command; return its output, empty if it fails."""
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | self.environment, timeout=60)
        return done.stdout.strip() if done.returncode == 0 else ""

    def close(self) -> list[int]:
        """Cancel the jobs and end the daemons; kill and return the processes that remain (there should be none)."""
        if "slurmctld" in self._running:
            self.command("scancel", "--me")
            deadline = time.monotonic() + 15
            while self.command("squeue", "--noheader") and time.monotonic() < deadline:
                time.sleep(0.2)
        for name in ("slurmd", "slurmctld", "munged"):
            if name in self._running:
                _stop(self._running.pop(name))
        deadline = time.monotonic() + 5
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left

    def left(self) -> list[int]:
        """Return the live processes of this cluster: its daemons, job steps and jobs."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                mine = process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]
                if process.name() == "slurmstepd":  # it overwrites its environment with its title
                    mine = any(file.path.startswith(f"{self.folder}/") for file in process.open_files())
                if mine and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def _until(self, condition: Callable[[], object], state: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            dead = [name for name, process in self._running.items() if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(f"{p.name}: {p.read_text()[-3000:]}" for p in sorted(self.folder.glob("*.log")))
                outs = "\n".join(f"{p.name}: {p.read_text()[-1000:]}" for p in sorted(self.folder.glob("*.out")))
                raise RuntimeError(f"SLURM is not {state}; ended: {dead}\n{logs}\n{outs}")
            time.sleep(0.1)


def _which(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a daemon; kill it if it does not end."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: list[str]) -> int:
    """Check that SLURM is installed; with a folder, also run a cluster there until interrupted."""
    if absent := missing():
        print(f"SLURM: expected {', '.join((*DAEMONS, *COMMANDS))} on PATH, found no {', '.join(absent)}.")
        return 1
    if not arguments:
        return 0
    cluster = Cluster(Path(arguments[0]).resolve())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cluster.open()
        print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        cluster.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
