"""Models that a browser sends in pieces: the answers that its script gets."""

from pathlib import Path
from typing import Any

from appliance.host import Host
from appliance.models import (
    held_model,
)
from appliance.models.following import follow_gets
from tests.web.conftest import Site, Visitor


def upload(admin: Visitor, name: str, files: list[dict[str, object]]) -> tuple[int, dict[str, Any]]:
    admin.get("/models/bring")
    answer = admin.client.post(
        "/models/uploads", json={"name": name, "files": files}, headers={"X-CSRFToken": admin.token}
    )
    return answer.status_code, answer.get_json()


def send(
    admin: Visitor, number: object, data: bytes, offset: int, path: str = "m.gguf"
) -> tuple[int, dict[str, Any]]:
    answer = admin.client.post(
        f"/models/uploads/{number}/chunk?path={path}&offset={offset}",
        data=data,
        content_type="application/octet-stream",
        headers={"X-CSRFToken": admin.token},
    )
    return answer.status_code, answer.get_json()


def test_an_upload_in_pieces_goes_on_where_it_was(
    site: Site, admin: Visitor, machine: Host, tiny: Path
) -> None:
    data = tiny.read_bytes()
    status, begun = upload(admin, "mine", [{"path": "m.gguf", "size_bytes": len(data)}])
    assert (status, begun["received"]) == (200, {"m.gguf": 0})
    send(admin, begun["id"], data[:50_000], 0)
    assert "Go on with mine" in admin.get("/models/bring").text
    assert admin.get(f"/models/uploads/{begun['id']}.json").get_json()["received"] == {"m.gguf": 50_000}
    status, refused = send(admin, begun["id"], data[60_000:], 60_000)
    assert (status, refused["error"]["code"]) == (409, "upload_chunk_refused")
    assert send(admin, begun["id"], data[50_000:], 50_000)[1]["state"] == "waiting"
    follow_gets(site.settings, machine)
    assert held_model(site.db, "mine").bundle.size_bytes == len(data)


def test_uploads_that_can_not_be(site: Site, admin: Visitor) -> None:
    assert upload(admin, "x", [{"path": "../m.gguf", "size_bytes": 9}])[0] == 400
    assert upload(admin, "x", [])[0] == 400
    assert upload(admin, "cellule-demo", [{"path": "m.gguf", "size_bytes": 9}])[0] == 409
    status, refused = upload(admin, "x", [{"path": "m.gguf", "size_bytes": 10**15}])
    assert (status, refused["error"]["code"]) == (400, "model_larger_than_memory")
    begun = upload(admin, "x", [{"path": "m.gguf", "size_bytes": 9}])[1]
    unsigned = admin.client.post(f"/models/uploads/{begun['id']}/chunk?path=m.gguf&offset=0", data=b"123")
    assert unsigned.status_code == 400
    assert send(admin, begun["id"], b"x" * (4 * 2**20 + 1), 0)[0] == 413
    assert admin.get(f"/models/uploads/{begun['id']}.json").get_json()["received"] == {"m.gguf": 0}
