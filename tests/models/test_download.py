"""Downloads from a real server that speaks the hub's API: verified, resumed, refused, and never talkative."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from appliance.models import GetState, HubOrder, hub_download, keep_hub_token
from appliance.models import hub as hub_process
from appliance.models.gets import ask_cancel, read_get
from appliance.models.getting import stopping
from tests.models.conftest import ModelBox
from tests.models.hub_server import COMMIT, Content, HubServer
from tests.waiting import wait_until

PIECE = 64 * 2**10
"""What a download writes at once."""


@pytest.fixture
def online(box: ModelBox, hub: HubServer) -> ModelBox:
    box.choose(internet_allowed=True, hub_url=hub.url)
    return box


def stored(box: ModelBox, name: str) -> dict[str, bytes]:
    folder = box.settings.state_dir / "models" / box.model(name).digest
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_without_an_admins_word_nothing_leaves_the_box(
    box: ModelBox, hub: HubServer, order: HubOrder
) -> None:
    box.choose(hub_url=hub.url)
    with pytest.raises(Exception, match="not allowed"):
        box.ask("tiny", order)
    assert hub.seen == []


def test_files_and_hashes_come_from_the_hub(
    online: ModelBox, hub: HubServer, elsewhere: HubServer, order: HubOrder, content: Content
) -> None:
    get = online.get("tiny", order)
    assert (get.state, get.code) == (GetState.DONE, ""), get.sentence
    assert stored(online, "tiny") == {name: content.files[name] for name in ("tiny-Q8_0.gguf", "README.md")}
    assert [each.path for each in elsewhere.seen] == ["/blobs/tiny-Q8_0.gguf"]
    resolved = {each.path for each in hub.seen if "/resolve/" in each.path}
    assert all(f"/resolve/{COMMIT}/" in path for path in resolved), "one commit, whatever happens to main"
    assert online.incoming() == []


def test_nothing_is_told_about_the_box(online: ModelBox, hub: HubServer, order: HubOrder) -> None:
    online.get("tiny", order)
    for each in hub.seen:
        assert "telemetry" not in each.path and "authorization" not in each.headers
        assert set(each.headers) <= {
            "host",
            "user-agent",
            "accept",
            "accept-encoding",
            "connection",
            "range",
        } | {
            "x-request-id",
            "x-amzn-trace-id",
        }
        assert "session" not in each.headers["user-agent"]


def test_the_token_goes_to_the_hub_and_not_to_its_large_file_server(
    online: ModelBox, hub: HubServer, elsewhere: HubServer, order: HubOrder
) -> None:
    hub.faults.needs_token = "hf_secret"
    refused = online.get("tiny", order)
    assert (refused.state, refused.code) == (GetState.REFUSED, "hub_refused")
    assert "token" in refused.sentence
    keep_hub_token(online.settings, "hf_secret\n")
    assert online.get("tiny", order).state is GetState.DONE
    assert all("authorization" not in each.headers for each in elsewhere.seen)
    texts = [path.read_bytes() for path in online.settings.state_dir.glob("*.db*")]
    assert not any(b"hf_secret" in text for text in texts)


def test_a_cut_line_goes_on_where_it_was(
    online: ModelBox, elsewhere: HubServer, order: HubOrder, content: Content
) -> None:
    elsewhere.faults.cut_after = 1_000_000
    get = online.get("tiny", order)
    assert get.state is GetState.DONE, get.sentence
    first, second = elsewhere.seen
    assert "range" not in first.headers
    assert second.headers["range"] == f"bytes={1_000_000 // PIECE * PIECE}-"
    assert elsewhere.sent_bytes < len(content.files["tiny-Q8_0.gguf"]) + PIECE


def test_a_core_that_was_stopped_goes_on_where_it_was(
    online: ModelBox, elsewhere: HubServer, hub: HubServer, order: HubOrder, content: Content
) -> None:
    elsewhere.faults.slow_bytes = 16 * PIECE
    asked = online.ask("tiny", order)
    turn = threading.Thread(target=online.turn)
    turn.start()
    part = online.settings.state_dir / "models" / "incoming" / asked.incoming_name / "tiny-Q8_0.gguf.part"
    wait_until(lambda: part.stat().st_size == 16 * PIECE, within_seconds=60, what="the first bytes are here")
    try:
        stopping.set()
        turn.join(30)
        assert not turn.is_alive(), "an end of the core isn't held up"
    finally:
        stopping.clear()
    assert read_get(online.activity, asked.id).state is GetState.FETCHING
    elsewhere.faults.slow_bytes = None
    content.commit = COMMIT[::-1]  # main moves on meanwhile
    hub.content.commit = COMMIT
    online.turn()
    assert read_get(online.activity, asked.id).state is GetState.DONE
    assert elsewhere.seen[-1].headers["range"] == f"bytes={16 * PIECE}-"


def test_an_admin_cancels(online: ModelBox, elsewhere: HubServer, order: HubOrder) -> None:
    elsewhere.faults.slow_bytes = 16 * PIECE
    asked = online.ask("tiny", order)
    turn = threading.Thread(target=online.turn)
    turn.start()
    part = online.settings.state_dir / "models" / "incoming" / asked.incoming_name / "tiny-Q8_0.gguf.part"
    wait_until(lambda: part.stat().st_size == 16 * PIECE, within_seconds=60, what="the first bytes are here")
    ask_cancel(online.activity, asked.id)
    turn.join(30)
    assert read_get(online.activity, asked.id).state is GetState.CANCELLED
    assert online.incoming() == []


def test_the_process_that_downloads_ends_with_the_core(
    online: ModelBox, hub: HubServer, elsewhere: HubServer, order: HubOrder, tmp_path: Path
) -> None:
    """However the core ends: its end of the pipe closes."""
    elsewhere.faults.slow_bytes = 16 * PIECE
    wanted = {"endpoint": hub.url, "repository": order.repository, "revision": "main", "files": order.files}
    wanted |= {"folder": str(tmp_path / "in"), "token_file": ""}
    command = [sys.executable, "-m", "appliance.models.hub"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()
        listed = json.loads(process.stdout.readline())
        assert [each["path"] for each in listed["files"]] == ["README.md", "tiny-Q8_0.gguf"]
        part = tmp_path / "in" / "tiny-Q8_0.gguf.part"
        assert not part.exists(), "nothing is fetched before the word to go"
        process.stdin.write("go\n")
        process.stdin.flush()
        wait_until(lambda: part.stat().st_size == 16 * PIECE, within_seconds=60, what="bytes are here")
        process.stdin.close()
        assert process.wait(20) == 1


def test_a_hub_that_is_away_is_asked_again_later(
    online: ModelBox, hub: HubServer, order: HubOrder, content: Content
) -> None:
    hub.faults.status = 503
    get = online.get("tiny", order)
    assert (get.state, get.code) == (GetState.WAITING, "hub_unreachable")
    assert get.next_try_at > online.at
    assert online.turn() == "", "not before its time"
    hub.faults.status = 0
    online.at = get.next_try_at
    online.turn()
    assert read_get(online.activity, get.id).state is GetState.DONE


@pytest.mark.parametrize("ends", ["an admin", "the core", "patience"])
def test_a_hub_that_takes_calls_and_answers_none_holds_nothing_up(
    online: ModelBox, hub: HubServer, order: HubOrder, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.faults.silent = True
    if ends == "patience":
        monkeypatch.setattr(hub_download, "SILENT_SECONDS", 4.0)
    asked = online.ask("tiny", order)
    turn = threading.Thread(target=online.turn)
    turn.start()
    wait_until(lambda: hub.seen != [], within_seconds=60, what="the hub was called")
    if ends == "an admin":
        ask_cancel(online.activity, asked.id)
    elif ends == "the core":
        stopping.set()
    turn.join(8)
    stopping.clear()
    assert not turn.is_alive()
    get = read_get(online.activity, asked.id)
    expected = {"an admin": GetState.CANCELLED, "the core": GetState.FETCHING, "patience": GetState.WAITING}
    assert get.state is expected[ends], get.sentence
    assert get.code == ("hub_unreachable" if ends == "patience" else "")


def test_a_hub_that_falls_silent_in_the_middle_is_asked_again(
    online: ModelBox, elsewhere: HubServer, order: HubOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_download, "SILENT_SECONDS", 4.0)
    elsewhere.faults.slow_bytes = 16 * PIECE
    get = online.get("tiny", order)
    assert (get.state, get.code) == (GetState.WAITING, "hub_unreachable")
    elsewhere.faults.slow_bytes = None
    online.at = get.next_try_at
    online.turn()
    assert read_get(online.activity, get.id).state is GetState.DONE
    assert elsewhere.seen[-1].headers["range"] == f"bytes={16 * PIECE}-"


def test_the_process_itself_does_not_wait_for_ever(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_process, "_LISTING_SECONDS", 0.5)
    hub.faults.silent = True
    wanted = {"endpoint": hub.url, "repository": "Example/Tiny-GGUF", "revision": "main", "files": ["*"]}
    began = time.monotonic()
    with pytest.raises(Exception, match="timed out"):
        hub_process._listed(wanted, False)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("fault", ["wrong", "other_etag", "other_sha256"])
def test_a_mirror_that_lies(
    online: ModelBox, hub: HubServer, elsewhere: HubServer, order: HubOrder, fault: str
) -> None:
    """Other bytes than their hash; a hash beside the file other than in the list; one of something else."""
    setattr(elsewhere.faults if fault == "wrong" else hub.faults, fault, True)
    get = online.get("tiny", order)
    assert (get.state, get.code) == (GetState.REFUSED, "hub_wrong_hash")
    assert online.incoming() == [] and not list((online.settings.state_dir / "models" / "blobs").iterdir())


def test_a_small_file_that_is_not_what_git_says(online: ModelBox, hub: HubServer, order: HubOrder) -> None:
    hub.faults.wrong = True
    get = online.get("tiny", order)
    assert (get.state, get.code) == (GetState.REFUSED, "hub_wrong_hash")
    assert "README.md" in get.sentence


def test_what_the_hub_does_not_have(online: ModelBox) -> None:
    nothing = online.get("a", HubOrder(repository="Example/None", files=("*.gguf",)))
    assert (nothing.state, nothing.code) == (GetState.REFUSED, "hub_refused")
    none_of_it = online.get("b", HubOrder(repository="Example/Tiny-GGUF", files=("*Q4_0.gguf",)))
    assert (none_of_it.state, none_of_it.code) == (GetState.REFUSED, "hub_refused")


@pytest.mark.parametrize("name", ["../evil.gguf", "/etc/evil.gguf", "a\\b.gguf"])
def test_a_path_that_leads_out_of_the_folder(
    online: ModelBox, content: Content, name: str, tmp_path: Path
) -> None:
    content.files[name] = b"x"
    get = online.get("tiny", HubOrder(repository="Example/Tiny-GGUF", files=("*.gguf",)))
    assert get.state is GetState.REFUSED
    assert not list(tmp_path.rglob("evil.gguf"))


def test_a_licence_that_forbids_is_told_before_the_first_byte(
    online: ModelBox, elsewhere: HubServer, order: HubOrder, content: Content
) -> None:
    content.licence = "cc-by-nc-4.0"
    get = online.get("tiny", order)
    assert (get.state, get.code) == (GetState.REFUSED, "licence_forbids")
    assert elsewhere.seen == []


def test_a_quota_that_is_too_small(
    online: ModelBox, hub: HubServer, elsewhere: HubServer, order: HubOrder
) -> None:
    online.choose(internet_allowed=True, hub_url=hub.url, quota_bytes=100_000)
    get = online.get("tiny", order)
    assert (get.state, get.code) == (GetState.REFUSED, "model_store_full")
    assert elsewhere.seen == []


def test_the_token_goes_to_the_hub_alone_and_never_in_the_clear() -> None:
    hub = "https://hub.example"
    is_of_hub = hub_process.is_of_hub
    assert is_of_hub("https://hub.example/file", hub)
    for elsewhere in ("http://hub.example/file", "https://cdn.example/file", "https://hub.example:8443/file"):
        assert not is_of_hub(elsewhere, hub)
