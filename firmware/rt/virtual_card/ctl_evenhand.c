// ALSA control plug-in "evenhand": the preamps of a virtual card, in a file that several programs may have open at
// once.
//
// A value changes by one pwrite of four bytes, so no reader sees half of it, and inotify tells everybody else's
// handles. alsa-lib loads it by path (ctl_type.evenhand.lib); firmware/system/virtual_controls.py lays out the file.
#include <alsa/asoundlib.h>
#include <alsa/control_external.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { MAX_CONTROLS = 256, NAME_BYTES = 44, KIND_SWITCH = 0, KIND_VOLUME = 1 };

static const char MAGIC[8] = "EVENCTL1";

typedef struct {
    char magic[8];
    int32_t n_controls, n_plugs;  // n_plugs counts plugging in and out: odd is in
} ctl_header;

typedef struct {
    char name[NAME_BYTES];                                       // of the whole element, as "Mic 1 Capture Volume"
    int32_t kind, min, max, min_cdb, max_cdb, is_locked, value;  // cdb: hundredths of a dB at min and max
} ctl_record;

typedef struct {
    snd_ctl_ext_t ext;
    int fd, n_controls;
    int n_looked_at;                   // of the controls since the file last changed
    int32_t n_plugs;                   // of the opening; any later one and the handle is dead
    ctl_record control[MAX_CONTROLS];  // as of the opening; value: as this handle last heard of it
} eh_ctl;

static off_t value_offset(snd_ctl_ext_key_t key) {
    return (off_t)(sizeof(ctl_header) + key * sizeof(ctl_record) + offsetof(ctl_record, value));
}

static int check_plugged(const eh_ctl *c) {
    int32_t n_plugs;
    ssize_t n = pread(c->fd, &n_plugs, sizeof n_plugs, offsetof(ctl_header, n_plugs));
    return n == sizeof n_plugs && n_plugs == c->n_plugs ? 0 : -ENODEV;
}

static int load_value(const eh_ctl *c, snd_ctl_ext_key_t key, int32_t *value) {
    const ctl_record *r = &c->control[key];
    int err = check_plugged(c);
    if (err < 0) return err;
    if (pread(c->fd, value, sizeof *value, value_offset(key)) != sizeof *value) return -EIO;
    *value = *value < r->min ? r->min : *value > r->max ? r->max : *value;
    return 0;
}

static void ctl_close(snd_ctl_ext_t *ext) {
    eh_ctl *c = ext->private_data;
    if (ext->poll_fd >= 0) close(ext->poll_fd);
    close(c->fd);
    free(c);
}

static int ctl_elem_count(snd_ctl_ext_t *ext) { return ((eh_ctl *)ext->private_data)->n_controls; }

static int ctl_elem_list(snd_ctl_ext_t *ext, unsigned offset, snd_ctl_elem_id_t *id) {
    const eh_ctl *c = ext->private_data;
    if (offset >= (unsigned)c->n_controls) return -EINVAL;
    snd_ctl_elem_id_set_interface(id, SND_CTL_ELEM_IFACE_MIXER);
    snd_ctl_elem_id_set_name(id, c->control[offset].name);
    return 0;
}

static snd_ctl_ext_key_t ctl_find_elem(snd_ctl_ext_t *ext, const snd_ctl_elem_id_t *id) {
    const eh_ctl *c = ext->private_data;
    unsigned numid = snd_ctl_elem_id_get_numid(id);
    if (numid > 0) return numid <= (unsigned)c->n_controls ? numid - 1 : SND_CTL_EXT_KEY_NOT_FOUND;
    for (int key = 0; key < c->n_controls; ++key)
        if (strcmp(snd_ctl_elem_id_get_name(id), c->control[key].name) == 0) return (snd_ctl_ext_key_t)key;
    return SND_CTL_EXT_KEY_NOT_FOUND;
}

static int ctl_get_attribute(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, int *type, unsigned *access, unsigned *count) {
    const ctl_record *r = &((eh_ctl *)ext->private_data)->control[key];
    *type = r->kind == KIND_SWITCH ? SND_CTL_ELEM_TYPE_BOOLEAN : SND_CTL_ELEM_TYPE_INTEGER;
    *access = SND_CTL_EXT_ACCESS_READWRITE;
    if (r->kind == KIND_VOLUME) *access |= SND_CTL_EXT_ACCESS_TLV_READ | SND_CTL_EXT_ACCESS_TLV_CALLBACK;
    *count = 1;
    return 0;
}

static int ctl_get_integer_info(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *min, long *max, long *step) {
    const ctl_record *r = &((eh_ctl *)ext->private_data)->control[key];
    *min = r->min;
    *max = r->max;
    *step = 1;
    return 0;
}

static int ctl_tlv(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, int op, unsigned numid, unsigned *tlv, unsigned bytes) {
    const ctl_record *r = &((eh_ctl *)ext->private_data)->control[key];
    (void)numid;
    if (op != 0 || r->kind != KIND_VOLUME) return -ENXIO;
    if (bytes < 4 * sizeof *tlv) return -ENOMEM;
    tlv[0] = SND_CTL_TLVT_DB_MINMAX;
    tlv[1] = 2 * sizeof *tlv;
    tlv[2] = (unsigned)r->min_cdb;
    tlv[3] = (unsigned)r->max_cdb;
    return 0;
}

static int ctl_read_integer(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *value) {
    int32_t now = 0;
    int err = load_value(ext->private_data, key, &now);
    *value = now;
    return err;
}

static int ctl_write_integer(snd_ctl_ext_t *ext, snd_ctl_ext_key_t key, long *value) {
    const eh_ctl *c = ext->private_data;
    int32_t before = 0, after = (int32_t)*value;
    int err = load_value(c, key, &before);
    if (err < 0) return err;
    if (*value < c->control[key].min || *value > c->control[key].max) return -EINVAL;
    if (c->control[key].is_locked) return -EPERM;
    if (after == before) return 0;
    return pwrite(c->fd, &after, sizeof after, value_offset(key)) == sizeof after ? 1 : -EIO;
}

static void ctl_subscribe_events(snd_ctl_ext_t *ext, int subscribe) {
    (void)ext;
    (void)subscribe;  // alsa-lib asks read_event only while subscribed
}

// One event for each control whose value is not what this handle last heard; inotify only says "look again".
static int ctl_read_event(snd_ctl_ext_t *ext, snd_ctl_elem_id_t *id, unsigned *mask) {
    eh_ctl *c = ext->private_data;
    char notes[4096] __attribute__((aligned(8)));
    while (read(ext->poll_fd, notes, sizeof notes) > 0) c->n_looked_at = 0;
    for (; c->n_looked_at < c->n_controls; ++c->n_looked_at) {
        int key = c->n_looked_at;
        int32_t now = 0;
        int err = load_value(c, (snd_ctl_ext_key_t)key, &now);
        if (err < 0) return err;
        if (now == c->control[key].value) continue;
        c->control[key].value = now;
        ctl_elem_list(ext, (unsigned)key, id);
        snd_ctl_elem_id_set_numid(id, (unsigned)key + 1);
        *mask = SND_CTL_EVENT_MASK_VALUE;
        return 1;
    }
    return check_plugged(c) < 0 ? -ENODEV : -EAGAIN;
}

static const snd_ctl_ext_callback_t CALLBACKS = {
    .close = ctl_close,
    .elem_count = ctl_elem_count,
    .elem_list = ctl_elem_list,
    .find_elem = ctl_find_elem,
    .get_attribute = ctl_get_attribute,
    .get_integer_info = ctl_get_integer_info,
    .read_integer = ctl_read_integer,
    .write_integer = ctl_write_integer,
    .subscribe_events = ctl_subscribe_events,
    .read_event = ctl_read_event,
};

// The file may be anything: what is wrong with it is refused here, so that the rest may trust its copy.
static int load(eh_ctl *c, const char *path) {
    ctl_header header;
    c->fd = open(path, O_RDWR | O_CLOEXEC);
    if (c->fd < 0) return -errno;
    if (pread(c->fd, &header, sizeof header, 0) != sizeof header) return -EINVAL;
    if (memcmp(header.magic, MAGIC, sizeof MAGIC) != 0) return -EINVAL;
    if (header.n_controls < 1 || header.n_controls > MAX_CONTROLS) return -EINVAL;
    if (header.n_plugs % 2 == 0) return -ENODEV;
    c->n_plugs = header.n_plugs;
    size_t bytes = (size_t)header.n_controls * sizeof(ctl_record);
    if (pread(c->fd, c->control, bytes, sizeof header) != (ssize_t)bytes) return -EINVAL;
    c->n_controls = header.n_controls;
    for (int key = 0; key < c->n_controls; ++key) {
        ctl_record *r = &c->control[key];
        int is_switch = r->kind == KIND_SWITCH && r->min == 0 && r->max == 1;
        int is_volume = r->kind == KIND_VOLUME && r->min < r->max && r->min_cdb < r->max_cdb;
        if (r->name[NAME_BYTES - 1] != 0 || r->name[0] == 0 || !(is_switch || is_volume)) return -EINVAL;
        if (load_value(c, (snd_ctl_ext_key_t)key, &r->value) < 0) return -EIO;
    }
    c->ext.poll_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (c->ext.poll_fd < 0 || inotify_add_watch(c->ext.poll_fd, path, IN_MODIFY) < 0) return -errno;
    return 0;
}

SND_CTL_PLUGIN_DEFINE_FUNC(evenhand) {
    snd_config_iterator_t i, next;
    const char *path = NULL;
    (void)root;
    snd_config_for_each(i, next, conf) {
        snd_config_t *entry = snd_config_iterator_entry(i);
        const char *key;
        if (snd_config_get_id(entry, &key) < 0) continue;
        if (strcmp(key, "comment") == 0 || strcmp(key, "type") == 0 || strcmp(key, "hint") == 0) continue;
        if (strcmp(key, "file") != 0 || snd_config_get_string(entry, &path) < 0) {
            SNDERR("evenhand: %s is no setting of this control; it takes file", key);
            return -EINVAL;
        }
    }
    if (!path) {
        SNDERR("evenhand: file is missing");
        return -EINVAL;
    }
    eh_ctl *c = calloc(1, sizeof *c);
    if (!c) return -ENOMEM;
    c->fd = c->ext.poll_fd = -1;
    int err = load(c, path);
    if (err < 0) {
        SNDERR("evenhand: %s: %s", path, err == -EINVAL ? "is no file of controls" : snd_strerror(err));
        goto refused;
    }
    c->ext.version = SND_CTL_EXT_VERSION;
    c->ext.card_idx = -1;
    strcpy(c->ext.id, "evenhand");
    strcpy(c->ext.driver, "evenhand");
    strcpy(c->ext.name, "Virtual card");
    strcpy(c->ext.longname, "Preamps of a virtual card");
    strcpy(c->ext.mixername, "Virtual preamps");
    c->ext.callback = &CALLBACKS;
    c->ext.private_data = c;
    c->ext.tlv.c = ctl_tlv;
    err = snd_ctl_ext_create(&c->ext, name, mode);
    if (err < 0) goto refused;
    *handlep = c->ext.handle;
    return 0;

refused:
    if (c->ext.poll_fd >= 0) close(c->ext.poll_fd);
    if (c->fd >= 0) close(c->fd);
    free(c);
    return err;
}

SND_CTL_PLUGIN_SYMBOL(evenhand)
