"""divebell audit: what is printed and written, and the exit code that scripts rely on."""

import json
import shutil

from divebell.cli import main
from divebell.costs.settings import state
from divebell.engine.identity import file_identity
from divebell.evaluate.cost import COUNTED
from divebell.evaluate.journal import Journal


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


def test_scores_kept_on_this_machine_are_in_the_documents(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = shutil.copytree(tiny("deepseek_v3"), tmp_path / "DeepSeek-V3")
    files = {"model.safetensors": file_identity(folder / "model.safetensors")}
    for name, own in (("own", files), ("other", {"model.safetensors": "0" * 64})):
        journal = Journal(state() / "eval", name, {"model": {"files": own, "weights": "f32"}, "shots": 0, "chat": True})
        for id in range(4):
            row = {"task": "xcopa_sw", "id": id, "sample": 0, "digest": "", "scores": {"acc": id % 2}}
            journal.add(row | dict.fromkeys(COUNTED))
        journal.add(row | {"id": 4, "scores": {}, "refused": "no"} | dict.fromkeys(COUNTED))
        journal.close()
    (state() / "receipts.sqlite").write_text("no ledger")
    assert main(["audit", str(folder), "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    page = (tmp_path / "out" / "ai-act.md").read_text()
    assert page.count("xcopa, 4 questions, acc: 50.0 % (15.0 to 85.0); 0 examples, chat, weights f32") == 2
    assert "GPU hours 2.79 M, as published for a model of this name (DeepSeek-V3 (arXiv 2412.19437), H800" in page


def test_what_can_not_be_audited_is_told(tmp_path, capsys):
    for model, words in ((tmp_path, "is an empty folder"), ("no-such-model", "there is no such file or folder")):
        assert main(["audit", str(model)]) == 1
        assert words in capsys.readouterr().err
