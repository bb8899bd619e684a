/* A hash table with linear probing: insert keys, find them all, miss others, count words. */
#include "compute.h"

#define SLOTS 16384 /* 128 KB of slots */
#define KEYS 2500

static struct {
    u32 key, value; /* key 0: empty */
} slots[SLOTS];

static u32 slot_of(u32 key) {
    u32 h = key;
    h = (h ^ h >> 16) * 0x85EBCA6Bu;
    h = (h ^ h >> 13) * 0xC2B2AE35u;
    u32 slot = (h ^ h >> 16) % SLOTS;
    while (slots[slot].key && slots[slot].key != key) slot = (slot + 1) % SLOTS;
    return slot;
}

int hash_round(u32 round, u32 *checksum) {
    for (int i = 0; i < SLOTS; i++) slots[i].key = slots[i].value = 0;
    u32 state = random_seed(2, round), inserted = 0;
    for (u32 i = 0; i < KEYS; i++) {
        u32 key = random_next(&state), slot = slot_of(key); /* xorshift32 does not repeat within a round */
        slots[slot].key = key;
        slots[slot].value += i + 1;
    }
    u32 again = random_seed(2, round);
    for (u32 i = 0; i < KEYS; i++) {
        u32 slot = slot_of(random_next(&again));
        if (slots[slot].value != i + 1) return 0;
        *checksum = fold(*checksum, slot);
    }
    for (u32 i = 0; i < KEYS; i++)
        if (slots[slot_of(random_next(&state))].key) return 0;
    for (int i = 0; i < SLOTS; i++) inserted += slots[i].key != 0;
    return inserted == KEYS;
}
