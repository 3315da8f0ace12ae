"""A SLURM of one node, made of Debian's packages, in a folder of its own: munged, slurmctld, slurmd.

In: an empty folder. Out: the variables with which SLURM's commands find this cluster and no other. Every daemon is
started by this process as the present user, listens on 127.0.0.1 alone, on ports that were free, keeps its files in the
folder, and is gone when the cluster is closed. The machine's own configuration in /etc is neither read nor changed.

What a container does not allow is left out: no cgroups (processes are followed by their parents), no accounting
database. The node pretends to have four cores and two GPUs (character devices of the kernel stand for them).
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
    """What a cluster needs and this machine does not have."""
    return [name for name in (*DAEMONS, *COMMANDS) if not _which(name)]


class Cluster:
    """One node, from :meth:`open` to :meth:`close`."""

    def __init__(self, folder: Path, remembered: int = 300) -> None:
        self.folder = folder
        self.remembered = remembered
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def open(self) -> None:
        """Write the configuration and start the daemons; returns when the node takes jobs."""
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
        """Start a daemon in a session of its own."""
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
            self._until(lambda: (at / "munge.socket").exists(), "munged answers")

    def kill(self, name: str) -> None:
        """End a daemon; the jobs live on.

        The node's gets no warning. The controller is told to, and writes down what it knows: one that is killed
        between two of its notes forgets jobs, gives their numbers away once more and shuts the node when they meet,
        which is a fault of SLURM's and not what is tried here.
        """
        process = self._running.pop(name)
        if name == "slurmctld":
            _stop(process)
        else:
            process.kill()
            process.wait()

    def lose_node(self) -> None:
        """End the node's daemon and everything that it has started, as a power cut would."""
        self.kill("slurmd")
        for pid in self.left():
            if pid not in (process.pid for process in self._running.values()):
                with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                    if psutil.Process(pid).name() == "slurmstepd" or "SLURM_JOB_ID" in psutil.Process(pid).environ():
                        os.kill(pid, signal.SIGKILL)

    def runs(self, name: str) -> bool:
        """Whether a daemon is at work."""
        return name in self._running and self._running[name].poll() is None

    def path(self, name: str) -> str:
        """Where a program of SLURM is."""
        return str(_which(name))

    def empty(self) -> None:
        """Cancel whatever jobs there are, and wait until they are gone."""
        self.tell("scancel", "--me")
        self._until(lambda: not self.tell("squeue", "--noheader"), "without jobs")

    def until_ready(self) -> None:
        """Wait until the node takes jobs."""
        self._until(lambda: self.tell("sinfo", "-h", "-o", "%T").split("\n")[0] in ("idle", "mixed", "allocated"), "up")

    def tell(self, *command: str) -> str:
        """What a command of SLURM prints; nothing when it fails."""
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | self.environment, timeout=60)
        return done.stdout.strip() if done.returncode == 0 else ""

    def close(self) -> list[int]:
        """Cancel the jobs, end the daemons; returns (and kills) what then still lives of either: nothing, that is."""
        if "slurmctld" in self._running:
            self.tell("scancel", "--me")
            deadline = time.monotonic() + 15
            while self.tell("squeue", "--noheader") and time.monotonic() < deadline:
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
        """Living processes that know of this cluster: its daemons, their steps and jobs."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                mine = process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]
                if process.name() == "slurmstepd":  # which writes its title over its environment
                    mine = any(file.path.startswith(f"{self.folder}/") for file in process.open_files())
                if mine and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def _until(self, what: object, said: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not what():  # type: ignore[operator]
            dead = [name for name, process in self._running.items() if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(f"{p.name}: {p.read_text()[-3000:]}" for p in sorted(self.folder.glob("*.log")))
                outs = "\n".join(f"{p.name}: {p.read_text()[-1000:]}" for p in sorted(self.folder.glob("*.out")))
                raise RuntimeError(f"SLURM is not {said}; ended: {dead}\n{logs}\n{outs}")
            time.sleep(0.1)


def _which(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Tell a daemon to end; one that does not hear is killed."""
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
    """Without a folder: whether SLURM is installed. With one: run a cluster there until it is interrupted."""
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
