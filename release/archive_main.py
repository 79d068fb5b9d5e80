"""`__main__.py` of lanpost.pyz. The first thing that any Python runs of it, so it is written for all of them."""

import sys

OLDEST, NEWEST = (3, 11), (3, 13)


def refusal(version, executable, file):
    # type: (tuple[int, ...], str, str) -> str
    """Why this Python cannot run us, and what can; "" where it can."""
    if OLDEST <= version[:2] <= NEWEST:
        return ""
    oldest, newest = "{}.{}".format(*OLDEST), "{}.{}".format(*NEWEST)
    is_old = version[:2] < OLDEST
    return "lanpost needs Python {}; this is {} ({}): start it with another one, as in: python{} {} ...".format(
        oldest + " or newer" if is_old else oldest + " to " + newest,
        ".".join(str(part) for part in version[:3]),
        executable,
        oldest if is_old else newest,
        file,
    )


def main():
    # type: () -> None
    why = refusal(tuple(sys.version_info[:3]), sys.executable, sys.argv[0])
    if why:
        sys.stderr.write("lanpost: " + why + "\n")
        sys.exit(1)
    from lanpost.__main__ import main as run

    run()


if __name__ == "__main__":
    main()
