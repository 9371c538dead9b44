"""Looks for the sockets and processes of the judge's kernel and of other students'."""

FIRST = """
import glob, os, socket

own = set(glob.glob("/run/kernel/*"))
places = ["/run/**", "/tmp/**", "/proc/1/root/run/**", "/proc/*/root/run/**", "/var/run/**"]
for pattern in places:
    for path in glob.glob(pattern, recursive=True):
        try:
            if os.path.realpath(path) in own or "/root/run/kernel/" in path:
                continue
            one = socket.socket(socket.AF_UNIX)
            one.connect(path)
            print("found", path)
        except OSError:
            pass
mine = {os.getpid(), 1}
for name in filter(str.isdigit, os.listdir("/proc")):
    if int(name) not in mine:
        print("found", name, open(f"/proc/{name}/cmdline").read())
"""
UNSAID = ("found",)
