"""What a box believes of a channel: only what its vendor signed, nothing older, nothing out of date."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.errors import NotTrusted, Refusal
from appliance.updating.fetching import FolderFetcher, HttpFetcher
from appliance.updating.release import Offer
from appliance.updating.trust import (
    ChannelExpired,
    ChannelNotTrusted,
    ChannelRolledBack,
    ChannelSilent,
    NoChannel,
    Patience,
    look,
)
from tests.updating.serving import ChannelServer, Fault
from tests.updating.vendor import DAY, Vendor


@dataclass
class Looker:
    """A box that looks at a server with its own store and first root."""

    server: ChannelServer
    store: Path
    root: bytes

    def look(self, at: float, *, deadline_seconds: float = 20, silence_seconds: float = 5) -> Offer:
        fetcher = HttpFetcher(silence_seconds=silence_seconds, deadline_seconds=deadline_seconds)
        return look(self.server.url, self.store, self.root, fetcher, at=at, patience=Patience())

    def refusal(self, at: float) -> type[Refusal]:
        with pytest.raises(Refusal) as caught:
            self.look(at)
        return type(caught.value)


@pytest.fixture
def box(vendor: Vendor, server: ChannelServer, tmp_path: Path) -> Looker:
    return Looker(server, tmp_path / "store", vendor.first_root)


def versions(offer: Offer) -> list[str]:
    return [release.version for release in offer.releases]


def metadata(vendor: Vendor, name: str) -> Path:
    return vendor.channel / "metadata" / name


def test_releases_are_found_newest_first_with_what_was_signed(vendor: Vendor, box: Looker) -> None:
    for version in ("1.9.0", "1.10.0", "1.10.0~rc1"):
        vendor.publish(version)
    offer = box.look(vendor.at)
    assert versions(offer) == ["1.10.0", "1.10.0~rc1", "1.9.0"]
    newest = offer.releases[0]
    bundle = vendor.channel / "targets" / newest.bundle
    assert newest.size_bytes == bundle.stat().st_size
    assert newest.notes_in("fr") == "Les nouveautés de 1.10.0"
    assert newest.notes_in("de") == "What is new in 1.10.0"
    assert offer.expired_at is None
    assert not [path for path in box.server.asked if path.startswith("/targets")], "no bundle is fetched here"


def test_a_second_look_asks_for_little(vendor: Vendor, box: Looker) -> None:
    vendor.publish("1.0.0")
    box.look(vendor.at)
    box.server.asked.clear()
    box.look(vendor.at + 60)
    assert box.server.asked == ["/metadata/2.root.json", "/metadata/timestamp.json"]


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_rotated_keys_are_followed(vendor: Vendor, box: Looker, role: str) -> None:
    vendor.publish("1.0.0")
    box.look(vendor.at)
    vendor.folder.rotate(role)
    vendor.folder.rotate("root")
    vendor.publish("1.1.0")
    assert versions(box.look(vendor.at)) == ["1.1.0", "1.0.0"]


def test_a_box_that_slept_through_rotations_still_arrives(vendor: Vendor, box: Looker) -> None:
    for _ in range(5):
        vendor.folder.rotate("root")
    vendor.publish("1.0.0")
    assert versions(box.look(vendor.at)) == ["1.0.0"]


def test_what_a_rotated_key_signed_counts_no_more(vendor: Vendor, box: Looker, tmp_path: Path) -> None:
    vendor.publish("1.0.0")
    stolen = tmp_path / "stolen"
    shutil.copytree(vendor.keys, stolen)
    vendor.folder.rotate("timestamp")
    box.look(vendor.at)
    shutil.copyfile(stolen / "timestamp.pem", vendor.keys / "timestamp.pem")
    vendor.folder.refresh()
    assert box.refusal(vendor.at) is ChannelNotTrusted


def test_another_vendor_is_not_believed(vendor: Vendor, box: Looker, tmp_path: Path) -> None:
    vendor.publish("1.0.0")
    other = Vendor(tmp_path / "other")
    other.publish("6.6.6")
    box.server.folder = other.channel
    assert box.refusal(vendor.at) is ChannelNotTrusted
    # also not for one that starts from our root, whose next root it can't sign
    shutil.copyfile(metadata(vendor, "1.root.json"), metadata(other, "1.root.json"))
    other.folder.rotate("root")
    assert box.refusal(vendor.at) is ChannelNotTrusted


@pytest.mark.parametrize("older", ["timestamp", "everything"])
def test_an_older_state_is_refused_as_rolled_back(
    vendor: Vendor, box: Looker, tmp_path: Path, older: str
) -> None:
    vendor.publish("1.0.0")
    kept = tmp_path / "kept"
    shutil.copytree(vendor.channel, kept)
    vendor.publish("1.1.0")
    assert versions(box.look(vendor.at)) == ["1.1.0", "1.0.0"]
    if older == "everything":
        box.server.folder = kept
    else:
        shutil.copyfile(kept / "metadata" / "timestamp.json", metadata(vendor, "timestamp.json"))
    assert box.refusal(vendor.at) is ChannelRolledBack


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_a_new_timestamp_over_an_older_state_is_rolled_back(
    vendor: Vendor, box: Looker, tmp_path: Path, role: str
) -> None:
    """The quick keys were stolen: they can sign a way to old metadata, and the box remembers better."""
    vendor.publish("1.0.0")
    vendor.publish("1.1.0")
    box.look(vendor.at)
    thief = vendor.folder
    if role == "snapshot":
        # the numbers of the snapshots go back
        thief._publish_timestamp(1)
    else:
        thief._publish_snapshot(2)
    assert box.refusal(vendor.at) is ChannelRolledBack


def test_what_was_not_renewed_is_expired(vendor: Vendor, box: Looker) -> None:
    vendor.publish("1.0.0")
    assert versions(box.look(vendor.at + 13 * DAY)) == ["1.0.0"]
    assert box.refusal(vendor.at + 15 * DAY) is ChannelExpired, "the timestamp"
    vendor.at += 364 * DAY
    vendor.folder.refresh()
    assert versions(box.look(vendor.at)) == ["1.0.0"]
    assert box.refusal(vendor.at + 2 * DAY) is ChannelExpired, "the targets, although the timestamp is fresh"


def test_an_expired_root_stops_everything_until_it_is_signed_anew(vendor: Vendor, box: Looker) -> None:
    vendor.publish("1.0.0")
    vendor.at += 731 * DAY
    vendor.folder.refresh(("targets",))
    assert box.refusal(vendor.at) is ChannelExpired
    vendor.folder.refresh(("root",))
    assert versions(box.look(vendor.at)) == ["1.0.0"]


@pytest.mark.parametrize("file", ["2.targets.json", "2.snapshot.json", "timestamp.json"])
def test_a_changed_file_is_not_trusted(vendor: Vendor, box: Looker, file: str) -> None:
    vendor.publish("1.0.0")
    changed = metadata(vendor, file)
    document = json.loads(changed.read_text())
    document["signed"]["expires"] = "2099-01-01T00:00:00Z"
    changed.write_text(json.dumps(document))
    assert box.refusal(vendor.at) is ChannelNotTrusted


def test_parts_of_two_states_do_not_mix(vendor: Vendor, box: Looker) -> None:
    """Both are signed, yet they never were one channel."""
    vendor.publish("1.0.0")
    vendor.publish("1.1.0")
    shutil.copyfile(metadata(vendor, "2.targets.json"), metadata(vendor, "3.targets.json"))
    assert box.refusal(vendor.at) is ChannelNotTrusted


@pytest.mark.parametrize("file", ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"])
def test_endless_data_is_cut_off(vendor: Vendor, box: Looker, file: str) -> None:
    vendor.publish("1.0.0")
    box.server.faults[f"/metadata/{file}"] = Fault.ENDLESS
    started = time.monotonic()
    assert box.refusal(vendor.at) is ChannelNotTrusted
    assert time.monotonic() - started < 5


def test_a_file_that_is_no_json_is_not_trusted(vendor: Vendor, box: Looker) -> None:
    vendor.publish("1.0.0")
    metadata(vendor, "timestamp.json").write_bytes(b"<html>Sign in to the guest Wi-Fi</html>")
    assert box.refusal(vendor.at) is ChannelNotTrusted


def test_a_silent_server_is_given_up_in_time(vendor: Vendor, box: Looker) -> None:
    vendor.publish("1.0.0")
    box.server.faults["/metadata/timestamp.json"] = Fault.SILENT
    started = time.monotonic()
    with pytest.raises(ChannelSilent):
        box.look(vendor.at, silence_seconds=0.3)
    assert time.monotonic() - started < 3


def test_a_dripping_server_is_given_up_in_time(vendor: Vendor, box: Looker) -> None:
    vendor.publish("1.0.0")
    box.server.faults["/metadata/2.targets.json"] = Fault.DRIPPING
    started = time.monotonic()
    with pytest.raises(ChannelSilent):
        box.look(vendor.at, silence_seconds=2, deadline_seconds=0.5)
    assert time.monotonic() - started < 3


def test_a_server_that_is_not_there_is_silent(vendor: Vendor, box: Looker) -> None:
    box.server.shutdown()
    box.server.server_close()
    assert box.refusal(vendor.at) is ChannelSilent


def test_a_server_that_fails_or_sends_elsewhere_is_no_channel(vendor: Vendor, box: Looker) -> None:
    assert box.refusal(vendor.at) is NoChannel, "an empty folder"
    vendor.publish("1.0.0")
    box.server.faults["/metadata/timestamp.json"] = Fault.BROKEN
    assert box.refusal(vendor.at) is NoChannel
    box.server.faults["/metadata/timestamp.json"] = Fault.ELSEWHERE
    assert box.refusal(vendor.at) is NoChannel, "the box may reach the channel's host only"


def test_a_refusal_loses_nothing(vendor: Vendor, box: Looker) -> None:
    vendor.publish("1.0.0")
    box.look(vendor.at)
    vendor.publish("1.1.0")
    box.server.faults["/metadata/3.targets.json"] = Fault.BROKEN
    assert box.refusal(vendor.at) is NoChannel
    box.server.faults.clear()
    assert versions(box.look(vendor.at)) == ["1.1.0", "1.0.0"]


def test_a_withdrawn_release_is_offered_no_more(vendor: Vendor, box: Looker) -> None:
    vendor.publish("1.0.0")
    vendor.publish("1.1.0")
    vendor.folder.withdraw("1.1.0")
    assert versions(box.look(vendor.at)) == ["1.0.0"]


def test_a_description_from_the_future_hides_only_its_own_release(vendor: Vendor, box: Looker) -> None:
    vendor.publish("1.0.0")
    vendor.publish("1.1.0")

    def add_a_thing(version: str, **custom: object) -> None:
        vendor.folder._change_targets(
            lambda targets: (
                targets.targets[f"cellule-{version}.raucb"].unrecognized_fields["custom"].update(custom)
            )
        )

    add_a_thing("1.0.0", not_known_here=True)
    add_a_thing("1.1.0", waves="as the moon stands")
    assert versions(box.look(vendor.at)) == ["1.0.0"]


def test_a_folder_is_read_like_a_server(vendor: Vendor, tmp_path: Path) -> None:
    vendor.publish("1.0.0")
    offer = look(
        f"file://{vendor.channel}/",
        tmp_path / "store",
        vendor.first_root,
        FolderFetcher(vendor.channel),
        at=vendor.at,
        patience=Patience(),
    )
    assert versions(offer) == ["1.0.0"]


def test_a_link_in_a_folder_leads_nowhere(vendor: Vendor, tmp_path: Path) -> None:
    vendor.publish("1.0.0")
    real = metadata(vendor, "timestamp.json")
    real.rename(tmp_path / "elsewhere.json")
    real.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ChannelSilent):
        look(
            f"file://{vendor.channel}/",
            tmp_path / "store",
            vendor.first_root,
            FolderFetcher(vendor.channel),
            at=vendor.at,
            patience=Patience(),
        )


@pytest.mark.parametrize("days", [0, 100, 180])
def test_patience_hears_an_old_copy_and_says_since_when_it_is_old(
    vendor: Vendor, tmp_path: Path, days: int
) -> None:
    vendor.publish("1.0.0")
    at = vendor.at + (14 + days) * DAY + 1 - (2 if days == 180 else 0)
    offer = look(
        f"file://{vendor.channel}/",
        tmp_path / "store",
        vendor.first_root,
        FolderFetcher(vendor.channel),
        at=at,
        patience=Patience(days=180),
    )
    assert versions(offer) == ["1.0.0"]
    assert offer.expired_at == vendor.at + 14 * DAY


@pytest.mark.parametrize("days", [195, 366, 800])
def test_patience_ends(vendor: Vendor, tmp_path: Path, days: int) -> None:
    """After 180 days for the quick roles, and with the slow ones' own end: nobody stands by it any more."""
    vendor.publish("1.0.0")
    with pytest.raises(NotTrusted) as caught:
        look(
            f"file://{vendor.channel}/",
            tmp_path / "store",
            vendor.first_root,
            FolderFetcher(vendor.channel),
            at=vendor.at + days * DAY,
            patience=Patience(days=180 if days < 300 else 10_000),
        )
    assert caught.type is ChannelExpired


def test_one_store_for_all_ways(vendor: Vendor, box: Looker, tmp_path: Path) -> None:
    """What came over the network makes an older stick a roll-back."""
    vendor.publish("1.0.0")
    stick = tmp_path / "stick"
    shutil.copytree(vendor.channel, stick)
    vendor.publish("1.1.0")
    box.look(vendor.at)
    with pytest.raises(ChannelRolledBack):
        look(
            f"file://{stick}/",
            box.store,
            box.root,
            FolderFetcher(stick),
            at=vendor.at,
            patience=Patience(180),
        )
