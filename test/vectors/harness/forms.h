/*
 * The instruction forms that are recorded: Intel SDM volume 2 (opcode tables, "Flags Affected").
 * Operand letters in names are those of SDM volume 2, appendix A: E = r/m, G = r of ModRM, I = immediate,
 * b/w/v = 8/16/(16 or 32) bits. One row expands to 16- and 32-bit, and to register and memory, forms.
 *
 * Columns: family, name, encoding, undefined status flags (SDM), attributes, special set-up, vectors per form.
 * Encoding: hex bytes; /r /0../7 ModRM; +r register and +cc condition in the byte before; ib iw iz immediates;
 *   cb cz relative branch; mo address (moffs); pf far pointer.
 * Attributes: b v d  operand size 8 / 16 and 32 / 32 only;  r m  register or memory operand only;
 *   1 2 6 8  memory operand bytes when not the operand size (6: far pointer, 8: two operands or 64 bits);
 *   X  read-modify-write of memory;  L  LOCK allowed;  K  every access without fault;  s  uses the stack;
 *   a  16-bit addressing (67h);  n  no segment override;  U  undocumented by Intel.
 */
#define CF 0x001
#define PF 0x004
#define AF 0x010
#define ZF 0x040
#define SF 0x080
#define OF 0x800
#define ARITH (CF | PF | AF | ZF | SF | OF)
#define MULU (SF | ZF | AF | PF)
#define BTU (OF | SF | AF | PF)

enum special { NONE, SHIFT1, SHIFTI, SHIFTC, SHLDI, SHLDC, DIV, BITREG, BSCAN, CMPX, CMPX8, TARGET, LOOP, RETN, FARM, RETF, IRETD,
               POPFLAGS, PUSHSEG, ENTERI, LEAVEF, STRING, XLAT, BOUND, SELECTOR, POPSEL, LARSEL, LEA, FETCH };

struct row { const char *family, *name, *enc; unsigned undef; const char *attr; enum special special; int count; };

#define ALU(N, e, f, g, h, i, j, slash, U, LX) \
  {"alu", N " Eb,Gb", e " /r", U, "b" LX, NONE, 100}, {"alu", N " Ev,Gv", f " /r", U, "v" LX, NONE, 100}, \
  {"alu", N " Gb,Eb", g " /r", U, "b", NONE, 100}, {"alu", N " Gv,Ev", h " /r", U, "v", NONE, 100}, \
  {"alu", N " AL,Ib", i " ib", U, "b", NONE, 120}, {"alu", N " eAX,Iz", j " iz", U, "v", NONE, 120}, \
  {"alu", N " Eb,Ib", "80 " slash " ib", U, "b" LX, NONE, 100}, {"alu", N " Ev,Iz", "81 " slash " iz", U, "v" LX, NONE, 100}, \
  {"alu", N " Eb,Ib (82)", "82 " slash " ib", U, "b" LX, NONE, 40}, {"alu", N " Ev,Ib", "83 " slash " ib", U, "v" LX, NONE, 100}
#define UNARY(N, slash, U, n) \
  {"unary", N " Eb", "F6 " slash, U, "bLX", NONE, n}, {"unary", N " Ev", "F7 " slash, U, "vLX", NONE, n}
#define SHIFT(N, slash, A) \
  {"shift", N " Eb,1", "D0 " slash, 0, "bX" A, SHIFT1, 60}, {"shift", N " Ev,1", "D1 " slash, 0, "vX" A, SHIFT1, 60}, \
  {"shift", N " Eb,Ib", "C0 " slash " ib", 0, "bX" A, SHIFTI, 256}, {"shift", N " Ev,Ib", "C1 " slash " ib", 0, "vX" A, SHIFTI, 256}, \
  {"shift", N " Eb,CL", "D2 " slash, 0, "bX" A, SHIFTC, 256}, {"shift", N " Ev,CL", "D3 " slash, 0, "vX" A, SHIFTC, 256}
#define BITOP(N, op, slash, LX) \
  {"bit", N " Ev,Gv", "0F " op " /r", BTU, "vrm" LX, BITREG, 150}, {"bit", N " Ev,Ib", "0F BA " slash " ib", BTU, "v" LX, NONE, 150}
#define STR(N, opb, opv) \
  {"string", N "b", opb, 0, "b", STRING, 120}, {"string", N "v", opv, 0, "v", STRING, 100}, \
  {"string", "REP(E) " N "b", "F3 " opb, 0, "b", STRING, 300}, {"string", "REP(E) " N "v", "F3 " opv, 0, "v", STRING, 300}
#define STRNE(N, opb, opv) \
  {"string", "REPNE " N "b", "F2 " opb, 0, "b", STRING, 300}, {"string", "REPNE " N "v", "F2 " opv, 0, "v", STRING, 300}
#define PRIV(N, enc) {"fault", N, enc, 0, "d", NONE, 6}
#define LONGEST "66 66 66 66 66 66 66 66 66 66 66 66 66"

static const struct row rows[] = {
  ALU("ADD", "00", "01", "02", "03", "04", "05", "/0", 0, "LX"), ALU("OR", "08", "09", "0A", "0B", "0C", "0D", "/1", AF, "LX"),
  ALU("ADC", "10", "11", "12", "13", "14", "15", "/2", 0, "LX"), ALU("SBB", "18", "19", "1A", "1B", "1C", "1D", "/3", 0, "LX"),
  ALU("AND", "20", "21", "22", "23", "24", "25", "/4", AF, "LX"), ALU("SUB", "28", "29", "2A", "2B", "2C", "2D", "/5", 0, "LX"),
  ALU("XOR", "30", "31", "32", "33", "34", "35", "/6", AF, "LX"), ALU("CMP", "38", "39", "3A", "3B", "3C", "3D", "/7", 0, ""),
  {"alu", "TEST Eb,Gb", "84 /r", AF, "b", NONE, 80}, {"alu", "TEST Ev,Gv", "85 /r", AF, "v", NONE, 80},
  {"alu", "TEST AL,Ib", "A8 ib", AF, "b", NONE, 100}, {"alu", "TEST eAX,Iz", "A9 iz", AF, "v", NONE, 100},
  {"alu", "TEST Eb,Ib", "F6 /0 ib", AF, "b", NONE, 80}, {"alu", "TEST Ev,Iz", "F7 /0 iz", AF, "v", NONE, 80},
  {"alu", "TEST Eb,Ib (/1)", "F6 /1 ib", AF, "bU", NONE, 30}, {"alu", "TEST Ev,Iz (/1)", "F7 /1 iz", AF, "vU", NONE, 30},

  {"unary", "INC Eb", "FE /0", 0, "bLX", NONE, 100}, {"unary", "INC Ev", "FF /0", 0, "vLX", NONE, 100},
  {"unary", "DEC Eb", "FE /1", 0, "bLX", NONE, 100}, {"unary", "DEC Ev", "FF /1", 0, "vLX", NONE, 100},
  {"unary", "INC Zv", "40 +r", 0, "v", NONE, 120}, {"unary", "DEC Zv", "48 +r", 0, "v", NONE, 120},
  UNARY("NOT", "/2", 0, 80), UNARY("NEG", "/3", 0, 120),

  {"muldiv", "MUL Eb", "F6 /4", MULU, "b", NONE, 200}, {"muldiv", "MUL Ev", "F7 /4", MULU, "v", NONE, 200},
  {"muldiv", "IMUL Eb", "F6 /5", MULU, "b", NONE, 200}, {"muldiv", "IMUL Ev", "F7 /5", MULU, "v", NONE, 200},
  {"muldiv", "IMUL Gv,Ev", "0F AF /r", MULU, "v", NONE, 200}, {"muldiv", "IMUL Gv,Ev,Iz", "69 /r iz", MULU, "v", NONE, 200},
  {"muldiv", "IMUL Gv,Ev,Ib", "6B /r ib", MULU, "v", NONE, 200},
  {"muldiv", "DIV Eb", "F6 /6", ARITH, "b", DIV, 250}, {"muldiv", "DIV Ev", "F7 /6", ARITH, "v", DIV, 250},
  {"muldiv", "IDIV Eb", "F6 /7", ARITH, "b", DIV, 250}, {"muldiv", "IDIV Ev", "F7 /7", ARITH, "v", DIV, 250},

  SHIFT("ROL", "/0", ""), SHIFT("ROR", "/1", ""), SHIFT("RCL", "/2", ""), SHIFT("RCR", "/3", ""),
  SHIFT("SHL", "/4", ""), SHIFT("SHR", "/5", ""), SHIFT("SAL", "/6", "U"), SHIFT("SAR", "/7", ""),
  {"shift", "SHLD Ev,Gv,Ib", "0F A4 /r ib", 0, "vX", SHLDI, 256}, {"shift", "SHLD Ev,Gv,CL", "0F A5 /r", 0, "vX", SHLDC, 256},
  {"shift", "SHRD Ev,Gv,Ib", "0F AC /r ib", 0, "vX", SHLDI, 256}, {"shift", "SHRD Ev,Gv,CL", "0F AD /r", 0, "vX", SHLDC, 256},

  BITOP("BT", "A3", "/4", ""), BITOP("BTS", "AB", "/5", "LX"), BITOP("BTR", "B3", "/6", "LX"), BITOP("BTC", "BB", "/7", "LX"),
  {"bit", "BSF Gv,Ev", "0F BC /r", CF | OF | SF | AF | PF, "v", BSCAN, 150},
  {"bit", "BSR Gv,Ev", "0F BD /r", CF | OF | SF | AF | PF, "v", BSCAN, 150},

  {"mov", "MOV Eb,Gb", "88 /r", 0, "b", NONE, 120}, {"mov", "MOV Ev,Gv", "89 /r", 0, "v", NONE, 120},
  {"mov", "MOV Gb,Eb", "8A /r", 0, "b", NONE, 120}, {"mov", "MOV Gv,Ev", "8B /r", 0, "v", NONE, 120},
  {"mov", "MOV AL,Ob", "A0 mo", 0, "b", NONE, 100}, {"mov", "MOV eAX,Ov", "A1 mo", 0, "v", NONE, 100},
  {"mov", "MOV Ob,AL", "A2 mo", 0, "b", NONE, 100}, {"mov", "MOV Ov,eAX", "A3 mo", 0, "v", NONE, 100},
  {"mov", "MOV Zb,Ib", "B0 +r ib", 0, "b", NONE, 100}, {"mov", "MOV Zv,Iv", "B8 +r iz", 0, "v", NONE, 100},
  {"mov", "MOV Eb,Ib", "C6 /0 ib", 0, "b", NONE, 100}, {"mov", "MOV Ev,Iz", "C7 /0 iz", 0, "v", NONE, 100},
  {"mov", "MOVZX Gv,Eb", "0F B6 /r", 0, "v1", NONE, 120}, {"mov", "MOVZX Gv,Ew", "0F B7 /r", 0, "v2", NONE, 120},
  {"mov", "MOVSX Gv,Eb", "0F BE /r", 0, "v1", NONE, 120}, {"mov", "MOVSX Gv,Ew", "0F BF /r", 0, "v2", NONE, 120},
  {"mov", "XCHG Eb,Gb", "86 /r", 0, "bLX", NONE, 120}, {"mov", "XCHG Ev,Gv", "87 /r", 0, "vLX", NONE, 120},
  {"mov", "XCHG Zv,eAX", "90 +r", 0, "v", NONE, 100}, {"mov", "BSWAP Zd", "0F C8 +r", 0, "d", NONE, 150},
  {"mov", "LEA Gv,M", "8D /r", 0, "vm", LEA, 800}, {"mov", "LEA Gv,M (67h)", "8D /r", 0, "vma", LEA, 400},
  {"mov", "MOV Gv,Ev (67h)", "8B /r", 0, "vma", NONE, 60}, {"mov", "MOV Eb,Gb (67h)", "88 /r", 0, "bma", NONE, 60},
  {"mov", "MOV eAX,Ov (67h)", "A1 mo", 0, "va", NONE, 30}, {"mov", "MOV Ob,AL (67h)", "A2 mo", 0, "ba", NONE, 30},
  {"mov", "XLAT", "D7", 0, "b", XLAT, 200}, {"mov", "XLAT (67h)", "D7", 0, "ba", XLAT, 40},
  {"mov", "CBW/CWDE", "98", 0, "v", NONE, 120}, {"mov", "CWD/CDQ", "99", 0, "v", NONE, 120},

  {"cond", "SETcc Eb", "0F 90 +cc /0", 0, "b", NONE, 640}, {"cond", "CMOVcc Gv,Ev", "0F 40 +cc /r", 0, "v", NONE, 640},

  {"branch", "Jcc Jb", "70 +cc cb", 0, "d", NONE, 960}, {"branch", "Jcc Jz", "0F 80 +cc cz", 0, "d", NONE, 960},
  {"branch", "JMP Jb", "EB cb", 0, "d", NONE, 120}, {"branch", "JMP Jz", "E9 cz", 0, "d", NONE, 120},
  {"branch", "LOOPNE Jb", "E0 cb", 0, "d", LOOP, 120}, {"branch", "LOOPE Jb", "E1 cb", 0, "d", LOOP, 120},
  {"branch", "LOOP Jb", "E2 cb", 0, "d", LOOP, 120}, {"branch", "JECXZ Jb", "E3 cb", 0, "d", LOOP, 120},
  {"branch", "LOOPNE Jb (67h)", "E0 cb", 0, "da", LOOP, 60}, {"branch", "LOOPE Jb (67h)", "E1 cb", 0, "da", LOOP, 60},
  {"branch", "LOOP Jb (67h)", "E2 cb", 0, "da", LOOP, 60}, {"branch", "JCXZ Jb (67h)", "E3 cb", 0, "da", LOOP, 60},
  {"branch", "CALL Jz", "E8 cz", 0, "ds", NONE, 200}, {"branch", "CALL Ev", "FF /2", 0, "ds", TARGET, 200},
  {"branch", "JMP Ev", "FF /4", 0, "d", TARGET, 200}, {"branch", "RET Iw", "C2 iw", 0, "ds", RETN, 200},
  {"branch", "RET", "C3", 0, "ds", RETN, 200},
  {"branch", "CALL Ap", "9A pf", 0, "dsK", NONE, 100}, {"branch", "JMP Ap", "EA pf", 0, "dK", NONE, 100},
  {"branch", "CALL Mp", "FF /3", 0, "dms6K", FARM, 100}, {"branch", "JMP Mp", "FF /5", 0, "dm6K", FARM, 100},
  {"branch", "RETF", "CB", 0, "dsK", RETF, 100}, {"branch", "RETF Iw", "CA iw", 0, "dsK", RETF, 100},
  {"branch", "IRET", "CF", 0, "dsK", IRETD, 150},
  /* Operand-size prefix: EIP is cut to 16 bits, so the target lies in a page that is not present. */
  {"branch16", "Jcc Jb (66h)", "66 70 +cc cb", 0, "d", NONE, 160}, {"branch16", "Jcc Jz (66h)", "66 0F 80 +cc iw", 0, "d", NONE, 160},
  {"branch16", "JMP Jb (66h)", "66 EB cb", 0, "d", NONE, 40}, {"branch16", "JMP Jz (66h)", "66 E9 iw", 0, "d", NONE, 40},
  {"branch16", "CALL Jz (66h)", "66 E8 iw", 0, "dsK", NONE, 40}, {"branch16", "RET (66h)", "66 C3", 0, "dsK", NONE, 40},
  {"branch16", "CALL Ev (66h)", "66 FF /2", 0, "dsK", TARGET, 40}, {"branch16", "JMP Ev (66h)", "66 FF /4", 0, "dK", TARGET, 40},

  {"stack", "PUSH Zv", "50 +r", 0, "vs", NONE, 160}, {"stack", "POP Zv", "58 +r", 0, "vs", NONE, 160},
  {"stack", "PUSH Iz", "68 iz", 0, "vs", NONE, 100}, {"stack", "PUSH Ib", "6A ib", 0, "vs", NONE, 100},
  {"stack", "PUSH Ev", "FF /6", 0, "vs", NONE, 150}, {"stack", "POP Ev", "8F /0", 0, "vs", NONE, 200},
  {"stack", "PUSHA", "60", 0, "vsK", NONE, 120}, {"stack", "POPA", "61", 0, "vsK", NONE, 120},
  {"stack", "PUSHF", "9C", 0, "vs", NONE, 150}, {"stack", "POPF", "9D", 0, "vsK", POPFLAGS, 250},
  {"stack", "ENTER Iw,Ib", "C8 iw ib", 0, "dsK", ENTERI, 300}, {"stack", "LEAVE", "C9", 0, "v", LEAVEF, 120},

  STR("MOVS", "A4", "A5"), STR("CMPS", "A6", "A7"), STR("STOS", "AA", "AB"), STR("LODS", "AC", "AD"), STR("SCAS", "AE", "AF"),
  STRNE("CMPS", "A6", "A7"), STRNE("SCAS", "AE", "AF"),
  {"string", "MOVSb (67h)", "A4", 0, "ba", STRING, 40}, {"string", "REP MOVSv (67h)", "F3 A5", 0, "va", STRING, 60},
  {"string", "REP STOSb (67h)", "F3 AA", 0, "ba", STRING, 60}, {"string", "REPE CMPSb (67h)", "F3 A6", 0, "ba", STRING, 60},
  {"string", "REPNE SCASv (67h)", "F2 AF", 0, "va", STRING, 60}, {"string", "LODSv (67h)", "AD", 0, "va", STRING, 40},

  {"misc", "DAA", "27", OF, "b", NONE, 400}, {"misc", "DAS", "2F", OF, "b", NONE, 400},
  {"misc", "AAA", "37", OF | SF | ZF | PF, "b", NONE, 400}, {"misc", "AAS", "3F", OF | SF | ZF | PF, "b", NONE, 400},
  {"misc", "AAM Ib", "D4 ib", OF | AF | CF, "b", NONE, 300}, {"misc", "AAD Ib", "D5 ib", OF | AF | CF, "b", NONE, 300},
  {"misc", "SAHF", "9E", 0, "b", NONE, 200}, {"misc", "LAHF", "9F", 0, "b", NONE, 200}, {"misc", "CMC", "F5", 0, "b", NONE, 60},
  {"misc", "CLC", "F8", 0, "b", NONE, 60}, {"misc", "STC", "F9", 0, "b", NONE, 60}, {"misc", "CLD", "FC", 0, "b", NONE, 60},
  {"misc", "STD", "FD", 0, "b", NONE, 60}, {"misc", "SALC", "D6", 0, "bU", NONE, 60}, {"misc", "NOP", "90", 0, "d", NONE, 10},
  {"misc", "PAUSE", "F3 90", 0, "d", NONE, 10}, {"misc", "NOP Ev", "0F 1F /0", 0, "v", LEA, 100},
  {"misc", "NOP with 14 prefixes", LONGEST " 66 90", 0, "d", NONE, 5}, {"misc", "NOP with 15 prefixes", LONGEST " 66 66 90", 0, "d", NONE, 5},
  {"misc", "MOV Gv,Ev, three overrides", "26 3E 64 8B /r", 0, "d", NONE, 60},
  {"misc", "MOV Gd,Ed at the page end", "8B /r", 0, "d", FETCH, 200}, {"misc", "ADD Ed,Id at the page end", "81 /0 iz", 0, "dX", FETCH, 200},
  {"misc", "MOV Zd,Id at the page end", "B8 +r iz", 0, "d", FETCH, 100}, {"misc", "JMP Jz at the page end", "E9 cz", 0, "d", FETCH, 100},

  {"atomic", "CMPXCHG Eb,Gb", "0F B0 /r", 0, "bLX", CMPX, 250}, {"atomic", "CMPXCHG Ev,Gv", "0F B1 /r", 0, "vLX", CMPX, 250},
  {"atomic", "XADD Eb,Gb", "0F C0 /r", 0, "bLX", NONE, 200}, {"atomic", "XADD Ev,Gv", "0F C1 /r", 0, "vLX", NONE, 200},
  {"atomic", "CMPXCHG8B Mq", "0F C7 /1", 0, "dmLX8", CMPX8, 400},

  {"segment", "MOV Ev,Sw (ES)", "8C /0", 0, "v2", NONE, 15}, {"segment", "MOV Ev,Sw (CS)", "8C /1", 0, "v2", NONE, 15},
  {"segment", "MOV Ev,Sw (SS)", "8C /2", 0, "v2", NONE, 15}, {"segment", "MOV Ev,Sw (DS)", "8C /3", 0, "v2", NONE, 15},
  {"segment", "MOV Ev,Sw (FS)", "8C /4", 0, "v2", NONE, 15}, {"segment", "MOV Ev,Sw (GS)", "8C /5", 0, "v2", NONE, 15},
  {"segment", "MOV ES,Ew", "8E /0", 0, "v2", SELECTOR, 40}, {"segment", "MOV SS,Ew", "8E /2", 0, "v2", SELECTOR, 40},
  {"segment", "MOV DS,Ew", "8E /3", 0, "v2", SELECTOR, 40}, {"segment", "MOV FS,Ew", "8E /4", 0, "v2", SELECTOR, 40},
  {"segment", "MOV GS,Ew", "8E /5", 0, "v2", SELECTOR, 40},
  {"segment", "PUSH ES", "06", 0, "vs", PUSHSEG, 20}, {"segment", "PUSH CS", "0E", 0, "vs", PUSHSEG, 20},
  {"segment", "PUSH SS", "16", 0, "vs", PUSHSEG, 20}, {"segment", "PUSH DS", "1E", 0, "vs", PUSHSEG, 20},
  {"segment", "PUSH FS", "0F A0", 0, "vs", PUSHSEG, 20}, {"segment", "PUSH GS", "0F A8", 0, "vs", PUSHSEG, 20},
  {"segment", "POP ES", "07", 0, "vsK", POPSEL, 40}, {"segment", "POP SS", "17", 0, "vsK", POPSEL, 40},
  {"segment", "POP DS", "1F", 0, "vsK", POPSEL, 40}, {"segment", "POP FS", "0F A1", 0, "vsK", POPSEL, 40},
  {"segment", "POP GS", "0F A9", 0, "vsK", POPSEL, 40},
  {"segment", "LES Gv,Mp", "C4 /r", 0, "vm6K", FARM, 60}, {"segment", "LDS Gv,Mp", "C5 /r", 0, "vm6K", FARM, 60},
  {"segment", "LSS Gv,Mp", "0F B2 /r", 0, "vm6K", FARM, 60}, {"segment", "LFS Gv,Mp", "0F B4 /r", 0, "vm6K", FARM, 60},
  {"segment", "LGS Gv,Mp", "0F B5 /r", 0, "vm6K", FARM, 60},
  {"segment", "LAR Gv,Ew", "0F 02 /r", 0, "v2", LARSEL, 60}, {"segment", "LSL Gv,Ew", "0F 03 /r", 0, "v2", SELECTOR, 60},
  {"segment", "VERR Ew", "0F 00 /4", 0, "d2", SELECTOR, 60}, {"segment", "VERW Ew", "0F 00 /5", 0, "d2", SELECTOR, 60},
  {"segment", "ARPL Ew,Gw", "63 /r", 0, "d2XKn", NONE, 150},

  {"fault", "INT3", "CC", 0, "d", NONE, 20}, {"fault", "INTO", "CE", 0, "d", NONE, 60}, {"fault", "BOUND Gv,Ma", "62 /r", 0, "vm8K", BOUND, 150},
  {"fault", "UD2", "0F 0B", 0, "d", NONE, 10}, {"fault", "UD1 Gd,Rd", "0F B9 /r", 0, "dr", NONE, 10},
  PRIV("CLI", "FA"), PRIV("STI", "FB"), PRIV("HLT", "F4"), PRIV("CLTS", "0F 06"), PRIV("INVD", "0F 08"), PRIV("WBINVD", "0F 09"),
  PRIV("WRMSR", "0F 30"), PRIV("RDMSR", "0F 32"), PRIV("IN AL,Ib", "E4 ib"), PRIV("IN eAX,Ib", "E5 ib"), PRIV("OUT Ib,AL", "E6 ib"),
  PRIV("OUT Ib,eAX", "E7 ib"), PRIV("IN AL,DX", "EC"), PRIV("IN eAX,DX", "ED"), PRIV("OUT DX,AL", "EE"), PRIV("OUT DX,eAX", "EF"),
  {"fault", "INSb", "6C", 0, "bK", STRING, 6}, {"fault", "INSv", "6D", 0, "dK", STRING, 6}, {"fault", "OUTSb", "6E", 0, "bK", STRING, 6},
  {"fault", "OUTSv", "6F", 0, "dK", STRING, 6}, {"fault", "LGDT Ms", "0F 01 /2", 0, "dm6K", NONE, 6}, {"fault", "LIDT Ms", "0F 01 /3", 0, "dm6K", NONE, 6},
  {"fault", "LMSW Ew", "0F 01 /6", 0, "d2K", NONE, 6}, {"fault", "INVLPG M", "0F 01 /7", 0, "dm1K", NONE, 6},
  {"fault", "LLDT Ew", "0F 00 /2", 0, "d2K", NONE, 6}, {"fault", "LTR Ew", "0F 00 /3", 0, "d2K", NONE, 6},
  PRIV("MOV Rd,CR0", "0F 20 C0"), PRIV("MOV Rd,CR2", "0F 20 D1"), PRIV("MOV Rd,CR3", "0F 20 DA"), PRIV("MOV Rd,CR4", "0F 20 E3"),
  PRIV("MOV CR0,Rd", "0F 22 C0"), PRIV("MOV CR2,Rd", "0F 22 D1"), PRIV("MOV CR3,Rd", "0F 22 DA"), PRIV("MOV CR4,Rd", "0F 22 E3"),
  PRIV("MOV Rd,DR0", "0F 21 C0"), PRIV("MOV Rd,DR6", "0F 21 F1"), PRIV("MOV DR0,Rd", "0F 23 C0"), PRIV("MOV DR7,Rd", "0F 23 F9"),
  /* Reserved opcode extensions, register operands where memory is required, LOCK where it is not allowed: #UD. */
  {"fault", "FE /2 (reserved)", "FE /2", 0, "dK", NONE, 6}, {"fault", "FE /7 (reserved)", "FE /7", 0, "dK", NONE, 6},
  {"fault", "FF /7 (reserved)", "FF /7", 0, "dK", NONE, 6}, {"fault", "0F BA /0 (reserved)", "0F BA /0 ib", 0, "dK", NONE, 6},
  {"fault", "0F BA /3 (reserved)", "0F BA /3 ib", 0, "dK", NONE, 6}, {"fault", "MOV CS,Ew", "8E /1", 0, "dK", NONE, 6},
  {"fault", "8E /6 (reserved)", "8E /6", 0, "dK", NONE, 6}, {"fault", "8C /7 (reserved)", "8C /7", 0, "dK", NONE, 6},
  {"fault", "LEA Gd,Rd", "8D /r", 0, "dr", NONE, 6}, {"fault", "CMPXCHG8B Rd", "0F C7 /1", 0, "dr", NONE, 6},
  {"fault", "CALLF Rd", "FF /3", 0, "dr", NONE, 6}, {"fault", "JMPF Rd", "FF /5", 0, "dr", NONE, 6},
  {"fault", "LOCK ADD Eb,Gb", "F0 00 /r", 0, "dr", NONE, 10}, {"fault", "LOCK ADD Gd,Ed", "F0 03 /r", 0, "dK", NONE, 10},
  {"fault", "LOCK CMP Ed,Gd", "F0 39 /r", 0, "dK", NONE, 10}, {"fault", "LOCK MOV Ed,Gd", "F0 89 /r", 0, "dK", NONE, 10},
  {"fault", "LOCK INC Zd", "F0 40 +r", 0, "d", NONE, 10}, {"fault", "LOCK SHL Ed,1", "F0 D1 /4", 0, "dK", NONE, 10},
  {"fault", "LOCK BT Ed,Ib", "F0 0F BA /4 ib", 0, "dK", NONE, 10}, {"fault", "LOCK NOP", "F0 90", 0, "d", NONE, 5},
  {"fault", "LOCK XCHG Rd,Gd", "F0 87 /r", 0, "dr", NONE, 10}, {"fault", "LOCK MUL Ed", "F0 F7 /4", 0, "dK", NONE, 10},
};
