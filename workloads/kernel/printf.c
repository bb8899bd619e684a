/* kprintf: %s %c %u %d %x %llu, and a width with leading zeros for numbers (%08x). */
#include <stdarg.h>

#include "kernel.h"

/* Divides in place and returns the remainder: two 32-bit divides, since there is no 64-bit one. */
static u32 divide(u64 *value, u32 divisor) {
    u32 high = (u32)(*value >> 32), low = (u32)*value, quotient_low, remainder;
    u32 quotient_high = high / divisor;
    __asm__("divl %4" : "=a"(quotient_low), "=d"(remainder) : "a"(low), "d"(high % divisor), "r"(divisor) : "cc");
    *value = (u64)quotient_high << 32 | quotient_low;
    return remainder;
}

static void put_number(u64 value, u32 base, u32 width) {
    char digits[24];
    u32 count = 0;
    do {
        digits[count++] = "0123456789abcdef"[divide(&value, base)];
    } while (value);
    for (u32 i = count; i < width; i++) serial_put('0');
    while (count) serial_put(digits[--count]);
}

void kvprintf(const char *format, va_list arguments) {
    for (; *format; format++) {
        if (*format != '%') {
            serial_put(*format);
            continue;
        }
        u32 width = 0, longs = 0;
        format++;
        while (*format >= '0' && *format <= '9') width = width * 10 + (u32)(*format++ - '0');
        while (*format == 'l') longs++, format++;
        switch (*format) {
        case 's':
            for (const char *s = va_arg(arguments, const char *); *s; s++) serial_put(*s);
            break;
        case 'c':
            serial_put((char)va_arg(arguments, int));
            break;
        case 'd': {
            int value = va_arg(arguments, int);
            if (value < 0) serial_put('-');
            put_number(value < 0 ? 0u - (u32)value : (u32)value, 10, width);
            break;
        }
        case 'u':
        case 'x':
            put_number(longs > 1 ? va_arg(arguments, u64) : va_arg(arguments, u32), *format == 'x' ? 16 : 10, width);
            break;
        default:
            serial_put(*format);
        }
    }
}

void kprintf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    kvprintf(format, arguments);
    va_end(arguments);
}
