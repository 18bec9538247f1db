"""What only the real machine can refuse, and what it remembers."""

import sys
from base64 import b64encode
from pathlib import Path

import pytest

from appliance.host import NotPermitted, Unsupported
from appliance.host.contract import PeerStatus
from appliance.host.linux.commands import attempt, refusal
from appliance.host.linux.endpoints import RememberedEndpoints
from tests.netlab import Lab

# reads the program wherever it lies, and may do nothing else that nobody may not
AS_NOBODY = (
    "setpriv",
    "--reuid=nobody",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
    "--bounding-set=-all,+dac_read_search",
)


@pytest.mark.root
@pytest.mark.parametrize(
    "verb",
    [
        "host.apply_tunnel(TunnelPlan(interface='{name}', address='10.77.0.1/16'))",
        "host.apply_firewall(FirewallPlan(interface='{name}', kind='box', own_address='10.77.0.1',"
        " guarded=['10.77.0.0/16']))",
    ],
)
def test_without_privilege_the_refusal_says_what_it_needs(tmp_path: Path, verb: str) -> None:
    with Lab("box") as lab:
        program = (
            "from pathlib import Path\n"
            "from appliance.host import FirewallPlan, TunnelPlan, NotPermitted\n"
            "from appliance.host.linux import LinuxHost\n"
            f"host = LinuxHost(Path('{tmp_path}/key'), Path('{tmp_path}'))\n"
            f"try: {verb.format(name=lab.tunnel_name('box'))}\n"
            "except NotPermitted as error: print(error)\n"
        )
        tmp_path.chmod(0o777)
        said = lab.run("box", [*AS_NOBODY, sys.executable, "-c", program]).stdout
    assert "did not permit" in said
    assert "as root" in said


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(Unsupported, match=r"no-such-program.*apt-get install"):
        attempt("no-such-program")


def test_the_words_of_a_program_decide_the_family_of_its_refusal() -> None:
    assert isinstance(refusal(("ip", "link"), "RTNETLINK answers: Operation not permitted\n"), NotPermitted)
    assert "No such device" in str(refusal(("wg", "show"), "Unable to access interface: No such device\n"))


def a_peer(key: str, endpoint: str | None) -> PeerStatus:
    return PeerStatus.model_construct(
        public_key=key, allowed_ips=(), endpoint=endpoint, handshake_at=None, received_bytes=0, sent_bytes=0
    )


def test_endpoints_are_remembered_until_the_tunnel_is_removed(tmp_path: Path) -> None:
    memory = RememberedEndpoints(tmp_path / "host")
    assert memory.load("wg0") == {}
    key, other = b64encode(bytes(32)).decode(), b64encode(bytes([1] * 32)).decode()
    memory.remember("wg0", (a_peer(key, "10.99.0.2:5"), a_peer(other, None)))
    # a tunnel that was just rebuilt knows nobody, which is no reason to forget
    memory.remember("wg0", (a_peer(key, None),))
    assert memory.load("wg0") == {key: "10.99.0.2:5"}
    assert memory.load("wg1") == {}
    memory.forget("wg0")
    assert memory.load("wg0") == {}


def test_a_damaged_memory_is_no_memory(tmp_path: Path) -> None:
    memory = RememberedEndpoints(tmp_path)
    (tmp_path / "endpoints-wg0.json").write_text('{"a": ')
    assert memory.load("wg0") == {}
