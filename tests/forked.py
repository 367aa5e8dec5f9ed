"""What a forked child does, which must not wait forever."""

import os
import time
import traceback


def in_child(function, seconds=60):
    """Call a function in a forked child; fail if it raises, or does not end."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    for _ in range(20 * seconds):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            assert status == 0, "the child failed"
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError("the child waits forever")
