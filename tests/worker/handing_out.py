"""An office's hand-outs, for tests and benchmark: a model laid into the box's store, and wished for."""

import hashlib
import os
from pathlib import Path

from appliance.enrolment import Worker, WorkerReport
from appliance.enrolment.contract import DesiredEngine
from appliance.enrolment.wishes import Wish, set_wish
from appliance.handout.contract import ModelProgress
from appliance.models.bundle import Bundle, BundleFile, ModelFormat
from tests.worker.office import Office


def put_into_store(office: Office, files: dict[str, bytes | Path]) -> Bundle:
    """A model of these files as the box keeps it: GGUF where one is named so or alone, else OpenVINO's."""
    blobs = office.settings.state_dir / "models" / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, given in files.items():
        content = given if isinstance(given, bytes) else given.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        (blobs / sha256).write_bytes(content)
        # the catalogue's cleaning takes what nothing else links to, and these models are in no catalogue
        kept = office.folder / f"kept-{sha256}"
        if not kept.exists():
            kept.hardlink_to(blobs / sha256)
        listed.append(BundleFile(path=name, size_bytes=len(content), sha256=sha256))
    is_gguf = len(files) == 1 or any(name.endswith(".gguf") for name in files)
    kind = ModelFormat.GGUF if is_gguf else ModelFormat.OPENVINO
    return Bundle(format=kind, files=tuple(listed))


def random_bundle(office: Office, size_bytes: int) -> Bundle:
    """Bytes that no compression makes smaller."""
    return put_into_store(office, {"weights": os.urandom(size_bytes)})


def wish_models(office: Office, worker: Worker, *models: Bundle) -> None:
    """Models to be held ready; no engine runs."""
    set_wish(office.db, worker.id, Wish(models=models))


def wish_engine(office: Office, worker: Worker, name: str, bundle: Bundle) -> None:
    engine = DesiredEngine(model=name, slots=1, context_tokens=512, bundle=bundle)
    set_wish(office.db, worker.id, Wish(engines=(engine,)))


def is_ready(office: Office, worker: Worker) -> bool:
    """Whether the worker's first engine answers."""
    engines = report_of(office, worker).engines
    return bool(engines) and engines[0].ready


def report_of(office: Office, worker: Worker) -> WorkerReport:
    row = office.report_of(worker)
    assert row is not None
    return WorkerReport.model_validate_json(str(row["report"]))


def progress(office: Office, worker: Worker, bundle: Bundle) -> ModelProgress:
    """What the worker last said of a model. Raises AssertionError while it says nothing."""
    found = [model for model in report_of(office, worker).models if model.digest == bundle.digest]
    assert found, "the worker says nothing of the model"
    return found[0]


def has_come(office: Office, worker: Worker, bundle: Bundle) -> bool:
    return progress(office, worker, bundle).is_complete
