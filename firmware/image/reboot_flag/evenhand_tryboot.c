// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Hands "tryboot" of a reboot's parameter to a Raspberry Pi's firmware, which the kernel's own driver does not.
//
// reboot(2) with RESTART2 and "0 tryboot" asks for one start of the other slot. The firmware hears it as a property:
// tag 0x00038064 (set reboot flags), bit 0. It goes out before the devices are shut down, where the kernel's driver
// tells the firmware of the reboot itself.
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/of.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include <soc/bcm2835/raspberrypi-firmware.h>

#define SET_REBOOT_FLAGS 0x00038064
#define TRYBOOT 0x1

static struct rpi_firmware *firmware;

static int on_reboot(struct notifier_block *block, unsigned long action, void *parameter) {
    u32 flags = TRYBOOT;
    int failed;

    if (action != SYS_RESTART || !parameter || !strstr(parameter, " tryboot")) return NOTIFY_DONE;
    failed = rpi_firmware_property(firmware, SET_REBOOT_FLAGS, &flags, sizeof(flags));
    if (failed)
        pr_err("evenhand: the firmware took no try (%d); the committed slot starts\n", failed);
    else
        pr_notice("evenhand: the firmware starts the other slot once\n");
    return NOTIFY_DONE;
}

static struct notifier_block block = {.notifier_call = on_reboot};

static int __init evenhand_tryboot_init(void) {
    struct device_node *node = of_find_compatible_node(NULL, NULL, "raspberrypi,bcm2835-firmware");
    int failed;

    if (!node) return -ENODEV;
    firmware = rpi_firmware_get(node);
    of_node_put(node);
    if (!firmware) return -ENXIO;
    failed = register_reboot_notifier(&block);
    if (failed) rpi_firmware_put(firmware);
    return failed;
}

static void __exit evenhand_tryboot_exit(void) {
    unregister_reboot_notifier(&block);
    rpi_firmware_put(firmware);
}

module_init(evenhand_tryboot_init);
module_exit(evenhand_tryboot_exit);
MODULE_DESCRIPTION("One start of the other slot of a Raspberry Pi");
MODULE_LICENSE("GPL");
