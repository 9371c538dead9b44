"""Looks through /proc at other processes: command lines, files, folders, memory."""

FIRST = """
import glob, os

for folder in glob.glob("/proc/[0-9]*"):
    for name in ("cmdline", "status", "mountinfo", "stack", "maps", "mem"):
        try:
            print(name, open(f"{folder}/{name}", "rb").read(3000))
        except OSError as error:
            print(error)
    for name in ("root", "cwd", "fd", "map_files", "task"):
        try:
            files = os.listdir(f"{folder}/{name}")
            print(name, [(file, os.readlink(f"{folder}/{name}/{file}")) for file in files])
        except OSError as error:
            print(error)
for path in ("/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmsg", "/proc/sysrq-trigger"):
    try:
        print("found", open(path, "rb").read(10))
    except OSError as error:
        print(error)
"""
UNSAID = ("found", "tutor_lib.grading.cli")
