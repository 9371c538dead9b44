"""Is a link to another student's folder."""

import shutil

CODES = {"refused-file"}


def hand_in(folder):
    shutil.rmtree(folder)
    folder.symlink_to("../plain/probe")
