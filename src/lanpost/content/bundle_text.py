"""READ-ME.txt and SHA256SUMS of a stick that `lanpost bundle` has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

READ_ME = "READ-ME.txt"
SUMS = "SHA256SUMS"
PROGRAM = "lanpost.pyz"
SIGNATURE = PROGRAM + ".sig"
SIGNERS = PROGRAM + ".signers"
PUBLISHERS = PROGRAM + ".publisher.sig"

_TEXT = """\
lanpost {version}: mail on a LAN without DNS

WHAT IS HERE

  lanpost.pyz          the program, one file; for Python {pythons} on {architectures}, no network needed
{signatures}  SHA256SUMS           of every file here
  documentation/       begin with documentation/index.html
  licences/            of lanpost and of every library inside
  lanpost.cdx.json     what is inside: a CycloneDX SBOM

BEFORE YOU USE IT

  cd to this folder, then

    sha256sum -c --quiet SHA256SUMS
{verify}
INSTALL

    sudo python3 lanpost.pyz install --role serve        the mail server
    sudo python3 lanpost.pyz install --role directory    a directory alone
    sudo python3 lanpost.pyz install --role agent        a terminal

  A stick may be mounted noexec: so it is started by python3. More: documentation/docs/operations/install.html
"""
_OWN = """\
  lanpost.pyz.sig      signature by the key in lanpost.pyz.signers
"""
_PUBLISHERS = """\
  lanpost.pyz.publisher.sig
                       signature by whoever published this file; his key comes by another way
"""
_VERIFY_OWN = """\
    ssh-keygen -Y verify -f lanpost.pyz.signers -I lanpost -n lanpost -s lanpost.pyz.sig < lanpost.pyz

  The second line proves something only if lanpost.pyz.signers holds what you were told by another way.
"""
_VERIFY_PUBLISHERS = """\
    ssh-keygen -Y verify -f HIS-KEY -I lanpost -n lanpost -s lanpost.pyz.publisher.sig < lanpost.pyz

  HIS-KEY: a file with the line   lanpost ssh-ed25519 AAAA...   as the publisher tells it.
"""
_UNSIGNED = """\

  Nobody has signed this copy: compare the SHA-256 of lanpost.pyz with what you were told by another way.
"""


def read_me(
    version: str, pythons: Sequence[str], architectures: Sequence[str], *, own: bool, publishers: bool
) -> str:
    """READ-ME.txt. `own`, `publishers`: which signatures are there."""
    verify = (_VERIFY_OWN if own else "") + (_VERIFY_PUBLISHERS if publishers else "")
    return _TEXT.format(
        version=version,
        pythons=f"{pythons[0]} to {pythons[-1]}",
        architectures=" and ".join(architectures),
        signatures=(_OWN if own else "") + (_PUBLISHERS if publishers else ""),
        verify=verify or _UNSIGNED,
    )


def sums(digests: Mapping[str, str]) -> str:
    """SHA256SUMS, as `sha256sum --check` reads it: digests in hexadecimal by the names of files."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
