/*
 * What the recorders of integer vectors share: Linux without a C library, output, random values, the processor's name,
 * and which flags a shift leaves undefined. Included once by each program; forms.h comes first.
 */
/* Flags in popped images: all but TF, RF, VM, VIF and VIP. */
#define POPPED (0x24fe2a | ARITH)
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* ---- Linux, without a C library ---- */
struct regs { /* struct sigcontext of 32-bit x86 */
  u32 gs, fs, es, ds, edi, esi, ebp, esp, ebx, edx, ecx, eax, trapno, err, eip, cs, eflags, esp_at_signal, ss, fpstate, oldmask, cr2;
};
struct ucontext { u32 flags, link, stack[3]; struct regs regs; };
static int syscall6(int n, u32 a, u32 b, u32 c, u32 d, u32 e, u32 f) {
  int r;
  __asm__ volatile("push %%ebp; mov %7, %%ebp; int $0x80; pop %%ebp"
                   : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), "m"(f) : "memory");
  return r;
}
static char out[65536];
static u32 outLength;
static void flush(void) {
  for (u32 done = 0; done < outLength;) {
    int r = syscall6(4, 1, (u32)(out + done), outLength - done, 0, 0, 0);
    if (r <= 0) syscall6(1, 2, 0, 0, 0, 0, 0);
    done += r;
  }
  outLength = 0;
}
static void put(const char *s) { for (; *s; s++) { if (outLength == sizeof out) flush(); out[outLength++] = *s; } }
static void putHex(u32 v, int digits) { /* digits 0: as many as needed */
  char b[9] = {0};
  if (!digits) for (digits = 1; digits < 8 && v >> (4 * digits); digits++) {}
  for (int i = digits - 1; i >= 0; i--, v >>= 4) b[i] = "0123456789abcdef"[v & 15];
  put(b);
}
static void putDec(u32 v) { char b[11] = {0}; int i = 10; do b[--i] = '0' + v % 10; while (v /= 10); put(b + i); }
static void fail(const char *why) { flush(); put(why); put("\n"); flush(); syscall6(1, 1, 0, 0, 0, 0, 0); }
void *memset(void *p, int v, u32 n) { for (u8 *d = p; n--;) *d++ = v; return p; }
void *memcpy(void *p, const void *q, u32 n) { const u8 *s = q; for (u8 *d = p; n--;) *d++ = *s++; return p; }
static int same(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return *a == *b; }
static int has(const char *s, char c) { for (; *s; s++) if (*s == c) return 1; return 0; }

/* ---- Random values ---- */
static u64 rngState;
static u32 rnd(void) { /* xorshift64 */
  rngState ^= rngState << 13; rngState ^= rngState >> 7; rngState ^= rngState << 17;
  return rngState >> 16;
}
static u32 below(u32 n) { return rnd() % n; }
static u32 value(void) {
  static const u32 pool[] = {0, 1, 2, 0xf, 0x10, 0x7f, 0x80, 0x81, 0xff, 0x100, 0x7fff, 0x8000, 0x8001, 0xffff, 0x10000, 0x99,
    0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff, 0x55555555, 0xaaaaaaaa, 0xff00, 0x8080, 0x7f7f};
  static const u8 bytes[] = {0, 1, 9, 0x0a, 0x7f, 0x80, 0x99, 0xff};
  u32 kind = below(20), v = 0;
  if (kind < 10) return pool[below(sizeof pool / 4)];
  if (kind < 14) { for (int i = 0; i < 4; i++) v = v << 8 | bytes[below(8)]; return v; }
  return rnd();
}

/* Status flags that the SDM leaves undefined after a shift or rotate (group 2 extension op) by count. */
static u32 shiftUndefined(int op, u32 count, int size) {
  count &= 31;
  if (!count) return 0;
  u32 u = count == 1 ? 0 : OF;
  if (op < 4) return u;
  return u | AF | (op != 7 && count >= (u32)size ? CF : 0);
}
static void cpuid(u32 leaf, u32 *r) { __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0)); }
/* The beginning of a header line, up to the processor. */
static void putStart(const char *version, const char *family, u32 seed) {
  u32 r[4], id[4] = {0};
  cpuid(0, r); id[0] = r[1]; id[1] = r[3]; id[2] = r[2];
  cpuid(1, r);
  u32 fam = r[0] >> 8 & 15, model = r[0] >> 4 & 15;
  if (fam == 15 || fam == 6) model |= r[0] >> 12 & 0xf0;
  if (fam == 15) fam += r[0] >> 20 & 0xff;
  put("{\"format\":1,\"harness\":\""); put(version); put("\",\"family\":\""); put(family);
  put("\",\"seed\":"); putDec(seed);
  put(",\"processor\":{\"vendor\":\""); put((char *)id); put("\",\"family\":"); putDec(fam); put(",\"model\":"); putDec(model);
  put(",\"stepping\":"); putDec(r[0] & 15);
}
