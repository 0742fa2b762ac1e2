"""A bill of materials for a model: CycloneDX 1.6, JSON, with a model card (https://cyclonedx.org/docs/1.6/json/).

Written as a dict: the library for CycloneDX in Python has no model cards (11.12). The tests hold it to its schema.
"""

from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from divebell import __version__
from divebell.audit.audit import Audit
from divebell.audit.files import File
from divebell.audit.licences import Licence
from divebell.audit.measured import KWH, Energy, Score

_URL = ":/?#[]@!$&'()*+,;=%~"  # what a file calls its source need not be an address


def bom(audit: Audit) -> dict[str, Any]:
    """The same model gives the same serial number: it is made of the files' hashes."""
    identity = "".join(sorted(file.sha256 for file in audit.files))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, identity)}",
        "version": 1,
        "metadata": {
            "timestamp": audit.made.isoformat().replace("+00:00", "Z"),
            "tools": {"components": [{"type": "application", "name": "divebell", "version": __version__}]},
            "component": _model(audit),
        },
        "components": [_component(file) for file in audit.files],
        "dependencies": [{"ref": "model", "dependsOn": [f"file:{file.name}" for file in audit.files]}],
    }


def _model(audit: Audit) -> dict[str, Any]:
    made = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": audit.name,
        "version": audit.revision,
        "licenses": [_licence(one) for one in audit.licences],
        "externalReferences": [{"type": "distribution", "url": quote(audit.source, safe=_URL)}] if audit.source else [],
        "pedigree": {"ancestors": [{"type": "machine-learning-model", "name": audit.base}]} if audit.base else {},
        "modelCard": _card(audit),
        "properties": [
            {"name": f"divebell:{one.check}", "value": f"{one.state}: {one.said}"} for one in audit.findings
        ],
    }
    return {name: value for name, value in made.items() if value}


def _licence(licence: Licence) -> dict[str, Any]:
    name = {"id": licence.id} if licence.spdx else {"name": licence.title}
    return {"license": name | {"url": licence.source.split(",")[0]}}


def _card(audit: Audit) -> dict[str, Any]:
    parameters = {"task": "text generation", "inputs": [{"format": "text"}], "outputs": [{"format": "text"}]}
    if shape := audit.description:
        parameters |= {"architectureFamily": "transformer", "modelArchitecture": shape.architecture}
    restricted = [use for licence in audit.licences for use in licence.restrictions]
    considerations = {"technicalLimitations": restricted} if restricted else {}
    considerations |= {"environmentalConsiderations": _energy(audit.measured.energy)} if audit.measured.energy else {}
    counts = {"parameters": shape.parameters, "activeParameters": shape.active_parameters} if shape else {}
    properties = [{"name": f"divebell:{name}", "value": str(value)} for name, value in counts.items()]
    card = {"modelParameters": parameters, "considerations": considerations, "properties": properties}
    metrics = [_metric(one) for one in audit.measured.scores]
    return card | ({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {})


def _metric(score: Score) -> dict[str, Any]:
    interval = {"lowerBound": f"{score.low:.4f}", "upperBound": f"{score.high:.4f}"}
    slice = f"{score.benchmark}, {score.questions} questions; {score.how}; {score.date}"
    return {"type": score.metric, "value": f"{score.value:.4f}", "slice": slice, "confidenceInterval": interval}


def _energy(found: Energy) -> dict[str, Any]:
    """The schema wants a provider, of whom a ledger knows nothing."""
    used = {"value": found.joules / KWH, "unit": "kWh"}
    provider = {"organization": {"name": "not known"}, "energySource": "unknown", "energyProvided": used}
    consumed = {"activity": "inference", "energyProviders": [provider], "activityEnergyCost": used}
    consumed["co2CostEquivalent"] = {"value": found.grams_co2 / 1e6, "unit": "tCO2eq"}
    return {"energyConsumptions": [consumed], "properties": [{"name": "divebell:energy", "value": str(found)}]}


def _component(file: File) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{file.name}",
        "name": file.name,
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
        "properties": [{"name": "divebell:bytes", "value": str(file.bytes)}],
    }
