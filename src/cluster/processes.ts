/**
 * What a process in a pod, on a node or on a machine outside has beside its network: resolv.conf, hosts, a C library.
 *
 * A pod whose image says alpine resolves as musl does, any other as glibc. A cluster whose manifests hold no kube-dns
 * Service has DNS all the same: it is implied, and answers without packets.
 */
import type { ProcessFiles } from '../apps/resolver.ts'
import { dnsOf } from '../kubernetes/dns.ts'
import { clusterDnsAddress, clusterDnsService, hostsText, resolvConfText } from '../kubernetes/pod-files.ts'
import type { PodModel } from '../kubernetes/types.ts'
import type { Cluster } from './build.ts'

/** The files of a process; without `pod`, those of a machine that podwalk knows nothing about. */
export function processFiles(cluster: Cluster, pod?: PodModel): ProcessFiles {
  const { model, unmodelled } = cluster
  if (pod === undefined) return { resolvConf: null, hosts: '127.0.0.1\tlocalhost\n', libc: 'glibc', unmodelled }
  const isMusl = pod.spec.containers.some((c) => /alpine|musl/.test(c.image ?? ''))
  const files = {
    resolvConf: resolvConfText(model, pod),
    hosts: hostsText(model, pod),
    libc: isMusl ? ('musl' as const) : ('glibc' as const),
    unmodelled,
  }
  if (clusterDnsService(model) !== undefined) return files
  const server = dnsOf(model)
  return {
    ...files,
    implied: {
      server: clusterDnsAddress(model),
      answer(query) {
        const reply = server.answer(query, 'tcp')
        return reply.unmodelled === undefined ? reply.message : { unmodelled: reply.unmodelled }
      },
    },
  }
}
