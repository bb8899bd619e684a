/* The kernel, from top to bottom: read this first. */
#include "kernel.h"

void kernel_main(u32 multiboot_magic, u32 multiboot_info) {
    serial_init();
    parameters_init(multiboot_magic, multiboot_info);
    gdt_init();
    idt_init();
    pic_init();
    paging_init();
    syscall_init();
    program_main();
    exit(0);
}
