/*
 * Records what single instructions of 16-bit protected mode do on the processor that runs this program: code, data and
 * stack segments of the local descriptor table (modify_ldt), with D and B clear or set, small limits, expand-down and
 * page granularity. A static 32-bit Linux program without a C library, like harness.c, whose table of forms it uses:
 * operands are 16-bit without a prefix here, 32-bit with one, and so are addresses.
 * Usage: ldt16 <family> [seed]   writes JSON lines to standard output (README.md describes them).
 * Simplification: everything is mapped, so faults are those of segmentation, and #DE, #BR, #UD.
 */
#include "forms.h"
#include "linux32.h"
#define POPPED (0x24fe2a | ARITH)
#define VERSION "1"

/* ---- Layout: 64 KB of code, all INT3; a data window that holds every segment below ---- */
#define CODE 0x20000000u
#define DATA 0x21000000u
#define WINDOW 0x21000u
static u8 background(u32 a) { return (a * 2654435761u) >> 24; }
static u8 wanted[WINDOW], pristine[WINDOW];

struct descriptor { u32 entry, base, limit, flags; }; /* struct user_desc */
enum { BIG = 1, DOWN = 2, XCODE = 4, CONFORMING = 6, READ_ONLY = 8, PAGES = 16, ABSENT = 32 };
enum { CODE16 = 1, CODE16S, CODE32, CODEX, CODEC, DATA16, DATAS, DATARO, DOWN16, DOWN32, DATA32, DATAG, DATANP, TINY, DOWNG, ENTRIES };
static const struct descriptor table[ENTRIES] = {
  {0}, {CODE16, CODE, 0xffff, XCODE}, {CODE16S, CODE, 0x7fff, XCODE}, {CODE32, CODE, 0xffff, XCODE | BIG},
  {CODEX, CODE, 0xffff, XCODE | READ_ONLY}, {CODEC, CODE, 0xffff, CONFORMING | ABSENT}, {DATA16, DATA, 0xffff, 0},
  {DATAS, DATA + 0x1000, 0x1fff, 0}, {DATARO, DATA + 0x800, 0xffff, READ_ONLY}, {DOWN16, DATA, 0x3fff, DOWN},
  {DOWN32, DATA, 0x3fff, DOWN | BIG}, {DATA32, DATA, 0x1ffff, BIG}, {DATAG, DATA + 0x10, 3, PAGES}, {DATANP, DATA, 0xffff, ABSENT},
  {TINY, DATA + 0x3003, 5, 0}, {DOWNG, DATA, 0, DOWN | PAGES},
};
#define SELECTOR_OF(n) ((u16)((n) * 8 | 7))
static u32 limitOf(int n) { return table[n].flags & PAGES ? table[n].limit << 12 | 0xfff : table[n].limit; }
static u64 descriptorOf(int n) { /* as Linux makes it: accessed, DPL 3 */
  u32 base = table[n].base, limit = table[n].limit, f = table[n].flags, type = (f & READ_ONLY ? 1 : 3) | (f & 6) << 1;
  u32 low = base << 16 | (limit & 0xffff);
  u32 high = (base & 0xff000000) | (f & PAGES ? 0x800000 : 0) | (f & BIG ? 0x400000 : 0) | (limit & 0xf0000) |
             (f & ABSENT ? 0 : 0x8000) | 0x7000 | type << 8 | (base >> 16 & 0xff);
  return (u64)high << 32 | low;
}

/* ---- A vector ---- */
enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };
enum { ES, CS, SS, DS, FS, GS };
static struct {
  u8 code[24];
  int length, reg, rm;
  u32 at, flags, gpr[8];
  u16 seg[6];
  u32 ea, aim; /* effective address; where a branch goes */
  int eaSeg;
  u32 undefFlags, undefReg, undefRegMask, undefMem;
} v;
struct form { const struct row *row; int size, memory, index; };
static void emit(u32 x, int n) { for (; n; n--, x >>= 8) v.code[v.length++] = x; }
static int pick(const u8 *from, int n) { return from[below(n)]; }
static u32 dataSelector(void) {
  static const u8 often[] = {DATA16, DATA16, DATA16, DATA16, DATAS, DATAS, DATARO, DOWN16, DOWN32, DATA32, DATAG, TINY, CODE16, DOWNG};
  return SELECTOR_OF(pick(often, sizeof often));
}
static u32 stackSelector(void) {
  static const u8 often[] = {DATA16, DATA16, DATA16, DATA16, DATAS, DOWN16, DOWN32, DATA32, DATA32, DATAG, DOWNG};
  return SELECTOR_OF(pick(often, sizeof often));
}
/* Any selector, as an operand. */
static u32 selector(void) {
  static const u16 others[] = {0, 3, 0x2b, 0x23, 0x28, ENTRIES * 8 + 7, 0xfff7, 0xfffb};
  u32 n = below(24);
  if (n < 16) return (n ? SELECTOR_OF(n) : 0) & ~(below(8) ? 0 : below(4));
  return others[n - 16];
}
static u32 codeSelector(void) {
  static const u8 often[] = {CODE16, CODE16, CODE16, CODE16S, CODE32, CODEX, CODEC, DATA16};
  return below(8) ? SELECTOR_OF(pick(often, sizeof often)) : selector();
}
/* An offset: anywhere in 64 KB, or near an edge of some segment. */
static u32 offset(void) {
  static const u16 edge[] = {0, 0, 0x1fff, 0x2000, 0x3fff, 0x4000, 0x7fff, 0xffff, 0xffff, 0x0fff};
  u32 k = below(10);
  if (k < 3) return (edge[below(10)] + below(9) - 4) & 0xffff;
  return k < 6 ? below(0x2000) : rnd() & 0xffff;
}
static u32 target(int size) { /* of a branch: off the instruction */
  u32 t;
  do t = below(8) ? rnd() & 0xffff : offset(); while (t + 16 >= v.at && t < v.at + 24);
  if (size == 32 && !below(8)) t = 0x10000 + below(0x20000);
  return v.aim = t;
}
static u32 stackLinear(u32 from) {
  const struct descriptor *d = &table[v.seg[SS] >> 3];
  u32 pointer = v.gpr[ESP] + from;
  return d->base + (d->flags & BIG ? pointer : pointer & 0xffff);
}
static void pokeLinear(u32 a, u32 x, int n) { for (; n; n--, x >>= 8, a++) if (a - DATA < WINDOW) wanted[a - DATA] = x; }
static void pokeStack(u32 from, u32 x, int n) { for (int i = 0; i < n; i++, x >>= 8) pokeLinear(stackLinear(from + i), x, 1); }

/* Memory operand: the effective address and the segment register of its default are left in v. */
static void modrm16(int reg) {
  static const u8 base[] = {EBX, EBX, EBP, EBP, 8, 8, EBP, EBX}, index[] = {ESI, EDI, ESI, EDI, ESI, EDI, 8, 8};
  int mod = below(3), rm = below(8), absolute = !mod && rm == 6;
  u32 disp = mod == 1 ? (u32)(signed char)value() : mod == 2 || absolute ? (below(2) ? offset() : value()) : 0;
  emit(mod << 6 | reg << 3 | rm, 1);
  if (mod == 1) emit(disp, 1);
  if (mod == 2 || absolute) emit(disp, 2);
  u32 b = absolute || base[rm] == 8 ? 0 : v.gpr[base[rm]], i = index[rm] == 8 ? 0 : v.gpr[index[rm]];
  v.ea = (b + i + disp) & 0xffff;
  v.eaSeg = base[rm] == EBP && !absolute ? SS : DS;
}
/* ModRM for memory with 32-bit addressing; most often the address is below 128 KB. */
static void modrm32(int reg, u32 keep, int anywhere) {
  int mod = below(3), rm = below(8), sib = below(256), base = rm, index = -1;
  if (rm == 4) { base = sib & 7; index = sib >> 3 & 7; if (index == 4) index = -1; }
  if (mod == 0 && base == 5) base = -1;
  if (base >= 0 && (keep >> base & 1 || base == index)) mod = 2;
  u32 addr = below(8) ? offset() : below(0x20000), scaled = index < 0 ? 0 : v.gpr[index] << (sib >> 6), disp = value();
  if (mod == 1) disp = (int)(disp << 24) >> 24;
  if (!anywhere) {
    if (base < 0 || mod == 2) disp = addr - scaled - (base < 0 ? 0 : v.gpr[base]);
    else v.gpr[base] = addr - scaled - (mod ? disp : 0);
  }
  emit(mod << 6 | reg << 3 | rm, 1);
  if (rm == 4) emit(sib, 1);
  if (mod == 1) emit(disp, 1);
  else if (mod == 2 || base < 0) emit(disp, 4);
  v.ea = addr;
  v.eaSeg = base == ESP || base == EBP ? SS : DS;
}
static void setCount(u32 count, int size) { v.gpr[ECX] = size == 16 ? (v.gpr[ECX] & 0xffff0000) | (count & 0xffff) : count; }

static int hexDigit(char c) { return c <= '9' ? c - '0' : c - 'A' + 10; }
static void build(const struct form *f, int n) {
  const struct row *row = f->row;
  const char *a = row->attr;
  enum special sp = row->special;
  int size = f->size, bytes = size / 8, override = -1, address = below(5) ? 16 : 32;
  memset(&v, 0, sizeof v);
  memcpy(wanted, pristine, WINDOW);
  v.rm = -1; v.undefReg = 8; v.undefFlags = row->undef;
  for (int i = 0; i < 8; i++) v.gpr[i] = below(3) ? (rnd() << 16 | offset()) : value();
  for (int i = 0; i < 6; i++) v.seg[i] = i == CS ? SELECTOR_OF(below(4) ? CODE16 : CODE16S) : i == SS ? stackSelector() : below(24) ? dataSelector() : 0;
  v.at = 0x1000 + below(0x6000);
  v.flags = 0x202 | (rnd() & ARITH) | (sp == STRING ? (rnd() & 1) << 10 : below(16) ? 0 : 0x400);
  if (sp == NONE && !has(a, 's') && !below(12)) v.at = limitOf(v.seg[CS] >> 3) - below(8);
  /* A stack pointer inside its segment most often; upper bits are of no use where B is clear. */
  const struct descriptor *stack = &table[v.seg[SS] >> 3];
  if (stack->flags & BIG) v.gpr[ESP] = below(6) ? 0x4010 + below(0xb000) : offset();
  else if (below(5)) v.gpr[ESP] = (v.gpr[ESP] & 0xffff0000) | (stack->flags & DOWN ? 0x4010 + below(0xb000) : 0x40 + below((limitOf(v.seg[SS] >> 3) & 0xffff) - 0x80));
  for (int i = 0; i < 16; i += 4) if (has(a, 's')) pokeStack(i, value(), 4);

  u32 count = rnd();
  switch (sp) {
    case SHIFTC: case SHLDC:
      if (sp == SHLDC && size == 16 && (count & 31) > 16) count -= 16;
      v.gpr[ECX] = (v.gpr[ECX] & ~0xffu) | (count & 0xff); break;
    case SHIFTI: case SHLDI: if (sp == SHLDI && size == 16 && (count & 31) > 16) count -= 16; break;
    case LOOP: setCount(below(3) ? below(3) : value(), address); break;
    case RETN: pokeStack(0, target(size), 4); break;
    case RETF: case IRETD:
      pokeStack(0, target(size), bytes); pokeStack(bytes, codeSelector() | rnd() << 16, bytes);
      if (sp == IRETD) pokeStack(2 * bytes, rnd() & POPPED, bytes);
      break;
    case POPFLAGS: pokeStack(0, rnd() & POPPED, 4); break;
    case POPSEL: pokeStack(0, selector() | rnd() << 16, 4); break;
    case LEAVEF: if (below(4)) v.gpr[EBP] = v.gpr[ESP]; break;
    case ENTERI: if (below(8)) v.gpr[EBP] = v.gpr[ESP] + below(0x100); break;
    case STRING: setCount(below(24), address); break;
    default: break;
  }

  u8 prefix[4]; int prefixes = 0;
  int memoryAccess = f->memory || sp == STRING || sp == XLAT || has(row->enc, 'm');
  if (memoryAccess && !has(a, 'n') && !below(5)) prefix[prefixes++] = "\x26\x2e\x36\x3e\x64\x65"[override = below(6)];
  if (override == SS && sp == STRING) { prefixes--; override = -1; } /* which operand of CMPS faults first is not defined */

  if (f->memory && has(a, 'L') && !below(6)) prefix[prefixes++] = 0xf0;
  if (size == 32) prefix[prefixes++] = 0x66;
  if ((memoryAccess || sp == LOOP) && address == 32) prefix[prefixes++] = 0x67;
  while (prefixes) { int k = below(prefixes); emit(prefix[k], 1); prefix[k] = prefix[--prefixes]; }
  if (sp == STRING && address == 32) for (int r = ESI; r <= EDI; r++) v.gpr[r] = below(8) ? offset() : below(0x20000);

  for (const char *p = row->enc; *p; p++) {
    if (*p == ' ') continue;
    if (*p == '+') {
      if (p[1] == 'r') { v.code[v.length - 1] += v.rm = below(8); p++; } else { v.code[v.length - 1] += n & 15; p += 2; }
    } else if (*p == '/') {
      int reg = v.reg = *++p == 'r' ? (int)below(8) : *p - '0';
      if (!f->memory) {
        do v.rm = below(8); while (sp == TARGET && has(a, 's') && v.rm == ESP);
        emit(0xc0 | reg << 3 | v.rm, 1);
        if (sp == TARGET) v.gpr[v.rm] = (size == 16 ? rnd() << 16 : 0) | target(size);
        if (sp == SELECTOR || sp == LARSEL) v.gpr[v.rm] = (rnd() << 16) | selector();
        if (sp == CMPX && below(2)) v.gpr[EAX] = v.gpr[v.rm];
      } else {
        if (address == 16) modrm16(reg); else modrm32(reg, 1 << ESP | 1 << reg | 1 << EAX | 1 << EDX | (sp == SHIFTC || sp == SHLDC ? 1 << ECX : 0), sp == LEA);
        if (override >= 0) v.eaSeg = override;
        u32 at = table[v.seg[v.eaSeg] >> 3].base + v.ea;
        if (sp == TARGET) pokeLinear(at, target(size), bytes);
        if (at - DATA > WINDOW - 4) v.aim = ~0u; /* it is in code, as it comes */
        if (sp == FARM) {
          int branch = row->family[0] == 'b';
          pokeLinear(at, branch ? target(size) : value(), bytes);
          pokeLinear(at + bytes, branch ? codeSelector() : selector(), 2);
        }
        if (sp == SELECTOR || sp == LARSEL) pokeLinear(at, selector(), 2);
        if (sp == CMPX && below(2)) pokeLinear(at, v.gpr[EAX], bytes);
        if (sp == CMPX8 && below(2)) { pokeLinear(at, v.gpr[EAX], 4); pokeLinear(at + 4, v.gpr[EDX], 4); }
        if (sp == BOUND && below(2)) {
          pokeLinear(at, v.gpr[reg] - below(3) + below(2), bytes);
          pokeLinear(at + bytes, v.gpr[reg] + below(3) - below(2), bytes);
        }
      }
    } else if (*p == 'i') {
      u32 x = value();
      if (sp == SHIFTI || sp == SHLDI) x = count;
      if (sp == ENTERI) x = p[1] == 'w' ? below(0x100) : below(4) ? rnd() & 7 : rnd();
      emit(x, *++p == 'b' ? 1 : *p == 'w' ? 2 : bytes);
    } else if (*p == 'c') {
      int near = *++p == 'z';
      u32 next = v.at + v.length + (near ? bytes : 1), t;
      do t = near ? target(size) : next + (int)(rnd() << 24 >> 24) - 128; while (t + 16 >= v.at && t < next);
      emit(t - next, near ? bytes : 1);
    } else if (*p == 'm') { emit(offset(), address / 8); p++; }
    else if (*p == 'p') { emit(target(size), bytes); emit(codeSelector(), 2); p++; }
    else {
      emit(hexDigit(*p) << 4 | hexDigit(p[1]), 1);
      p++;
    }
  }
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
  r->eip = v.at; r->eflags = v.flags;
  r->es = v.seg[ES]; r->cs = v.seg[CS]; r->ss = v.seg[SS]; r->ds = v.seg[DS]; r->fs = v.seg[FS]; r->gs = v.seg[GS];
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
    if (!(o & 3) && *(const u32 *)(now + o) == *(const u32 *)(before + o)) { o += 4; continue; }
    if (now[o] == before[o]) { o++; continue; }
    u32 end = o + 1; /* a run bridges up to three equal bytes */
    for (u32 e = end; e < end + 3 && e < WINDOW; e++) if (now[e] != before[e]) end = e + 1;
    put(first ? "\"" : ",\""); putHex(o, 0); put("\":\""); first = 0;
    for (; o < end; o++) putHex(now[o], 2);
    put("\"");
  }
  put("}");
}

static int run(const struct form *f, int n) { /* 0: nothing to record */
  static const char *segment[] = {"es", "cs", "ss", "ds", "fs", "gs"}, *name[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  build(f, n);
  for (int i = 0; i < v.length && v.at + i < 0x10000; i++) ((u8 *)CODE)[v.at + i] = v.code[i];
  memcpy((u8 *)DATA, wanted, WINDOW);
  __asm__ volatile("int3" ::: "memory");
  memset((u8 *)CODE + v.at, 0xcc, v.at + v.length > 0x10000 ? 0x10000 - v.at : (u32)v.length);
  u8 *now = (u8 *)DATA;
  u32 gpr[8] = {after.eax, after.ecx, after.edx, after.ebx, after.esp, after.ebp, after.esi, after.edi};
  u32 seg[6] = {after.es, after.cs, after.ss, after.ds, after.fs, after.gs};
  int finished = (after.trapno == 3 && v.code[0] != 0xcc) || ((after.eip != v.at || (u16)after.cs != v.seg[CS]) && after.trapno != 3 && after.trapno != 4);
  if (finished && after.trapno == 3) after.eip--;
  /* Pages and single steps are of no interest here; nor is a branch into the instruction itself. */
  if (!finished && (after.trapno == 14 || after.trapno == 1)) return 0;
  if (finished && after.eip > v.at && after.eip < v.at + v.length) return 0;
  /* CALL: the manual has the target's limit before the stack's, this processor after. */
  if (!finished && after.trapno == 12 && f->row->family[0] == 'b' && v.aim > limitOf(v.seg[CS] >> 3)) return 0;
  /* RET far: this processor looks at more of the stack before it checks the selector. */
  if (!finished && after.trapno == 12 && f->row->special == RETF) return 0;
  /* Faults in mid-instruction that have stored something (ENTER, far CALL, PUSHA), and ARPL that stores nothing. */
  int stored = 0;
  for (u32 o = 0; o < WINDOW && !stored; o += 4) stored = *(u32 *)(now + o) != *(u32 *)(wanted + o);
  if (!finished && stored && f->row->special != STRING) return 0;
  if (f->memory && !stored && f->row->name[0] == 'A' && f->row->name[1] == 'R') return 0;
  after.eflags &= ~0x10000u; /* RF belongs to the delivery of the exception */

  put("{\"f\":"); putDec(f->index); put(",\"b\":\"");
  for (int i = 0; i < v.length; i++) putHex(v.code[i], 2);
  put("\",\"p\":\""); putHex(v.at, 0);
  put("\",\"s\":[");
  for (int i = 0; i < 6; i++) { if (i) put(","); putDec(v.seg[i]); }
  put("],\"r\":\"");
  for (int i = 0; i < 8; i++) putHex(v.gpr[i], 8);
  put("\",\"e\":\""); putHex(v.flags, 0); put("\",\"m\":"); putBytes(wanted, pristine);
  if (after.eip != (finished ? v.at + v.length : v.at)) { put(",\"i\":\""); putHex(after.eip, 0); put("\""); }
  if (after.eflags != v.flags) { put(",\"E\":\""); putHex(after.eflags, 0); put("\""); }
  int any = 0;
  for (int i = 0; i < 8; i++) if (gpr[i] != v.gpr[i]) { put(any++ ? ",\"" : ",\"R\":{\""); put(name[i]); put("\":\""); putHex(gpr[i], 8); put("\""); }
  if (any) put("}");
  any = 0;
  for (int i = 0; i < 6; i++) if ((seg[i] & 0xffff) != v.seg[i]) { put(any++ ? ",\"" : ",\"S\":{\""); put(segment[i]); put("\":"); putDec(seg[i] & 0xffff); }
  if (any) put("}");
  if (stored) { put(",\"M\":"); putBytes(now, wanted); }
  if (!finished) {
    put(",\"x\":["); putDec(after.trapno);
    if ((after.trapno >= 10 && after.trapno <= 13) || after.trapno == 17) { put(","); putDec(after.err); }
    put("]");
    if (after.trapno) v.undefFlags = 0; /* a fault restores all; flags after #DE stay undefined */
    if (f->row->special == STRING && after.eflags != v.flags) v.undefFlags = ARITH;
  }
  if (v.undefFlags != f->row->undef) { put(",\"u\":\""); putHex(v.undefFlags, 0); put("\""); }
  int zero = finished && after.eflags & ZF;
  if (f->row->special == BSCAN && zero) { v.undefReg = v.reg; v.undefRegMask = ~0u; }
  if (f->row->special == LARSEL && zero && f->size == 32) { v.undefReg = v.reg; v.undefRegMask = 0xf0000; }
  if (v.undefReg < 8) { put(",\"ur\":[\""); put(name[v.undefReg]); put("\",\""); putHex(v.undefRegMask, 8); put("\"]"); }
  if (f->row->special == PUSHSEG && finished && f->size == 32) { put(",\"um\":["); putDec(stackLinear(-2) - DATA); put(",2]"); }
  put("}\n");
  return 1;
}

/* ---- Forms and start ---- */
static struct form forms[512];
static int formCount;
static void addForm(const struct row *r, int size, int memory) { struct form f = {r, size, memory, formCount}; forms[formCount++] = f; }
static int leftOut(const struct row *r) { /* 16-bit addressing is everywhere here; ends of pages and long prefixes are harness.c's */
  return has(r->attr, 'a') || r->special == FETCH || (r->enc[0] == '6' && r->enc[1] == '6');
}
static void expand(const char *family) {
  for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
    if (!same(r->family, family) || leftOut(r)) continue;
    int modrm = has(r->enc, '/'), first = has(r->attr, 'b') ? 8 : 16, last = first == 8 ? 8 : 32;
    for (int size = first; size <= last; size *= 2) {
      if (size == 16 && same(r->name, "BSWAP Zd")) continue; /* undefined */
      if (!modrm || !has(r->attr, 'm') || has(r->attr, 'r')) addForm(r, size, 0);
      if (modrm && (!has(r->attr, 'r') || has(r->attr, 'm'))) addForm(r, size, 1);
    }
  }
}
static void putHeader(const char *family, u32 seed) {
  putStart(VERSION, family, seed);
  put("},\"layout\":{\"code\":\"20000000\",\"data\":\"21000000\",\"bytes\":"); putDec(WINDOW);
  put("},\"gdt\":{\"20\":\"00cffb000000ffff\",\"28\":\"00cff3000000ffff\"},\"ldt\":[\"0\"");
  for (int i = 1; i < ENTRIES; i++) { put(",\""); putHex(descriptorOf(i) >> 32, 8); putHex(descriptorOf(i), 8); put("\""); }
  put("],\"forms\":[");
  for (int i = 0; i < formCount; i++) {
    const struct row *w = forms[i].row;
    put(i ? ",{\"name\":\"" : "{\"name\":\""); put(w->name); put("\",\"size\":"); putDec(forms[i].size);
    put(",\"memory\":"); put(forms[i].memory ? "true" : "false"); put(",\"undefinedFlags\":"); putDec(w->undef);
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
  if (!formCount) fail("usage: ldt16 <family> [seed]   (families: see forms.h)");

  static u8 signalStack[32768];
  static const struct { u32 base, bytes, protection; } area[] = {{CODE, 0x10000, 7}, {DATA, WINDOW, 3}};
  for (u32 i = 0; i < 2; i++) {
    if ((u32)syscall6(192, area[i].base, area[i].bytes, area[i].protection, 0x32, -1, 0) != area[i].base) fail("cannot map the window");
    for (u32 o = 0; o < area[i].bytes; o++) *(u8 *)(area[i].base + o) = i ? background(area[i].base + o) : 0xcc;
  }
  for (u32 o = 0; o < WINDOW; o++) pristine[o] = background(DATA + o);
  for (int i = 1; i < ENTRIES; i++) {
    u32 f = table[i].flags, flags = (f & BIG ? 1 : 0) | (f & 6) | (f & READ_ONLY ? 8 : 0) | (f & PAGES ? 16 : 0) | (f & ABSENT ? 32 : 0);
    u32 d[4] = {table[i].entry, table[i].base, table[i].limit, flags};
    if (syscall6(123, 0x11, (u32)d, sizeof d, 0, 0, 0)) fail("cannot write the LDT");
  }
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
    int n = w->count > 500 ? 192 : w->count > 100 ? 96 : w->count > 30 ? 72 : w->count < 20 ? 8 : 40;
    for (int k = 0; k < n;) k += run(&forms[i], k);
  }
  flush();
  syscall6(1, 0, 0, 0, 0, 0, 0);
}
__asm__(".globl _start\n_start: movl %esp, %eax; pushl %eax; call start");
