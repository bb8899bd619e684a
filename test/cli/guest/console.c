/*
 * A guest that talks: a log-in on COM1, then a shell of a few commands, all by interrupts and HLT, and the keyboard and
 * the screen on request. Built by:
 *
 *     gcc -m32 -march=i686 -O1 -g0 -ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables \
 *         -mgeneral-regs-only -nostdlib -static -no-pie -Wl,-Ttext=0x100000,--build-id=none,-z,noexecstack,-N \
 *         -o console.elf console.c
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

#define COM1 0x3f8

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 in8(u16 port) {
  u8 value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static void run(void);

/* The first bytes of the image are its entry. */
__attribute__((section(".text.start"), naked, used)) void _start(void) {
  __asm__ volatile("mov $0x90000, %%esp\n\tcall %P0" : : "i"(run));
}

static volatile u8 queue[2][64];
static volatile u32 head[2], tail[2];
volatile u32 interrupts;

static void put(u32 which, u8 byte) { queue[which][head[which]++ % 64] = byte; }

struct frame;
__attribute__((interrupt)) static void on_serial(struct frame *frame) {
  (void)frame;
  interrupts++;
  while (in8(COM1 + 5) & 1) put(0, in8(COM1));
  out8(0x20, 0x20);
}
__attribute__((interrupt)) static void on_key(struct frame *frame) {
  (void)frame;
  interrupts++;
  put(1, in8(0x60));
  out8(0x20, 0x20);
}

/* The next byte of the serial port (0) or the keyboard (1); sleeps until there is one. */
static u8 get(u32 which) {
  __asm__ volatile("cli");
  while (tail[which] == head[which]) __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
  __asm__ volatile("sti");
  return queue[which][tail[which]++ % 64];
}

static void print(const char *text) {
  for (; *text; text++) out8(COM1, *text);
}

static void hex(u8 value) {
  char text[4] = {"0123456789abcdef"[value >> 4], "0123456789abcdef"[value & 15], ' ', 0};
  print(text);
}

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

/* Reads a line with echo. */
__attribute__((noinline)) static void line(char *into) {
  for (;;) {
    u8 byte = get(0);
    if (byte == '\r' || byte == '\n') break;
    out8(COM1, byte);
    *into++ = byte;
  }
  *into = 0;
  print("\r\n");
}

static u16 *const screen = (u16 *)0xb8000;
static void show(u32 row, const char *text) {
  for (u32 column = 0; *text; column++) screen[row * 80 + column] = 0x1e00 | (u8)*text++;
}

/* Scan codes until Enter goes up. */
static void keys(void) {
  print("type: ");
  show(1, "waiting for keys");
  for (u8 code = 0; code != 0x9c;) hex(code = get(1));
  show(2, "thank you");
  print("\r\n");
}

static u32 gdt[6] = {0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300};
static u32 idt[2 * 48];
struct __attribute__((packed)) table {
  u16 limit;
  u32 base;
};

static void gate(u32 vector, void *handler) {
  idt[2 * vector] = 0x00080000 | ((u32)handler & 0xffff);
  idt[2 * vector + 1] = ((u32)handler & 0xffff0000) | 0x8e00;
}

__attribute__((noinline)) u32 command(const char *text) {
  if (same(text, "exit")) out32(0xf4, 0);
  else if (same(text, "fail")) out32(0xf4, 7);
  else if (same(text, "keys")) keys();
  else if (same(text, "halt")) __asm__ volatile("cli\n\thlt");
  else if (same(text, "spin")) for (;;) continue;
  else if (same(text, "triple")) {
    struct table none = {0, 0};
    __asm__ volatile("lidt %0\n\tint3" : : "m"(none));
  } else if (same(text, "probe")) {
    in8(0x1234);
    out8(0x300, 1);
    in8(0x300);
  } else if (*text) {
    print(text);
    print("?\r\n");
  }
  return interrupts;
}

static void run(void) {
  char text[64];
  struct table gdtr = {sizeof gdt - 1, (u32)gdt}, idtr = {sizeof idt - 1, (u32)idt};
  __asm__ volatile(
      "lgdt %0\n\tljmp $8, $1f\n1:\tmov $16, %%eax\n\tmov %%eax, %%ds\n\tmov %%eax, %%es\n\tmov %%eax, %%ss\n\tlidt %1"
      : : "m"(gdtr), "m"(idtr) : "eax");
  gate(0x24, on_serial);
  gate(0x21, on_key);
  static const u8 pic[][2] = {{0x20, 0x11}, {0xa0, 0x11}, {0x21, 0x20}, {0xa1, 0x28}, {0x21, 4},
                              {0xa1, 2},    {0x21, 1},    {0xa1, 1},    {0x21, 0xed}, {0xa1, 0xff}};
  for (u32 n = 0; n < sizeof pic / 2; n++) out8(pic[n][0], pic[n][1]);
  out8(COM1 + 2, 0x07);
  out8(COM1 + 4, 0x0b);
  out8(COM1 + 1, 0x01);
  show(0, "console guest");
  print("login: ");
  line(text);
  print("hello, ");
  print(text);
  print("\r\n");
  for (;;) {
    print("# ");
    line(text);
    command(text);
  }
}
