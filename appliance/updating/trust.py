"""What a channel offers, when and only when its signatures say so (TUF,
https://theupdateframework.github.io).

A look at a channel ends in the releases that its vendor signed, or in one of the refusals below. The
metadata that was verified is kept in `store`, one store for all ways by which a channel reaches the box:
what is older than what was seen once is refused, also when it comes by another way (roll-back). What is
expired is refused (freeze), but see `Patience` for what a person carries to a box without internet
(decision 0008). The trust begins with the root metadata in the image; newer roots are followed one by one,
each signed by the one before it.

One process at a time may use a store: a look takes a lock.
"""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from appliance.errors import NotTrusted, TryAgain
from appliance.updating.release import BUNDLE_NAME, METADATA_FOLDER, Offer, Release
from appliance.updating.version_order import place_of

CONFIG = UpdaterConfig(prefix_targets_with_hash=False)
"""A bundle keeps its plain name: a version is published once, so its name never means two files."""
log = logging.getLogger("cellule.updating")


class ChannelNotTrusted(NotTrusted):
    """A signature, hash or length is wrong, or what belongs together does not fit."""

    code = "channel_not_trusted"


class ChannelRolledBack(NotTrusted):
    """What it offers is older than what this box has seen of the channel."""

    code = "channel_rolled_back"


class ChannelExpired(NotTrusted):
    """Nobody has renewed it in time: it may be withholding newer releases."""

    code = "channel_expired"


class ChannelSilent(TryAgain):
    """It does not answer, or so slowly that it might as well not."""

    code = "channel_silent"
    http_status = 503


class NoChannel(TryAgain):
    """Something answers, or the folder is there, but it is no channel."""

    code = "no_channel"
    http_status = 404


@dataclass(frozen=True)
class Patience:
    """How long after its expiry the quickly renewed metadata (timestamp, snapshot) is still heard."""

    days: float = 0


def look(
    base_url: str, store: Path, root: bytes, fetcher: FetcherInterface, *, at: float, patience: Patience
) -> Offer:
    """Verifies the channel at `base_url` (ends with /) as of `at` (epoch seconds).

    Raises ChannelNotTrusted, ChannelRolledBack, ChannelExpired, ChannelSilent, NoChannel; OSError of `store`.
    """
    moment = datetime.fromtimestamp(at, UTC)
    with _locked(store), _refusals():
        updater = Updater(
            str(store), base_url + METADATA_FOLDER, fetcher=fetcher, config=CONFIG, bootstrap=root
        )
        # python-tuf has no argument for the time; its own tests set it here too
        updater._trusted_set.reference_time = moment - timedelta(days=patience.days)
        updater.refresh()
        return _offer(store, moment)


def _offer(store: Path, moment: datetime) -> Offer:
    """What the verified files of `store` say; the slowly renewed ones may not be expired whatever the
    patience.
    """
    root = Metadata[Root].from_file(str(store / "root.json")).signed
    targets = Metadata[Targets].from_file(str(store / "targets.json")).signed
    timestamp = Metadata[Timestamp].from_file(str(store / "timestamp.json")).signed
    snapshot = Metadata[Snapshot].from_file(str(store / "snapshot.json")).signed
    for slow in (root, targets):
        if slow.is_expired(moment):
            raise ExpiredMetadataError(f"{slow.type} is expired")
    expired = [quick.expires.timestamp() for quick in (timestamp, snapshot) if quick.is_expired(moment)]
    releases = sorted(_releases(targets), key=lambda release: place_of(release.version), reverse=True)
    return Offer(tuple(releases), min(expired, default=None))


def _releases(targets: Targets) -> Iterator[Release]:
    for name, file in targets.targets.items():
        if not BUNDLE_NAME.fullmatch(name):
            continue
        try:
            described = {**(file.custom or {}), "bundle": name, "size_bytes": file.length}
            yield Release.model_validate({**described, "sha256": file.hashes.get("sha256", "")})
        except ValidationError as error:
            log.warning(
                "the channel describes %s in a way this version can't read: %s",
                name,
                error.errors()[0]["msg"],
            )


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (store / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _refusals() -> Iterator[None]:
    """python-tuf's errors as ours; its own words go to the log, for they are about files."""
    try:
        yield
    except ExpiredMetadataError as error:
        raise ChannelExpired(
            f"The channel's signatures are out of date ({error}).",
            next_step="Check the box's clock; else wait until the vendor renews them.",
        ) from error
    except BadVersionNumberError as error:
        raise ChannelRolledBack(
            f"What is offered is older than what this box has seen ({error}).",
            next_step="Get a current copy of the channel.",
        ) from error
    except DownloadLengthMismatchError as error:
        raise ChannelNotTrusted("A file of the channel is longer than it may be.") from error
    except RepositoryError as error:
        raise ChannelNotTrusted(f"The channel's signatures do not hold ({error}).") from error
    except DownloadHTTPError as error:
        raise NoChannel(f"There is no channel there ({error}).", retry_after_seconds=600) from error
    except DownloadError as error:
        raise ChannelSilent(
            f"The channel does not answer ({_innermost(error)}).", retry_after_seconds=60
        ) from error


def _innermost(error: BaseException) -> BaseException:
    return _innermost(error.__cause__) if isinstance(error.__cause__, DownloadError) else error
