"""What is installed: the bill of materials of the image; outside of it, the Python packages alone."""

from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from appliance.support.sources.box import as_json
from appliance.support.sources.context import Context, Part

SBOM = Path("/usr/lib/cellule/sbom.cdx.json")


def packages(context: Context) -> Iterator[Part]:
    """The bill as it lies in the image."""
    if context.settings.appliance and SBOM.exists():
        yield Part("packages.cdx.json", SBOM.read_text())
        return
    found = {each.metadata["Name"]: each.version for each in distributions()}
    yield Part("packages.json", as_json(found))
