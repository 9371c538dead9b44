"""Asks for names, which would tell them to somebody outside, and talks to the world."""

FIRST = """
import os, socket

for name in ("example.org", "secret.example.org", "metadata.google.internal"):
    try:
        print("found", socket.getaddrinfo(name, 443))
    except OSError as error:
        print(error)
for address in ("192.0.2.1", "169.254.169.254", "2001:db8::1"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            one = socket.socket(family, kind)
            one.settimeout(1)
            one.connect((address, 53))
            print("found", address)
        except OSError as error:
            print(error)
for family in ("AF_PACKET", "AF_NETLINK", "AF_VSOCK"):
    try:
        one = socket.socket(getattr(socket, family), socket.SOCK_RAW)
        one.bind(("eth0", 0) if family == "AF_PACKET" else (0, 0))
        print("found" if family != "AF_NETLINK" else "netlink", family)
    except OSError as error:
        print(error)
print(os.listdir("/sys/class/net") if os.path.exists("/sys/class/net") else "no /sys")
"""
UNSAID = ("found",)
