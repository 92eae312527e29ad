/**
 * pcapng writer: one section, an interface per device, a comment per packet.
 *
 *     block: type (4) | total length (4) | body | options | total length (4)        all padded to 4 bytes
 *     option: code (2) | length without padding (2) | value, padded to 4            closed by code 0, length 0
 *
 * Blocks in order: Section Header, Interface Descriptions (numbered from 0), Name Resolution, Enhanced Packets. Written
 * big-endian, which the byte-order magic tells every reader. Timestamps are virtual nanoseconds from 0 (if_tsresol 9):
 * the same walk gives the same bytes, there is no wall clock. NOT here: reading, statistics and secrets blocks.
 * Sources: draft-ietf-opsawg-pcapng (sections 3.5, 4.1 to 4.5), LINKTYPE_ list of tcpdump.org.
 */
import { ipTextToBytes } from './address.ts'

/** Block Type of the Section Header Block. */
export const PCAPNG_SHB = 0x0a0d0d0a
/** Block Type of the Interface Description Block. */
export const PCAPNG_IDB = 1
/** Block Type of the Name Resolution Block. */
export const PCAPNG_NRB = 4
/** Block Type of the Enhanced Packet Block. */
export const PCAPNG_EPB = 6
/** `LINKTYPE_ETHERNET`. */
export const LINKTYPE_ETHERNET = 1
/** `LINKTYPE_RAW`: frames start at an IPv4 or IPv6 header. */
export const LINKTYPE_RAW = 101
/** Largest packet that is stored whole by default, Wireshark's own limit. */
export const PCAPNG_SNAPLEN = 262_144

const OPT_ENDOFOPT = 0
const OPT_COMMENT = 1
const SHB_USERAPPL = 4
const IF_NAME = 2
const IF_DESCRIPTION = 3
const IF_TSRESOL = 9
const EPB_FLAGS = 2
/** epb_flags, bits 0-1: 01 inbound, 10 outbound. */
const EPB_INBOUND = 1
const EPB_OUTBOUND = 2
const NRB_RECORD_END = 0
const NRB_RECORD_IPV4 = 1
const NRB_RECORD_IPV6 = 2
/** Option values longer than this do not fit the 16-bit length. */
const MAX_OPTION_BYTES = 0xffff

/** A device of one network namespace of one node. */
export interface PcapngInterface {
  /** `if_name`. */
  readonly name: string
  /** `if_description`. */
  readonly description: string
  /** LINKTYPE_ETHERNET or LINKTYPE_RAW. */
  readonly linkType: number
  readonly snaplen?: number
}

/** One frame as a tap on a device saw it. */
export interface PcapngPacket {
  /** Index into `interfaces`. */
  readonly interfaceId: number
  /** Virtual time, an integer >= 0. */
  readonly atNs: number
  readonly bytes: Uint8Array
  readonly direction: 'rx' | 'tx'
  /** What is shown beside the packet. */
  readonly comment?: string
}

/** What a capture holds. */
export interface PcapngCapture {
  readonly interfaces: readonly PcapngInterface[]
  /** In the order in which they are to be read. */
  readonly packets: readonly PcapngPacket[]
  /** Names that Wireshark shows for addresses. */
  readonly names: readonly { readonly ip: string; readonly name: string }[]
  /** Comment of the whole section. */
  readonly comment?: string
}

/** The bytes of a pcapng file. Throws when a packet names no interface, a time is no time, or a name's ip is no address. */
export function writePcapng(capture: PcapngCapture): Uint8Array {
  const out = new BlockWriter()
  writeSection(out, capture.comment)
  for (const iface of capture.interfaces) writeInterface(out, iface)
  if (capture.names.length > 0) writeNames(out, capture.names)
  for (const packet of capture.packets) writePacket(out, packet, capture.interfaces[packet.interfaceId])
  return out.finish()
}

function writeSection(out: BlockWriter, comment: string | undefined): void {
  out.begin(PCAPNG_SHB)
  out.u32(0x1a2b3c4d)
  out.u16(1)
  out.u16(0)
  // Section length -1: not given.
  out.u32(0xffffffff)
  out.u32(0xffffffff)
  if (comment !== undefined) out.textOption(OPT_COMMENT, comment)
  out.textOption(SHB_USERAPPL, 'podwalk')
  out.endOptions()
  out.end()
}

function writeInterface(out: BlockWriter, iface: PcapngInterface): void {
  out.begin(PCAPNG_IDB)
  out.u16(iface.linkType)
  out.u16(0)
  out.u32(iface.snaplen ?? PCAPNG_SNAPLEN)
  out.textOption(IF_NAME, iface.name)
  out.textOption(IF_DESCRIPTION, iface.description)
  out.option(IF_TSRESOL, Uint8Array.of(9))
  out.endOptions()
  out.end()
}

function writeNames(out: BlockWriter, names: PcapngCapture['names']): void {
  out.begin(PCAPNG_NRB)
  for (const { ip, name } of names) {
    const address = ipTextToBytes(ip)
    if (address === null) throw new Error(`writePcapng: names: expected an IP address, got ${JSON.stringify(ip)}`)
    const text = TEXT.encode(`${name.replaceAll('\0', '')}\0`)
    const value = new Uint8Array(address.length + text.length)
    value.set(address)
    value.set(text, address.length)
    out.option(address.length === 4 ? NRB_RECORD_IPV4 : NRB_RECORD_IPV6, value)
  }
  out.option(NRB_RECORD_END, new Uint8Array(0))
  out.end()
}

function writePacket(out: BlockWriter, packet: PcapngPacket, iface: PcapngInterface | undefined): void {
  const { interfaceId, atNs, bytes } = packet
  if (iface === undefined) throw new Error(`writePcapng: packet on interface ${interfaceId}, which does not exist`)
  if (!Number.isSafeInteger(atNs) || atNs < 0) throw new Error(`writePcapng: packet at ${atNs} ns`)
  const snaplen = iface.snaplen ?? PCAPNG_SNAPLEN
  const captured = snaplen > 0 && bytes.length > snaplen ? bytes.subarray(0, snaplen) : bytes
  out.begin(PCAPNG_EPB)
  out.u32(interfaceId)
  out.u32(Math.floor(atNs / 2 ** 32))
  out.u32(atNs % 2 ** 32)
  out.u32(captured.length)
  out.u32(bytes.length)
  out.padded(captured)
  if (packet.comment !== undefined) out.textOption(OPT_COMMENT, packet.comment)
  out.option(EPB_FLAGS, Uint8Array.of(0, 0, 0, packet.direction === 'rx' ? EPB_INBOUND : EPB_OUTBOUND))
  out.endOptions()
  out.end()
}

const TEXT = new TextEncoder()

/** Grows a buffer block by block. */
class BlockWriter {
  private bytes = new Uint8Array(4096)
  private view = new DataView(this.bytes.buffer)
  private at = 0
  private start = 0

  begin(type: number): void {
    this.start = this.at
    this.u32(type)
    this.u32(0)
  }

  end(): void {
    const total = this.at - this.start + 4
    this.u32(total)
    this.view.setUint32(this.start + 4, total)
  }

  u16(value: number): void {
    this.room(2)
    this.view.setUint16(this.at, value)
    this.at += 2
  }

  u32(value: number): void {
    this.room(4)
    this.view.setUint32(this.at, value)
    this.at += 4
  }

  padded(value: Uint8Array): void {
    const size = (value.length + 3) & ~3
    this.room(size)
    this.bytes.set(value, this.at)
    this.at += size
  }

  option(code: number, value: Uint8Array): void {
    this.u16(code)
    this.u16(value.length)
    this.padded(value)
  }

  textOption(code: number, text: string): void {
    const value = TEXT.encode(text)
    this.option(code, value.length <= MAX_OPTION_BYTES ? value : cutUtf8(value, MAX_OPTION_BYTES))
  }

  endOptions(): void {
    this.option(OPT_ENDOFOPT, new Uint8Array(0))
  }

  finish(): Uint8Array {
    return this.bytes.slice(0, this.at)
  }

  private room(need: number): void {
    if (this.at + need <= this.bytes.length) return
    const bigger = new Uint8Array(Math.max(this.bytes.length * 2, this.at + need))
    bigger.set(this.bytes)
    this.bytes = bigger
    this.view = new DataView(bigger.buffer)
  }
}

/** The first bytes of UTF-8 text, not cut inside a character. */
function cutUtf8(bytes: Uint8Array, max: number): Uint8Array {
  let end = max
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}
