"""What runs first in the sandbox: takes what rights and room are left, then runs the program.

Usage: python -c TEXT '{"uid": ..., "most": {"NOFILE": ..., ...}, "mark": ..., "end": ...}'

Imports nothing of divebell, which is not there.
"""

import json
import os
import resource
import runpy
import sys


def give_up(uid, most):
    """The user first: root is not bound by a limit of processes."""
    for name, value in most.items():
        limit = getattr(resource, f"RLIMIT_{name}")
        already = resource.getrlimit(limit)[1]
        value = value if already == resource.RLIM_INFINITY else min(value, already)
        after = 1 if name == "CPU" else 0  # SIGXCPU, which tells what happened, before SIGKILL, which does not
        resource.setrlimit(limit, (max(value - after, 0), value))
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


if __name__ == "__main__":
    told = json.loads(sys.argv.pop())
    give_up(told["uid"], told["most"])
    os.write(1, told["mark"].encode())
    runpy.run_path("/program.py", run_name="__main__")
    sys.exit(told["end"])
