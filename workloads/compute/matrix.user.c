/* Integer matrix multiply modulo 2^32, checked by Freivalds' method: A (B x) = (A B) x. */
#include "compute.h"

#define N 36

static u32 a[N][N], b[N][N], c[N][N], x[N], y[N], z[N];

static void multiply_vector(u32 result[N], u32 m[N][N], const u32 v[N]) {
    for (int i = 0; i < N; i++) {
        u32 sum = 0;
        for (int j = 0; j < N; j++) sum += m[i][j] * v[j];
        result[i] = sum;
    }
}

int matrix_round(u32 round, u32 *checksum) {
    u32 state = random_seed(3, round);
    for (int i = 0; i < N; i++) {
        x[i] = random_next(&state);
        for (int j = 0; j < N; j++) {
            a[i][j] = random_next(&state);
            b[i][j] = random_next(&state);
        }
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            u32 sum = 0;
            for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
            c[i][j] = sum;
            *checksum = fold(*checksum, sum);
        }
    multiply_vector(y, b, x);
    multiply_vector(z, a, y);
    multiply_vector(y, c, x);
    for (int i = 0; i < N; i++)
        if (y[i] != z[i]) return 0;
    return 1;
}
