"""What the scripts of Debian's packages would have done to a root, done here: users, links, settings; and bytecode.

Their scripts would have to run on the box's processor, or an imitation of it, for minutes. This is all that a box needs
of them; ``recipe.toml`` names the packages that were only there for the scripts.
"""

from __future__ import annotations

import importlib.util
import marshal
import re
import shlex
import sys
from collections.abc import Iterator, Mapping

from firmware.errors import EvenhandError

from .archive import FOLDER, Item, link, text

# The same numbers in every version: they own what lies on the data partition.
ACCOUNTS = (
    ("u", "evenhand", "900", "Evenhand mixer", "/var/lib/evenhand"),
    ("u", "evenhand-agent", "901", "Evenhand update agent", "/var/lib/evenhand-agent"),
)
FIRST_SYSTEM_ID = 999  # and downwards, as systemd-sysusers does
SHADOW_GID = 42
DEVICE_GROUPS = ("input", "kvm", "render", "sgx")  # that udev's rules name
LINKS = {
    "bin": "usr/bin", "lib": "usr/lib", "sbin": "usr/sbin", "var/run": "/run", "var/lock": "/run/lock",
    "usr/bin/sh": "dash", "usr/bin/awk": "mawk", "etc/mtab": "../proc/self/mounts",
}  # fmt: skip
COPIED = {
    "etc/profile": "usr/share/base-files/profile", "etc/nsswitch.conf": "usr/share/libc-bin/nsswitch.conf",
    "root/.bashrc": "usr/share/base-files/dot.bashrc", "root/.profile": "usr/share/base-files/dot.profile",
}  # fmt: skip
PAM = {
    "account": "account required pam_unix.so\n",
    "auth": "auth required pam_unix.so nullok\n",
    "password": "password required pam_unix.so obscure yescrypt\n",
    "session": "session required pam_unix.so\n",
    "session-noninteractive": "session required pam_unix.so\n",
}
PYTHON = "usr/lib/python3.11/"
# Parts of the standard library that a box never imports.
UNUSED = ("idlelib/", "lib2to3/", "test/", "tkinter/", "turtledemo/", "ensurepip/", "pydoc_data/", "distutils/")


# Newer forms mark which words are known in the whole process that writes: not the same bytes each time.
MARSHAL = 2


def settings(files: Mapping[str, Item]) -> Iterator[tuple[str, Item]]:
    """Yield what packages would have made of themselves.

    Raises
    ------
    EvenhandError
        When a package is not there that this rests upon.
    """
    for name, target in LINKS.items():
        yield name, link(target)
    for name, source in COPIED.items():
        yield name, text(_text(files, source))
    for name, lines in PAM.items():
        yield f"etc/pam.d/common-{name}", text(lines)
    yield from users(files)


def users(files: Mapping[str, Item]) -> Iterator[tuple[str, Item]]:
    """Yield the files of users and groups: Debian's own, what packages ask systemd-sysusers for, and ours."""
    passwd = _text(files, "usr/share/base-passwd/passwd.master").splitlines()
    group = _text(files, "usr/share/base-passwd/group.master").splitlines()
    accounts = {line.split(":")[0]: line.replace(":*:", ":x:", 1) for line in passwd}
    groups = {line.split(":")[0]: line.replace(":*:", ":x:", 1) for line in group}
    free = iter(range(FIRST_SYSTEM_ID, 100, -1))
    wanted = list(ACCOUNTS)
    wanted += [("g", name, "-", "-", "-") for name in DEVICE_GROUPS]
    joined: list[tuple[str, str]] = []
    for name in sorted(files):
        if re.fullmatch(r"usr/lib/sysusers\.d/[^/]+\.conf", name):
            for line in _text(files, name).splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] == "m":
                    joined.append((words[1], words[2]))
                elif words:
                    number, comment, home = [*words[2:], "-", "-", "-"][:3]
                    wanted.append((words[0], words[1], number, comment, home))
    for kind, name, number, comment, home in wanted:
        if kind == "u" and name in accounts:
            continue
        fixed = int(number.split(":")[0]) if number.split(":")[0].isdigit() else None
        if name not in groups:
            taken = {int(line.split(":")[2]) for line in (*groups.values(), *accounts.values())}
            number_of = fixed if fixed is not None and fixed not in taken else next(n for n in free if n not in taken)
            groups[name] = f"{name}:x:{number_of}:"
        if kind == "u":
            gid = groups[name].split(":")[2]
            place = "/" if home == "-" else home
            accounts[name] = f"{name}:x:{gid}:{gid}:{'' if comment == '-' else comment}:{place}:/usr/sbin/nologin"
    for user, name in joined:
        members = [*filter(None, groups[name].split(":")[3].split(",")), user]
        groups[name] = f"{groups[name].rpartition(':')[0]}:{','.join(dict.fromkeys(members))}"
    yield "etc/passwd", text("".join(f"{line}\n" for line in accounts.values()))
    yield "etc/group", text("".join(f"{line}\n" for line in groups.values()))
    yield "etc/shadow", text("".join(f"{name}:*:20000:0:99999:7:::\n" for name in accounts), 0o640, gid=SHADOW_GID)
    yield "etc/gshadow", text("".join(f"{name}:*::\n" for name in groups), 0o640, gid=SHADOW_GID)
    for _kind, _name, _number, _comment, home in ACCOUNTS:
        yield home[1:], FOLDER


def bytecode(files: Mapping[str, Item], folders: tuple[str, ...]) -> Iterator[tuple[str, Item]]:
    """Yield the compiled form of the Python under ``folders``: the root is read-only, and a start without it slow.

    It is not held against its source at each start: both lie in one read-only file system.

    Raises
    ------
    EvenhandError
        When this is not the box's Python: its bytecode is no other's.
    """
    if sys.version_info[:2] != (3, 11):
        raise EvenhandError("the box has Python 3.11, and bytecode is made for it here; run this with Python 3.11")
    head = importlib.util.MAGIC_NUMBER + (0b01).to_bytes(4, "little")  # by digest, unchecked
    for name in sorted(files):
        source = files[name].content
        folder, _, file = name.rpartition("/")
        if source is None or not file.endswith(".py") or not name.startswith(folders):
            continue
        if name.startswith(tuple(PYTHON + part for part in UNUSED)):
            continue
        try:
            code = compile(source, f"/{name}", "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError):  # examples of errors, code for another Python
            continue
        place = f"{folder}/__pycache__/{file.removesuffix('.py')}.cpython-311.pyc"
        yield place, Item(content=head + importlib.util.source_hash(source) + marshal.dumps(code, MARSHAL))


def _text(files: Mapping[str, Item], name: str) -> str:
    item = files.get(name)
    if item is None or item.content is None:
        raise EvenhandError(f"recipe.toml: no package has {name}, which the root is made from; add it")
    return item.content.decode()
