"""Makes or updates the environment in .venv and installs divebell there, editable, with the extras named.

Usage: python3 scripts/environment.py [EXTRA ...]

Needs Python's standard library and a C++ compiler; the rest comes from the package index that pip is set to use. Works
on a Debian without python3-venv, whose Python can make an environment but has no pip to put into it.
"""

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import urllib.error
import urllib.request
import venv
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def main(extras):
    check_machine()
    if not working(PYTHON):
        make_environment()
    run("pip", "install", *build_tools())
    if {"test", "tune"} & set(extras):
        install_torch()
    target = f".[{','.join(extras)}]" if extras else "."
    run("pip", "install", "--no-build-isolation", "--editable", target)
    run("compileall", ROOT / "src")  # pip does that for others' packages: a fifth of a second of each start


def check_machine():
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever has an older one is told so
        sys.exit(f"Python is {sys.version.split()[0]}; 3.11 or newer is needed: make PYTHON=python3.12")
    if not shutil.which(os.environ.get("CXX", "c++")) and not shutil.which("g++"):
        sys.exit("there is no C++ compiler; on Debian: sudo apt-get install g++")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(f"Python's headers (Python.h) are missing; on Debian: sudo apt-get install libpython{version}-dev")


def working(python):
    """Whether the environment has a Python that runs (its base may be gone) and a pip."""
    try:
        return subprocess.run([python, "-c", "import pip"], capture_output=True).returncode == 0
    except OSError:
        return False


def make_environment():
    say("making the environment in .venv")
    has_pip = importlib.util.find_spec("ensurepip") is not None
    venv.create(VENV, clear=True, with_pip=has_pip, symlinks=True)
    if not has_pip:
        bootstrap_pip()


def bootstrap_pip():
    """Installs pip with pip itself, run from its wheel: a wheel is a zip file that Python can import from."""
    say("this Python has no ensurepip (python3-venv is not installed): fetching pip from the package index")
    with tempfile.TemporaryDirectory() as folder:
        wheel = fetch_pip(Path(folder))
        subprocess.run([PYTHON, f"{wheel}/pip", "install", "--quiet", "--no-deps", wheel], check=True)


def fetch_pip(folder):
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    request = urllib.request.Request(f"{index}/pip/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as page:
            files = [file for file in json.load(page)["files"] if released(file)]
        newest = max(files, key=lambda file: version(file["filename"]))
        with urllib.request.urlopen(newest["url"], timeout=30) as answer:
            content = answer.read()
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"pip can't be fetched from {index} ({error}); on Debian: sudo apt-get install python3-venv")
    if sha256(content).hexdigest() != newest["hashes"]["sha256"]:
        sys.exit(f"{newest['filename']} from {index} does not have the SHA-256 that the index states")
    wheel = folder / newest["filename"]
    wheel.write_bytes(content)
    return wheel


def released(file):
    return bool(re.fullmatch(r"pip-[0-9.]+-py3-none-any\.whl", file["filename"])) and not file.get("yanked")


def version(filename):
    return tuple(int(number) for number in filename.split("-")[1].split("."))


def build_tools():
    """What pyproject.toml asks for, and the tools that this machine lacks.

    Without an environment of their own for each build, what comes as source (rouge-score) is built with the setuptools
    that is here: before 70.1 it makes no wheels.
    """
    tools = [*project_file()["build-system"]["requires"], "setuptools>=70.1"]
    if cmake_version() < (3, 18):
        tools.append("cmake")
    if not shutil.which("ninja") and not shutil.which("make"):
        tools.append("ninja")
    return tools


def project_file():
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def cmake_version():
    if not shutil.which("cmake"):
        return (0, 0)
    text = subprocess.run(["cmake", "--version"], capture_output=True, text=True).stdout
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def install_torch():
    """The build for CPUs, where its index can be reached; the default index has several gigabytes of CUDA instead."""
    tests = project_file()["project"]["optional-dependencies"]["test"]
    torch = [requirement for requirement in tests if requirement.startswith("torch")]
    try:
        socket.create_connection(("download.pytorch.org", 443), timeout=5).close()
    except OSError:
        return
    run("pip", "install", *torch, "--index-url", TORCH_INDEX)


def run(module, *arguments):
    """A module of Python's, quietly: what it prints is shown in full when it fails."""
    environment = {
        **os.environ,
        "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count()),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    environment["PATH"] = f"{PYTHON.parent}{os.pathsep}{environment['PATH']}"
    line = [PYTHON, "-m", module, "-q", *arguments]
    done = subprocess.run(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{' '.join(map(str, line))} failed")


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
