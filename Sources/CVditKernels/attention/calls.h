// `attend` and `scratch_bytes` whatever multiplies. Included inside an ISA region after attend.h or attend_amx.h, which
// define
//
//   work, divided           a call's sums, in memory of its own and in some that all calls share
//   floats_of(call)         that own memory, SHARED_FLOATS the other, in whole lines
//   start, finish           what is before the first chunk, and after the last
//   take_turns              all chunks of all calls between them

/// Bytes of the walks and the calls' works, in whole lines.
VDIT_INLINE int64_t state_bytes(int32_t count) {
    return (count * (int64_t)(sizeof(key_walk) + sizeof(work)) + 63) / 64 * 64;
}

static int64_t scratch_bytes(const vdit_attend_call *calls, int32_t count) {
    int64_t floats = SHARED_FLOATS;
    for (int32_t i = 0; i < count; i++) floats += floats_of(&calls[i]);
    return state_bytes(count) + floats * 4;
}

static void attend(const vdit_attend_call *calls, int32_t count, void *scratch) {
    key_walk *walks = scratch;
    work *works = (work *)(walks + count);
    float *shared = (float *)((char *)scratch + state_bytes(count)), *own = shared + SHARED_FLOATS;
    for (int32_t i = 0; i < count; own += floats_of(&calls[i]), i++) {
        fetch_queries(&calls[i]);
        works[i] = divided(&calls[i], shared, own);
        start(&works[i]);
        start_masses(&calls[i]);
    }
    begin_walks(calls, count, walks);
    take_turns(walks, works, count);
    for (int32_t i = 0; i < count; i++) finish(&works[i]);
}
