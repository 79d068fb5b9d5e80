"""What `ssh`, login shells and `sudo` say where a command on another machine does not run; said with a remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping

SUDO_PROMPT = "lanpost-push-password:"  # what sudo is told to ask with, so that the question can be seen
SHOWN = 3  # lines of what is not known here

# Tried in this order. `{host}` is as it was given to us, `{1}` what the group found.
_SAYINGS: tuple[tuple[str, str], ...] = (
    (
        r"IDENTIFICATION HAS CHANGED[\s\S]*?(SHA256:\S+?)\.?\n",
        (
            "its host key is another one than before, {1} now: it was set up anew, or another machine "
            "answers in its place. Compare (at its own console: ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub); if it is right, {forget}, connect once by hand (ssh "
            "{host}), and push again"
        ),
    ),
    (
        r"[Hh]ost key verification failed|No \S+ host key is known",
        (
            "its host key is not known here: connect once by hand (ssh {host}), compare the fingerprint, "
            "and push again"
        ),
    ),
    (
        r"Permission denied \(([^)]*)\)",
        (
            "it lets nobody in with the keys that ssh has here (it takes {1}): try ssh {host} by hand, "
            "and give it your key (ssh-copy-id {host}); passwords are asked for only where a single host "
            "is named"
        ),
    ),
    (
        r"Too many authentication failures",
        (
            "it was shown too many keys that it does not know: name the right one (--ssh-option "
            "IdentityFile=FILE --ssh-option IdentitiesOnly=yes)"
        ),
    ),
    (
        r"Could not resolve hostname",
        (
            "nobody knows where that is: name its IP address, or give it one in ~/.ssh/config (HostName) "
            "or /etc/hosts"
        ),
    ),
    (
        r"Connection refused",
        (
            "no ssh server answers there (connection refused): install openssh-server on it, or name its "
            "port (--ssh-option Port=NUMBER)"
        ),
    ),
    (
        r"(Connection timed out|Operation timed out|No route to host|Network is unreachable)",
        "it is not to be reached ({1}): is it switched on, and is that its address?",
    ),
    (
        r"Bad configuration option|[Uu]nsupported option|command-line(?::)? line 0|keyword .* extra arguments",
        "ssh does not take an option: {errors}",
    ),
    (
        r"sudo: (?:command )?not found|sudo: Command not found|sudo: No such file|Unknown command:? '?sudo",
        "there is no sudo: log in as root (--user root)",
    ),
    (
        r"sudo: .*(?:password is required|terminal is required)",
        "sudo wants a password there: say --ask-sudo, or log in as root (--user root)",
    ),
    (
        r"Cannot execute command-line and remote command",
        "the configuration of ssh starts something else there: say --ssh-option RemoteCommand=none",
    ),
    (r"incorrect password attempt|Sorry, try again", "sudo does not take that password"),
    (
        r"not in the sudoers file|may not run sudo|is not allowed to (?:execute|run)",
        ("whoever logs in there may not become root by sudo: log in as somebody who may, or as root (--user root)"),
    ),
    (
        r"python3.*not found|Unknown command:? '?python3|python3: No such file",
        ("there is no python3: install it there (Debian: apt-get install python3; Python 3.11 or newer is needed)"),
    ),
    (
        r"SyntaxError|ImportError|Unknown option: -I",
        "its python3 is older than 3.5: Python 3.11 or newer is needed",
    ),
    (
        r"account is currently not available|[Nn]ologin|This service allows sftp connections only",
        (
            "whoever logs in there may run no commands: log in as root (--user root), or as somebody who "
            "may use sudo"
        ),
    ),
    (
        r"kex_exchange_identification|banner exchange|Connection (?:closed|reset) by",
        "it hangs up before anybody is let in: is that its ssh server? {errors}",
    ),
    (
        r"Broken pipe|closed by remote host|not responding|client_loop",
        "the connection broke: push again, it goes on from there",
    ),
)


def explain(host: str, status: int | None, errors: str, noise: str = "") -> str:
    """Why nothing ran there, and what to do. `errors`: ssh's stderr; `noise`: its stdout; `status` None: no end."""
    errors = errors.replace(SUDO_PROMPT, "").replace("\r", "")
    told = f"{errors}\n{noise}\n"
    last = "; ".join([line.strip() for line in told.splitlines() if line.strip()][-SHOWN:])
    for pattern, text in _SAYINGS:
        if found := re.search(pattern, told):
            words: Mapping[str, str] = {"host": host, "errors": last, "forget": _forgetting(host, errors)}
            return text.format(found[0], *found.groups(""), **words)
    if status == 127:
        return (
            f"there is no python3, or it is not found: install it there (Debian: apt-get install python3): {last}"
        )
    ended = "ssh" if status == 255 else "the command there"
    return f"{ended} ended with status {status}" + (f": {last}" if last else "; it said nothing: try ssh by hand")


def _forgetting(host: str, errors: str) -> str:
    """How the old key is forgotten: ssh says it, with the file, on some systems."""
    if found := re.search(r"^\s*(ssh-keygen -f .* -R .*)$", errors, re.MULTILINE):
        return f"forget the old one ({found[1].strip()})"
    return f"forget the old one (ssh-keygen -R {host.rpartition('@')[2]})"
