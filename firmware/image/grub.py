"""How a PC starts: Debian's GRUB on the first partition chooses the slot as ``firmware/system/grub_env.py`` says.

UEFI takes ``EFI/BOOT/BOOTX64.EFI`` of a disk that nobody has told it about; that is Debian's GRUB, all in one file,
which reads ``EFI/debian/grub.cfg`` beside it. What is of one slot, kernel and command line, lies in its own partition.
"""

from __future__ import annotations

from firmware.system.grub_env import PLACE, env_bytes

from .layout import BOOT

CONFIG, LOADER, SLOT = "EFI/debian/grub.cfg", "EFI/BOOT/BOOTX64.EFI", "slot.cfg"
KERNEL, FIRST_ROOT = "vmlinuz", "initramfs.zst"


def config_text() -> str:
    """Return ``grub.cfg``: the slot to try, once, where there is one, else the committed one."""
    a, b = BOOT
    return f"""\
# Which slot starts. Made by firmware/image; an update leaves it alone.
regexp --set=1:disk '^\\(([^,]+),' "$prefix"
set committed=a
set trial=
load_env --file "$prefix/{PLACE.rpartition("/")[2]}" committed trial
set slot="$committed"
if [ "$trial" = a -o "$trial" = b ]; then
    set slot="$trial"
    set trial=
    save_env --file "$prefix/{PLACE.rpartition("/")[2]}" committed trial
fi
set partition={a}
if [ "$slot" = b ]; then set partition={b}; fi
set root="$disk,msdos$partition"
if source /{SLOT}; then boot; fi
echo "slot $slot does not start"
sleep 5
reboot
"""


def slot_text(command_line: str) -> str:
    """Return what starts a slot; the first root is told which boot partition it came from."""
    return f"linux /{KERNEL} {command_line.strip()} evenhand.partition=$partition\ninitrd /{FIRST_ROOT}\n"


def select_files(loader: dict[str, bytes]) -> dict[str, bytes]:
    """Return what lies on the first partition beside the seed: GRUB, slot a committed."""
    return {CONFIG: config_text().encode("ascii"), PLACE: env_bytes("a"), **loader}
