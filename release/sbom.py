"""What lanpost.pyz is made of, as CycloneDX 1.6 JSON: each library with licence, purl and the hashes of its files.

It holds no time and no random number: the same sources give the same bytes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

from release.distributions import Distribution

NAMESPACE = uuid.UUID("2f0f1d5e-6c1b-5d0a-9a52-1f6f0b6b3c11")  # any constant of ours


def sbom(version: str, own_requires: Iterable[str], libraries: Iterable[Distribution]) -> bytes:
    """The document for this version. `own_requires`: the names of those that we import ourselves."""
    libraries = list(libraries)
    purls = {library.name: library.purl for library in libraries}
    own = f"pkg:pypi/lanpost@{version}"
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "lanpost",
                "version": version,
                "description": "Mail on a LAN without DNS",
                "licenses": [{"license": {"id": "MIT"}}],
                "purl": own,
            },
            "lifecycles": [{"phase": "build"}],
        },
        "components": [_component(library) for library in libraries],
        "dependencies": [
            {"ref": own, "dependsOn": sorted(purls[name] for name in own_requires)},
            *(
                {"ref": library.purl, "dependsOn": [purls[name] for name in library.requires if name in purls]}
                for library in libraries
            ),
        ],
    }
    named = uuid.uuid5(NAMESPACE, json.dumps(document, sort_keys=True))
    document["serialNumber"] = f"urn:uuid:{named}"
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def _component(library: Distribution) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": library.purl,
        "name": library.name,
        "version": library.version,
        "licenses": [_licence(library.licence)],
        "purl": library.purl,
        "components": [
            *(
                {
                    "type": "file",
                    "bom-ref": f"file:{file.name}",
                    "name": file.name,
                    "hashes": [{"alg": "SHA-256", "content": file.sha256}],
                }
                for file in library.files
            ),
            *(_inside(library, part) for part in library.inside),
        ],
    }
    if library.home:
        component["externalReferences"] = [{"type": "website", "url": library.home}]
    return component


def _inside(library: Distribution, part: dict[str, Any]) -> dict[str, Any]:
    """What a wheel's makers say is in it, under a name that is the only one in this document."""
    kept: dict[str, Any] = {
        key: part[key] for key in ("type", "name", "version", "licenses", "purl", "hashes") if key in part
    }
    return {**kept, "bom-ref": f"{library.purl}#{part['name']}@{part.get('version', '')}"}


def _licence(expression: str) -> dict[str, Any]:
    return {"expression": expression} if " " in expression else {"license": {"id": expression}}
