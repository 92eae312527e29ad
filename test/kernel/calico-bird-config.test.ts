/**
 * The configuration of a node's BIRD as podwalk renders it, judged by the real parser: `bird -p` of BIRD 1.6 (Debian's
 * package bird), whose syntax Calico's fork keeps. `krt_tunnel` is the fork's own attribute: another one is assigned in its place.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { buildCluster } from '../../src/cluster/build.ts'
import { hasTool, runCommand } from '../support/kernel.ts'
import { clusterOf, SHOP } from '../support/shop.ts'

/** Debian's bird2 puts its program at the same place: BIRD16 names another one. */
const BIRD = [process.env.BIRD16 ?? '', 'bird'].find((path) => {
  if (path === '' || !(path.startsWith('/') || hasTool(path))) return false
  const { stdout, stderr } = runCommand([path, '--version'])
  return /BIRD (version )?1\.6/.test(stdout + stderr)
})
const OBJECTS = `---
{ apiVersion: projectcalico.org/v3, kind: BGPConfiguration, metadata: { name: default }, spec: { asNumber: 64700, serviceClusterIPs: [{ cidr: 10.96.0.0/12 }], communities: [{ name: c, value: '65000:100' }], prefixAdvertisements: [{ cidr: 10.244.0.0/16, communities: [c, '65000:1:2'] }] } }
---
{ apiVersion: projectcalico.org/v3, kind: BGPFilter, metadata: { name: f-1 }, spec: { importV4: [{ action: Reject, matchOperator: NotIn, cidr: 10.0.0.0/8, prefixLength: { min: 16, max: 30 } }, { action: Accept, source: RemotePeers, interface: eth0 }], exportV4: [{ action: Reject, matchOperator: Equal, cidr: 10.9.0.0/16 }, { action: Accept }] } }
---
{ apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: { name: tor }, spec: { peerIP: '172.18.0.250:1790', asNumber: 65001, filters: [f-1], numAllowedLocalASNumbers: 2, nextHopMode: Keep, maxRestartTime: 60s } }
---
{ apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: { name: rr }, spec: { nodeSelector: "!has(rr)", peerSelector: has(rr), nextHopMode: Self } }
`

const describeBird = BIRD === undefined ? describe.skip : describe
describeBird(`bird.cfg${BIRD === undefined ? ' (needs BIRD 1.6: package bird, or BIRD16=/path/to/it)' : ''}`, () => {
  it.each([
    ['IPIP', 'v3.27'],
    ['IPIPCrossSubnet', 'v3.31'],
    ['VXLAN', 'v3.32'],
    ['None', 'v3.33'],
  ])('%s, %s is accepted by bird -p on every node', (encapsulation, version) => {
    const options = `{ encapsulation: ${encapsulation}, version: ${version}, bgpSessions: false }`
    const nodes = `nodes: [{ name: n1, labels: { rr: 'yes' }, annotations: { projectcalico.org/RouteReflectorClusterID: 224.0.0.1 } }, { name: n2 }, { name: n3 }]`
    const text = SHOP.replace('cni: { name: kubenet }', `cni: { name: calico, options: ${options} }`).replace(
      'nodes: [{ name: n1 }, { name: n2 }]',
      nodes,
    )
    const { files } = buildCluster(clusterOf(text + OBJECTS))
    for (const node of ['n1', 'n2', 'n3']) {
      const folder = mkdtempSync(join(tmpdir(), 'podwalk-bird-'))
      const own = [...files].filter(([key]) => key.startsWith(`node:${node} `))
      expect(own).toHaveLength(3)
      for (const [key, content] of own) {
        writeFileSync(join(folder, basename(key)), content().replace(/krt_tunnel="[^"]*"/g, 'preference=100'))
      }
      const r = runCommand(['sh', '-c', `cd ${folder} && ${BIRD} -p -c bird.cfg`])
      expect([node, r.status, r.stdout + r.stderr]).toEqual([node, 0, ''])
      rmSync(folder, { recursive: true })
    }
  })
})
