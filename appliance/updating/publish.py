"""`python -m appliance.updating.publish`: the vendor's tool that makes, extends and renews a channel's
folder.

    publish --new-keys KEYS                                      once, on a machine that stays offline
    publish --version V --bundle FILE --channel DIR --keys KEYS [--notes-fr FILE] [--notes-en FILE]
            [--wave 5@0h,50@48h,100@96h] [--min-version V]       a release
    publish refresh  --channel DIR --keys KEYS [--roles ROLE…]   at least weekly: snapshot and timestamp
    publish rotate ROLE --channel DIR --keys KEYS                a new key for a role
    publish withdraw VERSION --channel DIR --keys KEYS           a release that shall go no further
    publish pack --channel DIR --out FILE [--version V]          one file for boxes without internet
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from appliance.clock import now
from appliance.errors import Refusal, Refused
from appliance.updating.bundle import read_bundle
from appliance.updating.channel_folder import ChannelFolder, make_keys
from appliance.updating.packing import pack
from appliance.updating.release import EVERYBODY_AT_ONCE, Description, WaveStep
from appliance.updating.vendor_keys import KEPT_OFFLINE, ROLES


class WrongWave(Refused):
    """A wave plan is written as 5@0h,50@48h,100@96h."""

    code = "wrong_wave"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when done; 1 when refused, with a sentence on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    verb = given.pop(0) if given and given[0] in _VERBS else "add"
    try:
        _VERBS[verb](given)
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    return 0


def _add(arguments: list[str]) -> None:
    parser = _parser("--version", "--bundle", "--channel", "--keys")
    parser.add_argument("--notes-fr", type=Path)
    parser.add_argument("--notes-en", type=Path)
    parser.add_argument("--wave", default="")
    parser.add_argument("--min-version")
    options = parser.parse_args(arguments)
    facts = read_bundle(Path(options.bundle))
    if facts.version != options.version:
        raise Refused(f"The bundle holds release {facts.version}, not {options.version}.")
    notes = {"fr": options.notes_fr, "en": options.notes_en}
    at = now()
    try:
        description = Description(
            version=facts.version,
            manifest_hash=facts.manifest_hash,
            compatible=facts.compatible,
            published_at=int(at),
            notes={language: path.read_text().strip() for language, path in notes.items() if path},
            waves=parse_waves(options.wave),
            min_version=options.min_version,
        )
    except ValidationError as error:
        raise Refused(f"This can't be published: {error.errors()[0]['msg']}.") from error
    ChannelFolder(Path(options.channel), Path(options.keys), at=at).add(description, Path(options.bundle))
    _say(f"{description.version} for {description.compatible} is in {options.channel}")


def _new_keys(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="publish --new-keys")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    make_keys(folder, at=now())
    offline = " and ".join(f"{role}.pem" for role in KEPT_OFFLINE)
    _say(f"Made the keys of a new channel in {folder}.")
    _say(f"Keep {offline} offline, and a copy elsewhere: whoever has them can publish, and nobody else ever.")
    _say("snapshot.pem and timestamp.pem belong to the machine that runs `publish refresh` every week.")
    _say("root.json is public: it goes into the image.")


def _refresh(arguments: list[str]) -> None:
    parser = _parser("--channel", "--keys")
    parser.add_argument("--roles", nargs="+", choices=ROLES, default=["snapshot", "timestamp"])
    options = parser.parse_args(arguments)
    ChannelFolder(Path(options.channel), Path(options.keys), at=now()).refresh(tuple(options.roles))


def _rotate(arguments: list[str]) -> None:
    parser = _parser("--channel", "--keys")
    parser.add_argument("role", choices=ROLES)
    options = parser.parse_args(arguments)
    ChannelFolder(Path(options.channel), Path(options.keys), at=now()).rotate(options.role)
    _say(f"The {options.role} key is a new one. {options.keys}/root.json goes into the next image.")


def _withdraw(arguments: list[str]) -> None:
    parser = _parser("--channel", "--keys")
    parser.add_argument("version")
    options = parser.parse_args(arguments)
    ChannelFolder(Path(options.channel), Path(options.keys), at=now()).withdraw(options.version)


def _pack(arguments: list[str]) -> None:
    parser = _parser("--channel", "--out")
    parser.add_argument("--version")
    options = parser.parse_args(arguments)
    packed = pack(Path(options.channel), Path(options.out), options.version)
    _say(f"{options.out} holds {', '.join(packed)}")


def parse_waves(text: str) -> tuple[WaveStep, ...]:
    """ "5@0h,100@48h" as steps; "" is everybody at once. Raises WrongWave."""
    if not text:
        return EVERYBODY_AT_ONCE
    steps = []
    for part in text.split(","):
        percent, _, hours = part.strip().partition("@")
        try:
            steps.append(WaveStep(percent=int(percent), after_hours=int(hours.removesuffix("h"))))
        except ValueError as error:
            raise WrongWave(
                f"'{part}' is no wave.", next_step="Write it like 5@0h,50@48h,100@96h."
            ) from error
    return tuple(steps)


def _parser(*required: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="publish", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name in required:
        parser.add_argument(name, required=True)
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


_VERBS: dict[str, Callable[[list[str]], None]] = {
    "add": _add,
    "--new-keys": _new_keys,
    "refresh": _refresh,
    "rotate": _rotate,
    "withdraw": _withdraw,
    "pack": _pack,
}


if __name__ == "__main__":
    sys.exit(main())
