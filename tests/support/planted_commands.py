"""Command lines with a fault each, for the fuzzing to find; `main` takes the place of `dreamfusion_mesh.cli:main`."""

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path


def sound():
    print("warning: a thing to know", file=sys.stderr)
    print("coarse 1/10, residual 0.5000, 3 s left", file=sys.stderr)
    print("error: x: is missing; name another", file=sys.stderr)
    sys.exit(2)


def succeeds():
    Path("made").mkdir()
    Path("made/x").write_text("inside the case's folder")
    print("done")


def raises():
    raise KeyError("a name")


def ends_its_own_child():
    """As the unwrapping does at its time limit."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        child.kill()


def ends_another_process():
    os.kill(os.getppid(), 0)


def raises_in_a_thread():
    thread = threading.Thread(target=raises)
    thread.start()
    thread.join()


def logs_a_traceback():
    try:
        raises()
    except KeyError:
        logging.getLogger("x").exception("a library's")


def hangs():
    while True:
        pass


def waits():
    time.sleep(1000)


def waits_for_a_child():
    subprocess.run([sys.executable, "-c", "import time; time.sleep(1000)"], check=True)


def ends_late():
    """Between two looks at the worker, after all its time."""
    deadline = time.process_time() + 1.2
    while time.process_time() < deadline:
        pass


def leaves():
    os._exit(0)


def crashes():
    ctypes.string_at(0)


def fills_memory():
    blocks = bytearray(400 << 20)
    time.sleep(1000)
    del blocks


def asks_for_too_much():
    bytearray(1 << 44)


def exits_130():
    print("error: interrupted", file=sys.stderr)
    sys.exit(130)


def two_errors():
    print("error: one\nerror: and another", file=sys.stderr)
    sys.exit(2)


def no_error():
    sys.exit(2)


def error_and_success():
    print("error: but done", file=sys.stderr)


def warns():
    warnings.warn("a library's warning, not through logging", stacklevel=1)


def writes_to_descriptor_2():
    os.write(2, b"a library in C\n")


def writes_outside():
    try:
        (Path.cwd().parent / "outside").write_text("x")
    except OSError:
        sys.exit("error: cannot be written")


def removes_outside():
    os.remove("../sentinel/secret.txt")


def moves_outside():
    Path("x").write_text("x")
    os.rename("x", "../x")


def makes_a_folder_outside():
    os.mkdir("../new")


def links_outside():
    os.symlink("/", "../link")


def writes_through_a_link():
    os.symlink("../sentinel/secret.txt", "inside")
    with open("inside", "a") as file:
        file.write("x")


def changes_the_sentinel_unseen():
    os.close(os.open("../sentinel/secret.txt", os.O_RDONLY))
    subprocess.run([sys.executable, "-c", "open('../sentinel/secret.txt', 'w')"], check=True)


def starts_a_program():
    subprocess.run(["/bin/true"], check=True)


def connects():
    import socket

    socket.create_connection(("127.0.0.1", 9), timeout=0.1)


def changes_what_it_reads():
    if sys.argv[1] == "audit":
        Path(sys.argv[2]).write_bytes(b"changed")


def remembers():
    """Ends well only where the one before left nothing behind."""
    root = logging.getLogger()
    if root.handlers or "PLANTED" in os.environ or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL or Path("left").exists():
        sys.exit(9)
    root.addHandler(logging.StreamHandler())
    os.environ["PLANTED"] = "1"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path("left").write_text("x")
    os.chdir("/")
    sys.stdout.close()


COMMANDS = [value for name, value in list(globals().items()) if callable(value) and getattr(value, "__module__", "") == __name__]


def main():
    """The command that the case's number stands for; the worker writes it beside the case's folder."""
    case = json.loads((Path.cwd().parent / "case.json").read_text())
    return COMMANDS[case["number"] % len(COMMANDS)]()
