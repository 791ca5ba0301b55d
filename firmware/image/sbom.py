"""The bill of materials of an image, as CycloneDX 1.5: Debian's packages, Python's, the kernel, and our own.

Schema: https://cyclonedx.org/docs/1.5/json/
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from .target import ARM64, Target
from .tree import Release
from .wheels import Package


def status_text(debian: dict[str, str], target: Target = ARM64) -> str:
    """Return a dpkg status file of packages, so that those who look for known holes find what they know."""
    paragraph = "Package: {}\nStatus: install ok installed\nArchitecture: {}\nVersion: {}\n\n"
    return "".join(paragraph.format(name, target.architecture, version) for name, version in sorted(debian.items()))


def bill(
    release: Release, debian: dict[str, str], python: Iterable[Package], epoch_s: int, target: Target = ARM64
) -> str:
    """Return the bill's text; the same image has the same bill.

    Parameters
    ----------
    debian
        Debian's packages with their versions, kernel and first root among them.
    """
    components = [_deb(name, version, target) for name, version in debian.items()]
    components += [_wheel(package) for package in python]
    components.sort(key=lambda component: component["bom-ref"])
    body: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "firmware", "bom-ref": "evenhand", "name": release.compatible, "version": release.version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": components,
        "dependencies": [{"ref": "evenhand", "dependsOn": [component["bom-ref"] for component in components]}],
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({"serialNumber": f"urn:uuid:{uuid.UUID(digest[:32], version=4)}", **body}, indent=1) + "\n"


def _deb(name: str, version: str, target: Target) -> dict[str, Any]:
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={target.architecture}&distro=debian-12"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _wheel(package: Package) -> dict[str, Any]:
    purl = f"pkg:pypi/{quote(package.name.lower().replace('_', '-'))}@{quote(package.version)}"
    component: dict[str, Any] = {
        "type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": package.sha256}],
    }  # fmt: skip
    if package.license:
        component["licenses"] = [{"license": {"name": package.license[:120]}}]
    return component
