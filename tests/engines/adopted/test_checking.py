"""What is held against a server before it may answer: a real server that does one thing wrong at a time."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from appliance.engines.adopted.asking import KeyUnreadable, UrlRefused, own_addresses, place_of, read_key
from appliance.engines.adopted.claims import contradictions, family_named, sizes_named
from appliance.engines.adopted.fingerprint import difference
from appliance.engines.adopted.places import Places
from appliance.engines.adopted.recognising import Claim
from appliance.engines.adopted.relaying import Relay
from appliance.engines.adopted.target import AdoptedSettings, SettingsUnusable, Target, read_settings
from appliance.engines.adopted.watching import Watch
from appliance.engines.metrics import EngineMetrics
from tests.engines.adopted.wrong_server import Manners, wrong_server


def watch_of(url: str, name: str = "house-8b", **settings: str) -> Watch:
    places = Places(2, 4)

    def relay_for(target: Target) -> Relay:
        return Relay(target, name, places, EngineMetrics())

    given = AdoptedSettings.model_validate({"url": url, "model": "house-8b", **settings})
    return Watch(name, given, places, relay_for)


def trouble_with(manners: Manners, name: str = "house-8b") -> str:
    """Of the first check."""
    with wrong_server(manners) as server:
        watch = watch_of(server.url, name)
        asyncio.run(watch.check())
        return watch.standing.trouble


def test_a_server_that_does_all_right_is_taken_and_measured() -> None:
    with wrong_server() as server:
        watch = watch_of(server.url)
        asyncio.run(watch.check())
    assert watch.standing.ready, watch.standing.trouble
    assert watch.standing.trouble == "" and watch.standing.fingerprint.count(":") == 4
    assert watch.measured and watch.measured.at_once == 2
    assert watch.measured.tokens_per_second > 0


WRONG = {
    "empty": (Manners(words=("",)), "It answers garbage: the text is empty"),
    "one character": (Manners(words=("@" * 40,)), "garbage: one character comes again and again"),
    "one word": (Manners(words=("lorem",) * 30), "garbage: one word comes again and again"),
    "not readable": (Manners(words=("\u0001\u0002\ufffd\ufffd",) * 6), "garbage: the text is not readable"),
    "no form": (Manners(right_object=False), "no chat completion of OpenAI's form"),
    "no usage": (Manners(tells_usage=False), "does not tell how many tokens it used"),
    "impossible usage": (Manners(shifts=100_000), "which can't be"),
    "no stream": (Manners(streams=False), "It does not stream"),
    "another stream": (
        Manners(
            words_of_stream=tuple(
                ["no", "yes", "perhaps", "never", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"]
            )
        ),
        "streams another answer",
    ),
    "no limit": (Manners(keeps_limit=False, words=("w1", "of", "many") * 20), "tokens where 32 were allowed"),
    "another model listed": (Manners(model="house-70b"), "does not list the model house-8b, only: house-70b"),
    "another model loaded": (
        Manners(root="org/house-70b"),
        "has loaded org/house-70b: that is another model",
    ),
    "wants a key": (Manners(wanted_key="k"), "It wants a key, and accepts none that we have"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_server_that_does_one_thing_wrong_is_refused_with_a_sentence(what: str) -> None:
    manners, sentence = WRONG[what]
    assert sentence in trouble_with(manners)


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        watch = watch_of(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        asyncio.run(watch.check())
    assert "the server is not running" in watch.standing.trouble and not watch.standing.ready


def test_a_port_that_takes_connections_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        watch = watch_of(f"http://127.0.0.1:{mute.getsockname()[1]}")
        asyncio.run(watch.check())
    assert "takes connections and does not answer" in watch.standing.trouble


def test_a_key_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("secret-key\n")
    with wrong_server(Manners(wanted_key="secret-key")) as server:
        watch = watch_of(server.url, key_file=str(file))
        asyncio.run(watch.check())
        assert watch.standing.ready, watch.standing.trouble
    lost = watch_of("http://127.0.0.1:1", key_file=str(tmp_path / "none"))
    asyncio.run(lost.check())
    assert "key of the adopted server can't be read" in lost.standing.trouble


@pytest.mark.parametrize("content", ["", "two words\nand a line", "k\u00e9", "x" * 5000])
def test_a_file_that_holds_no_key(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(KeyUnreadable):
        read_key(tmp_path / "key")


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:8000", "http://127.0.0.1", "http://192.0.2.7:8000", "http://intranet:8000",
        "http://127.0.0.1:99999", "http://user@127.0.0.1:8000", "http://127.0.0.1:8000/admin", "8000",
        "http://[::1", "http://169.254.169.254:80", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_only_a_server_on_this_machine_can_be_adopted(url: str) -> None:
    with pytest.raises(UrlRefused):
        place_of(url, frozenset({"10.1.2.3"}))


def test_loopback_and_own_addresses_are_this_machine() -> None:
    assert str(place_of("http://localhost:1234/v1", frozenset())) == "127.0.0.1:1234"
    assert str(place_of("http://[::1]:1234", frozenset())) == "[::1]:1234"
    assert str(place_of("http://10.1.2.3:8000/", frozenset({"10.1.2.3"}))) == "10.1.2.3:8000"
    assert "127.0.0.1" in own_addresses()


@pytest.mark.parametrize(
    "settings",
    [{}, {"url": "http://127.0.0.1:1", "modell": "x"}, {"url": ["u"]}, {"url": "u", "fingerprint": "zz"}],
)
def test_settings_with_a_typo_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsUnusable, match="The setting"):
        read_settings(settings)


@pytest.mark.parametrize(
    ("name", "claim", "agrees"),
    [
        ("qwen3-8b", Claim("m", parameters=8.19e9, family="qwen3"), True),
        ("qwen3-30b-a3b", Claim("m", parameters=30.5e9, family="qwen3moe"), True),
        ("llama-3.3-70b", Claim("m", parameters=70.6e9, family="llama"), True),
        ("mistral-small-24b", Claim("m", parameters=23.6e9, family="llama"), True),
        ("deepseek-r1-distill-qwen-14b", Claim("m", parameters=14.8e9, family="qwen2"), True),
        ("mixtral-8x7b", Claim("m", parameters=46.7e9, family="llama"), True),
        ("gpt-oss-20b", Claim("m", parameters=20.9e9, family="gpt-oss"), True),
        ("default", Claim("m", parameters=2e6, family="qwen3"), True),
        ("qwen3-8b", Claim("m"), True),
        ("qwen3-8b", Claim("m", family="something-new"), True),
        ("llama-3.3-70b", Claim("m", origin="meta-llama/Llama-3.3-70B-Instruct"), True),
        ("qwen3-8b", Claim("m", parameters=0.6e9), False),
        ("qwen3-8b", Claim("m", parameters=32e9), False),
        ("qwen3-8b", Claim("m", family="llama"), False),
        ("gemma-3-27b", Claim("m", family="qwen2"), False),
        ("llama-3.3-70b", Claim("m", origin="meta-llama/Llama-3.2-1B-Instruct"), False),
        ("gemma-3-27b", Claim("m", origin="Qwen3-27B-Q4_K_M.gguf"), False),
    ],
)
def test_a_name_is_compared_with_what_the_server_shows(name: str, claim: Claim, agrees: bool) -> None:
    reasons = contradictions(name, claim)
    assert (not reasons) is agrees, reasons
    assert all("another model" in reason for reason in reasons)


def test_sizes_and_families_in_names() -> None:
    assert sizes_named("Qwen3-30B-A3B-Instruct-2507") == (30e9,)
    assert sizes_named("gemma-3-270m-it") == (270e6,)
    assert sizes_named("llama3.2:3b") == (3e9,)
    assert sizes_named("gpt-4o") == ()
    assert family_named("Mistral-Small-3.2") == "mistral" and family_named("house") == ""


def test_a_fingerprint_allows_rounding_and_no_other_model() -> None:
    mark = "31:" + "a" * 12 + ",28:" + "b" * 12 + ",9:" + "c" * 12 + ",9:" + "d" * 12
    assert difference(mark, mark) == ""
    assert difference(mark, mark.replace("a" * 12, "e" * 12)) == ""
    assert "only 1 are answered" in difference(
        mark, mark.replace("a", "e").replace("b", "f").replace("c", "0")
    )
    assert "count other numbers of tokens" in difference(mark, mark.replace("31:", "32:"))
