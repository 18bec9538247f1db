"""From multicast to redeemed in a LAN where a rogue announces itself too."""

import json
from pathlib import Path

import pytest

from tests.enrolment.netns import cable

BOX = """
import sys, threading
from pathlib import Path
import uvicorn
from appliance.claim.certificate import ensure_certificate
from appliance.enrolment import create_invitation, list_workers, make_enrolment_app
from appliance.enrolment.announcing import Announcer
from appliance.settings import Settings
from appliance.storage import open_cellule
settings = Settings(
    state_dir=Path(sys.argv[1]), listen_host="192.168.77.1", port=int(sys.argv[2]), tls=True
)
certificate, db = ensure_certificate(settings), open_cellule(settings.state_dir)
server = uvicorn.Server(uvicorn.Config(
    make_enrolment_app(settings), host=settings.listen_host, port=settings.port, lifespan="off",
    ssl_certfile=certificate.cert_path, ssl_keyfile=certificate.key_path, log_level="warning",
))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    thread.join(0.01)
announcer = Announcer(settings)
announcer.refresh()
print(create_invitation(db, settings, "PC", created_by=None).code, flush=True)
sys.stdin.read()
print(*(f"{worker.id} {worker.short_code}" for worker in list_workers(db)), flush=True)
announcer.close()
server.should_exit = True
"""
WORKER = """
import json, sys, time
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from appliance.enrolment.contract import WorkerFacts
from appliance.enrolment.discovery import find_boxes
from appliance.enrolment.redeeming import redeem
code = sys.stdin.readline()
tried = []
def candidates():
    for candidate in find_boxes(10):
        tried.append(candidate)
        # the rogue first, whoever answered first
        if len(tried) == 2:
            yield from sorted(tried, key=lambda address: address[1])
started = time.monotonic()
joined = redeem(code, X25519PrivateKey.generate(), WorkerFacts(name="pc"), candidates())
print(json.dumps({
    "worker": joined.worker_id + " " + joined.short_code, "address": joined.address, "tried": len(tried),
    "milliseconds": round(1000 * (time.monotonic() - started)),
}))
"""
ROGUE_PORT, BOX_PORT = 8441, 8443


@pytest.mark.root
def test_a_worker_finds_and_redeems_at_the_right_one_of_two(tmp_path: Path) -> None:
    with cable() as lan:
        rogue = lan.start(lan.left, BOX, str(tmp_path / "rogue"), str(ROGUE_PORT))
        box = lan.start(lan.left, BOX, str(tmp_path / "box"), str(BOX_PORT))
        assert rogue.stdout and box.stdout
        assert rogue.stdout.readline().startswith("CEL1-")
        code = box.stdout.readline()
        worker = lan.start(lan.right, WORKER)
        said, _ = worker.communicate(code, timeout=30)
        assert worker.returncode == 0
        joined = json.loads(said)
        workers_of_box, _ = box.communicate(timeout=20)
        workers_of_rogue, _ = rogue.communicate(timeout=20)
    assert joined["address"] == ["192.168.77.1", BOX_PORT]
    assert joined["tried"] == 2
    assert workers_of_box.strip() == joined["worker"]
    assert workers_of_rogue.strip() == ""
    print(f"multicast to redeemed: {joined['milliseconds']} ms")
