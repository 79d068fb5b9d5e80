"""`python fuzz/ldap_live.py [SECONDS [SEED]]`: damaged dialogues to a running `lanpost directory`, over sockets.

The dialogues are those of OpenLDAP's tools, recorded as they talk to it, and of our own messages. The invariant:
the process stays up, answers an honest client in time all the while, and when all are gone holds no more memory,
file descriptors and connections than before; its log has no error. See fuzz/README.md.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from bench.processes import cpu_seconds, pss_octets
from tests.directory_program import ADMIN, BASE, PASSWORD, DirectoryProgram, run_tool
from tests.directory_running import Client
from tests.ldap_mutations import Attacks, Dialogue, dialogues

from lanpost.wire.ldap_filter import Equals
from lanpost.wire.ldap_messages import Scope, SearchRequest

HONEST = SearchRequest(BASE, Scope.SUBTREE, Equals("mailLocalAddress", b"honest@office.lan"), ("mailHost",))
KEPT = 200  # connections that stay open, silent
ANSWER_SECONDS = 2.0  # that an honest client may wait
MEMORY = 30_000_000  # octets more than after the first tenth of the time
WARM = 0.1  # of the time, until memory is measured: caches are filled by then
US = ("-x", "-D", ADMIN, "-w", PASSWORD)
NAME = f"cn=fuzz2,{BASE}"
ENTRY = f"dn: {NAME}\nobjectClass: device\nobjectClass: ipHost\nobjectClass: lanpostTerminal\ncn: fuzz2\n"
TOOLS: tuple[tuple[str, tuple[str, ...], str], ...] = (  # name, arguments, standard input
    ("ldapsearch", ("-x", "-b", BASE, "(&(mail=*)(cn=f*))"), ""),
    ("ldapsearch", ("-x", "-b", BASE, "-E", "pr=2/noprompt", "(cn=*)", "cn", "+"), ""),
    ("ldapsearch", ("-x", "-b", BASE, "-E", "!sss=cn/-mail", "-z", "5", "(!(cn=a*b*c))"), ""),
    ("ldapsearch", ("-x", "-b", BASE, "-E", "sync=ro", "(cn=f*)"), ""),
    ("ldapsearch", ("-x", "-b", "", "-s", "base", "*", "+"), ""),
    ("ldapadd", US, f"{ENTRY}ipHostNumber: 10.0.6.2\n"),
    ("ldapmodify", US, f"dn: {NAME}\nchangetype: modify\nreplace: ipHostNumber\nipHostNumber: 10.0.6.3\n"),
    ("ldapcompare", (*US, NAME, "cn:fuzz2"), ""),
    ("ldapmodrdn", (*US, NAME, "cn=fuzz9"), ""),
    ("ldapexop", (*US, "refresh", NAME, "60"), ""),
    ("ldapexop", ("-x", "cancel", "3"), ""),
    ("ldapwhoami", US, ""),
    ("ldapwhoami", ("-x", "-Z"), ""),
    ("ldapdelete", (*US, NAME), ""),
)


def recorded(directory: DirectoryProgram) -> list[Dialogue]:
    """What the tools send, each over a connection of its own."""
    if missing := [name for name, _, _ in TOOLS if shutil.which(name) is None]:
        print(f"not recorded, since they are not installed: {', '.join(sorted(set(missing)))}")
        return []
    found = []
    for name, words, given in TOOLS:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sent = bytearray()
            relay = threading.Thread(target=_relay, args=(listener, directory.port, sent))
            relay.start()
            run_tool(name, ["-H", f"ldap://127.0.0.1:{listener.getsockname()[1]}", *words], given=given)
            relay.join()
            found.append(_messages(bytes(sent)))
    return found


def _relay(listener: socket.socket, port: int, sent: bytearray) -> None:
    """One connection, until either side closes."""
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:

        def back() -> None:
            while data := server.recv(65536):
                client.sendall(data)

        backwards = threading.Thread(target=back)
        backwards.start()
        while data := client.recv(65536):
            sent += data
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
        backwards.join()


def _messages(octets: bytes) -> Dialogue:
    """One by one; what is TLS's stays in one piece."""
    found = []
    while len(octets) > 2 and octets[0] == 0x30:
        size = octets[1] & 0x7F if octets[1] & 0x80 else 0
        length = int.from_bytes(octets[2 : 2 + size]) if size else octets[1]
        end = 2 + size + length
        found.append(octets[:end])
        octets = octets[end:]
    return (*found, octets) if octets else tuple(found)


class Honest:
    """A client who asks on and on while the attacks are under way."""

    def __init__(self, port: int) -> None:
        self.seconds: list[float] = []
        self.failure = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(port,))
        self._thread.start()

    def _ask(self, port: int) -> None:
        try:
            with Client(port) as client:
                while not self._over.wait(0.01):
                    begin = time.perf_counter()
                    found = client.names(HONEST)
                    self.seconds.append(time.perf_counter() - begin)
                    if found != ([f"cn=honest,{BASE}"], 0):
                        self.failure = f"an honest client was told {found}"
                        return
        except Exception as error:
            self.failure = f"an honest client failed: {error!r}"

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def main() -> int:
    seconds, seed = float((*sys.argv[1:], "60")[0]), int((*sys.argv[2:], "1")[0])
    folder = Path(tempfile.mkdtemp(prefix="lanpost-fuzz-"))
    with DirectoryProgram(folder) as directory:
        for name in ("honest", "fuzz1", "fuzz3", "fuzz4", "fuzz5"):
            directory.add(name, "10.0.6.9")
        faults, figures = attack(directory, seconds, seed)
    for name, value in figures.items():
        print(f"{name}: {value}")
    if faults:
        print("\n".join(f"FAULT: {fault}" for fault in faults), f"log: {folder}/server.log", sep="\n")
        return 1
    shutil.rmtree(folder)
    return 0


def attack(directory: DirectoryProgram, seconds: float, seed: int) -> tuple[list[str], dict[str, object]]:
    """What was wrong, and the figures."""
    assert directory.process is not None
    pid = directory.process.pid
    told = [*dialogues(BASE, ADMIN, PASSWORD), *recorded(directory)]
    attacks = Attacks(told, seed)
    files = Path(f"/proc/{pid}/fd")
    files_before = len([*files.iterdir()])
    honest = Honest(directory.port)
    kept: list[socket.socket] = []
    ends: Counter[str] = Counter()
    octets, begin, warm = 0, time.monotonic(), 0
    while time.monotonic() < begin + seconds and directory.process.poll() is None and not honest.failure:
        one = attacks.make()
        octets += sum(map(len, one.pieces))
        ends[one.end.name.lower()] += 1
        if (stays := one.carry_out(directory.port)) is not None:
            kept.append(stays)
        if len(kept) > KEPT:
            kept.pop(0).close()
        if not warm and time.monotonic() > begin + WARM * seconds:
            warm = pss_octets([pid])
    lasted = time.monotonic() - begin
    while kept:
        kept.pop().close()
    faults = [honest.failure] if honest.failure else []
    if directory.process.poll() is not None:
        honest.stop()
        return [*faults, f"the server ended with status {directory.process.returncode}"], {}
    give_up = time.monotonic() + 30
    while directory.lanpost_json("status")["clients"] > 1 and time.monotonic() < give_up:
        time.sleep(0.1)
    honest.stop()
    clients, memory = directory.lanpost_json("status")["clients"], pss_octets([pid])
    files_after, log = len([*files.iterdir()]), directory.log()
    if clients:
        faults.append(f"{clients} connections are open yet")
    if files_after > files_before:
        faults.append(f"{files_after} file descriptors, {files_before} before")
    if memory - warm > MEMORY:
        faults.append(f"{memory / 1e6:.1f} MB, {warm / 1e6:.1f} MB after a tenth of the time")
    if max(honest.seconds, default=0.0) > ANSWER_SECONDS:
        faults.append(f"an honest client waited {max(honest.seconds):.2f} s")
    if '"level": "error"' in log or "Traceback" in log:
        faults.append("the log has an error")
    return faults, {
        "dialogues": len(told),
        "connections": f"{sum(ends.values())} in {lasted:.0f} s, ended {dict(ends)}",
        "octets": octets,
        "honest client": f"{len(honest.seconds)} searches, median {statistics.median(honest.seconds) * 1e3:.2f} ms,"
        f" the longest {max(honest.seconds) * 1e3:.0f} ms",
        "memory": f"{warm / 1e6:.1f} MB after a tenth of the time, {memory / 1e6:.1f} MB at the end",
        "file descriptors": f"{files_before} before, {files_after} after",
        "processor": f"{cpu_seconds([pid]):.0f} s",
        "logins refused": log.count("ldap login refused"),
        "changes made": log.count("directory changed"),
    }


if __name__ == "__main__":
    sys.exit(main())
