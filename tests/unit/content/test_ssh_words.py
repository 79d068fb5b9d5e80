"""What ssh, shells and sudo say, in their own words, and what is made of it."""

from __future__ import annotations

import pytest

from lanpost.content.ssh_words import SUDO_PROMPT, explain

CHANGED = """@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
The fingerprint for the ED25519 key sent by the remote host is
SHA256:5rGm1N9r8vTjXX0k1tBNnNs2gNfZ1yR0t7pG7lJc3jA.
Please contact your system administrator.
Offending ED25519 key in /root/.ssh/known_hosts:1
  remove with:
  ssh-keygen -f "/root/.ssh/known_hosts" -R "[10.0.0.2]:2222"
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("status", "errors", "words"),
    [
        (
            255,
            CHANGED,
            "host key is another one than before, SHA256:5rGm1N9r8vTjXX0k1tBNnNs2gNfZ1yR0t7pG7lJc3jA now",
        ),
        (255, CHANGED, '(ssh-keygen -f "/root/.ssh/known_hosts" -R "[10.0.0.2]:2222")'),
        (255, CHANGED.replace("  ssh-keygen", "  #"), "(ssh-keygen -R post)"),
        (
            255,
            "No ED25519 host key is known for post and you have requested strict checking.\r\n",
            "not known here",
        ),
        (255, "root@post: Permission denied (publickey,password).\r\n", "(it takes publickey,password)"),
        (255, "ssh: connect to host post port 22: Connection refused\r\n", "no ssh server answers there"),
        (255, "ssh: connect to host post port 22: Connection timed out\r\n", "(Connection timed out)"),
        (255, "ssh: connect to host post port 22: No route to host\r\n", "(No route to host)"),
        (255, "ssh: Could not resolve hostname post: Name or service not known\r\n", "name its IP address"),
        (255, "kex_exchange_identification: Connection closed by remote host\n", "it hangs up"),
        (255, "command-line: line 0: Bad configuration option: prot\r\n", "ssh does not take an option"),
        (255, "Cannot execute command-line and remote command.\r\n", "--ssh-option RemoteCommand=none"),
        (255, "client_loop: send disconnect: Broken pipe\r\n", "the connection broke"),
        (127, "bash: line 1: python3: command not found\n", "there is no python3"),
        (127, "sh: 1: python3: not found\n", "there is no python3"),
        (1, "python3: Command not found.\n", "there is no python3"),
        (127, "fish: Unknown command: python3\n", "there is no python3"),
        (1, "sudo: python3: command not found\n", "there is no python3"),
        (127, "bash: line 1: sudo: command not found\n", "there is no sudo"),
        (127, "fish: Unknown command: sudo\n", "there is no sudo"),
        (1, "sudo: a password is required\n", "sudo wants a password there"),
        (1, "anna is not in the sudoers file.\n", "may not become root by sudo"),
        (1, f"{SUDO_PROMPT}\nSorry, try again.\n{SUDO_PROMPT}", "sudo does not take that password"),
        (1, "This account is currently not available.\n", "may run no commands"),
        (1, '  File "<string>", line 1\nSyntaxError: invalid syntax\n', "older than 3.5"),
        (3, "lp0 on fire {status}\n", "ended with status 3: a banner of the machine; lp0 on fire {status}"),
        (255, "", "it said nothing"),
    ],
)
def test_each_saying_comes_with_what_to_do(status: int, errors: str, words: str) -> None:
    assert words in explain("post", status, f"a banner of the machine\n{errors}" if errors else "")


def test_what_the_shell_says_on_stdout_counts_too() -> None:
    assert "may run no commands" in explain("post", 1, "", "This account is currently not available.")
