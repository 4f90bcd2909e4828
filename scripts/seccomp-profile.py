#!/usr/bin/env python3
"""Writes deploy/seccomp.json: the container default and io_uring's three calls.

Container engines' default profile forbids io_uring since 2023, so the server needs one of its own. Which calls the
default allows, on which architecture and with which capability, is read off moby's (github.com/moby/profiles,
seccomp/default.json, Apache-2.0, as of 2026); this table says it in fewer lines. What is not listed fails with EPERM.

`--check` compares instead of writing, exit status 1 if the file is not what this table says.
"""

import json
import pathlib
import sys

PROFILE = pathlib.Path(__file__).resolve().parent.parent / "deploy" / "seccomp.json"

IO_URING = "io_uring_setup io_uring_enter io_uring_register"

ALWAYS = """
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
    getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
    getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt
    get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64
    ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr
    _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret
    mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
    msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat
    openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64
    prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
    readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
    removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
    send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
    setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address
    setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat
    sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime
    utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
"""

# Address families that socket(2) may have: all below AF_NETROM's gap, then these. AF_ALG and AF_VSOCK are not among them.
FAMILIES_BELOW = 12
FAMILIES = [13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45]

# PER_LINUX, UNAME26 and their like; 0xffffffff asks which one it is.
PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF]

BY_ARCHITECTURE = [
    ("ppc64le", "sync_file_range2 swapcontext"),
    ("arm arm64", "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    ("amd64 x32", "arch_prctl"),
    ("amd64 x32 x86", "modify_ldt"),
    ("s390 s390x", "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    ("riscv64", "riscv_flush_icache"),
]

BY_CAPABILITY = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr "
        "lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl "
        "quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
]

# Native architecture and those of its compatibility modes.
ARCHITECTURES = [
    ("X86_64", "X86 X32"),
    ("AARCH64", "ARM"),
    ("MIPS64", "MIPS MIPS64N32"),
    ("MIPS64N32", "MIPS MIPS64"),
    ("MIPSEL64", "MIPSEL MIPSEL64N32"),
    ("MIPSEL64N32", "MIPSEL MIPSEL64"),
    ("S390X", "S390"),
    ("RISCV64", ""),
    ("LOONGARCH64", ""),
]

# All CLONE_NEW* but the time namespace, which has no bit among clone's.
CLONE_NAMESPACES = 0x7E020000
EPERM, ENOSYS = 1, 38


def rule(names, comparison=None, **more):
    allowed = {"names": names.split(), "action": "SCMP_ACT_ALLOW"}
    if comparison:
        index, operator, value = comparison
        allowed["args"] = [{"index": index, "value": value, "op": f"SCMP_CMP_{operator}"}]
    return {**allowed, **more}


def profile():
    no_admin = {"caps": ["CAP_SYS_ADMIN"]}
    s390 = ["s390", "s390x"]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "archMap": [
            {
                "architecture": f"SCMP_ARCH_{native}",
                "subArchitectures": [f"SCMP_ARCH_{name}" for name in others.split()],
            }
            for native, others in ARCHITECTURES
        ],
        "syscalls": [
            rule(IO_URING, comment="what Downbeat needs beyond the container default"),
            rule(ALWAYS),
            rule("process_vm_readv process_vm_writev ptrace", includes={"minKernel": "4.8"}),
            rule("socket", (0, "LT", FAMILIES_BELOW)),
            *(rule("socket", (0, "EQ", family)) for family in FAMILIES),
            *(rule("personality", (0, "EQ", persona)) for persona in PERSONALITIES),
            *(rule(names, includes={"arches": arches.split()}) for arches, names in BY_ARCHITECTURE),
            *(rule(names, includes={"caps": [capability]}) for capability, names in BY_CAPABILITY),
            # Threads and processes, but no namespaces.
            rule("clone", (0, "MASKED_EQ", CLONE_NAMESPACES), excludes={**no_admin, "arches": s390}),
            rule("clone", (1, "MASKED_EQ", CLONE_NAMESPACES), includes={"arches": s390}, excludes=no_admin),
            # A filter cannot look into clone3's structure; ENOSYS makes the C library fall back to clone.
            {**rule("clone3", excludes=no_admin), "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
        ],
    }


def main():
    text = json.dumps(profile(), indent=2) + "\n"
    if sys.argv[1:] == ["--check"]:
        if PROFILE.read_text() != text:
            sys.exit(f"{PROFILE.name} is not what scripts/seccomp-profile.py writes")
    elif sys.argv[1:]:
        sys.exit("usage: scripts/seccomp-profile.py [--check]")
    else:
        PROFILE.write_text(text)


if __name__ == "__main__":
    main()
