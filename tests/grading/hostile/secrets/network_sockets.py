"""Talks to somebody who listens at a Unix socket of the host, also an abstract one."""

FIRST = """
import glob, socket

names = [SOCKET, "\\0" + SOCKET, "/var/run/docker.sock", "/run/dbus/system_bus_socket",
         "/proc/1/root" + SOCKET]
for line in open("/proc/net/unix"):
    if "@" in line:
        names.append("\\0" + line.split("@")[1].strip())
for name in names:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            one = socket.socket(socket.AF_UNIX, kind)
            one.settimeout(1)
            one.connect(name)
            print("found", repr(name))
        except OSError as error:
            print(error)
"""
UNSAID = ("found",)
