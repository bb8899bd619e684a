#include "nanobenchmark.h"

extern void fault_handler(void);
u32 fault_count, fault_address_differs, fault_error_code_differs;

static void install(void) {
    map_page(WINDOW, frame_alloc(), PTE_U | PTE_P); /* so that there is a page table */
    unmap_page(WINDOW);
    set_gate(VECTOR_PAGE_FAULT, fault_handler, 0);
}
static void prepare(u32 n) { fault_count = 0; }
static void check(u32 n) {
    expect("number of page faults", fault_count, n);
    expect("difference in CR2", fault_address_differs, 0);
    expect("difference in the error code", fault_error_code_differs, 0);
    expect("the PTE", *pte_of(WINDOW), 0);
}

const struct nanobenchmark nanobenchmark = {
    .name = "pgfault",
    .what = "page fault on a page that is not present, handler returns past the load",
    .cpl = 3,
    .iterations = 1000,
    .install = install,
    .prepare = prepare,
    .check = check,
};
