/*
 * What the kernel offers to the program that it is linked with. The program is program_main(), called at
 * CPL 0 with paging on, interrupts off and every interrupt line masked; when it returns, the guest exits 0.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include "cpu.h"
#include "ringlab.h"

void program_main(void);

/* exit.c */
void digest(u32 word);                           /* fold a result into the digest (FNV-1a, low byte first) */
void exit(u32 status) __attribute__((noreturn)); /* write the digest and the status, stop */
void panic(const char *format, ...) __attribute__((noreturn)); /* say why, exit 1 */

/* printf.c, serial.c: %s %c %u %d %x %08x %llu */
void kprintf(const char *format, ...);
void serial_init(void);
void serial_put(char c);

/* cmdline.c: the value of "name=number" on the multiboot command line */
u32 parameter(const char *name, u32 default_value);
void parameters_init(u32 multiboot_magic, u32 multiboot_info);

/* gdt.c */
void gdt_init(void);
void set_kernel_stack(u32 esp0); /* the stack that a trap from CPL 3 arrives on */

/* idt.c, trap.S */
struct trap_frame { /* as trap.S pushes it */
    u32 gs, fs, es, ds;
    u32 edi, esi, ebp, ignored_esp, ebx, edx, ecx, eax;
    u32 vector, error_code;
    u32 eip, cs, eflags;
    u32 esp, ss; /* only when the trap came from CPL 3 */
};
typedef void (*trap_handler)(struct trap_frame *frame);

void idt_init(void);
void set_trap_handler(u32 vector, trap_handler handler);         /* 0 restores the default, which panics */
void set_gate(u32 vector, void (*entry)(void), u32 dpl);         /* an interrupt gate straight to assembly */
void set_trap_gate(u32 vector, u32 dpl);                         /* the kernel's own entry, with another DPL */

/* user.S */
u32 enter_user(u32 (*function)(void), void *stack_top); /* run it at CPL 3 until it returns; its result */
extern u8 user_stack_top[];                             /* 16 KB of user pages */

/* syscall.c, syscall.S: number in EAX, arguments in EBX and ESI, result in EAX */
#define SYSCALL_NULL 0  /* counts itself */
#define SYSCALL_WRITE 1 /* EBX = address, ESI = length */
void syscall_init(void);
extern u32 syscall_count;

/* paging.c: 4 KB pages, two levels; the first 16 MB are mapped to themselves */
#define PAGE_SIZE 4096u
#define PTE_P 0x001u
#define PTE_W 0x002u
#define PTE_U 0x004u
#define PTE_PWT 0x008u
#define PTE_PCD 0x010u
#define PTE_A 0x020u
#define PTE_D 0x040u
#define PTE_G 0x100u
#define PTE_FRAME 0xFFFFF000u
#define IDENTITY_END 0x01000000u
#define FRAMES_END 0x00F00000u /* below 16 MB, of which firmware may keep some */
#define WINDOW 0x40000000u /* linear addresses from here are free for programs */

extern u32 page_directory[1024];
void paging_init(void);
u32 frame_alloc(void);                                /* physical address of a zeroed page frame below FRAMES_END */
u32 *pte_of(u32 linear);                              /* the PTE in the active tables, 0 without a page table */
void map_page(u32 linear, u32 physical, u32 flags);   /* makes the page table if need be; no INVLPG */
void unmap_page(u32 linear);                          /* PTE = 0 and INVLPG */

/* pic.c, timer.c, lapic.c */
#define LAPIC_BASE 0xFEE00000u
#define LAPIC_TPR 0x080
#define LAPIC_EOI 0x0B0
#define LAPIC_SPURIOUS 0x0F0
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_LVT_LINT1 0x360
#define LAPIC_INITIAL_COUNT 0x380
#define LAPIC_CURRENT_COUNT 0x390
#define LAPIC_DIVIDE 0x3E0

void pic_init(void); /* vectors 0x20-0x2F, all lines masked */
void pic_unmask(u32 irq);
void pic_mask(u32 irq);
void pic_eoi(u32 irq);
void timer_start(u32 hz); /* 8254 counter 0, mode 2, at 19..100000 Hz, on IRQ 0 */
void timer_stop(void);
void lapic_init(void); /* enable, and let the 8259s through (virtual wire); panics without a local APIC */
u32 lapic_read(u32 offset);
void lapic_write(u32 offset, u32 value);
void lapic_timer_start(u32 vector, u32 count, int periodic); /* counts down at bus clock / 16 */
void lapic_timer_stop(void);

/* lib/: runs at any CPL */
void *memset(void *to, int value, u32 length);
void *memcpy(void *to, const void *from, u32 length);
void *memmove(void *to, const void *from, u32 length);
int memcmp(const void *a, const void *b, u32 length);
u32 strlen(const char *s);

/* Placement of a function or a datum in pages that CPL 3 may use. */
#define USER_TEXT __attribute__((section(".user.text"), noinline))
#define USER_DATA __attribute__((section(".user.data")))

#endif
