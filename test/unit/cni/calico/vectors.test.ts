/**
 * Published values of real Calico nodes: tags of rules, names of chains and sets, first blocks.
 */
import { describe, expect, it } from '@jest/globals'
import { buildCluster, type Cluster } from '../../../../src/cluster/build.ts'
import { vethNameForWorkload } from '../../../../src/cni/calico/endpoints.ts'
import { uniqueId } from '../../../../src/cni/calico/ip-sets.ts'
import { ipSetName, limitedId } from '../../../../src/cni/calico/text.ts'
import { firstBlockIndex } from '../../../../src/kubernetes/calico/go-rand.ts'
import { parseCalicoSelector } from '../../../../src/kubernetes/calico/selector.ts'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { clusterOf, SHOP } from '../../../support/shop.ts'

function built(options: string): Cluster {
  return buildCluster(
    clusterOf(SHOP.replace('cni: { name: kubenet }', `cni: { name: calico, options: { ${options} } }`)),
  )
}

/** Tags of a chain's rules as iptables-save prints them. */
function tags(cluster: Cluster, table: string, chain: string): string[] {
  const text = execTool(cluster.nodes.get('n1')!, ['iptables-save', '-t', table]).stdout
  return text
    .split('\n')
    .filter((l) => l.startsWith(`-A ${chain} `))
    .flatMap((l) => /"cali:([\w-]{16})"/.exec(l)?.[1] ?? [])
}

describe('tags of rules', () => {
  const old = built('version: v3.27.2, encapsulation: IPIP')
  const recent = built('version: v3.30.0, encapsulation: VXLAN')

  it.each([
    ['filter', 'INPUT', ['Cz_u1IQiXIMmKD4c']],
    ['filter', 'FORWARD', ['wUHhoiAYhphO9Mso', 'S93hcgKJrXEqnTfs', 'mp77cMpurHhyjLrM']],
    ['filter', 'OUTPUT', ['tVnHkvAo15HuiPy0']],
    ['nat', 'PREROUTING', ['6gwbT8clXdHdC1b1']],
    ['nat', 'POSTROUTING', ['O3lYWMrLQYEMJtB5']],
    [
      'filter',
      'cali-FORWARD',
      [
        ...['vjrMJCRpqwy5oRoX', 'A_sPAO0mcxbT9mOV', '8ZoYfO5HKXWbB3pk', 'jdEuaPBe14V2hutn'],
        ...['12bc6HljsMKsmfr-', 'NOSxoaGx8OIstr1z'],
      ],
    ],
    [
      'filter',
      'cali-INPUT',
      [
        ...['PajejrV4aFdkZojI', '_wjq-Yrma8Ly1Svo', '8TZGxLWh_Eiz66wc', '6McIeIDvPdL6PE1T', 'YGPbrUms7NId8xVa'],
        ...['2gmY7Bg2i0i84Wk_', 'q-Vz2ZT9iGE331LL'],
      ],
    ],
    ['filter', 'cali-wl-to-host', ['Ee9Sbo10IpVujdIY', 'nSZbcOoG1xPONxb8']],
    [
      'raw',
      'cali-PREROUTING',
      [
        ...['XFX5xbM8B9qR10JG', 'EWMPb0zVROM-woQp', 'PWuxTAIaFCtsg5Qa', 'fSSbGND7dgyemWU7', 'ImU0-4Rl2WoOI9Ou'],
        'lV4V2MPoMBf0hl9T',
      ],
    ],
    ['raw', 'cali-OUTPUT', ['njdnLwYeGqBJyMxW', 'rz86uTUcEZAfFsh7', 'pN0F5zD0b8yf9W1Z']],
    ['nat', 'cali-POSTROUTING', ['Z-c7XtVd2Bq7s_hA', 'nYKhEzDlr11Jccal', 'SXWvdsbh4Mw7wOln']],
    ['nat', 'cali-nat-outgoing', ['flqWnvo8yq4ULQLa']],
    ['nat', 'cali-PREROUTING', ['r6XmIziWUJsdOK6Z']],
  ])('of %s %s before v3.28 are those of real nodes', (table, chain, expected) => {
    expect(tags(old, table, chain)).toEqual(expected)
  })

  it('of cali-FORWARD since v3.30, of POSTROUTING appended since v3.28, of the masquerade of VXLAN', () => {
    expect(tags(recent, 'filter', 'cali-FORWARD')).toEqual([
      ...['W_vvds1Nw3n9QE2f', 'ZfgmjuiLaA8Pg0kp', 'tAzwBLPaV-j53OOZ', '4Z0Pf0byo05NFe-P', 'hQ7Oc16wmUtLuneJ'],
      'rnKNH2WxGcRQcIlD',
    ])
    expect(tags(recent, 'nat', 'POSTROUTING')).toEqual(['0i8pjzKKPyA34aQD'])
    expect(tags(recent, 'nat', 'cali-POSTROUTING').at(-1)).toBe('e9dnSgSVNmIcpVhP')
  })
})

describe('names', () => {
  it('of chains that would be too long end in a hash', () => {
    expect(limitedId('cali-pri-', 'ksa.kube-system.coredns')).toBe('cali-pri-_u2Tn2rSoAPffvE7JO6')
    expect(limitedId('cali-pri-', 'kns.kube-system')).toBe('cali-pri-kns.kube-system')
  })

  it('of ip sets hash the canonical selector', () => {
    const selector = "(pcns.kubernetes.io/metadata.name == 'team-b') && (projectcalico.org/orchestrator == 'k8s')"
    expect(ipSetName(uniqueId('s', parseCalicoSelector(selector).text))).toBe('cali40s:a_sG3wUbuH4Nz-nbt4Bl5Dz')
  })

  it('of veths are cali and eleven digits of a SHA-1', () => {
    expect(vethNameForWorkload('cali', 'default', 'client')).toMatch(/^cali[0-9a-f]{11}$/)
  })
})

describe('first blocks', () => {
  it.each([
    ['minikube', '10.244.120.64', 0x0af40000],
    ['minikube-m02', '10.244.205.192', 0x0af40000],
    ['minikube-m03', '10.244.151.0', 0x0af40000],
    ['kind-control-plane', '192.168.82.0', 0xc0a80000],
    ['node1', '10.244.166.128', 0x0af40000],
    ['node2', '10.244.104.0', 0x0af40000],
    ['k8s-master', '10.244.235.192', 0x0af40000],
    ['k8s-node1', '10.244.36.64', 0x0af40000],
    ['k8s-node2', '10.244.169.128', 0x0af40000],
    ['worker01', '10.244.5.0', 0x0af40000],
  ])('%s has %s', (host, expected, base) => {
    const ip = (base + firstBlockIndex(host, 1024) * 64) >>> 0
    expect([24, 16, 8, 0].map((s) => (ip >>> s) & 255).join('.')).toBe(expected)
  })
})
