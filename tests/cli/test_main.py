import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from divebell import cli
from divebell.cli import main
from divebell.cli.output import counted, print_fields, print_json, print_table
from divebell.errors import BadInput

PROGRAM = [sys.executable, "-m", "divebell"]


def test_help_lists_every_command(capsys):
    for arguments in ([], ["--help"]):
        assert main(arguments) == 0
        shown = capsys.readouterr().out
        assert all(
            f"{name} " in shown for name in ("pull", "chat", "run", "inspect", "perplexity", "synth", "bench", "doctor")
        )


@pytest.mark.parametrize("name", cli._COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"Usage: divebell {name}" in capsys.readouterr().out


def test_a_command_that_is_asked_for_tells_more_than_its_line_in_the_list(capsys):
    assert main(["chat", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Ctrl-D leaves" in shown
    assert "[default:" in shown
    assert "smollm2-135m]" in shown
    assert not any(nothing in shown for nothing in ("None", "False", "()"))


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version("divebell")


@pytest.mark.parametrize("arguments", [["dive"], ["pull", "--fast"], ["inspect"], ["--verbose"], ["pull", "a", "b"]])
def test_a_wrong_command_line_is_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    written = capsys.readouterr()
    assert written.err
    assert not written.out


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("dive", "there is no command 'dive'; known: pull, chat,"),
        ("--verbose", "there is no option '--verbose' here; known: --help, -h, --version. The options of a command"),
        ("-v", "there is no option '-v' here; known: --help"),
    ],
)
def test_what_is_unknown_is_called_what_it_is(first, says, capsys):
    assert main([first, "pull"]) == 2
    assert capsys.readouterr().err.startswith(f"divebell: {says}")


def test_what_is_wrong_with_a_command_line_is_one_line_and_says_where_to_look(capsys):
    for arguments, words in (
        (["run", "model", "Once", "upon"], "no place for 'upon'; a text with spaces needs quotes around it."),
        (["run", "model", "--max-token", "3"], "Unknown option: --max-token. Did you mean --max-tokens?"),
        (["run"], "MODEL"),
    ):
        assert main(arguments) == 2
        shown = capsys.readouterr().err
        assert shown.startswith("divebell: ")
        assert words in shown
        assert shown.endswith(" See: divebell run --help\n")
        assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BadInput("threads is 0; it must be at least 1"), 1, "divebell: threads is 0; it must be at least 1\n"),
        (FileNotFoundError(2, "No such file or directory", "x.txt"), 1, "divebell: x.txt: No such file or directory\n"),
        (ImportError("DIVEBELL_ISA=mmx: allowed are scalar"), 1, "divebell: DIVEBELL_ISA=mmx: allowed are scalar\n"),
        (KeyboardInterrupt(), 130, "divebell: interrupted\n"),
    ],
)
def test_errors_for_the_person_are_one_message(monkeypatch, capsys, error, code, message):
    def fail():
        raise error

    monkeypatch.setattr("divebell.cli.doctor._disk", fail)
    monkeypatch.setattr("divebell.engine.machine.measure", lambda seconds: type("M", (), {}))
    monkeypatch.setattr("divebell.cli.doctor.asdict", lambda machine: {})
    assert main(["doctor"]) == code
    assert capsys.readouterr().err == message


def test_our_own_bugs_are_not_hidden(monkeypatch):
    monkeypatch.setattr("divebell.cli.pull._show_catalogue", lambda json: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["pull"])


def test_a_reader_that_leaves_is_no_error():
    process = subprocess.Popen([*PROGRAM, "pull", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_nothing_is_imported_before_main():
    """An interruption during an import that comes earlier would be a traceback."""
    program = "import sys; before = {*sys.modules}; from divebell.cli import main; print(*{*sys.modules} - before)"
    path = str(Path(cli.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, env={"PYTHONPATH": path}
    )
    assert set(done.stdout.split()) == {"divebell", "divebell.cli"}


@pytest.mark.parametrize("module", ["cyclopts", "logging", "divebell.errors", "divebell.cli.pull"])
def test_an_interrupted_import_is_an_interruption(module, monkeypatch, capsys):
    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            if name == module:
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert main(["pull"]) == 130
    assert capsys.readouterr().err == "divebell: interrupted\n"


def test_help_and_import_load_nothing_heavy():
    program = "import divebell, sys; from divebell.cli import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    loaded = set(done.stdout.split("\n")[-2].split())
    assert not loaded & {
        "numpy",
        "torch",
        "transformers",
        "tokenizers",
        "huggingface_hub",
        "divebell._native",
        "jinja2",
    }


def test_output_for_programs_and_people(capsys):
    import numpy as np

    print_json({"a": np.float32(0.5), "b": np.arange(2), "c": {"z", "y"}})
    assert (
        capsys.readouterr().out
        == '{\n  "a": 0.5,\n  "b": [\n    0,\n    1\n  ],\n  "c": [\n    "y",\n    "z"\n  ]\n}\n'
    )
    with pytest.raises(ValueError, match="JSON compliant"):
        print_json({"not a number": float("nan")})
    capsys.readouterr()
    print_fields([("size", 12345), ("ratio", 0.123456), ("none", None), ("yes", True)])
    assert capsys.readouterr().out == "size   12,345\nratio  0.123\nyes    yes\n"
    print_table(("name", "count"), [("[red]", 1), ("b", 1000)])
    assert [line.split() for line in capsys.readouterr().out.splitlines()[3:5]] == [["[red]", "1"], ["b", "1,000"]]


def test_what_goes_to_a_pipe_is_not_broken_to_a_width(capsys):
    print_table(("file", "SHA-256"), [("a" * 60, "b" * 64)])
    assert "a" * 60 + "   " + "b" * 64 in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999"), (134_515_008, "134.5 M"), (671_026_419_200, "671.0 B"), (1.03e12, "1.0 T")]
)
def test_counts_as_people_write_them(count, text):
    assert counted(count) == text
