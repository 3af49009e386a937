"""The program that becomes a server: run as a file, it sets up its own process and then executes the server.

`python -I -S launch.py PARENT_PID DEATH_SIGNAL UID GID NAMED_UID -- PROGRAM ARGUMENT…`

- The server dies with the gateway: PR_SET_PDEATHSIG, with a check for a parent that is gone already.
  The signal follows the parent's thread: whoever starts this must do so from a thread that lives on.
- As root (PostgreSQL refuses to run as root) it becomes UID and GID, and keeps CAP_DAC_OVERRIDE alone, so
  that it reaches its program and data below directories that only root may enter.
- With NAMED_UID ≥ 0 the program runs in a user namespace where its uid is that one: initdb insists on a
  user that /etc/passwd names.

A program of its own rather than subprocess's `preexec_fn`: Python code between fork and exec may deadlock
in a process that has threads. Standard library only, and no import of the gateway: start-up time counts.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522
CLONE_NEWUSER = 0x10000000


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySet(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _call(libc: ctypes.CDLL, name: str, *arguments: object) -> None:
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _prctl(libc: ctypes.CDLL, *arguments: int) -> None:
    padded = (*arguments, 0, 0, 0, 0)[:5]
    _call(libc, "prctl", ctypes.c_int(padded[0]), *(ctypes.c_ulong(a) for a in padded[1:]))


def step_down(libc: ctypes.CDLL, uid: int, gid: int, capability: int = CAP_DAC_OVERRIDE) -> None:
    """Turn this process from root into `uid` and `gid` with one capability, which programs it runs keep too."""
    try:
        _prctl(libc, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    except PermissionError:
        pass  # a container without CAP_SETPCAP: setuid drops every capability
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    kept = (_CapabilitySet * 2)()
    _call(libc, "capget", ctypes.byref(header), kept)
    # Where it is not to be had the directories must be open to UID.
    mask = kept[0].permitted & (1 << capability)
    kept[0] = _CapabilitySet(mask, mask, mask)
    kept[1] = _CapabilitySet(0, 0, 0)
    _call(libc, "capset", ctypes.byref(header), kept)
    if mask:
        _prctl(libc, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _take_name(libc: ctypes.CDLL, named_uid: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    _call(libc, "unshare", CLONE_NEWUSER)
    for name, text in (
        ("uid_map", f"{named_uid} {uid} 1"),
        ("setgroups", "deny"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def main(arguments: list[str]) -> None:
    """Become the program that `arguments` name; on failure say why and exit with status 1."""
    parent, signal_number, uid, gid, named_uid = (int(a) for a in arguments[:5])
    command = arguments[6:]
    try:
        if sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            if os.geteuid() == 0:
                step_down(libc, uid, gid)
            if named_uid >= 0:
                _take_name(libc, named_uid)
            # After setuid, which clears it.
            _prctl(libc, PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:
            sys.exit("the gateway ended while it started this server")
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
