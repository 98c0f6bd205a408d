#!/usr/bin/env python3
"""Runs the static binary as a container of 2 MiB would, without an engine: in an empty read-only root, as user 65534
and process 1, with no environment but its own variables; under full load, then with a tenth of one processor.

    tests/deploy/container.py              the check, with cgroups of version 1 or 2
    tests/deploy/container.py --smallest   and after it, the smallest limit that still works
    tests/deploy/container.py --cold       as after a reboot: the pages of the program count too, which the kernel
                                           otherwise counts for the process that wrote the file
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from support import STATIC, UNOBTAINABLE, Server, bearer, check, find, finish, require

LIMIT_KIB = 2048
# Version 2 counts the kernel's socket buffers too: 64 connections with a request and a response each, in pages.
SOCKETS_KIB = 64 * 8
USER = "65534"
CGROUPS = Path("/sys/fs/cgroup")


class Cgroup:
    """A cgroup of its own: a folder per controller in version 1, one folder in version 2."""

    def __init__(self, limit_kib):
        self.is_version_2 = (CGROUPS / "cgroup.controllers").exists()
        name = f"resource-server-{os.getpid()}"
        if self.is_version_2:
            (CGROUPS / "cgroup.subtree_control").write_text("+memory +cpu")
            self.memory = self.processor = CGROUPS / name
            limit, limit_kib = "memory.max", limit_kib + SOCKETS_KIB
        else:
            self.memory, self.processor = CGROUPS / "memory" / name, CGROUPS / "cpu" / name
            limit = "memory.limit_in_bytes"
        self.folders = sorted({self.memory, self.processor})
        for folder in self.folders:
            folder.mkdir()
        (self.memory / limit).write_text(f"{limit_kib}K")
        if (swap := self.memory / "memory.swap.max").exists():
            swap.write_text("0")

    def allow_tenth_of_processor(self):
        if self.is_version_2:
            (self.processor / "cpu.max").write_text("10000 100000")
        else:
            (self.processor / "cpu.cfs_period_us").write_text("100000")
            (self.processor / "cpu.cfs_quota_us").write_text("10000")

    def forget_peak(self):
        if not self.is_version_2:  # Linux before 6.12 cannot there: the peak is then that of the start too
            (self.memory / "memory.max_usage_in_bytes").write_text("0")

    def number(self, version_1, version_2):
        """A number from the file and by the pattern that the version has."""
        file, pattern = version_2 if self.is_version_2 else version_1
        file = self.memory / file
        return int(re.search(pattern, file.read_text(), re.MULTILINE)[1]) if file.exists() else 0

    def peak(self):
        return self.number(("memory.max_usage_in_bytes", r"(\d+)"), ("memory.peak", r"(\d+)"))

    def kills(self):
        return self.number(("memory.oom_control", r"oom_kill (\d+)"), ("memory.events", r"oom_kill (\d+)"))

    def limit_hits(self):
        return self.number(("memory.failcnt", r"(\d+)"), ("memory.events", r"^max (\d+)"))

    def pids(self):
        return list(map(int, (self.memory / "cgroup.procs").read_text().split()))

    def remove(self):
        for folder in self.folders:
            folder.rmdir()


class Container(Server):
    """The program in its root and its cgroup."""

    def __init__(self, root, cgroup):
        self.cgroup = cgroup
        shutil.copy(STATIC, root)
        os.chmod(root, 0o755)
        if "--cold" in sys.argv:
            with open(Path(root, STATIC.name), "rb") as program:
                os.fsync(program.fileno())
                os.posix_fadvise(program.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        # Process 1 of the namespace joins the cgroup ("0" is the writing process) and then becomes the program, step
        # by step. `env -i` leaves it the variables that are named here.
        root = shlex.quote(root)
        join = " ".join(f"echo 0 > {folder}/cgroup.procs &&" for folder in cgroup.folders)
        super().__init__(
            find("unshare"), "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c",
            f"mount --bind {root} {root} && mount -o remount,bind,ro {root} && {join} "
            'exec env -i API_PORT=0 API_WORKERS=1 JWT_SECRET="$JWT_SECRET" '
            f"{find('chroot')} --userspec={USER}:{USER} --groups= {root} /{STATIC.name}",
            PATH=os.environ["PATH"])
        self.pid = cgroup.pids()[0]
        cgroup.forget_peak()

    def check_confinement(self):
        status = Path(f"/proc/{self.pid}/status").read_text()
        for field, expected in {"Uid": [USER] * 4, "Gid": [USER] * 4, "Groups": [],
                                "NSpid": [str(self.pid), "1"]}.items():
            found = re.search(rf"^{field}:(.*)$", status, re.MULTILINE)[1].split()
            check(f"{field} is {expected}", found == expected, found)
        names = {line.split("=")[0] for line in Path(f"/proc/{self.pid}/environ").read_text().rstrip("\0").split("\0")}
        check("the environment is its own", names == {"API_PORT", "API_WORKERS", "JWT_SECRET"}, names)
        mounts = [line.split() for line in Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()]
        roots = [fields[5] for fields in mounts if fields[4] == "/"]
        check("the root is read-only", roots and roots[-1].startswith("ro"), mounts)
        files = os.listdir(f"/proc/{self.pid}/root")
        check("the root is empty", files == [STATIC.name], files)

    def check_survival(self, when):
        check(f"not killed {when}", self.cgroup.kills() == 0 and self.child.poll() is None, self.child.poll())

    def stop(self, timeout=10):
        """SIGTERM to the program; `unshare` waits for it and has its status."""
        for pid in self.cgroup.pids():
            os.kill(pid, signal.SIGTERM)
        try:
            return self.child.wait(timeout)
        finally:
            for pid in self.cgroup.pids():
                os.kill(pid, signal.SIGKILL)
            self.child.wait(timeout)


def load(url, seconds=5):
    """Sends good and bad tokens at once, each on 32 connections, as fast as responses come. Returns the requests per
    second."""
    tokens = {bearer({"sub": "a"}): True, bearer({"sub": "a"}, secret="x" * 32): False}
    processes = [subprocess.Popen(["wrk", "-t1", "-c32", f"-d{seconds}s", "--timeout", "10s", "-H", field,
                                   f"{url}/resource/secret"], stdout=subprocess.PIPE, text=True) for field in tokens]
    total = 0
    for process, is_good in zip(processes, tokens.values()):
        report = process.communicate()[0]
        requests = int(re.search(r"(\d+) requests in|$", report)[1] or 0)
        rejected = int((re.search(r"Non-2xx or 3xx responses: (\d+)", report) or [0, 0])[1])
        check(f"every {'good' if is_good else 'bad'} token gets its response", process.returncode == 0 and requests > 0
              and "Socket errors" not in report and rejected == (0 if is_good else requests), report)
        total += requests
    return total // seconds


def run(limit_kib):
    cgroup = Cgroup(limit_kib)
    try:
        with tempfile.TemporaryDirectory(prefix="resource-server-root-") as root, Container(root, cgroup) as container:
            container.check_confinement()
            rate = load(container.url)
            container.check_survival("at full speed")
            cgroup.allow_tenth_of_processor()
            slow_rate = load(container.url)
            container.check_survival("with a tenth of a processor")
            peak, hits = cgroup.peak() // 1024, cgroup.limit_hits()
            status = container.stop()
    finally:
        cgroup.remove()
    check("SIGTERM ends it with status 0", status == 0, status)
    print(f"cgroup version {2 if cgroup.is_version_2 else 1}, {limit_kib} KiB: {rate} requests/s, "
          f"{slow_rate} with a tenth of a processor; peak {peak} KiB, limit reached {hits} times", flush=True)


def smallest():
    """Halves the range between a limit that works and one that does not, down to 64 KiB. Each runs by itself, as its
    checks fail."""
    works, fails = LIMIT_KIB, 0
    while works - fails > 64:
        limit_kib = (works + fails) // 2
        arguments = [sys.executable, __file__, str(limit_kib), *(["--cold"] if "--cold" in sys.argv else [])]
        if subprocess.run(arguments, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            works = limit_kib
        else:
            fails = limit_kib
    print(f"works from {works} KiB on")


def main():
    require("unshare", "chroot", "wrk")
    try:
        Cgroup(LIMIT_KIB).remove()
    except OSError as error:
        print(f"no cgroup can be made here: {error}")
        sys.exit(UNOBTAINABLE)
    limits = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    run(limits[0] if limits else LIMIT_KIB)
    if "--smallest" in sys.argv:
        smallest()
    finish()


if __name__ == "__main__":
    main()
