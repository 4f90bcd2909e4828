#!/usr/bin/env python3
"""Runs a command under a container engine's seccomp profile, without a container engine.

    scripts/under-seccomp.py [--without CALL,CALL] PROFILE COMMAND [ARGUMENT ...]

Reads the profile as an engine does for a container that has no capabilities, compiles it with libseccomp and loads it
into the kernel. Calls that this libseccomp does not know are left out, as engines do. Exit status 77 without libseccomp,
64 for wrong arguments; else the command's.
"""

import argparse
import ctypes
import json
import os
import platform
import re
import sys

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
COMPARISONS = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}
# What the kernel calls a machine, engines and libseccomp call otherwise.
MACHINES = {"x86_64": ("amd64", "X86_64"), "aarch64": ("arm64", "AARCH64")}
UNKNOWN = -1


class Comparison(ctypes.Structure):
    _fields_ = [
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    ]


def holds(condition, arch):
    """Whether a rule's `includes` or `excludes` names this machine, this kernel or a capability that is there."""
    if arch in condition.get("arches", []):
        return True
    if "minKernel" in condition:
        kernel = [int(part) for part in re.findall(r"\d+", platform.release())[:2]]
        return kernel >= [int(part) for part in condition["minKernel"].split(".")]
    return False


def action_of(rule, default):
    if rule["action"] == "SCMP_ACT_ALLOW":
        return ALLOW
    return ERRNO | rule.get("errnoRet", default)


def load(profile, without):
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        sys.stderr.write("libseccomp.so.2 is not here\n")
        sys.exit(77)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    add = library.seccomp_rule_add_array
    add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Comparison)]

    def must(result, what):
        if result < 0:
            sys.exit(f"{what}: {os.strerror(-result)}")

    arch, native = MACHINES[platform.machine()]
    default = profile["defaultErrnoRet"]
    filters = library.seccomp_init(ERRNO | default)
    for entry in profile["archMap"]:
        if entry["architecture"] == f"SCMP_ARCH_{native}":
            for name in entry["subArchitectures"]:
                token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
                must(library.seccomp_arch_add(filters, token), name)

    added = unknown = 0
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes", {}), rule.get("excludes", {})
        if (includes and not holds(includes, arch)) or holds(excludes, arch):
            continue
        comparisons = [
            Comparison(arg["index"], COMPARISONS[arg["op"].removeprefix("SCMP_CMP_")], arg["value"], arg.get("valueTwo", 0))
            for arg in rule.get("args", [])
        ]
        array = (Comparison * len(comparisons))(*comparisons)
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == UNKNOWN:
                unknown += 1
            elif name not in without:
                must(add(filters, action_of(rule, default), number, len(comparisons), array), name)
                added += 1
    must(library.seccomp_load(filters), "load")
    return added, unknown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without", default="", metavar="CALL,CALL")
    parser.add_argument("profile")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    try:
        arguments = parser.parse_args()
    except SystemExit as exit:
        sys.exit(64 if exit.code else 0)
    if not arguments.command:
        sys.exit(64)
    with open(arguments.profile) as file:
        profile = json.load(file)
    added, unknown = load(profile, set(arguments.without.split(",")))
    if os.environ.get("SECCOMP_VERBOSE"):
        sys.stderr.write(f"{added} rules loaded, {unknown} calls unknown to this libseccomp\n")
    os.execvp(arguments.command[0], arguments.command)


if __name__ == "__main__":
    main()
