"""The commands in hwprofiles by which an owner starts a server: on its usual port, for this machine only."""

import shlex
from pathlib import Path

import pytest

from appliance.engines.adopted.servers import SERVERS, USUAL_PORTS, ServerKind
from appliance.hardware.profile import EngineName, Profile, read_profile

PROFILES = [
    profile
    for file in sorted((Path(__file__).parents[3] / "hwprofiles").glob("*.toml"))
    if (profile := read_profile(file)).engine.name is EngineName.ADOPTED
]
SERVER_OF = {"vllm": ServerKind.VLLM, "mlx": ServerKind.MLX_LM, "lemonade": ServerKind.LEMONADE}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_server_started_like_this_is_looked_for_and_reached_from_here_only(
    profile: Profile,
) -> None:
    server = SERVERS[SERVER_OF[profile.engine.backend]]
    words = shlex.split(profile.engine.start)
    if words[0] == "systemctl":  # a service, whose port is its own
        assert set(server.ports) <= set(USUAL_PORTS)
        return
    assert "{model}" in words
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert int(words[words.index("--port") + 1]) in server.ports


def test_vllm_mlx_and_lemonade_have_one() -> None:
    assert {profile.engine.backend for profile in PROFILES} == set(SERVER_OF)
