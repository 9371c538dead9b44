"""Talks to somebody who listens on the host, by TCP, by UDP and through proxies."""

FIRST = """
import socket, urllib.request

for address in ("127.0.0.1", "localhost", "0.0.0.0", "::1", "host.docker.internal", "10.0.2.2"):
    try:
        socket.create_connection((address, PORT), timeout=1).sendall(b"hello")
        print("found", address)
    except OSError as error:
        print(error)
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", (address, PORT))
    except OSError as error:
        print(error)
try:
    print("found", urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=1).read(10))
except OSError as error:
    print(error)
"""
UNSAID = ("found",)
