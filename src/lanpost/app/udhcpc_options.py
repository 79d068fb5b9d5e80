"""What a script for udhcpc does so that the agent sees DHCP's options: udhcpc itself leaves nothing on the disk.

Before the address is set, so that the agent, which the kernel wakes, finds it done. The values came over the
network: they stand in quotes, as arguments of `printf`, in hex but for the address; the agent reads them as it
reads any lease file. udhcpc has to ask for the options: `-O 69 -O 70 -O 95`.
"""

from __future__ import annotations

LEAVE_OPTIONS = """\
case "$1" in
bound|renew|deconfig)
    (umask 022; printf 'address=%s\\n69=%s\\n70=%s\\n95=%s\\n' "$ip" "$opt69" "$opt70" "$opt95" \\
        >|"/run/lanpost-dhcp.${interface##*/}") 2>/dev/null || : ;;
esac
"""
