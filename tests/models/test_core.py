"""The core daemon itself at work: a model from the hub while it runs, across its end, and into an engine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.jobs.daemon import Daemon
from appliance.models import Get, GetState, HubOrder, engine_path, read_get
from tests.engines.serving import engine_process
from tests.models.conftest import ModelBox
from tests.models.hub_server import HubServer
from tests.waiting import wait_until


@contextmanager
def core(box: ModelBox) -> Iterator[None]:
    daemon = Daemon(box.settings, box.host)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield
    finally:
        daemon.stop.set()
        thread.join(10)
        assert not thread.is_alive()


def reaches(box: ModelBox, get: Get, state: GetState) -> None:
    def there() -> bool:
        found = read_get(box.activity, get.id)
        assert found.state is state, found.sentence
        return True

    wait_until(there, within_seconds=60, what=f"the get is {state}")


def test_a_get_goes_on_after_the_cores_end_and_its_model_answers(
    box: ModelBox, hub: HubServer, elsewhere: HubServer, order: HubOrder
) -> None:
    box.choose(internet_allowed=True, hub_url=hub.url)
    elsewhere.faults.slow_bytes = 1_000_000
    get = box.ask("small", order)
    part = box.settings.state_dir / "models" / "incoming" / get.incoming_name / "tiny-Q8_0.gguf.part"
    with core(box):
        wait_until(lambda: part.stat().st_size > 900_000, within_seconds=60, what="the first bytes are here")
    came = part.stat().st_size
    elsewhere.faults.slow_bytes = None
    with core(box):
        reaches(box, get, GetState.DONE)
    assert elsewhere.seen[-1].headers["range"] == f"bytes={came}-"
    file = engine_path(box.settings.state_dir, box.model("small").bundle)
    with engine_process(file, "--context-tokens", "256", "--slots", "1", name="small") as engine:
        answer = engine.chat("hello", max_tokens=4).json()
    assert answer["model"] == "small" and answer["usage"]["completion_tokens"] == 4
