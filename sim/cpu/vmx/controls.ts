/**
 * The VMX controls by name (SDM vol. 3, 25.6 to 25.8). A constant is the mask of the control's bit. Which of them a
 * processor lets software set or clear is in its capability MSRs, i.e. in the profile, never in code.
 */

/** Pin-based VM-execution controls (25.6.1). */
export const PIN_BASED = {
  externalInterruptExiting: 1 << 0,
  nmiExiting: 1 << 3,
  /** Not on the first processors. */
  virtualNmis: 1 << 5,
} as const;

/** Primary processor-based VM-execution controls (25.6.2). */
export const PROCESSOR_BASED = {
  interruptWindowExiting: 1 << 2,
  useTscOffsetting: 1 << 3,
  hltExiting: 1 << 7,
  invlpgExiting: 1 << 9,
  mwaitExiting: 1 << 10,
  rdpmcExiting: 1 << 11,
  rdtscExiting: 1 << 12,
  /** Always 1 on the first processors. */
  cr3LoadExiting: 1 << 15,
  /** Always 1 on the first processors. */
  cr3StoreExiting: 1 << 16,
  cr8LoadExiting: 1 << 19,
  cr8StoreExiting: 1 << 20,
  useTprShadow: 1 << 21,
  /** Comes with virtual NMIs. */
  nmiWindowExiting: 1 << 22,
  movDrExiting: 1 << 23,
  unconditionalIoExiting: 1 << 24,
  useIoBitmaps: 1 << 25,
  useMsrBitmaps: 1 << 28,
  monitorExiting: 1 << 29,
  pauseExiting: 1 << 30,
} as const;

/** VM-exit controls (25.7.1). */
export const EXIT_CONTROL = {
  /** Always 1 on the first processors. */
  saveDebugControls: 1 << 2,
  hostAddressSpaceSize: 1 << 9,
  acknowledgeInterruptOnExit: 1 << 15,
} as const;

/** VM-entry controls (25.8.1). */
export const ENTRY_CONTROL = {
  /** Always 1 on the first processors. */
  loadDebugControls: 1 << 2,
  ia32eModeGuest: 1 << 9,
  entryToSmm: 1 << 10,
  deactivateDualMonitor: 1 << 11,
} as const;

/**
 * Interruption types: bits 10:8 of the VM-entry interruption-information, VM-exit interruption-information and
 * IDT-vectoring information fields (tables 25-16, 25-18, 25-19).
 */
export const EVENT = {
  externalInterrupt: 0,
  nmi: 2,
  hardwareException: 3,
  softwareInterrupt: 4,
  /** INT1. */
  privilegedSoftwareException: 5,
  /** INT3, INTO. */
  softwareException: 6,
} as const;

/** Bits of the interruption-information formats besides vector (7:0) and type (10:8). */
export const INTERRUPTION = {
  ERROR_CODE: 1 << 11,
  /** VM-exit interruption information: IRET had removed blocking by NMI (28.2.3). */
  NMI_UNBLOCKING: 1 << 12,
  VALID: 1 << 31,
} as const;
