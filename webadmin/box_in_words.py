"""What the box itself says (a failed check, a refusal of the machine), in the visitor's language.

The box writes English into journals, breadcrumbs and storage, and what it wrote outlives the release that
did. So the English sentence is the key: the table holds each one, its facts as placeholders, and a fact may
be such a sentence again. What is not in the table (a program's own words) is shown as it was written. A test
reads the sentences out of the appliance's code: none can be added there without its French.
"""

import re
from functools import lru_cache

from flask_babel import format_decimal, gettext

from appliance.settings import BOX_NODE
from webadmin import figures
from webadmin.handout_sentences import HANDOUT
from webadmin.model_sentences import MODELS
from webadmin.placement_sentences import PLACEMENT
from webadmin.shipped_sentences import CATALOGUE, PROFILES
from webadmin.sizing_sentences import SIZING
from webadmin.split_sentences import SPLITTING


def N_(message: str) -> str:
    """Marks a text of the table: Babel looks for calls of this name."""
    return message


_BOOT = (
    N_("%(what)s (waited %(seconds)s s)"),
    N_("The data partition is not mounted."),
    N_("The data partition is not mounted. %(why)s"),
    N_("The data partition could not be made: %(why)s"),
    N_("There is no data partition on %(disk)s."),
    N_("The data partition could not be unlocked, neither by the TPM nor by the recovery key."),
    N_("The data partition is damaged: %(why)s"),
    N_("The data partition could not be mounted."),
    N_("The key of the data partition could not be erased."),
    N_("The data partition could not be overwritten."),
    N_(
        "There is no data partition on %(disk)s any more, and there was one. A factory reset makes a new one."
    ),
    N_("Restart the box; where that does not help, the disk or its key is the trouble."),
    N_("%(file)s is not there: the preparation of this start did not end well."),
    N_("The file %(file)s is damaged (%(why)s). It was left as it is."),
    N_("%(file)s can't be written: the data partition is full."),
    N_("%(file)s can't be used: %(why)s."),
    N_("%(file)s could not be opened by this version: %(why)s."),
    N_("%(file)s was written by a newer version of Cellule (unknown here: %(migration)s)."),
    N_("Start that version again, or restore a backup made with this one."),
    N_("Restore a backup."),
    N_("Make room on the data partition, then restart the box."),
    N_("The disk may be failing: restore a backup on a new one."),
    N_("The host broker does not answer: %(why)s"),
    N_("%(who)s does not answer: %(why)s."),
    N_("%(who)s answers %(path)s with status %(status)s."),
    N_("The pool"),
    N_("The web admin"),
    N_("The front"),
    N_("The engine is built for x86_64, but this machine is %(machine)s."),
    N_("No build of the engine fits this processor (there: %(builds)s)."),
    N_("Nothing here can compute answers."),
    N_("%(title)s served until now, is there, and can't be used any more. %(why)s"),
    N_("No engine is ready on this box."),
    N_("The engine of %(model)s broke off its answer: %(why)s."),
    N_("The engine of %(model)s refused the fixed question with status %(status)s."),
    N_("The engine answered the fixed question without a word."),
    N_("The engine answered the fixed question wrongly: %(answer)s (missing: %(words)s)."),
    N_("The check broke: %(why)s."),
    N_("No word within %(seconds)s s."),
    N_("The breadcrumb could not be written: %(why)s."),
)
_HARDWARE = (
    N_("device %(pci)s"),
    N_("class %(number)s"),
    N_("processor with %(flags)s"),
    N_("compute capability %(number)s"),
    N_("Vulkan lists %(names)s"),
    N_("It fits, and %(title)s comes before it."),
    N_("It is of the same kind, with less memory."),
    N_("It is of the same kind, and one kind is taken."),
    N_("No profile is about %(pci)s, which has no driver."),
    N_("No profile is about %(pci)s, %(driver)s."),
    N_("It needs the driver %(driver)s, and it has no driver."),
    N_("It needs the driver %(driver)s, and %(other)s drives it."),
    N_("It needs %(name)s %(range)s, and this is %(version)s."),
    N_("It needs %(name)s %(range)s, which is not installed."),
    N_("It needs %(name)s %(range)s, and %(version)s is installed."),
    N_("Vulkan does not list it."),
    N_("The engine %(engine)s can't be started here."),
    N_("llama.cpp finds no %(backend)s device here, only %(devices)s."),
    N_("Check its driver and who may open it in /dev, or choose another device."),
    N_("OpenVINO lists no device %(device)s here, only %(devices)s."),
    N_("Check its driver, or choose another device."),
    N_("llama.cpp has no setting %(name)s here, only %(names)s."),
    N_("llama.cpp's setting %(name)s must be %(wanted)s, not %(given)s."),
    N_("Correct the hardware profile."),
    N_("llama.cpp could not load %(file)s."),
    N_("It must be a complete GGUF file of a known architecture."),
    N_("Intel's OpenCL driver is not installed: OpenVINO can't open the graphics without it."),
    N_("Intel's Level Zero NPU driver is not installed: OpenVINO can't open the NPU without it."),
    N_("Known not to work: %(why)s"),
    N_("It has %(have)s GiB of memory, and %(needed)s are needed."),
    N_("It answered as expected in %(seconds)s s."),
    N_("The answer took %(seconds)s s, and %(limit)s s are allowed."),
    N_("The answer was empty."),
    N_("Asked %(prompt)s, it answered %(answer)s."),
    N_("It broke off its answer: %(why)s."),
    N_("It refused the fixed prompt with status %(status)s."),
    N_("The engine answered the fixed question in %(number)s words."),
)
_SYSTEM = (
    N_("[Errno %(number)s] %(why)s"),
    N_("Connection refused"),
    N_("Connection reset by peer"),
    N_("Network is unreachable"),
    N_("No route to host"),
    N_("No such file or directory"),
    N_("Permission denied"),
    N_("No space left on device"),
    N_("Read-only file system"),
    N_("Input/output error"),
    N_("timed out"),
    N_("Remote end closed connection without response"),
    N_("file is not a database"),
    N_("database disk image is malformed"),
    N_("database is locked"),
)
_HOST = (
    N_("The host broker does not answer on %(socket)s: %(why)s."),
    N_("It is started with the product: python -m appliance.host."),
    N_("Not a valid request: %(problems)s."),
    N_("%(verb)s broke: %(error)s."),
    N_("The system did not permit %(program)s."),
    N_("Run it as root: changing the machine needs it."),
    N_("The system did not permit a tunnel interface."),
    N_("Run it as root: it needs CAP_NET_ADMIN and /dev/net/tun."),
    N_("The program %(program)s is not installed."),
    N_("%(program)s did not end within %(seconds)s s."),
    N_("%(command)s failed: %(why)s"),
    N_("Neither the kernel nor wireguard-go could make a tunnel: %(why)s"),
    N_("Load the wireguard kernel module, or the tun module (modprobe tun)."),
    N_("This machine is not a Cellule appliance."),
    N_("No change is on trial."),
    N_("It was undone: make it again."),
    N_("There is no disk %(disk)s."),
    N_("The box runs from %(disk)s."),
    N_("%(disk)s is in use."),
    N_("%(disk)s can be unplugged."),
    N_("%(disk)s has %(size)s GB; the box needs %(needed)s GB."),
    N_("%(disk)s has sectors of another size than this disk."),
    N_("Choose another disk."),
    N_("Choose another disk, or unplug what uses it."),
    N_("Choose an internal disk."),
    N_("Choose a larger disk."),
    N_("The box does not run from a slot."),
    N_("There is no kernel image of slot %(slot)s."),
    N_("An install to a disk is running."),
    N_("%(partition)s does not give back what was written to it."),
    N_("%(partition)s is shorter than its partition."),
    N_("The disk of the box has no partition %(partition)s."),
    N_("A release is being installed."),
    N_("Wait until it is done."),
    N_("The bundle at %(source)s is not the release %(version)s that was announced."),
    N_("There is no file %(file)s."),
    N_("The install was interrupted, or the bundle was not the release that was announced."),
    N_("The NAS folder could not be mounted: %(why)s"),
    N_("The NAS folder could not be unmounted: %(why)s"),
    N_("This machine has no user %(user)s."),
    N_("NAS folders are mounted by the appliance's image; here, use SFTP or S3."),
    N_("The data of this box is not encrypted, so there is nothing to recover."),
    N_("Encryption needs a TPM when the box starts for the first time."),
    N_("There is no new recovery key; the former one stays: %(why)s"),
    N_("Restart the box: the TPM gives its key only to a boot that it knows."),
    N_("No USB stick was found."),
    N_("Plug it in and try again."),
    N_("The USB stick can't be read: %(why)s"),
    N_("Use one formatted with FAT or exFAT."),
    N_("A support session is open."),
    N_("End it first."),
    N_("The end of the session is not in the future."),
    N_("There is no time zone %(zone)s."),
    N_("Choose one such as Europe/Paris."),
    N_("%(card)s is the box's tunnel, not a network card."),
    N_("The network %(network)s overlaps %(tunnels)s, which the tunnels use."),
    N_("Use another network, or a smaller one."),
    N_("%(source)s is not where releases are installed from."),
    N_("A certificate needs its key, and a key its certificate."),
    N_("The interface %(interface)s is not the box's tunnel, which is %(tunnel)s."),
    N_("%(network)s lies outside of the tunnel network %(tunnels)s."),
    N_("This is no age recipient."),
    N_("There is no former key of the tunnels."),
    N_("This holds no key of the tunnels, or was sealed for another backup key."),
)
_INSTALLER = (
    N_("Installing"),
    N_("Determining slot states"),
    N_("Checking bundle"),
    N_("Verifying signature"),
    N_("Checking manifest contents"),
    N_("Determining target install group"),
    N_("Updating slots"),
    N_("Checking slot %(slot)s"),
    N_("Copying image to %(slot)s"),
    N_("%(step)s done."),
    N_("%(step)s failed."),
    N_("Checking the bundle"),
    N_("Copying the root file system"),
    N_("Copying the kernel image"),
)
"""RAUC's steps as it tells them on D-Bus (Progress); the last three are the simulated machine's."""
_KEEPING = (
    N_("The change was undone."),
    N_("The change can be confirmed only from the new address."),
    N_("Open %(address)s there."),
    N_("There is no such change to confirm."),
    N_("It may have been undone."),
    N_("Time was up: the change was undone."),
    N_("Make it again."),
    N_("The backup program failed: %(why)s"),
    N_("it said nothing"),
    N_("Try again; if it stays so, make a support bundle."),
    N_("%(file)s does not hold the box's certificate key."),
    N_("Restore it from a backup; without it every worker must be invited anew."),
)
_SUPPORT = (
    N_("%(file)s can't be read: %(why)s."),
    N_("%(file)s does not hold one age key and one signing key."),
    N_("There is no such file in the bundle."),
    N_("The signature of %(file)s does not hold."),
    N_("The manifest of %(file)s can't be read."),
    N_("%(file)s is no RAUC bundle."),
)
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_SIZE = re.compile(r"([\d.,]+) (kB|MB|GB)")
_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9}
_DECIMAL = re.compile(r"\d+\.\d+")
_AS_WRITTEN = {"version", "model", "name", "file", "answer"}
"""Facts that are names, even where they look like figures."""
_LONG_NUMBER = re.compile(r"\d{1,3}(,\d{3})+")
_WITH_REASON = re.compile(r"(?!%).*: %\(why\)s\.?$")
_NEW_SENTENCE = re.compile(r" (?=[A-Z])")
_SENTENCE_END = re.compile(r"(?<=[.!?]) (?!\()")


def in_words(told: str) -> str:
    """One sentence or several; each in the visitor's language as far as the table knows it."""
    for end in _SENTENCE_END.finditer(told):
        first = _known(told[: end.start()])
        if first is not None:
            return f"{first} {in_words(told[end.end() :])}"
    whole = _known(told)
    return _with_known_end(told) if whole is None else whole


def _with_known_end(told: str) -> str:
    """A program's own words may end without a full stop before the box says what to do."""
    for start in _NEW_SENTENCE.finditer(told):
        if (last := _known(told[start.end() :])) is not None:
            return f"{told[: start.start()]} {last}"
    return told


def _known(sentence: str) -> str | None:
    if sentence in _plain():
        return str(gettext(sentence))
    message, found = _matched(sentence)
    if found is None:
        return None
    facts = {
        name: _box(begins=found.start(name) == 0) if it == BOX_NODE else _fact(name, it)
        for name, it in found.groupdict().items()
    }
    return str(gettext(message, **facts))


@lru_cache(maxsize=4096)
def _matched(sentence: str) -> tuple[str, re.Match[str] | None]:
    """A fleet's plan has a thousand sentences, the same ones at each look."""
    tried = ((message, pattern.fullmatch(sentence)) for message, pattern in _patterns())
    return next(((message, found) for message, found in tried if found), ("", None))


def _box(*, begins: bool) -> str:
    """The box tells of itself by its id among the nodes."""
    return gettext("This box") if begins else gettext("this box")


def _fact(name: str, told: str) -> str:
    """Figures in the visitor's language; anything else may be a sentence again."""
    if size := _SIZE.fullmatch(told):
        return figures.size(int(float(size[1].replace(",", "")) * _UNITS[size[2]]))
    if name == "billions":
        return str(format_decimal(float(told), format="0.00"))
    if _DECIMAL.fullmatch(told) and name not in _AS_WRITTEN:
        return str(format_decimal(float(told), format=f"0.{'0' * len(told.partition('.')[2])}"))
    if _LONG_NUMBER.fullmatch(told):
        return figures.exact(int(told.replace(",", "")))
    if told in _plain():
        return str(gettext(told))
    return str(gettext("; ")).join(map(in_words, told.split("; ")))


def _messages() -> tuple[str, ...]:
    return (
        *_BOOT,
        *_SYSTEM,
        *_HARDWARE,
        *PLACEMENT,
        *PROFILES,
        *CATALOGUE,
        *SIZING,
        *SPLITTING,
        *HANDOUT,
        *_HOST,
        *_INSTALLER,
        *_KEEPING,
        *_SUPPORT,
        *MODELS,
    )


@lru_cache(maxsize=1)
def _plain() -> frozenset[str]:
    """Without a fact."""
    return frozenset(message for message in _messages() if not _PLACEHOLDER.search(message))


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The most telling first: what ends with another sentence as its reason, then what has more words."""
    messages = sorted(
        (message for message in _messages() if _PLACEHOLDER.search(message)),
        key=lambda message: (not _WITH_REASON.match(message), -len(_PLACEHOLDER.sub("", message))),
    )
    return tuple((message, re.compile(_as_pattern(message), re.DOTALL)) for message in messages)


def _as_pattern(message: str) -> str:
    parts = _PLACEHOLDER.split(message)
    return "".join(f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
