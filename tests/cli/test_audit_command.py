"""divebell audit: what is printed and written, and the exit code that scripts rely on."""

import json
import shutil

from divebell.cli import main


def test_documents_and_exit_codes(tiny, tmp_path, capsys):
    folder, out = shutil.copytree(tiny("llama"), tmp_path / "m"), tmp_path / "deep" / "out"
    assert main(["audit", str(folder), "--json", "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [check["check"] for check in told["checks"]][:4] == ["licence", "source", "hashes", "code"]
    assert told["documents"] == [str(out / name) for name in ("model-card.md", "bom.cdx.json", "ai-act.md")]
    assert json.loads((out / "bom.cdx.json").read_text())["bomFormat"] == "CycloneDX"
    (folder / "chat_template.jinja").write_text("{{ ''.__class__ }}")
    assert main(["audit", str(folder)]) == 1
    written = capsys.readouterr()
    assert "reaches for '__class__'" in written.out
    assert "1 check failed: chat template" in written.err


def test_what_can_not_be_audited_is_told(tmp_path, capsys):
    for model, words in ((tmp_path, "is an empty folder"), ("no-such-model", "there is no such file or folder")):
        assert main(["audit", str(model)]) == 1
        assert words in capsys.readouterr().err
