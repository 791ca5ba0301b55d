// The loops over steady sections, for vectors of EQ_WIDTH lanes: included by eq.c once a width.
#define NAME_(name, width) name##_##width
#define NAME_OF(name, width) NAME_(name, width)
#define NAME(name) NAME_OF(name, EQ_WIDTH)
#define V_(name, width) v##width##name
#define V_OF(name, width) V_(name, width)
#define V(name) V_OF(name, EQ_WIDTH)
typedef V() NAME(vector);

// Of a bank, and in eight lanes of the one `next` banks behind it.
#if EQ_WIDTH == 4
#define GET(bank, next, field) ((void)(next), (bank)->field)
#define PUT(bank, next, field, value) ((void)(next), (bank)->field = (value))
#else
#define GET(bank, next, field) v8_join((bank)->field, (bank)[next].field)
#define PUT(bank, next, field, value) ((bank)->field = v8_low(value), (bank)[next].field = v8_high(value))
#endif

typedef struct {
    NAME(vector) k, c2, g2, n0, nh, n2;
} NAME(constants);

INLINED NAME(constants) NAME(constants_of)(const section_bank *b, size_t next) {
    return (NAME(constants)){GET(b, next, now.k),  GET(b, next, now.c2), GET(b, next, now.g2),
                             GET(b, next, now.n0), GET(b, next, now.nh), GET(b, next, now.n2)};
}

INLINED NAME(vector) NAME(bell)(NAME(vector) v0, const NAME(constants) * c, NAME(vector) * s1, NAME(vector) * u2) {
    NAME(vector) h = v0 - *u2;
    NAME(vector) y = V(_fma)(c->nh, *s1, v0);
    h = V(_fnma)(c->k, *s1, h);
    *s1 = V(_fma)(c->c2, h, *s1);
    y = V(_fma)(c->nh, *s1, y);
    *u2 = V(_fma)(c->g2, *s1, *u2);
    return y;
}

INLINED NAME(vector) NAME(high_pass)(NAME(vector) v0, const NAME(constants) * c, NAME(vector) * s1, NAME(vector) * u2) {
    const NAME(vector) h = V(_fnma)(c->k, *s1, v0 - *u2);
    *s1 = V(_fma)(c->c2, h, *s1);
    *u2 = V(_fma)(c->g2, *s1, *u2);
    return c->n2 * h;
}

INLINED NAME(vector) NAME(general)(NAME(vector) v0, const NAME(constants) * c, NAME(vector) * s1, NAME(vector) * u2) {
    const NAME(vector) h = V(_fnma)(c->k, *s1, v0 - *u2);
    NAME(vector) y = V(_fma)(c->nh, *s1, c->n0 * v0);
    y = V(_fma)(c->n2, h, y);
    *s1 = V(_fma)(c->c2, h, *s1);
    *u2 = V(_fma)(c->g2, *s1, *u2);
    return V(_fma)(c->nh, *s1, y);
}

// One pass over consecutive sections: each frame is loaded and stored once, and the recurrences of the sections fill
// each other's latencies. Called with constant counts only: high-passes, then general sections, bells, general
// sections.
INLINED void NAME(pass)(section_bank *const *banks, size_t next, int n_high_passes, int n_heads, int n_bells,
                        int n_tails, const float *x, float *y, size_t n_frames, size_t stride) {
    const int first_bell = n_high_passes + n_heads, first_tail = first_bell + n_bells, n = first_tail + n_tails;
    NAME(constants) c0, c1, c2, c3, c4, c5, c6;
    NAME(vector) s0, s1, s2, s3, s4, s5, s6, u0, u1, u2, u3, u4, u5, u6;
#define SECTIONS(DO)  \
    DO(0, c0, s0, u0) \
    DO(1, c1, s1, u1) \
    DO(2, c2, s2, u2) \
    DO(3, c3, s3, u3) DO(4, c4, s4, u4) DO(5, c5, s5, u5) DO(6, c6, s6, u6)
#define LOAD(i, c, s, u) \
    if (i < n) c = NAME(constants_of)(banks[i], next), s = GET(banks[i], next, s1), u = GET(banks[i], next, u2);
#define STEP(i, c, s, u)                            \
    if (i < n_high_passes) {                        \
        v = NAME(high_pass)(v, &c, &s, &u);         \
    } else if (i >= first_bell && i < first_tail) { \
        v = NAME(bell)(v, &c, &s, &u);              \
    } else if (i < n) {                             \
        v = NAME(general)(v, &c, &s, &u);           \
    }
#define SAVE(i, c, s, u) \
    if (i < n) PUT(banks[i], next, s1, s), PUT(banks[i], next, u2, u);
    SECTIONS(LOAD)
    EH_UNROLL(4)
    for (; n_frames > 0; n_frames--, x += stride, y += stride) {
        NAME(vector) v = V(_load)(x);
        SECTIONS(STEP)
        V(_store)(y, v);
    }
    SECTIONS(SAVE)
#undef SAVE
#undef STEP
#undef LOAD
#undef SECTIONS
}

static void NAME(pass_high_passes)(section_bank *const *banks, const float *x, float *y, size_t n_frames,
                                   size_t stride) {
    enum { STEP = EQ_WIDTH / 4 };
    NAME(constants) c[SIDE_BY_SIDE];
    NAME(vector) s1[SIDE_BY_SIDE], u2[SIDE_BY_SIDE];
    size_t next[SIDE_BY_SIDE];
    for (int i = 0; i < SIDE_BY_SIDE; i++) {
        next[i] = (size_t)(banks[STEP * i + STEP - 1] - banks[STEP * i]);
        c[i] = NAME(constants_of)(banks[STEP * i], next[i]);
        s1[i] = GET(banks[STEP * i], next[i], s1);
        u2[i] = GET(banks[STEP * i], next[i], u2);
    }
    EH_UNROLL(4)
    for (; n_frames > 0; n_frames--, x += stride, y += stride)
        for (int i = 0; i < SIDE_BY_SIDE; i++)
            V(_store)(y + EQ_WIDTH * i, NAME(high_pass)(V(_load)(x + EQ_WIDTH * i), &c[i], &s1[i], &u2[i]));
    for (int i = 0; i < SIDE_BY_SIDE; i++) {
        PUT(banks[STEP * i], next[i], s1, s1[i]);
        PUT(banks[STEP * i], next[i], u2, u2[i]);
    }
}

#undef PUT
#undef GET
#undef V
#undef V_OF
#undef V_
#undef NAME
#undef NAME_OF
#undef NAME_
#undef EQ_WIDTH
