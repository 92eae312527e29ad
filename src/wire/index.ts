/**
 * The codecs of the wire, one protocol per file. Import a protocol from its own file; this index is for readers of
 * frames: dissect, describe, pcapng.
 */
export { describeFrame, describeLayers } from './describe.ts'
export { dissectFrame, type LinkKind } from './dissect.ts'
export type { Layer } from './layers.ts'
export {
  LINKTYPE_ETHERNET,
  LINKTYPE_RAW,
  type PcapngCapture,
  type PcapngInterface,
  type PcapngPacket,
  writePcapng,
} from './pcapng.ts'
