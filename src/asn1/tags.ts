/** Identifier octets, universal class (X.690 §8.1.2, X.680 §8.4). */
export const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OID: 0x06,
  ENUMERATED: 0x0a,
  GENERALIZED_TIME: 0x18,
  GENERAL_STRING: 0x1b,
  SEQUENCE: 0x30,
  /** Constructed, application class: `| n`. */
  APPLICATION: 0x60,
  /** Constructed, context-specific class: `| n`. */
  CONTEXT: 0xa0,
} as const
