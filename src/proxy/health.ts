/**
 * The health check NodePorts: what kube-proxy's HTTP server on the node answers a load balancer.
 *
 * A Service of type LoadBalancer with externalTrafficPolicy Local has one; the answer is 200 while this node has a ready
 * endpoint and kube-proxy is healthy, else 503, with the count in a JSON body and in a header. The server listens on the
 * addresses that take NodePorts.
 *
 * Not modelled: TLS and HTTP/2 (the real server has neither), pipelined requests; the Date header tells virtual time.
 *
 * Sources: pkg/proxy/healthcheck/service_health.go, endpointschangetracker.go (LocalReadyEndpoints), Go's net/http.
 */
import type { ObjectState } from './changes.ts'
import { endpointKey, isLocalEndpoint } from './endpoint.ts'
import type { NodePortAddresses } from './node-port-addresses.ts'

/** One Service's health check on one node. */
export interface HealthCheck {
  readonly namespace: string
  readonly name: string
  readonly port: number
  /** Addresses to listen on; empty: all. */
  readonly ips: readonly string[]
  /** Ready endpoints on this node, one per address. */
  readonly localEndpoints: number
}

/** The health checks of one node. */
export function healthChecks(
  { ports, endpoints }: ObjectState,
  nodePorts: NodePortAddresses,
  nodeName: string,
): HealthCheck[] {
  const checks = new Map<string, { check: HealthCheck; ips: Set<string> }>()
  for (const port of ports) {
    if (port.healthCheckNodePort === 0) continue
    const entry = checks.get(port.serviceName) ?? {
      check: {
        namespace: port.namespace,
        name: port.objectName,
        port: port.healthCheckNodePort,
        ips: nodePorts.matchAll ? [] : nodePorts.ips,
        localEndpoints: 0,
      },
      ips: new Set<string>(),
    }
    checks.set(port.serviceName, entry)
    for (const endpoint of endpoints.get(endpointKey(port)) ?? []) {
      if (isLocalEndpoint(endpoint, nodeName) && endpoint.isReady) entry.ips.add(endpoint.ip)
    }
  }
  return [...checks.values()].map(({ check, ips }) => ({ ...check, localEndpoints: ips.size }))
}

/** The server's answer to `request`, and whether the connection ends with it. */
export function healthResponse(
  check: HealthCheck,
  request: string,
  isProxyHealthy: boolean,
  date: Date,
): { readonly text: string; readonly isLast: boolean } {
  const line = /^(\S+) (\S+) HTTP\/1\.([01])\r\n/.exec(request)
  if (line === null) {
    const head = 'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n'
    return { text: `${head}400 Bad Request`, isLast: true }
  }
  const isLast = line[3] === '0' || /\r\nconnection: close\r\n/i.test(request)
  const isOk = check.localEndpoints > 0 && isProxyHealthy
  const body = [
    '{',
    '\t"service": {',
    `\t\t"namespace": ${JSON.stringify(check.namespace)},`,
    `\t\t"name": ${JSON.stringify(check.name)}`,
    '\t},',
    `\t"localEndpoints": ${check.localEndpoints},`,
    `\t"serviceProxyHealthy": ${isProxyHealthy}`,
    '}',
  ].join('\n')
  const text = [
    `HTTP/1.${line[3]} ${isOk ? '200 OK' : '503 Service Unavailable'}`,
    'Content-Type: application/json',
    'X-Content-Type-Options: nosniff',
    `X-Load-Balancing-Endpoint-Weight: ${check.localEndpoints}`,
    `Date: ${date.toUTCString()}`,
    `Content-Length: ${body.length}`,
    ...(isLast && line[3] === '1' ? ['Connection: close'] : []),
    '',
    line[1] === 'HEAD' ? '' : body,
  ].join('\r\n')
  return { text, isLast }
}
