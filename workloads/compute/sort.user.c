/* Quicksort by the middle element, insertion sort below 16; checked by order, sum and exclusive or. */
#include "compute.h"

#define COUNT 2560

static u32 values[COUNT];

static void insertion_sort(u32 *v, int n) {
    for (int i = 1; i < n; i++) {
        u32 x = v[i];
        int j = i;
        for (; j > 0 && v[j - 1] > x; j--) v[j] = v[j - 1];
        v[j] = x;
    }
}

static void quicksort(u32 *v, int n) {
    while (n > 16) {
        u32 pivot = v[n / 2];
        int i = 0, j = n - 1;
        while (i <= j) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i <= j) {
                u32 t = v[i];
                v[i++] = v[j];
                v[j--] = t;
            }
        }
        quicksort(v, j + 1);
        v += i;
        n -= i;
    }
    insertion_sort(v, n);
}

int sort_round(u32 round, u32 *checksum) {
    u32 state = random_seed(1, round), sum = 0, parity = 0;
    for (int i = 0; i < COUNT; i++) {
        values[i] = random_next(&state);
        sum += values[i];
        parity ^= values[i];
    }
    quicksort(values, COUNT);
    for (int i = 0; i < COUNT; i++) {
        if (i && values[i - 1] > values[i]) return 0;
        sum -= values[i];
        parity ^= values[i];
        *checksum = fold(*checksum, values[i]);
    }
    return sum == 0 && parity == 0;
}
