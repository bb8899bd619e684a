/*
 * LZ77 with a hash table of the last position of each three bytes. Output: a byte below 0x80 says that so many + 1
 * literals follow; a byte from 0x80 is a match of length (byte & 0x7F) + 3 at the 16-bit distance that follows.
 */
#include "compute.h"

#define INPUT 6144
#define OUTPUT (INPUT + INPUT / 64)
#define HASHES 4096
#define MIN_MATCH 3
#define MAX_MATCH (MIN_MATCH + 0x7F)
#define MAX_LITERALS 0x80

static u8 input[INPUT], packed[OUTPUT], unpacked[INPUT];
static u16 last[HASHES]; /* position + 1; 0: none */

/* Words of a small invented language, some more frequent than others. */
static void make_text(u32 state) {
    u32 at = 0;
    while (at < INPUT) {
        u32 r = random_next(&state);
        u32 word = (r & 0xFF) * (r >> 8 & 0xFF) >> 8, length = 2 + word % 7; /* small numbers are frequent */
        for (u32 i = 0; i < length && at < INPUT; i++) input[at++] = (u8)('a' + (word * (i + 3) * 7 + i) % 26);
        if (at < INPUT) input[at++] = ' ';
    }
}

static u32 flush_literals(u32 out, u32 from, u32 to) {
    while (from < to) {
        u32 n = to - from < MAX_LITERALS ? to - from : MAX_LITERALS;
        packed[out++] = (u8)(n - 1);
        while (n--) packed[out++] = input[from++];
    }
    return out;
}

static u32 compress(void) {
    u32 out = 0, literals = 0, at = 0;
    for (int i = 0; i < HASHES; i++) last[i] = 0;
    while (at < INPUT) {
        u32 length = 0, distance = 0;
        if (at + MIN_MATCH <= INPUT) {
            u32 three = (u32)input[at] | (u32)input[at + 1] << 8 | (u32)input[at + 2] << 16;
            u32 hash = three * 0x9E3779B1u >> 20;
            if (last[hash]) {
                u32 candidate = last[hash] - 1u;
                distance = at - candidate;
                while (length < MAX_MATCH && at + length < INPUT && input[candidate + length] == input[at + length]) length++;
            }
            last[hash] = (u16)(at + 1);
        }
        if (length < MIN_MATCH) {
            at++;
            continue;
        }
        out = flush_literals(out, literals, at);
        packed[out++] = (u8)(0x80 | (length - MIN_MATCH));
        packed[out++] = (u8)distance;
        packed[out++] = (u8)(distance >> 8);
        at += length;
        literals = at;
    }
    return flush_literals(out, literals, INPUT);
}

static u32 decompress(u32 length) {
    u32 in = 0, out = 0;
    while (in < length) {
        u32 token = packed[in++];
        if (token < 0x80) {
            for (u32 n = token + 1; n; n--) unpacked[out++] = packed[in++];
        } else {
            u32 distance = packed[in] | (u32)packed[in + 1] << 8;
            in += 2;
            for (u32 n = (token & 0x7F) + MIN_MATCH; n; n--, out++) unpacked[out] = unpacked[out - distance];
        }
    }
    return out;
}

int compression_round(u32 round, u32 *checksum) {
    make_text(random_seed(4, round));
    u32 length = compress();
    if (length >= INPUT * 3 / 4) return 0; /* the text repeats itself: it must shrink */
    for (u32 i = 0; i < length; i++) *checksum = fold(*checksum, packed[i]);
    if (decompress(length) != INPUT) return 0;
    for (u32 i = 0; i < INPUT; i++)
        if (unpacked[i] != input[i]) return 0;
    *checksum = fold(*checksum, length);
    return 1;
}
