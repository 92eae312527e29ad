/** Connection tracking and NAT alone: what a packet costs in the netfilter hooks of a router that does DNAT. */
import { nfConntrackConfirm, nfConntrackIn, nfConntrackPut } from '../../src/linux/netfilter/conntrack/core.ts'
import { killConntrack } from '../../src/linux/netfilter/conntrack/lifetime.ts'
import { nfConntrackGet } from '../../src/linux/netfilter/conntrack/table.ts'
import {
  NatRange,
  NF_NAT_MANIP_DST,
  NF_NAT_RANGE_MAP_IPS,
  NF_NAT_RANGE_PROTO_SPECIFIED,
  nfNatInet,
  nfNatSetupInfo,
} from '../../src/linux/netfilter/nat/core.ts'
import { World } from '../../src/linux/world.ts'
import { M_CT, M_CTINFO, M_DATA, M_LEN, META_SHIFT } from '../../src/packet/layout.ts'
import { foldChecksum, pseudoSumV4, sumWords } from '../../src/wire/checksum.ts'
import { measure } from '../harness.ts'
import type { Suite } from '../suites.ts'

const PRE_ROUTING = 0
const POST_ROUTING = 4
const BATCH = 100_000
const NEW_BATCH = 20_000
const CLIENT = 0x0a010002
const VIP = 0x0a600001
const SERVER = 0x0a020002
const SYN = 0x02
const ACK = 0x10

function tcpPacket(
  src: number,
  sport: number,
  dst: number,
  dport: number,
  flags: number,
  seq: number,
  ack: number,
): Uint8Array {
  const bytes = new Uint8Array(40)
  const v = new DataView(bytes.buffer)
  v.setUint16(0, 0x4500)
  v.setUint16(2, 40)
  v.setUint16(6, 0x4000)
  v.setUint16(8, (64 << 8) | 6)
  v.setInt32(12, src)
  v.setInt32(16, dst)
  v.setUint16(10, foldChecksum(sumWords(v, 0, 20)))
  v.setUint16(20, sport)
  v.setUint16(22, dport)
  v.setInt32(24, seq)
  v.setInt32(28, ack)
  v.setUint16(32, 0x5000 | flags)
  v.setUint16(34, 64240)
  v.setUint16(36, foldChecksum(sumWords(v, 20, 20, pseudoSumV4(src, dst, 6, 20))))
  return bytes
}

/** micro/conntrack-established, micro/conntrack-new: both NAT hooks, the checksum verified, confirm, put. */
export const conntrackSuite: Suite = async (wanted) => {
  const w = new World()
  const ns = w.addNetns('router')
  const ct = nfConntrackGet(ns)
  const range = new NatRange()
  range.flags = NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED
  range.minIp = SERVER
  range.maxIp = SERVER
  range.minPort = 8080
  range.maxPort = 8080
  const { meta, bytes } = w.arena
  const slot = w.arena.alloc(40)
  const m = slot << META_SHIFT
  const at = meta[m + M_DATA]!
  meta[m + M_LEN] = 40
  let passed = 0
  const walk = (packet: Uint8Array, isNew: boolean): void => {
    bytes.set(packet, at)
    meta[m + M_CTINFO] = 0
    nfConntrackIn(w, ns, PRE_ROUTING, slot)
    if (isNew) nfNatSetupInfo(w, ns, meta[m + M_CT]!, slot, range, NF_NAT_MANIP_DST)
    nfNatInet(w, ns, PRE_ROUTING, slot, null, null)
    nfNatInet(w, ns, POST_ROUTING, slot, null, null)
    if (nfConntrackConfirm(w, ns, slot) === 1 && meta[m + M_CT] !== 0) passed++
    nfConntrackPut(w, slot)
  }
  const rows = []
  if (wanted('micro/conntrack-established')) {
    const there = tcpPacket(CLIENT, 1000, VIP, 80, ACK, 2, 10)
    const back = tcpPacket(SERVER, 8080, CLIENT, 1000, ACK, 10, 2)
    walk(tcpPacket(CLIENT, 1000, VIP, 80, SYN, 1, 0), true)
    walk(tcpPacket(SERVER, 8080, CLIENT, 1000, SYN | ACK, 9, 2), false)
    walk(there, false)
    rows.push(
      await measure({
        name: 'micro/conntrack-established',
        unit: 'packets/s',
        operations: BATCH,
        run() {
          passed = 0
          for (let i = 0; i < BATCH; i += 2) {
            walk(there, false)
            walk(back, false)
          }
        },
        verify() {
          const translated = w.arena.view.getInt32(at + 12) === VIP
          if (passed !== BATCH || !translated)
            throw new Error(`${passed} of ${BATCH} passed, translated: ${translated}`)
        },
      }),
    )
  }
  if (wanted('micro/conntrack-new')) {
    const syns: Uint8Array[] = []
    for (let i = 0; i < NEW_BATCH; i++) syns.push(tcpPacket(0x0a030000 + (i >> 4), 3000 + (i & 15), VIP, 80, SYN, 1, 0))
    rows.push(
      await measure({
        name: 'micro/conntrack-new',
        unit: 'packets/s',
        operations: NEW_BATCH,
        run() {
          passed = 0
          for (let i = 0; i < NEW_BATCH; i++) walk(syns[i]!, true)
        },
        verify() {
          const entries = ct.entries()
          for (const id of entries) killConntrack(ct, id)
          if (passed !== NEW_BATCH || entries.length < NEW_BATCH) throw new Error(`${passed} of ${NEW_BATCH} passed`)
        },
      }),
    )
  }
  return rows
}
