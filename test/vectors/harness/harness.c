/*
 * Records what single 32-bit user-mode instructions do on the processor that runs this program.
 * A static 32-bit Linux program without a C library. One vector = one instruction in a code page filled with
 * INT3, a chosen register state, and a data window of known content; the INT3 that ends it, or the exception
 * that it raises, arrives as a signal whose context holds the state afterwards.
 * Usage: harness <family> [seed]   writes JSON lines to standard output (README.md describes them).
 * Simplification: state that only an operating system can set (IOPL, paging, descriptors) is what Linux sets.
 */
#include "forms.h"
#include "linux32.h"
#define VERSION "1"
/* ---- Layout: code page; read-only, two writable, absent, writable, read-only data pages ---- */
#define CODE 0x20000000u
#define CODE_AT 0x20000800u
#define DATA 0x21000000u
#define WINDOW 0x4000u /* the writable part, with the absent page (offset 0x2000) in it */
static u8 background(u32 a) { return (a * 2654435761u) >> 24; }
static u8 wanted[WINDOW], pristine[WINDOW]; /* content before the instruction; background content */
static int writable(u32 a) { u32 o = a - DATA; return o < 0x2000 || (o >= 0x3000 && o < WINDOW); }

/* ---- A vector ---- */
enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };
static struct {
  u8 code[24];
  int length, reg, rm; /* ModRM fields; rm is -1 for a memory operand */
  u32 at, flags, gpr[8];
  u32 undefFlags, undefReg, undefRegMask, undefMem; /* undefMem: address of two undefined bytes */
} v;
struct form { const struct row *row; int size, memory, index; };
static void emit(u32 x, int n) { for (; n; n--, x >>= 8) v.code[v.length++] = x; }
static void poke(u32 a, u32 x, int n) { for (; n; n--, x >>= 8, a++) if (writable(a)) wanted[a - DATA] = x; }

/* An address for an access of n bytes: most often well inside, else at a boundary of the window. */
static u32 place(int n, int faults) {
  static const u32 edge[] = {DATA, DATA + 0x2000, DATA + 0x3000, DATA + 0x4000}; /* ro|rw, rw|absent, absent|rw, rw|ro */
  u32 k = below(100), within = n > 1 ? 1 + below(n - 1) : 0;
  if (k < 8) return DATA + 0x1000 - within;
  if (k < 16) return DATA + 0x3200 + below(0xc00);
  if (faults && k < 20) return DATA + 0x2100 + below(0xe00);
  if (faults && k < 24) return DATA - 0x100 - below(0xe00);
  if (faults && k < 34) return edge[below(4)] - within;
  return DATA + 0x200 + below(0x1c00);
}
static u32 codeTarget(void) { /* in the code page, off the instruction */
  u32 t;
  do t = CODE + below(0x1000); while (t >= v.at && t < v.at + 16);
  return t;
}
static u32 selector(void) {
  static const u16 s[] = {0x2b, 0x2b, 0x2b, 0x2b, 0x23, 0x28, 0x2a, 0, 3, 0xfffb, 0x20};
  return s[below(11)];
}
static u32 codeSelector(void) { static const u16 s[] = {0x20, 0x2b, 0, 0xfffb}; return below(4) ? 0x23 : s[below(4)]; }

/* ModRM for memory with 16-bit addressing: any. */
static void modrm16(int reg) {
  int mod = below(3), rm = below(8);
  emit(mod << 6 | reg << 3 | rm, 1);
  if (mod == 1) emit(value(), 1);
  if (mod == 2 || (!mod && rm == 6)) emit(value(), 2);
}
/* ModRM for memory at addr; registers in the set keep retain their values. anywhere: addr is of no interest. */
static void modrm32(int reg, u32 addr, u32 keep, int anywhere) {
  int mod = below(3), rm = below(8), sib = below(256), base = rm, index = -1;
  if (rm == 4) { base = sib & 7; index = sib >> 3 & 7; if (index == 4) index = -1; }
  if (mod == 0 && base == 5) base = -1;
  if (base >= 0 && (keep >> base & 1 || base == index)) mod = 2;
  u32 scaled = index < 0 ? 0 : v.gpr[index] << (sib >> 6), disp = value();
  if (mod == 1) disp = (int)(disp << 24) >> 24;
  if (!anywhere) {
    if (base < 0 || mod == 2) disp = addr - scaled - (base < 0 ? 0 : v.gpr[base]);
    else v.gpr[base] = addr - scaled - (mod ? disp : 0);
  }
  emit(mod << 6 | reg << 3 | rm, 1);
  if (rm == 4) emit(sib, 1);
  if (mod == 1) emit(disp, 1);
  else if (mod == 2 || base < 0) emit(disp, 4);
}

static u32 readOperand(u32 a, int n) {
  u32 x = 0;
  while (n--) x = x << 8 | (writable(a + n) ? wanted[a + n - DATA] : background(a + n));
  return x;
}
static u32 extend(u32 x, int size, int isSigned) { int s = 32 - size; return isSigned ? (u32)((int)(x << s) >> s) : x << s >> s; }
static u32 *byteOrReg(int r, int size, int *shift) { *shift = size == 8 && r > 3 ? 8 : 0; return &v.gpr[size == 8 ? r & 3 : r]; }
static void setReg(int r, int size, u32 x) {
  int shift; u32 *g = byteOrReg(r, size, &shift), mask = size == 32 ? ~0u : ((1u << size) - 1) << shift;
  *g = (*g & ~mask) | (x << shift & mask);
}
static u32 getReg(int r, int size) { int shift; u32 *g = byteOrReg(r, size, &shift); return extend(*g >> shift, size, 0); }

static void setUpString(const struct form *f, int opcode, int repeat) {
  int bytes = f->size / 8, count = repeat ? (int)below(24) : 1, down = v.flags >> 10 & 1, which = below(3);
  u32 span = count * bytes;
  for (int r = ESI; r <= EDI; r++) {
    u32 a = place(bytes, 0);
    if (which == r - ESI && !has(f->row->attr, 'K')) { /* only one of the two may fault, at once or in mid-run */
      a = place(bytes, 1);
      if (repeat && !below(4))
        a = down ? (r == EDI && below(2) ? DATA : DATA + 0x3000) + below(span + 1) : DATA + (r == EDI && below(2) ? 0x4000 : 0x2000) - below(span + 1);
    }
    v.gpr[r] = a;
  }
  if (repeat) {
    v.gpr[ECX] = has(f->row->attr, 'a') ? (value() << 16) | count : (u32)count;
    if (has(f->row->attr, 'a') && below(2)) v.gpr[ECX] &= 0xffff0000;
  }
  if (has(f->row->attr, 'a') && (opcode & ~1) == 0xa6) v.gpr[ECX] &= 0xffff0000; /* which operand faults first is not defined */
  u32 step = down ? -bytes : bytes, alike = below(count + 2);
  if ((opcode & ~1) == 0xa6)
    for (u32 i = 0; i < alike; i++) poke(v.gpr[EDI] + i * step, readOperand(v.gpr[ESI] + i * step, bytes), bytes);
  if ((opcode & ~1) == 0xae) {
    if (repeat == 0xf2) v.gpr[EAX] = below(3) ? readOperand(v.gpr[EDI] + alike * step, bytes) | (bytes < 4 ? rnd() << (8 * bytes) : 0) : value();
    else for (u32 i = 0; i < alike; i++) poke(v.gpr[EDI] + i * step, v.gpr[EAX], bytes);
  }
}
static void setUpDivide(const struct form *f, u32 operand, int isSigned) {
  u32 d = extend(operand, f->size, isSigned), q = extend(value(), f->size, isSigned), r = value();
  if (!d || !below(4)) return; /* as it came: often #DE */
  u64 n = isSigned ? (u64)((long long)(int)d * (int)q) : (u64)d * q;
  u32 magnitude = isSigned && (int)d < 0 ? -d : d;
  r = magnitude ? r % magnitude : 0;
  n += isSigned && (long long)n < 0 ? -(u64)r : r;
  if (f->size == 8) v.gpr[EAX] = (v.gpr[EAX] & 0xffff0000) | (n & 0xffff);
  else { setReg(EAX, f->size, n); setReg(EDX, f->size, f->size == 16 ? n >> 16 : n >> 32); }
}

static int hexDigit(char c) { return c <= '9' ? c - '0' : c - 'A' + 10; }
/* Builds vector number n of a form: registers, operands, bytes. */
static void build(const struct form *f, int n) {
  const struct row *row = f->row;
  const char *a = row->attr;
  enum special sp = row->special;
  int size = f->size, bytes = size / 8, operand = bytes, opcode = 0, repeat = 0, address16 = has(a, 'a'), faults = !has(a, 'K');
  for (const char *p = "1268"; *p; p++) if (has(a, *p)) operand = *p - '0';
  memset(&v, 0, sizeof v);
  memcpy(wanted, pristine, WINDOW);
  v.at = CODE_AT; v.rm = -1; v.undefReg = 8; v.undefFlags = row->undef;
  for (int i = 0; i < 8; i++) v.gpr[i] = value();
  v.flags = 0x202 | (rnd() & ARITH) | (sp == STRING ? (rnd() & 1) << 10 : below(16) ? 0 : 0x400);

  if (sp == SELECTOR || sp == LARSEL) faults = 0; /* the selector must be one of ours */
  u32 keep = 0, addr = 0;
  int stackFault = faults && (!f->memory || below(2));
  if (has(a, 's')) { /* fault at the stack or at the operand, not both */
    v.gpr[ESP] = place(bytes, stackFault) + (below(2) ? bytes : 0);
    keep |= 1 << ESP;
    poke(v.gpr[ESP], value(), 4); poke(v.gpr[ESP] + 4, value(), 4);
  }
  if (f->memory && has(a, 's') && stackFault) faults = 0;
  u32 count = row->count > 200 && !f->memory ? (u32)n : rnd();
  switch (sp) {
    case SHIFTC: case SHLDC:
      if (sp == SHLDC && size == 16 && (count & 31) > 16) count -= 16;
      setReg(ECX, 8, count); keep |= 1 << ECX; break;
    case SHIFTI: case SHLDI: if (sp == SHLDI && size == 16 && (count & 31) > 16) count -= 16; break;
    case LOOP: { u32 c = below(4); v.gpr[ECX] = c < 3 ? c : value(); if (address16) v.gpr[ECX] |= rnd() << 16; break; }
    case RETN: poke(v.gpr[ESP], codeTarget(), 4); break;
    case RETF: poke(v.gpr[ESP], codeTarget(), 4); poke(v.gpr[ESP] + 4, codeSelector() | rnd() << 16, 4); break;
    case IRETD:
      poke(v.gpr[ESP], codeTarget(), 4); poke(v.gpr[ESP] + 4, codeSelector() | rnd() << 16, 4);
      poke(v.gpr[ESP] + 8, rnd() & POPPED, 4); break;
    case POPFLAGS: /* the read-only page would give any flags */
      if (!below(8)) v.gpr[ESP] = DATA + 0x1fff + below(0x800);
      poke(v.gpr[ESP], rnd() & POPPED, 4); break;
    case POPSEL: poke(v.gpr[ESP], selector() | rnd() << 16, 4); break;
    case LEAVEF: v.gpr[EBP] = place(bytes, 1); break;
    case ENTERI: v.gpr[EBP] = DATA + 0x400 + below(0x1000); v.gpr[ESP] = DATA + 0x800 + below(0x1400); break;
    case XLAT: v.gpr[EBX] = place(1, 1) - (v.gpr[EAX] & 0xff); break;
    case DIV: case CMPX8: keep |= 1 << EAX | 1 << EDX; break;
    case CMPX: keep |= 1 << EAX; break;
    default: break;
  }

  /* Prefixes, in any order; a mandatory F2/F3 belongs to the encoding. */
  u8 prefix[4]; int prefixes = 0;
  int memoryAccess = f->memory || sp == STRING || sp == XLAT || has(row->enc, 'm');
  if (memoryAccess && !has(a, 'n') && !(has(a, 's') && stackFault) && !below(6)) prefix[prefixes++] = "\x26\x2e\x36\x3e\x64\x65"[below(6)];
  if (f->memory && has(a, 'L') && !below(5)) prefix[prefixes++] = 0xf0;
  if (size == 16) prefix[prefixes++] = 0x66;
  if (address16) prefix[prefixes++] = 0x67;
  while (prefixes) { int k = below(prefixes); emit(prefix[k], 1); prefix[k] = prefix[--prefixes]; }

  for (const char *p = row->enc; *p; p++) {
    if (*p == ' ') continue;
    if (*p == '+') {
      if (p[1] == 'r') { v.code[v.length - 1] += v.rm = below(8); p++; } else { v.code[v.length - 1] += n & 15; p += 2; }
    } else if (*p == '/') {
      int reg = v.reg = *++p == 'r' ? (int)below(8) : *p - '0';
      if (!f->memory) {
        do v.rm = below(8); while (sp == TARGET && has(a, 's') && v.rm == ESP);
        emit(0xc0 | reg << 3 | v.rm, 1);
        if (sp == TARGET) v.gpr[v.rm] = codeTarget();
        if (sp == SELECTOR || sp == LARSEL) setReg(v.rm, 16, selector());
        if (sp == DIV) setUpDivide(f, getReg(v.rm, size), reg == 7);
        if (sp == CMPX && below(2)) setReg(EAX, size, getReg(v.rm, size));
      } else if (address16) modrm16(reg);
      else if (sp == BITREG) { /* the bit offset reaches out from the address */
        v.gpr[reg] = (rnd() & ~0xfffu) | below(4096);
        if (size == 32) v.gpr[reg] = below(8192) - 4096;
        else if (v.gpr[reg] & 0x800) v.gpr[reg] |= 0xf000; else v.gpr[reg] &= ~0xf000u;
        modrm32(reg, DATA + 0x300 + below(0x1a00), 1 << reg, 0);
      } else {
        addr = place(operand, faults);
        modrm32(reg, addr, keep | (sp == BOUND || sp == CMPX8 ? 1 << reg : 0), sp == LEA);
        u32 lo = value(), hi = value();
        if (sp == TARGET || sp == FARM) lo = row->family[0] == 'b' ? codeTarget() : lo;
        if (sp == FARM) hi = row->family[0] == 'b' ? codeSelector() : selector();
        if (sp == SELECTOR || sp == LARSEL) lo = selector();
        if (sp == CMPX && below(2)) lo = v.gpr[EAX];
        if (sp == CMPX8 && below(2)) lo = v.gpr[EAX], hi = v.gpr[EDX];
        if (sp == BOUND && below(2)) { u32 i = v.gpr[reg]; lo = i - below(3) + below(2); hi = i + below(3) - below(2); }
        if (size == 16 && (sp == BOUND || sp == FARM)) lo = (lo & 0xffff) | hi << 16;
        if (sp != LEA && (below(8) || (sp >= TARGET && sp <= FARM) || sp == SELECTOR || sp == LARSEL)) { poke(addr, lo, operand > 4 ? 4 : operand); if (operand > 4) poke(addr + 4, hi, operand - 4); }
        if (sp == DIV) setUpDivide(f, readOperand(addr, bytes), reg == 7);
      }
    } else if (*p == 'i') {
      u32 x = value();
      if (sp == SHIFTI || sp == SHLDI) x = count;
      if (sp == RETF) x = below(0x100); /* some processors look at the outer stack before they check the selector */
      if (sp == ENTERI) x = p[1] == 'w' ? below(0x100) : below(4) ? rnd() & 7 : rnd();
      emit(x, *++p == 'b' ? 1 : *p == 'w' ? 2 : bytes);
    } else if (*p == 'c') {
      int wide = *++p == 'z';
      u32 next, t;
      if (sp == FETCH) v.at = CODE + 0x1000 - 1 - below(5);
      next = v.at + v.length + (wide ? 4 : 1);
      do t = wide ? codeTarget() : next + (int)(rnd() << 24 >> 24) - 128; while (t >= v.at && t < next);
      emit(t - next, wide ? 4 : 1);
    } else if (*p == 'm') { emit(place(bytes, 1), address16 ? 2 : 4); p++; }
    else if (*p == 'p') { emit(codeTarget(), 4); emit(codeSelector(), 2); p++; }
    else {
      opcode = hexDigit(*p) << 4 | hexDigit(p[1]); p++;
      emit(opcode, 1);
      if (opcode == 0xf2 || opcode == 0xf3) repeat = opcode;
    }
  }
  if (sp == STRING) setUpString(f, opcode, repeat);
  if (sp == FETCH && opcode != 0xe9) v.at = CODE + 0x1000 - 1 - below(v.length + 2);
  if (sp == SHIFT1 || sp == SHIFTI || sp == SHIFTC)
    v.undefFlags = shiftUndefined(v.reg, sp == SHIFT1 ? 1 : sp == SHIFTI ? count : v.gpr[ECX], size);
  if (sp == SHLDI || sp == SHLDC) { u32 c = (sp == SHLDI ? count : v.gpr[ECX]) & 31; v.undefFlags = !c ? 0 : c == 1 ? AF : AF | OF; }
}

/* ---- Execution: run() raises a signal, the handler loads the vector's state; the next signal ends it ---- */
static struct regs saved, after;
static int running;
static void load(struct regs *r) {
  u32 *g = v.gpr;
  r->eax = g[EAX]; r->ecx = g[ECX]; r->edx = g[EDX]; r->ebx = g[EBX]; r->esp = g[ESP]; r->ebp = g[EBP]; r->esi = g[ESI]; r->edi = g[EDI];
  r->eip = v.at; r->eflags = v.flags; r->ds = r->es = r->fs = r->gs = 0x2b;
}
__attribute__((used)) static void onSignal(int signal, void *info, struct ucontext *u) {
  (void)signal; (void)info;
  if (!running) { saved = u->regs; load(&u->regs); running = 1; }
  else { after = u->regs; u->regs = saved; running = 0; }
}
/* NT, AC and ID that a tested instruction set are still set here: clear them first. */
__asm__("handler: pushl $2; popfl; jmp onSignal\nrestorer: movl $173, %eax; int $0x80");
extern void handler(void), restorer(void);

static void putBytes(const u8 *now, const u8 *before) { /* {"offset":"bytes"} where they differ */
  int first = 1;
  put("{");
  for (u32 o = 0; o < WINDOW;) {
    if (!(o & 3) && *(u32 *)(now + o) == *(u32 *)(before + o)) { o += 4; continue; }
    if (now[o] == before[o]) { o++; continue; }
    u32 end = o + 1; /* a run bridges up to three equal bytes */
    for (u32 e = end; e < end + 3 && e < WINDOW; e++) if (now[e] != before[e]) end = e + 1;
    put(first ? "\"" : ",\""); putHex(o, 0); put("\":\""); first = 0;
    for (; o < end; o++) putHex(now[o], 2);
    put("\"");
  }
  put("}");
}
static void writeWindow(const u8 *content) { /* the live window; the absent page is skipped */
  memcpy((u8 *)DATA, content, 0x2000);
  memcpy((u8 *)DATA + 0x3000, content + 0x3000, 0x1000);
}

static void run(const struct form *f, int n) {
  static u8 now[WINDOW];
  static const char *segment[] = {"es", "cs", "ss", "ds", "fs", "gs"}, *name[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  build(f, n);
  for (int i = 0; i < v.length && v.at + i < CODE + 0x1000; i++) ((u8 *)v.at)[i] = v.code[i];
  writeWindow(wanted);
  __asm__ volatile("int3" ::: "memory");
  memset((u8 *)v.at, 0xcc, v.at + v.length > CODE + 0x1000 ? CODE + 0x1000 - v.at : (u32)v.length);
  memcpy(now, (u8 *)DATA, 0x2000);
  memcpy(now + 0x2000, pristine + 0x2000, 0x1000);
  memcpy(now + 0x3000, (u8 *)DATA + 0x3000, 0x1000);

  /* Finished: the INT3 behind it was reached, or the instruction fetch at another place faulted. */
  int isInt3 = v.code[0] == 0xcc, finished = after.trapno == 3 && !isInt3;
  if (finished) after.eip--;
  if (after.trapno == 14 && after.err & 16 && after.cr2 == after.eip && after.eip != v.at) finished = 1;
  u32 gpr[8] = {after.eax, after.ecx, after.edx, after.ebx, after.esp, after.ebp, after.esi, after.edi};
  u32 seg[6] = {after.es, after.cs, after.ss, after.ds, after.fs, after.gs};
  after.eflags &= ~0x10000u; /* RF belongs to the delivery of the exception */

  put("{\"f\":"); putDec(f->index); put(",\"b\":\"");
  for (int i = 0; i < v.length; i++) putHex(v.code[i], 2);
  if (v.at != CODE_AT) { put("\",\"p\":\""); putHex(v.at, 0); }
  put("\",\"r\":\"");
  for (int i = 0; i < 8; i++) putHex(v.gpr[i], 8);
  put("\",\"e\":\""); putHex(v.flags, 0); put("\",\"m\":"); putBytes(wanted, pristine);
  if (finished && after.eip - v.at != (u32)v.length) { put(",\"i\":\""); putHex(after.eip, 8); put("\""); }
  if (!finished && after.eip != v.at) { put(",\"i\":\""); putHex(after.eip, 8); put("\""); }
  if (after.eflags != v.flags) { put(",\"E\":\""); putHex(after.eflags, 0); put("\""); }
  int any = 0;
  for (int i = 0; i < 8; i++) if (gpr[i] != v.gpr[i]) { put(any++ ? ",\"" : ",\"R\":{\""); put(name[i]); put("\":\""); putHex(gpr[i], 8); put("\""); }
  if (any) put("}");
  any = 0;
  for (int i = 0; i < 6; i++) if ((seg[i] & 0xffff) != (i == 1 ? 0x23u : 0x2bu)) { put(any++ ? ",\"" : ",\"S\":{\""); put(segment[i]); put("\":"); putDec(seg[i] & 0xffff); }
  if (any) put("}");
  for (u32 o = 0; o < WINDOW; o += 4) if (*(u32 *)(now + o) != *(u32 *)(wanted + o)) { put(",\"M\":"); putBytes(now, wanted); break; }
  if (!finished) {
    put(",\"x\":["); putDec(after.trapno); put(",");
    int hasCode = after.trapno == 13 || after.trapno == 14 || after.trapno == 10 || after.trapno == 11 || after.trapno == 12 || after.trapno == 17;
    if (hasCode) putDec(after.err); else put("null");
    if (after.trapno == 14) { put(",\""); putHex(after.cr2, 8); put("\""); }
    put("]");
    if (after.trapno) v.undefFlags = 0; /* a fault restores all; flags after #DE stay undefined */
    /* A fault in a repeated CMPS or SCAS: Intel restores the flags, AMD keeps those of the last iteration. */
    if (f->row->special == STRING && after.eflags != v.flags) v.undefFlags = ARITH;
  }
  if (v.undefFlags != f->row->undef) { put(",\"u\":\""); putHex(v.undefFlags, 0); put("\""); }
  int zero = finished && after.eflags & ZF;
  if (f->row->special == BSCAN && zero) { v.undefReg = v.reg; v.undefRegMask = ~0u; }
  if (f->row->special == LARSEL && zero && f->size == 32) { v.undefReg = v.reg; v.undefRegMask = 0xf0000; }
  if (v.undefReg < 8) { put(",\"ur\":{\""); put(name[v.undefReg]); put("\":\""); putHex(v.undefRegMask, 8); put("\"}"); }
  if (f->row->special == PUSHSEG && finished && f->size == 32) { put(",\"um\":{\""); putHex(after.esp + 2 - DATA, 0); put("\":2}"); }
  put("}\n");
}

/* ---- Forms and start ---- */
static struct form forms[512];
static int formCount;
static void addForm(const struct row *r, int size, int memory) { struct form f = {r, size, memory, formCount}; forms[formCount++] = f; }
static void expand(const char *family) {
  for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
    if (!same(r->family, family)) continue;
    for (int size = has(r->attr, 'b') ? 8 : 32; size >= 8; size /= 2) {
      int modrm = has(r->enc, '/');
      if (!modrm || !has(r->attr, 'm') || has(r->attr, 'r')) addForm(r, size, 0);
      if (modrm && (!has(r->attr, 'r') || has(r->attr, 'm'))) addForm(r, size, 1);
      if (size < 32 || !has(r->attr, 'v')) break;
    }
  }
}
static void putHeader(const char *family, u32 seed) {
  putStart(VERSION, family, seed);
  put("},\"layout\":{\"code\":\"20000000\",\"codeAt\":\"20000800\",\"data\":\"21000000\",\"pages\":{\"20000000\":\"code\","
      "\"20fff000\":\"ro\",\"21000000\":\"rw\",\"21001000\":\"rw\",\"21003000\":\"rw\",\"21004000\":\"ro\"}},"
      "\"descriptors\":{\"20\":\"00cffb000000ffff\",\"28\":\"00cff3000000ffff\"},\"forms\":[");
  for (int i = 0; i < formCount; i++) {
    const struct row *w = forms[i].row;
    put(i ? ",{\"name\":\"" : "{\"name\":\""); put(w->name); put("\",\"encoding\":\""); put(w->enc); put("\",\"size\":"); putDec(forms[i].size);
    put(",\"memory\":"); put(forms[i].memory ? "true" : "false"); put(",\"undefinedFlags\":"); putDec(w->undef);
    put(",\"errorCodeMask\":"); putDec(has(w->attr, 'X') ? 5 : 7); /* W of a read-modify-write is not specified; I/D needs NX */
    if (has(w->attr, 'U')) put(",\"undocumented\":true");
    put("}");
  }
  put("]}\n");
}
__attribute__((used)) static void start(u32 *stack) {
  int argc = stack[0];
  char **argv = (char **)(stack + 1);
  const char *family = argc > 1 ? argv[1] : "";
  u32 seed = 0;
  if (argc > 2) for (const char *p = argv[2]; *p; p++) seed = seed * 10 + *p - '0'; else seed = 1;
  expand(family);
  if (!formCount) fail("usage: harness <family> [seed]   (families: see forms.h)");

  static u8 signalStack[32768];
  static const struct { u32 base, protection; } page[] = {{CODE, 7}, {DATA - 0x1000, 1}, {DATA, 3}, {DATA + 0x1000, 3}, {DATA + 0x3000, 3}, {DATA + 0x4000, 1}};
  for (u32 i = 0; i < 6; i++) {
    if ((u32)syscall6(192, page[i].base, 0x1000, 3, 0x32, -1, 0) != page[i].base) fail("cannot map the window");
    for (u32 a = page[i].base; a < page[i].base + 0x1000; a++) *(u8 *)a = i ? background(a) : 0xcc;
    syscall6(125, page[i].base, 0x1000, page[i].protection, 0, 0, 0);
  }
  for (u32 o = 0; o < WINDOW; o++) pristine[o] = background(DATA + o);
  u32 alternate[3] = {(u32)signalStack, 0, sizeof signalStack};
  syscall6(186, (u32)alternate, 0, 0, 0, 0, 0);
  struct { void (*handler)(void); u32 flags; void (*restorer)(void); u32 mask[2]; } action = {handler, 0x4c000004, restorer, {0, 0}};
  static const u8 signals[] = {4, 5, 7, 8, 11}; /* ILL TRAP BUS FPE SEGV */
  for (u32 i = 0; i < 5; i++) syscall6(174, signals[i], (u32)&action, 0, 8, 0, 0);

  putHeader(family, seed);
  for (int i = 0; i < formCount; i++) {
    const struct row *w = forms[i].row;
    rngState = 0x9e3779b97f4a7c15ull ^ ((u64)seed << 32 | (i + 1) * 2654435761u);
    for (const char *p = family; *p; p++) { rngState += (u8)*p; rnd(); }
    int n = w->count > 200 && forms[i].memory && w->special != LEA && w->special != STRING ? w->count / 2 : w->count;
    if (w->special >= SHIFT1 && w->special <= SHLDC && forms[i].memory) n = 64;
    for (int k = 0; k < n; k++) run(&forms[i], k);
  }
  flush();
  syscall6(1, 0, 0, 0, 0, 0, 0);
}
__asm__(".globl _start\n_start: movl %esp, %eax; pushl %eax; call start");
